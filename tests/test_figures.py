"""The committed figures show what the notebooks draw now, and no real face."""

import io
import os
import re
import subprocess
import time
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from PIL import Image

from fer_helpers import plotting
from fer_helpers.course import COURSE
from fer_helpers.plotting import look_alike, save_figure

TRACKED = sorted(
    COURSE / line for line in subprocess.run(
        ["git", "ls-files", "*.png", "*.jpg", "*.jpeg"], cwd=COURSE, capture_output=True,
        text=True).stdout.splitlines())
FIGURES = [path for path in TRACKED if path.is_relative_to(COURSE / "figures")]


def facts(path):
    with Image.open(path) as picture:
        return picture.info


def test_there_are_figures():
    assert {path.parent.name for path in FIGURES} >= {"fixture"}
    assert len(FIGURES) > 15


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_figure_says_what_it_shows_and_no_real_face_is_in_it(path):
    known = facts(path)
    assert known["Dataset"] == path.parent.name
    assert known["Faces"] == "False"
    assert not path.stem.endswith(("_faces", "_here"))


def test_every_other_picture_is_a_drawn_face():
    others = set(TRACKED) - set(FIGURES)
    assert all(path.is_relative_to(COURSE / "data" / "fixture") for path in others)


def test_the_notebooks_that_were_just_run_drew_the_committed_figures(request):
    """nbval runs the notebooks in this session, before this file or beside it: see testpaths."""
    ran = {Path(item.path).stem for item in request.session.items if "ipynb" in str(item.path)}
    if len(ran) < len(list((COURSE / "notebooks").glob("*.ipynb"))):
        pytest.skip("not all notebooks are part of this call of pytest")
    written = Path(os.environ["FER_FIGURES"])
    deadline = time.monotonic() + 600
    while {path.stem for path in written.glob("*.ran")} < ran and time.monotonic() < deadline:
        time.sleep(1)
    new = {str(path.relative_to(written)): path for path in written.rglob("*.png")
           if not path.stem.endswith("_here")
           and path.parent.name in ("fixture", "fer2013", "none")}
    old = {str(path.relative_to(COURSE / "figures")): path for path in FIGURES}
    assert new.keys() == old.keys()
    assert not [name for name in new if not look_alike(new[name], old[name])]


def test_another_word_a_missing_bar_and_another_row_do_not_look_alike(tmp_path):
    """Nor does a picture of another size; a file without its extra facts does."""
    def saved(change=lambda axis: None, size=(4, 3)):
        figure, axis = plt.subplots(figsize=size)
        axis.bar(range(6), range(1, 7))
        axis.set_title("mean of 4 seeds")
        change(axis)
        buffer = io.BytesIO()
        figure.savefig(buffer, metadata={"Faces": "False"})
        plt.close(figure)
        return buffer

    assert look_alike(saved(), saved())
    assert look_alike(saved(), saved(lambda axis: axis.patches[5].set_facecolor("#2178b5")))
    for change in (lambda axis: axis.set_title("mean of 5 seeds"),
                   lambda axis: axis.patches[0].remove(),
                   lambda axis: axis.patches[3].set_facecolor("#e8710a"),
                   lambda axis: axis.set_yticks([0, 2, 4])):
        assert not look_alike(saved(), saved(change))
    assert not look_alike(saved(), saved(size=(4, 4)))


def test_a_picture_that_looks_the_same_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_FIGURES", str(tmp_path))

    def save(colour):
        figure, axis = plt.subplots(figsize=(3, 2))
        axis.bar([0, 1], [1, 2], color=colour)
        save_figure(figure, "bars", "fixture")
        plt.close(figure)
        return (tmp_path / "fixture" / "bars.png").read_bytes()

    first = save("#1f77b4")
    assert save("#2178b5") == first
    assert save("#e8710a") != first
    (tmp_path / "fixture" / "bars.png").write_bytes(first[:100])
    assert save("#1f77b4") == first


def test_a_colour_stands_in_the_table_of_colours_and_nowhere_else():
    """So it has one meaning in all notebooks: see the top of plotting.py."""
    table = [value for name, value in vars(plotting).items() if name.endswith("_COLOUR")]
    pattern = "|".join(value for value in table if value.startswith("#"))
    assert len({*table}) == len(table) == 6 and pattern.count("|") == 4
    for path in COURSE.glob("notebooks/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert not re.search(pattern, cell.source, re.IGNORECASE), (path.stem, cell.source)
