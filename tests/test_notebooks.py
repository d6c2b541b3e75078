"""Hygiene of the committed notebooks; nbval itself re-runs them and compares their text."""

import re
from types import SimpleNamespace

import check_outputs
import nbformat
import numpy as np
import pytest
from notebook_files import NAMES, code_cells, path_of, read, texts

from experiments.plan import ALL
from fer_helpers.course import COURSE
from fer_helpers.training import Settings

IGNORED = "nbval-ignore-output"


def test_readme_lists_them_all():
    text = (COURSE / "README.md").read_text("utf-8")
    assert re.findall(r"^\| I+ \| \[.+\]\(notebooks/(\w+).ipynb\)", text, re.MULTILINE) == NAMES
    assert [int(name[:2]) for name in NAMES] == [*range(1, len(NAMES) + 1)]


notebook = pytest.mark.parametrize("name", NAMES)


@notebook
def test_is_whole_and_could_have_been_run_on_any_machine(name):
    content = read(name)
    nbformat.validate(content)
    assert content.metadata.kernelspec == {
        "name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    assert check_outputs.faults(content) == []
    assert not [output for cell in code_cells(name) for output in cell.outputs
                if output.get("name") == "stderr"], "nbval does not compare it"
    text = path_of(name).read_text("utf-8")
    assert str(COURSE) not in text
    assert not re.search(r"/(home|Users|root|tmp)/|[A-Z]:\\\\", text)


@notebook
def test_every_picture_has_a_text_of_its_own(name):
    """What it shows, for those who do not see it: ``alt`` in the metadata of its cell."""
    shown = [cell for cell in code_cells(name)
             if any("image/png" in output.get("data", {}) for output in cell.outputs)]
    texts = [cell.metadata.get("alt", "") for cell in shown]
    assert all(re.fullmatch(r"[A-Z].{39,299}\.", text) for text in texts), texts
    assert len(set(texts)) == len(texts)


@notebook
def test_leaves_only_what_training_decides_out_of_the_comparison(name):
    cells = code_cells(name)
    ignored = [cell for cell in cells if IGNORED in cell.metadata.get("tags", [])]
    assert len(ignored) < 0.3 * len(cells)
    if name[:2] not in ("03", "04", "05", "07", "10"):
        assert not ignored, [cell.source for cell in ignored]
    for cell in ignored:
        assert re.search(r"\brun\b|\bsample\b|\bshown\b", cell.source), cell.source
        assert cell.outputs, "nbval finds what others lack"


@notebook
def test_was_executed_on_the_fixture_so_no_picture_in_it_is_real(name):
    outputs = str([cell.outputs for cell in code_cells(name)])
    if "find_dataset()" in "".join(cell.source for cell in code_cells(name)):
        assert "running on the fixture" in outputs
    assert "running on the dataset" not in outputs


@notebook
def test_cells_are_short(name):
    lengths = [len(cell.source.splitlines()) for cell in read(name).cells
               if cell.cell_type == "code" and cell.id != "elsewhere"]  # which does nothing at home
    assert max(lengths) <= 15
    assert np.median(lengths) <= 6


@notebook
def test_begins_with_a_question_and_ends_with_questions(name):
    cells = texts(name)
    assert cells[0].startswith(f"# {int(name[:2])}. ")
    assert "?" in cells[0]
    for part in ("After this notebook you can", "*Time:*",
                 "*Part of the report:*" if name < "06" else "*Part II, beyond the report"):
        assert part in cells[0], part
    assert "## Recap" in cells[-1]
    assert "<details>" in cells[-1]


@notebook
def test_a_lesson_of_an_hour_has_room_for_it_prompts_of_exercises_not_counted(name):
    """test_exercises.py limits the prompts."""
    lesson = "\n".join(cell for cell in texts(name) if "**Exercise: " not in cell)
    text = re.sub(r"<details>.*?</details>", "", lesson, flags=re.DOTALL)
    assert len(text.split()) <= (1300 if name < "06" else 1800 if name[:2] == "09" else 2000)


@pytest.mark.parametrize(("name", "model"), [
    ("03_baseline_two_conv", "baseline"), ("04_final_model", "final"),
    ("05_ablation_512", "ablation"), ("10_beyond_the_report", "compact_22")])
def test_notebook_and_command_line_train_with_the_same_settings(name, model):
    """Run the settings cell as if FER-2013 were there."""
    source = next(cell.source for cell in code_cells(name) if "find_dataset()" in cell.source)
    names = {}
    exec("\n".join(cell.source for cell in code_cells(name)[:2] if "import " in cell.source), names)
    pretended = SimpleNamespace(is_fixture=False, name="fer2013")
    exec(source.replace(re.search(r"[\w.]*find_dataset\(\)", source)[0], "pretended"),
         names | {"pretended": pretended, "banner": str} | {"found": names}, found := {})
    assert found["settings"] == Settings(**ALL[model].settings)
    assert found["per_class"] == {"train": 2999, "test": 599}


# No result is typed into prose.

NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
FREE = re.compile(
    r"""`[^`]*`                                       # code
      | \]\([^)]*\)                                   # addresses
      | ^\#+\ [\d.]+                                  # the notebook's number in its title
      | ^\s*\d+\.\s                                   # lists
      | \b(?:[Ff]igures?|[Nn]otebooks?|[Ss]ections?)\s+[\d.]+(?:(?:,|\ and|\ to|–)\s*[\d.]+)*
      | (?<![\d.])\d+(?:\ to\ \d+)?\ (?:s|min|h|seconds?|minutes?|hours?)\b
      | (?<![\d.])0[1-9]\b(?!\.)                      # notebooks
    """, re.VERBOSE | re.MULTILINE)
SOURCE = re.compile(r"\]\(http|\b(?:19|20)\d\d\b")


def numbers(text):
    return {float(found.replace(",", "").rstrip(".")) for found in NUMBER.findall(text)}


def typed_in(cells, evidence):
    """Find numbers of prose that neither the notebook nor the report nor a source shows."""
    found = []
    for cell in cells:
        for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*|\d])", cell):
            sourced = SOURCE.search(paragraph)
            for number in numbers(FREE.sub(" ", paragraph)):
                small = number <= 12 and number == int(number)
                if not (small or sourced or number in evidence or number / 100 in evidence):
                    found.append((number, paragraph))
    return found


def evidence(name):
    """Return the numbers in the code and outputs of a notebook, and those of the report."""
    text = [(COURSE / "data" / "report.toml").read_text()]
    for cell in code_cells(name):
        text.append(cell.source)
        for output in cell.outputs:
            data = output.get("data", {})
            text += [output.get("text", ""), data.get("text/plain", ""),
                     re.sub("<[^>]*>", " ", data.get("text/html", "")),
                     data.get("text/markdown", "")]
    return {round(number, 6) for number in numbers("\n".join(text))}


@notebook
def test_no_result_is_typed_into_texts(name):
    assert typed_in(texts(name), evidence(name)) == []


def test_a_number_that_nothing_shows_is_found():
    shown = {0.5534, 3594.0}
    assert typed_in(["The accuracy is 55.34 % of 3,594 images, see Figure 14.",
                     "People agree in 65 % (Goodfellow et al., 2013)."], shown) == []
    for number, text in ((56.01, "Our network reaches 56.01 %."), (65, "People agree in 65 %."),
                         (3.4, "It lost 3.4 points in `train(20)`.")):
        assert typed_in([text], shown) == [(number, text)]
