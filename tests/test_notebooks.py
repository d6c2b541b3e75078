"""Hygiene of the committed notebooks; nbval itself re-runs them and compares every output."""

import ast
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_helpers.emotions import COURSE
from fer_helpers.report import printed
from fer_helpers.runs import REFERENCE, known_copies, reference_runs
from fer_helpers.training import EXPERIMENTS, Settings

NOTEBOOKS = sorted((COURSE / "notebooks").glob("*.ipynb"))
NAMES = ["01_data_audit", "02_augmentation_preview", "03_baseline_two_conv", "04_final_model",
         "05_ablation_512"]
FIGURES = ["audit_brightness", "audit_copies", "audit_emptiest", "audit_faults",
           "audit_mean_faces", "audit_near_copies", "audit_similarity", "audit_sizes",
           "fig01_counts", "fig02_samples", "fig03_all_together", "fig03_each_parameter",
           "fig09_baseline_layers", "fig10_baseline_curves", "fig11_baseline_confusion",
           "fig12_final_layers", "fig13_final_curves", "fig14_final_confusion",
           "fig15_final_predictions", "fig16_ablation_curves"]
IGNORED = "nbval-ignore-output"


def code_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def test_all_five_are_there():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_is_valid_and_names_no_foreign_kernel(notebook):
    content = nbformat.read(notebook, as_version=4)
    nbformat.validate(content)
    assert content.metadata.kernelspec == {
        "name": "python3", "display_name": "Python 3", "language": "python"}


def test_was_executed_in_order_from_a_fresh_kernel(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_holds_no_errors_and_no_stderr(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output


def test_names_no_paths_of_one_machine(notebook):
    text = notebook.read_text()
    assert str(COURSE) not in text
    assert not re.search(r"/(home|Users|root|tmp)/|[A-Z]:\\\\", text)


def test_shows_output_where_its_source_asks_for_one(notebook):
    """A cell that ends in an expression, prints or saves a figure must have its output in."""
    for cell in code_cells(notebook):
        tree = ast.parse(cell.source)
        last = tree.body[-1]
        silent = isinstance(last, (ast.Assign, ast.FunctionDef, ast.Import, ast.ImportFrom, ast.For,
                                   ast.AugAssign))
        shows = "print(" in cell.source or "plot_" in cell.source or "train(" in cell.source
        imports_only = all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in tree.body)
        if (not silent or shows) and not imports_only:
            assert cell.outputs, cell.source
        if "plot_" in cell.source and not imports_only:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs)


def test_leaves_only_what_training_decides_out_of_the_comparison(notebook):
    ignored = [cell for cell in code_cells(notebook) if IGNORED in cell.metadata.get("tags", [])]
    for cell in ignored:
        assert re.search(r"\brun\b|\bsample\b", cell.source), cell.source
    share = len(ignored) / len(code_cells(notebook))
    assert share < 0.3
    if notebook.stem[:2] in ("01", "02"):
        assert not ignored


def test_was_executed_on_the_fixture(notebook):
    outputs = str([cell.outputs for cell in code_cells(notebook)])
    assert "running on the fixture" in outputs


def test_cells_are_short(notebook):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    assert max(lengths) <= 15
    assert np.median(lengths) <= 6


@pytest.mark.parametrize(("name", "model"), [
    ("03_baseline_two_conv", "baseline"), ("04_final_model", "final"),
    ("05_ablation_512", "ablation")])
def test_notebook_and_command_line_train_with_the_same_settings(name, model):
    cells = code_cells(COURSE / "notebooks" / f"{name}.ipynb")
    source = next(cell.source for cell in cells if "find_dataset()" in cell.source)
    names = {"find_dataset": lambda: SimpleNamespace(is_fixture=False), "Settings": Settings,
             "banner": lambda dataset: None}
    exec(source, names)
    assert names["settings"] == Settings(**EXPERIMENTS[model][1])
    assert names["per_class"] == {"train": 2999, "test": 599}


def test_begins_with_a_question_and_ends_with_questions(notebook):
    cells = nbformat.read(notebook, as_version=4).cells
    opening = cells[0].source
    assert opening.startswith(f"# {int(notebook.stem[:2])}. ")
    for part in ("After this notebook you can", "*Part of the report:*", "*Time:*"):
        assert part in opening
    assert "## Recap" in cells[-1].source
    assert "<details><summary>Answers</summary>" in cells[-1].source


def not_blank(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize("name", FIGURES)
def test_committed_figure_is_there_and_not_blank(name):
    assert not_blank(COURSE / "figures" / "fixture" / f"{name}.png")


def test_no_picture_of_fer2013_images_is_committed():
    for name in ("fig02", "fig03", "fig15"):
        for path in (COURSE / "figures" / "fer2013").glob(f"{name}*"):
            assert not tracked(path), f"{path} shows images of FER-2013"


def tracked(path):
    result = subprocess.run(["git", "ls-files", "--error-unmatch", path], cwd=COURSE,
                            capture_output=True)
    return result.returncode == 0


def test_the_notebooks_that_were_just_run_wrote_every_figure(request):
    """nbval ran the notebooks in this session, before this file: see testpaths."""
    ran = {Path(item.path).stem for item in request.session.items if "ipynb" in str(item.path)}
    if ran != set(NAMES):
        pytest.skip("the notebooks are not part of this call of pytest")
    written = Path(os.environ["FER_FIGURES"]) / "fixture"
    assert sorted(path.stem for path in written.iterdir()) == FIGURES
    assert all(not_blank(path) for path in written.iterdir())


def test_what_notebook_1_says_of_fer2013_is_in_the_shipped_tables():
    cells = nbformat.read(NOTEBOOKS[0], as_version=4).cells
    text = " ".join("".join(c.source for c in cells if c.cell_type == "markdown").split())
    faults = pd.read_csv(REFERENCE / "fer2013_faults.csv", index_col=0).sum(axis=1)
    copies = pd.read_csv(REFERENCE / "fer2013_copies.csv", index_col=0, header=[0, 1])
    halves = pd.read_csv(REFERENCE / "fer2013_halves.csv", index_col=0)
    known = copies.loc["test images with a copy in train",
                       ("balanced subset", "exact and near copies")]
    assert f"holds {faults.iloc[3]} images that are black all over" in text
    assert f"of another {faults.iloc[4]};" in text
    assert faults.iloc[:3].sum() == 0 and "All of FER-2013 is 48 × 48." in text
    assert f"Of the 3,594 test images of the balanced set, {known} are known" in text
    assert 1 / 6.5 < known / 3594 < 1 / 6 and "almost one in six" in text
    assert (halves.sum(axis=1) == 3589).all() and "Each half has 3,589 images" in text
    assert (halves["surprise"] < 599).all() and "in neither are there 599 of *surprise*" in text
    marked = pd.read_csv(REFERENCE / "fer2013_test_copies.csv", keep_default_na=False)
    marked = marked[marked["copy_in_train"] != ""]
    assert len(marked) == known
    share = marked["path"].str.split("/").str[1].value_counts() / 599
    assert 0.4 < share["surprise"] < 0.5 and "More than four in ten of the *surprise*" in text
    assert share["happy"] < 0.05 and "of *happy* hardly any" in text
    looked = pd.read_csv(REFERENCE / "looked_at.csv").set_index("what")["found"]
    assert f"and {looked['images with one grey in 65 % or more']} show no face" in text


def test_the_marked_test_images_are_those_of_the_reference_runs():
    marked = pd.read_csv(REFERENCE / "fer2013_test_copies.csv", index_col="path")
    for run in reference_runs("baseline"):
        assert set(marked.index) <= set(run.ids)


def test_the_readme_quotes_the_shipped_audit():
    text = (COURSE / "README.md").read_text()
    copies = pd.read_csv(REFERENCE / "fer2013_copies.csv", index_col=0, header=[0, 1])
    six = copies["six classes"]
    for what in six.index.drop("pictures that are there more than once"):
        exact, near = (f"{six.loc[what, name]:,}" for name in six.columns)
        assert f"| {what} | {exact} | {near} |" in text
    known = copies.loc["test images with a copy in train", "balanced subset"].iloc[1]
    assert f"{known} have a copy among the training images" in text


def test_what_notebook_3_says_of_copies_is_what_the_shipped_runs_give():
    cells = nbformat.read(NOTEBOOKS[2], as_version=4).cells
    text = " ".join("".join(c.source for c in cells if c.cell_type == "markdown").split())
    gaps, lost, seen, new = [], [], [], []
    for run in reference_runs("baseline"):
        known = known_copies(run)
        copies, left_out = (known[name].to_numpy() for name in ("copy_in_train", "copy_left_out"))
        right = run.predictions == run.labels
        assert f"{(copies != '').sum()} of the 3,594 test images" in text
        assert f"{(left_out == 'exact').sum()} test images" in text
        shares = [right[copies == ""].mean(), right[left_out == "exact"].mean(),
                  right[copies == "exact"].mean()]
        assert shares == sorted(shares), "between the two"
        seen.append(100 * shares[2])
        new.append(100 * shares[0])
        lost.append(100 * (right.mean() - shares[0]))
        within = [[right[(copies == kind) & (run.labels == label)].mean() for label in range(6)]
                  for kind in ("", "exact")]
        gaps.append(100 * (np.mean(within[1]) - np.mean(within[0])))
    assert round(np.mean(lost)) == 4 and "about four points below" in text
    assert f"leaves {min(gaps):.0f} to {max(gaps):.0f} points" in text
    for path in (NOTEBOOKS[2], COURSE / "README.md"):
        text = " ".join(path.read_text().split())
        assert f"{min(seen):.0f} to {max(seen):.0f} %" in text
        assert f"{min(new):.0f} to {max(new):.0f} %" in text


@pytest.mark.parametrize("model", ["baseline", "final", "ablation"])
def test_the_readme_has_the_accuracy_of_every_shipped_run(model):
    lines = (COURSE / "README.md").read_text().splitlines()
    report, ours = next(line for line in lines if line.startswith(f"| {model}")).split("|")[2:4]
    assert report.strip() == f"{100 * printed()['accuracy'][model]:.2f} %"
    accuracies = [100 * run.accuracy for run in reference_runs(model)]
    assert re.findall(r"[\d.]+(?= %)", ours) == [f"{number:.2f}" for number in (
        [*accuracies, np.mean(accuracies)] if len(accuracies) > 1 else accuracies)]
    assert accuracies or ours.strip() == "not yet run in full"
