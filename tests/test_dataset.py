import hashlib
import os
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_helpers import dataset as ds
from fer_helpers.emotions import EMOTIONS

PER_CLASS = {"train": 30, "test": 12}


def files_of(folder):
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*") if p.is_file()}


# finding

def test_fer_data_is_used_first(copy):
    assert ds.find_dataset().root == copy
    assert ds.find_dataset().name == "custom-copy"
    assert not ds.find_dataset().is_fixture


def test_without_fer_data_the_folder_then_the_fixture(monkeypatch, copy):
    monkeypatch.delenv("FER_DATA")
    monkeypatch.setattr(ds, "FER2013", [copy / "nowhere", copy])
    assert ds.find_dataset().root == copy
    monkeypatch.setattr(ds, "FER2013", [copy / "nowhere"])
    assert ds.find_dataset().is_fixture
    assert ds.find_dataset().name == "fixture"


def test_a_relative_path_counts_from_the_course(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_DATA", "data/fixture")
    monkeypatch.chdir(tmp_path)
    assert ds.find_dataset().is_fixture


def test_no_dataset(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_DATA", str(tmp_path / "missing"))
    with pytest.raises(ds.DatasetError, match=r"No dataset at .*missing.*FER_DATA"):
        ds.find_dataset()


def test_folder_without_splits(tmp_path):
    with pytest.raises(ds.DatasetError, match=r"has no images in train/happy/.*FER_DATA"):
        ds.index_images(ds.Dataset(tmp_path))


@pytest.mark.parametrize("missing", ["a folder", "its images"])
def test_a_class_without_images(copy, missing):
    for file in (copy / "test" / "sad").iterdir():
        file.unlink()
    if missing == "a folder":
        (copy / "test" / "sad").rmdir()
    with pytest.raises(ds.DatasetError, match=r"copy has no images in test/sad/.*unpack it again"):
        ds.index_images(ds.find_dataset())


def test_unknown_class_folder(copy):
    (copy / "train" / "sad").rename(copy / "train" / "contempt")
    with pytest.raises(ds.DatasetError, match=r"train/contempt/, which is not a class.*Move it"):
        ds.index_images(ds.find_dataset())


def test_a_class_folder_twice(copy):
    (copy / "train" / "SAD").mkdir()
    if len(list((copy / "train" / "sad").iterdir())) == 0:
        pytest.skip("this file system does not tell capitals")
    name = "Training_00001003.jpg"
    (copy / "train" / "SAD" / name).write_bytes((copy / "train" / "sad" / name).read_bytes())
    with pytest.raises(ds.DatasetError, match=rf"holds train/sad/{name} twice.*Remove one"):
        ds.index_images(ds.find_dataset())


# indexing

def test_index_lists_every_image_once(fixture_index):
    assert len(fixture_index) == 292
    assert fixture_index["path"].is_unique
    counts = ds.count_images(fixture_index)
    assert list(counts.columns) == [*EMOTIONS, "disgust"]
    assert counts.loc["train"].tolist() == [38, 34, 32, 30, 36, 31, 8]
    assert counts.loc["test"].tolist() == [15, 13, 12, 12, 14, 13, 4]


def test_index_finds_what_was_planted(fixture_index):
    by_path = fixture_index.set_index("path")
    assert tuple(by_path.loc["train/happy/Training_00000003.jpg", ["width", "height"]]) == (64, 64)
    assert by_path.index[by_path["flat"] == 1].tolist() == ["train/sad/Training_00001005.jpg"]
    digests = by_path["digest"]
    assert (digests["test/fear/PrivateTest_00002005.jpg"]
            == digests["train/fear/Training_00002007.jpg"])
    assert digests.value_counts().tolist().count(2) == 2


def test_brightness_contrast_and_flat_agree_with_numpy(fixture_index):
    for row in fixture_index.iloc[[0, 40, 43, 200]].itertuples():
        image = np.asarray(Image.open(ds.FIXTURE / row.path), dtype=float)
        assert row.brightness == pytest.approx(image.mean())
        assert row.contrast == pytest.approx(np.sqrt(((image - image.mean()) ** 2).mean()))
        _, counts = np.unique(image, return_counts=True)
        assert row.flat == counts.max() / image.size


def test_hidden_files_and_capitals_do_not_matter(copy, fixture_index):
    (copy / "train" / "happy" / ".DS_Store").write_bytes(b"x")
    (copy / "train" / "happy" / "Thumbs.db").write_bytes(b"x")
    (copy / "train" / ".ipynb_checkpoints").mkdir()
    (copy / "train" / "notes.txt").write_bytes(b"x")
    (copy / "train" / "happy").rename(copy / "train" / "h")
    (copy / "train" / "h").rename(copy / "train" / "Happy")
    (copy / "test").rename(copy / "t")
    (copy / "t").rename(copy / "TEST")
    pd.testing.assert_frame_equal(ds.index_images(ds.find_dataset()), fixture_index)
    assert ds.find_dataset().faults.empty


# balancing

def test_balance_cuts_every_class_to_the_same_size(fixture_index):
    kept = ds.balance(fixture_index, PER_CLASS)
    counts = ds.count_images(kept)
    assert list(counts.columns) == list(EMOTIONS), "disgust is dropped"
    assert (counts.loc["train"] == 30).all()
    assert (counts.loc["test"] == 12).all()
    pd.testing.assert_frame_equal(kept, fixture_index.loc[kept.index])
    assert len(fixture_index.drop(kept.index)) == 292 - 6 * 42


def test_balance_depends_on_paths_and_seed_alone(fixture_index):
    kept = ds.balance(fixture_index, PER_CLASS)
    shuffled = ds.balance(fixture_index.sample(frac=1, random_state=9), PER_CLASS)
    assert set(kept["path"]) == set(shuffled["path"])
    other = ds.balance(fixture_index, PER_CLASS, seed=1)
    assert set(kept["path"]) != set(other["path"])


def test_balance_draws_the_same_images_on_every_machine(fixture_index):
    # Seen first on Linux x86-64, Python 3.11. A change here changes every result of the course.
    assert ds.fingerprint(ds.balance(fixture_index, PER_CLASS)) == FINGERPRINT


def test_fewer_images_than_asked_for(fixture_index):
    with pytest.raises(ds.DatasetError, match=r"train/surprise holds 30 images, fewer than the 31"):
        ds.balance(fixture_index, {"train": 31})


# loading

def test_load_images_agrees_with_pillow(fixture_index):
    data = ds.Dataset(ds.FIXTURE)
    rows = fixture_index[fixture_index["emotion"] != "disgust"].iloc[[0, 50, 100, 150, 200]]
    images, labels, ids = ds.load_images(data, rows)
    assert images.shape == (5, 48, 48, 1)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    for image, label, name, row in zip(images, labels, ids, rows.itertuples(), strict=True):
        np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(ds.FIXTURE / row.path)))
        assert EMOTIONS[label] == row.emotion
        assert name == row.path


def test_odd_sizes_are_resized_in_memory_and_nothing_is_written(copy):
    before = files_of(copy)
    data = ds.find_dataset()
    index = ds.index_images(data)
    odd = index[index["width"] != 48]
    assert len(odd) == 1
    image = ds.load_images(data, odd).images[0, ..., 0].astype(float)
    original = np.asarray(Image.open(copy / odd["path"].iloc[0]), dtype=float)
    # The same picture: averages over quarters agree.
    for half in (slice(None, 24), slice(24, None)):
        large = slice(None, 32) if half.start is None else slice(32, None)
        assert abs(image[half].mean() - original[large].mean()) < 2
    assert files_of(copy) == before


def test_an_image_of_another_dataset(fixture_index):
    frame = fixture_index.head(2).assign(path=["train/happy/Training_00000000.jpg", "x.jpg"])
    with pytest.raises(ds.DatasetError, match=r"has no usable image x.jpg. Index this dataset"):
        ds.load_images(ds.Dataset(ds.FIXTURE), frame)


def test_disgust_cannot_be_loaded_with_a_label(fixture_index):
    with pytest.raises(ds.DatasetError, match=r"Only images of happy.*Leave the others out"):
        ds.load_images(ds.Dataset(ds.FIXTURE), fixture_index)


def test_equal_bytes_of_another_size_are_another_image(copy):
    image = Image.open(copy / "train/sad/Training_00001003.jpg")
    flat = Image.frombytes("L", (24, 96), image.tobytes())
    flat.save(copy / "train/sad/flat.png")
    image.save(copy / "train/sad/same.png")
    digests = ds.index_images(ds.Dataset(copy)).set_index("path")["digest"]
    assert digests["train/sad/same.png"] == digests["train/sad/Training_00001003.jpg"]
    assert digests["train/sad/flat.png"] != digests["train/sad/Training_00001003.jpg"]


# the cache

@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Count how often a dataset is read from its files; use a cache of one's own."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    calls = []
    read_all = ds._read_all
    monkeypatch.setattr(ds, "_read_all", lambda root: calls.append(root) or read_all(root))
    return calls


def test_the_second_time_comes_from_the_cache(copy, reads):
    first, second = ds.find_dataset(), ds.find_dataset()
    pd.testing.assert_frame_equal(ds.index_images(first), ds.index_images(second))
    pd.testing.assert_frame_equal(first.faults, second.faults)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert len(reads) == 1


def same_size_and_time(path):
    """Change the content, and hide it as well as a program can."""
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.filterwarnings("ignore:Left out of")
@pytest.mark.parametrize("change", [
    lambda path: path.unlink(),
    lambda path: path.rename(path.with_name("other.jpg")),
    lambda path: path.write_bytes(path.read_bytes() + b"x"),
    lambda path: path.with_name("new.jpg").write_bytes(path.read_bytes()),
    same_size_and_time,
], ids=["removed", "renamed", "longer", "added", "same size and time"])
def test_a_changed_file_is_seen(copy, reads, change):
    assert len(ds.index_images(ds.find_dataset())) == 292
    change(copy / "train" / "sad" / "Training_00001003.jpg")
    _ = ds.index_images(ds.find_dataset())
    assert len(reads) == 2


def test_a_changed_zip_is_seen(tmp_path, reads):
    shutil.make_archive(tmp_path / "x", "zip", ds.FIXTURE)
    assert len(ds.index_images(ds.Dataset(tmp_path / "x.zip"))) == 292
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        archive.write(ds.FIXTURE / "train/sad/Training_00001003.jpg", "train/sad/new.jpg")
    assert len(ds.index_images(ds.Dataset(tmp_path / "x.zip"))) == 293


def test_nothing_is_written_beside_the_images(copy, reads):
    before = files_of(copy)
    data = ds.find_dataset()
    ds.load_images(data, ds.index_images(data)[ds.index_images(data)["emotion"] != "disgust"])
    assert files_of(copy) == before


def test_fingerprint_stands_for_the_images(fixture_index):
    kept = ds.balance(fixture_index, PER_CLASS)
    assert ds.fingerprint(kept) == ds.fingerprint(kept.sample(frac=1, random_state=3))
    assert ds.fingerprint(kept) != ds.fingerprint(kept.iloc[1:])
    changed = kept.copy()
    changed.loc[changed.index[0], "digest"] = "0" * 16
    assert ds.fingerprint(kept) != ds.fingerprint(changed)


FINGERPRINT = "5992024078f74ec8"
