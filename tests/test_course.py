"""Files are written whole or not at all, and paths count from the course's folder."""

import contextlib
import os

import pytest

from fer_helpers import course
from fer_helpers.course import CourseError, write_whole


def test_paths_count_from_the_course(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for chosen, path in (("", course.COURSE / "usual"), ("mine", course.COURSE / "mine"),
                         ("~/mine", tmp_path / "mine"), (str(tmp_path), tmp_path)):
        monkeypatch.setenv("FER_X", chosen)
        assert course.course_path("FER_X", "usual") == path
    assert (course.COURSE / "pyproject.toml").is_file()
    assert course.REFERENCE.is_dir()


def test_the_six_classes_are_in_the_order_of_the_reports_figure_1():
    assert course.EMOTIONS == ("happy", "sad", "fear", "surprise", "neutral", "angry")


def test_a_write_leaves_the_file_and_nothing_else(tmp_path):
    write_whole(tmp_path / "new" / "file", b"content")
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"content"


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, moment):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(course.os, moment, full)
    with pytest.raises(CourseError, match=r"cannot be written \(No space left on device\)"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_damage_each_others_file(tmp_path):
    path = tmp_path / "file"
    children = []
    for content in (b"a", b"b"):
        child = os.fork()
        if child == 0:
            for _ in range(200):
                write_whole(path, content * 300_000)
            os._exit(0)
        children.append(child)
    for child in children:
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            with contextlib.suppress(FileNotFoundError):
                assert path.read_bytes() in (b"a" * 300_000, b"b" * 300_000)
        assert ended[1] == 0, "neither writer failed"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CourseError, match=r"cannot be written.*Check that the folder exists"):
        write_whole(tmp_path / "file" / "below", b"x")
