"""Hygiene of the committed notebooks; nbval itself re-runs them and compares every output."""

import ast
import itertools
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
from scipy import stats

from fer_helpers.emotions import COURSE
from fer_helpers.evaluation import (
    accuracy_by_copies,
    class_differences,
    classification_report,
    confident_mistakes,
    confusion_matrix,
    epoch_choice,
    expected_calibration_error,
    mcnemar,
    most_confused,
    reliability,
    seeds_needed,
)
from fer_helpers.report import differences, printed, printed_log
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
        needs_data = isinstance(last, ast.If)  # pictures of FER-2013, where it is there
        if "plot_" in cell.source and not imports_only and not needs_data:
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


def words(path):
    cells = nbformat.read(path, as_version=4).cells
    return " ".join("".join(c.source for c in cells if c.cell_type == "markdown").split())


def test_what_notebook_4_says_is_what_the_shipped_run_gives():
    text, run, log = words(NOTEBOOKS[3]), reference_runs("final")[0], printed_log()
    history, images = run.history, len(run.labels)
    assert run.settings["seed"] == 0

    apart = 100 * (history["accuracy"] - log["accuracy"]).abs().max()
    assert f"never more than {np.ceil(10 * apart) / 10:.1f} points apart" in text
    higher = [(curves["val_accuracy"] > curves["accuracy"]).sum() for curves in (log, history)]
    assert f"the higher one in {higher[0]} epochs of theirs and {higher[1]} of ours" in text
    end = [f"{100 * curves['accuracy'].iloc[-1]:.0f}" for curves in (history, log)]
    assert f"only {end[0]} or {end[1]} %" in text
    first, last = history.iloc[0], history.iloc[-1]
    fall = first - last
    assert (f"falls by {fall['loss']:.1f}, from {first['loss']:.1f} to {last['loss']:.1f}. "
            "Of this, "
            f"{fall['loss'] - fall['cross_entropy']:.1f} are penalty and "
            f"{fall['cross_entropy']:.2f} are cross-entropy") in text
    assert f"is at {last['cross_entropy']:.1f} in the end" in text

    losses, accuracies = history["val_loss"], 100 * history["val_accuracy"]
    assert losses[:18].idxmin() == 16 and losses.idxmin() == run.about["kept_epoch"] == 19
    assert f"epoch 16: {accuracies[16]:.1f} %. But epoch 19" in text
    assert f"best of all, {accuracies[19]:.1f} %. One epoch decided about three and a half" in text
    assert accuracies[19] - accuracies[16] == pytest.approx(3.5, abs=0.1)

    pairs = most_confused(confusion_matrix(run.labels, run.predictions))
    assert list(pairs.index[:4]) == ["sad/neutral", "neutral/angry", "sad/fear", "sad/angry"]
    assert f"by {pairs.iloc[1] - pairs.iloc[2]} and by {pairs.iloc[1] - pairs.iloc[3]} im" in text
    assert np.ptp(pairs[1:6]) < 20 and "five pairs lie close together" in text
    assert pairs["happy/surprise"] / images < 0.015
    found = classification_report(run.labels, run.predictions)["recall"].iloc[:6].sort_values()
    assert list(found.index[:2]) == ["fear", "sad"]
    assert found.iloc[:2].tolist() == pytest.approx([1 / 4, 1 / 3], abs=0.01)

    bins = reliability(run.probabilities, run.labels)
    rng, sure = np.random.default_rng(0), run.probabilities.max(axis=1)
    by_chance = []  # of a perfectly calibrated model that is equally sure
    for _ in range(1000):
        right = rng.random(images) < sure
        by_chance.append(expected_calibration_error(
            reliability(run.probabilities, np.where(right, run.predictions, -1))))
    np.testing.assert_allclose(np.quantile(by_chance, [0.025, 0.975]), [0.01, 0.025], atol=0.002)
    assert min(by_chance) < expected_calibration_error(bins) < np.quantile(by_chance, 0.975)
    too_sure = [baseline.probabilities.max(axis=1).mean() - baseline.accuracy
                for baseline in reference_runs("baseline")]
    assert min(too_sure) > 0.05 and np.argmax(too_sure) == 2, "seed 2 most"

    surest = run.ids[confident_mistakes(run.probabilities, run.labels, 10).index]
    seen = pd.read_csv(REFERENCE / "final_mistakes.csv")
    assert seen["id"].tolist() == surest.tolist()
    smile = seen[seen["seen"].str.contains("smile")]
    assert len(smile) == 4 and smile["id"].str.contains("/fear/|/neutral/").all()
    open_mouth = seen[seen["seen"].str.contains("mouth open|eyes wide")]
    assert len(open_mouth) == 4 and open_mouth["id"].str.contains("/fear/").all()
    assert f"the missing {100 - 100 * run.accuracy:.0f} %" in text

    parts = accuracy_by_copies(run.labels, run.predictions, known_copies(run))
    new, control = (parts.loc[f"{name} train"] for name in
                    ("no copy in", "exact copy, left out of"))
    assert (f"is {100 * new['accuracy']:.2f} %, {100 * (run.accuracy - new['accuracy']):.1f} "
            f"points below our {100 * run.accuracy:.2f} %") in text
    assert (f"that of the final model {100 * (run.accuracy - new['accuracy']):.1f} points"
            ) in (COURSE / "README.md").read_text()
    exact = parts.loc["exact copy in train", "accuracy"]
    assert parts["accuracy"].max() == exact and control["low"] < exact < control["high"]
    assert f"only {control['images']:.0f} images" in text

    above = run.accuracy - printed()["accuracy"]["final"]
    assert f"is {100 * above:.2f} points above" in text
    right = round(printed()["accuracy"]["final"] * images)
    assert f"{(run.predictions == run.labels).sum() - right} images of 3,594" in text


def test_what_notebook_5_says_is_what_the_shipped_runs_give():
    text, final, ablation = words(NOTEBOOKS[4]), *(
        reference_runs(model)[0] for model in ("final", "ablation"))
    baselines, images = reference_runs("baseline"), len(final.labels)
    said = printed()["accuracy"]

    assert (f"ends at {100 * ablation.accuracy:.2f} %, half a point below the report's "
            f"{100 * said['ablation']:.2f} %") in text
    assert said["ablation"] - ablation.accuracy == pytest.approx(0.005, abs=0.001)
    behind = 100 * (final.history["accuracy"] - ablation.history["accuracy"])[8:]
    assert "From epoch 9 on" in text
    assert f"by {behind.min():.1f} to {behind.max():.1f} points" in text
    loss, accuracy = ablation.history["val_loss"], ablation.history["val_accuracy"]
    assert loss.idxmin() == ablation.about["kept_epoch"] == 20 and accuracy.idxmax() == 19
    lost = 100 * (accuracy[19] - accuracy[20])
    assert f"{loss[20]:.4f} in epoch 20. But epoch 19 had {loss[19]:.4f}" in text
    assert f"of {100 * accuracy[19]:.2f} %, {lost:.2f} points more" in text
    assert f"A difference of {loss[19] - loss[20]:.3f} in the loss" in text
    trained = 100 * ablation.about["train_accuracy"]
    assert 0 < trained - 100 * ablation.accuracy < 3, "hardly better than new ones"
    assert (f"{trained:.1f} %, and {100 * ablation.accuracy:.1f} % on the test images"
            ) in words(NOTEBOOKS[3])
    copies = known_copies(ablation)["copy_in_train"]
    unseen = 100 * (ablation.predictions == ablation.labels)[copies == ""].mean()
    assert f"({unseen:.1f} % on those without a copy in train)" in words(NOTEBOOKS[3])
    assert (trained - 100 * ablation.accuracy > 1.5 and trained - unseen < 4.5
            and "a gap of 2 to 4 points" in text)
    jumps = 100 * accuracy.diff()[9:].abs().max()
    assert f"jump by up to {jumps:.1f} points" in text

    tosses = mcnemar(final.labels, final.predictions, ablation.predictions)
    assert (f"alone right on {tosses['only_first']} images, the one with 512 on "
            f"{tosses['only_second']}") in text
    seeds = mcnemar(final.labels, *(run.predictions for run in baselines[1:]))
    assert seeds["p_value"] < tosses["p_value"] < 1e-6 and "Here p is smaller still" in text
    others = [mcnemar(final.labels, baselines[0].predictions, run.predictions)["p_value"]
              for run in baselines[1:]]
    assert f"it is {others[0]:.3f} and {others[1]:.5f})" in text
    lowest = [100 * run.history["val_accuracy"][run.history["val_loss"].idxmin()]
              for run in baselines]
    assert f"spread would be {np.std(lowest, ddof=1):.1f} points" in text
    assert f"(at most {np.ptp(lowest):.1f} if each keeps the epoch" in text

    models, control = differences("final", "ablation").values()
    points = 100 * models
    ours, new = points.iloc[1], points.iloc[2]
    assert (f"Between {ours['low']:.1f} and {ours['high']:.1f} points, with the best guess at "
            f"{ours['difference']:.1f}") in text
    assert (f"{ours['difference']:.2f} points, and {new['difference']:.2f} on new images") in text
    printed_one = points.loc["report"]
    assert f"everything from {printed_one['low']:.2f} to +{printed_one['high']:.2f} fits" in text
    apart = 100 * control["difference"].abs()
    assert f"lie {apart.iloc[0]:.1f} and {apart.iloc[1]:.1f} points" in text
    same_epoch = 100 * (final.history["val_accuracy"] - accuracy)[[19, 20]]
    assert f"are {same_epoch[19]:.1f} or {same_epoch[20]:.1f} points apart" in text
    assert same_epoch.max() / ours["difference"] == pytest.approx(0.5, abs=0.02), "half"

    groups = known_copies(final)["group"].to_numpy()
    by_class = class_differences(final.labels, final.predictions, ablation.predictions, groups)
    gain = 100 * by_class["difference"]
    assert gain.idxmax() == "sad" and f"with {gain['sad']:.0f} points" in text
    assert gain.drop("sad").max() < 7, "sad stands out"
    found = (ablation.predictions == ablation.labels)[ablation.labels == 1].mean()
    assert found == pytest.approx(1 / 7, abs=0.005) and "one *sad* face in seven" in text
    sad = sorted(round(100 * abs(class_differences(
        final.labels, one.predictions, other.predictions, groups).loc["sad", "difference"]))
        for one, other in itertools.combinations(baselines, 2))
    assert f"*sad* changes by {sad[0]}, {sad[1]} and {sad[2]} points" in text

    choices = pd.concat([
        epoch_choice([run.history for run in baselines]),
        epoch_choice([final.history, ablation.history, printed_log()])], ignore_index=True)
    assert len(choices) == 6 and "In these six runs" in text
    assert (choices["best"] - choices["other runs"]).max() < 0.005
    assert (choices["lowest loss"] < choices["last"])[:3].sum() == 1, "for one baseline"
    cost = 100 * (choices["best"] - choices["last"])[:3].max()
    assert f"costs the baseline up to {cost:.1f} points" in text
    assert f"512 filters {lost:.2f} points worse than the best" in text

    differ = tosses["only_first"] + tosses["only_second"]
    assert f"On {100 * differ / images:.0f} % of the images exactly one" in text
    more = round(said["final"] * images) - round(said["ablation"] * images)
    z = more / np.sqrt(differ - more ** 2 / images)
    assert f"have z = {z:.1f} and p = {2 * stats.norm.sf(z):.3f}" in text
    ends = np.sqrt(2 / stats.chi2.ppf([0.975, 0.025], 2))  # of a spread from three values
    control_sd = np.std([run.accuracy for run in baselines], ddof=1)
    spread = 100 * control_sd * ends
    assert f"anything from {spread[0]:.1f} to {spread[1]:.0f} points fits" in text
    needed = [seeds_needed(0.0225, sd) for sd in (0.005, 0.02, control_sd)]
    assert (f"{needed[0]} seeds when the large networks are as steady as half a point, "
            f"{needed[1]} when they spread by two points, {needed[2]} when") in text

    readme = " ".join((COURSE / "README.md").read_text().split())
    assert f"is {ours['difference']:.1f} points better than the one with 512" in readme
    assert (f"are up to {apart.max():.0f} points apart ({np.ptp(lowest):.0f} if each keeps"
            ) in readme
    assert (f"it takes {needed[0]} seeds of each if that is half a point, {needed[1]} if it is two "
            f"points, and {needed[2]} if they vary like our baseline") in readme
    off = max(abs(run.accuracy - said[run.settings["model"]]) for run in (final, ablation))
    assert off < 0.007 and "come within 0.7 points of the report" in readme
    gains = [100 * (kept - run.accuracy) for kept in (
        final.accuracy, final.history["val_accuracy"].iloc[-1]) for run in baselines]
    assert (f"by {min(gains[:3]):.1f} to {max(gains[:3]):.1f} points ({min(gains[3:]):.1f} to "
            f"{max(gains[3:]):.1f} if the last") in readme
