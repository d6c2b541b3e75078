import hashlib

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
    monkeypatch.setattr(ds, "FER2013", copy)
    assert ds.find_dataset().root == copy
    monkeypatch.setattr(ds, "FER2013", copy / "nowhere")
    assert ds.find_dataset().is_fixture
    assert ds.find_dataset().name == "fixture"


def test_fer2013_is_known_by_its_counts(monkeypatch, copy):
    monkeypatch.setattr(ds, "FER2013_COUNTS", {"train": 209, "test": 83})
    assert ds.find_dataset().name == "fer2013"


def test_a_relative_path_counts_from_the_course(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_DATA", "data/fixture")
    monkeypatch.chdir(tmp_path)
    assert ds.find_dataset().is_fixture


def test_no_dataset(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_DATA", str(tmp_path / "missing"))
    with pytest.raises(ds.DatasetError, match=r"No dataset folder at .*missing.*FER_DATA"):
        ds.find_dataset()


def test_folder_without_splits(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_DATA", str(tmp_path))
    with pytest.raises(ds.DatasetError, match=r"has no folder train/.*FER_DATA"):
        ds.find_dataset()


def test_missing_class_folder(copy):
    (copy / "test" / "sad").rename(copy / "elsewhere")
    with pytest.raises(ds.DatasetError, match=r"no class folder sad/.*Unpack"):
        ds.find_dataset()


def test_empty_class_folder(copy):
    for file in (copy / "train" / "fear").iterdir():
        file.unlink()
    with pytest.raises(ds.DatasetError, match=r"fear holds no images.*Unpack"):
        ds.find_dataset()


def test_unknown_class_folder(copy):
    (copy / "train" / "contempt").mkdir()
    with pytest.raises(ds.DatasetError, match=r"contempt is not a class.*Move it"):
        ds.find_dataset()


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
    digests = by_path["digest"]
    assert (digests["test/fear/PrivateTest_00002005.jpg"]
            == digests["train/fear/Training_00002007.jpg"])
    assert digests.value_counts().tolist().count(2) == 2


def test_hidden_files_and_capitals_do_not_matter(copy, fixture_index):
    (copy / "train" / "happy" / ".DS_Store").write_bytes(b"x")
    (copy / "train" / "happy" / "Thumbs.db").write_bytes(b"x")
    (copy / "train" / ".ipynb_checkpoints").mkdir()
    (copy / "train" / "happy").rename(copy / "train" / "h")
    (copy / "train" / "h").rename(copy / "train" / "Happy")
    index = ds.index_images(ds.find_dataset())
    pd.testing.assert_series_equal(index["digest"], fixture_index["digest"])


@pytest.mark.parametrize("content", [b"this is no image", b"", b"\xff\xd8\xff\xe0 cut short"])
def test_a_file_that_is_not_an_image(copy, content):
    (copy / "train" / "sad" / "Training_00001003.jpg").write_bytes(content)
    with pytest.raises(ds.DatasetError, match=r"Training_00001003.jpg cannot be read.*Remove it"):
        ds.index_images(ds.find_dataset())


def test_a_truncated_image(copy):
    path = copy / "train" / "sad" / "Training_00001003.jpg"
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ds.DatasetError, match=r"Training_00001003.jpg cannot be read.*Remove it"):
        ds.index_images(ds.find_dataset())


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


def test_fingerprint_stands_for_the_images(fixture_index):
    kept = ds.balance(fixture_index, PER_CLASS)
    assert ds.fingerprint(kept) == ds.fingerprint(kept.sample(frac=1, random_state=3))
    assert ds.fingerprint(kept) != ds.fingerprint(kept.iloc[1:])
    changed = kept.copy()
    changed.loc[changed.index[0], "digest"] = "0" * 16
    assert ds.fingerprint(kept) != ds.fingerprint(changed)


FINGERPRINT = "24d3ab9a39555be5"
