"""Files are written whole or not at all, and the cache may be lost at any time."""

import contextlib
import os
import resource

import numpy as np
import pytest

from fer_helpers import files
from fer_helpers.emotions import COURSE, CourseError, course_path


def test_a_write_leaves_the_file_and_nothing_else(tmp_path):
    files.write_whole(tmp_path / "new" / "file", b"content")
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"content"


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, moment):
    path = tmp_path / "file"
    files.write_whole(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, moment, full)
    with pytest.raises(CourseError, match=r"cannot be written \(No space left on device\)"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_damage_each_others_file(tmp_path):
    path = tmp_path / "file"
    children = []
    for content in (b"a", b"b"):
        child = os.fork()
        if child == 0:
            for _ in range(200):
                files.write_whole(path, content * 300_000)
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
        files.write_whole(tmp_path / "file" / "below", b"x")


# the cache

@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "x.npz"


def arrays():
    return {"a": np.arange(5), "words": np.array(["größe", ""])}


def never():
    raise AssertionError("computed although it is in the cache")


def same(found):
    assert list(found) == ["a", "words"]
    return all((found[name] == value).all() for name, value in arrays().items())


def test_computed_once(cache):
    assert same(files.cached("x", "key", arrays))
    assert same(files.cached("x", "key", never))


def test_another_key_is_computed_anew(cache):
    files.cached("x", "key", lambda: {"a": np.zeros(3)})
    assert same(files.cached("x", "other key", arrays))
    assert same(files.cached("x", "other key", never))


@pytest.mark.parametrize("damage", [
    lambda path: path.unlink(),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"nonsense"),
    lambda path: path.write_bytes(path.read_bytes()[:-30]),
    lambda path: path.write_bytes(path.read_bytes().replace(b"\x04\0\0\0\0", b"\x05\0\0\0\0")),
], ids=["deleted", "empty", "nonsense", "truncated", "a bit flipped"])
def test_a_damaged_cache_is_computed_anew(cache, damage):
    files.cached("x", "key", arrays)
    before = cache.read_bytes()
    damage(cache)
    assert not cache.exists() or cache.read_bytes() != before
    assert same(files.cached("x", "key", arrays))
    assert same(files.cached("x", "key", never))


def test_objects_in_a_cache_are_not_unpickled(cache):
    cache.parent.mkdir()
    np.savez(cache, key="key", a=np.array([{}], dtype=object), allow_pickle=True)
    assert same(files.cached("x", "key", arrays))


def test_the_cache_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FER_CACHE", "~/here")
    files.cached("x", "key", arrays)
    assert (tmp_path / "here" / "x.npz").exists()
    monkeypatch.setenv("FER_CACHE", "")
    assert course_path("FER_CACHE", ".cache") == COURSE / ".cache"


def test_a_full_disk_costs_the_cache_and_nothing_else(cache):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # no file may grow beyond that
    try:
        with pytest.warns(UserWarning, match=r"x.npz cannot be written .*the disk has room.*anew"):
            large = files.cached("x", "key", lambda: {"a": np.arange(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (large["a"] == np.arange(10_000)).all()
    assert list(cache.parent.iterdir()) == []
