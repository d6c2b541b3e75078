"""The committed figures show what the notebooks draw now, and no real face."""

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_helpers.course import COURSE

TRACKED = sorted(
    COURSE / line for line in subprocess.run(
        ["git", "ls-files", "*.png", "*.jpg", "*.jpeg"], cwd=COURSE, capture_output=True,
        text=True).stdout.splitlines())
FIGURES = [path for path in TRACKED if path.is_relative_to(COURSE / "figures")]
GRADIENTS = "fixture/votes_gradcam.png"  # of a network: the last digits depend on the processor


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
    assert len(known["Drawn"]) == 16
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
    new = {str(path.relative_to(written)): facts(path)["Drawn"]
           for path in written.rglob("*.png") if not path.stem.endswith("_here")
           and path.parent.name in ("fixture", "fer2013")}
    old = {str(path.relative_to(COURSE / "figures")): facts(path)["Drawn"] for path in FIGURES}
    assert new.keys() == old.keys()
    assert {name for name in new if new[name] != old[name]} <= {GRADIENTS}
    assert look_alike(written / GRADIENTS, COURSE / "figures" / GRADIENTS)


def look_alike(first, second) -> bool:
    """Compare two pictures by their pixels: not one in a thousand differs by 10 of 255 or more."""
    one, other = (np.asarray(Image.open(path).convert("RGB"), int) for path in (first, second))
    return one.shape == other.shape and (abs(one - other).max(axis=2) >= 10).mean() < 0.001


def test_another_row_of_faces_does_not_look_alike(tmp_path):
    drawn = Image.open(COURSE / "figures" / GRADIENTS).convert("RGB")
    drawn.save(tmp_path / "same.png")
    assert look_alike(tmp_path / "same.png", COURSE / "figures" / GRADIENTS)
    height = drawn.height // 3  # the rows: faces, trained network, random weights
    drawn.paste(drawn.crop((0, 2 * height, drawn.width, 3 * height)), (0, height))
    drawn.save(tmp_path / "random.png")
    assert not look_alike(tmp_path / "random.png", COURSE / "figures" / GRADIENTS)
