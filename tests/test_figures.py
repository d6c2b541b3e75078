"""The committed figures show what the notebooks draw now, and no real face."""

import os
import re
import subprocess
import time
from pathlib import Path

import matplotlib.pyplot as plt
import notebook_files
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


def test_there_are_figures():
    assert {path.parent.name for path in FIGURES} >= {"fixture"}
    assert len(FIGURES) > 15


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_figure_says_what_it_shows_and_no_real_face_is_in_it(path):
    with Image.open(path) as picture:
        assert picture.info["Dataset"] == path.parent.name
        assert picture.info["Faces"] == "False"
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


def test_a_picture_that_cannot_be_read_is_drawn_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_FIGURES", str(tmp_path))
    figure, axis = plt.subplots()
    axis.plot([0, 1])
    path = tmp_path / "fixture" / "line.png"
    save_figure(figure, "line", "fixture")
    path.write_bytes(path.read_bytes()[:100])
    save_figure(figure, "line", "fixture")
    plt.close(figure)
    with Image.open(path) as picture:
        picture.load()


def test_a_colour_stands_in_the_table_of_colours_and_nowhere_else():
    """So it has one meaning in all notebooks: see the top of plotting.py."""
    table = [value for name, value in vars(plotting).items() if name.endswith("_COLOUR")]
    pattern = "|".join(value for value in table if value.startswith("#"))
    assert len({*table}) == len(table) == 6 and pattern.count("|") == 4
    for name in notebook_files.NAMES:
        for cell in notebook_files.read(name).cells:
            assert not re.search(pattern, cell.source, re.IGNORECASE), (name, cell.source)
