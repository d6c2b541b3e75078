"""Files are written whole or not at all, and paths count from the course's folder."""

import contextlib
import os

import pytest

from fer_helpers import course
from fer_helpers.course import CourseError, write_whole


def test_names_paths_and_what_a_notebook_shows_of_an_error(monkeypatch, tmp_path):
    assert course.EMOTIONS == ("happy", "sad", "fear", "surprise", "neutral", "angry")  # Figure 1
    assert (course.LEFT_OUT, course.SPLITS) == (("disgust",), ("train", "test"))
    assert course.IMAGE_SIZE == 48
    assert {*course.ALSO_CALLED} == {*course.EMOTIONS, *course.LEFT_OUT, *course.SPLITS}
    assert {"val", "valid", "validation", "publictest"} < {*course.ALSO_CALLED["test"]}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for chosen, path in (("", course.COURSE / "usual"), ("mine", course.COURSE / "mine"),
                         ("~/mine", tmp_path / "mine"), (str(tmp_path), tmp_path)):
        monkeypatch.setenv("FER_X", chosen)
        assert course.course_path("FER_X", "usual") == path
    assert (course.COURSE / "pyproject.toml").is_file() and course.REFERENCE.is_dir()
    for kind in (CourseError, course.Stopped):
        assert kind("x.csv is gone")._render_traceback_() == [f"{kind.__name__}: x.csv is gone"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_leaves_the_new_file_or_the_old_one_and_nothing_else(tmp_path, monkeypatch, moment):
    path = tmp_path / "new" / "below" / "file"
    for _ in range(2):
        write_whole(str(path), b"old")
        assert path.read_bytes() == b"old"
    synced, sync = [], os.fsync
    monkeypatch.setattr(course.os, "fsync", lambda number: synced.append(
        os.fstat(number).st_size) or sync(number))
    write_whole(path, b"old")
    assert synced == [3], "all on the disk before it gets its name"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(course.os, moment, full)
    with pytest.raises(CourseError, match=r"cannot be written \(No space left on device\)"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [*path.parent.iterdir()] == [path]
    with pytest.raises(CourseError, match=r"cannot be written.*Check that the folder exists"):
        write_whole(path / "below", b"x")


def test_two_writers_do_not_damage_each_others_file(tmp_path):
    path, children = tmp_path / "file", []
    for content in (b"a", b"b"):
        children.append(os.fork())
        if children[-1] == 0:
            for _ in range(100):
                write_whole(path, content * 300_000)
            os._exit(0)
    for child in children:
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            with contextlib.suppress(FileNotFoundError):
                assert path.read_bytes() in (b"a" * 300_000, b"b" * 300_000)
        assert ended[1] == 0, "neither writer failed"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
