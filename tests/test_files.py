"""Files are written whole or not at all, and an error in a notebook is its message."""

import contextlib
import os

import pytest

from machinery import files
from machinery.files import CourseError, Stopped, write_whole


@pytest.mark.parametrize("kind", [CourseError, Stopped])
def test_what_a_notebook_shows_of_an_error(kind):
    assert kind("x.csv is gone")._render_traceback_() == [f"{kind.__name__}: x.csv is gone"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_leaves_the_new_file_or_the_old_one_and_nothing_else(tmp_path, monkeypatch, moment):
    path = tmp_path / "new" / "below" / "file"
    for _ in range(2):
        write_whole(str(path), b"old")
        assert path.read_bytes() == b"old"
    synced, sync = [], os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda number: synced.append(
        os.fstat(number).st_size) or sync(number))
    write_whole(path, b"old")
    assert synced == [3], "all on the disk before it gets its name"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, moment, full)
    with pytest.raises(CourseError, match=rf"{path} cannot be written \(No space left on device\)"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [*path.parent.iterdir()] == [path]
    with pytest.raises(CourseError, match=r"cannot be written.*Check that the folder exists"):
        write_whole(path / "below", b"x")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot fork")
def test_two_writers_do_not_damage_each_others_file(tmp_path):
    path, children = tmp_path / "file", []
    for content in (b"a", b"b"):
        children.append(os.fork())
        if children[-1] == 0:
            with contextlib.suppress(Exception):
                for _ in range(100):
                    write_whole(path, content * 300_000)
                os._exit(0)
            os._exit(1)
    for child in children:
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            with contextlib.suppress(FileNotFoundError):
                assert path.read_bytes() in (b"a" * 300_000, b"b" * 300_000)
        assert ended[1] == 0, "neither writer failed"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
