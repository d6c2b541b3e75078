"""What several test files use."""

import shutil

import pytest

from fer_helpers import dataset as ds


@pytest.fixture(scope="session")
def fixture_index():
    return ds.index_images(ds.Dataset(ds.FIXTURE))


@pytest.fixture(scope="session")
def fixture_sets(fixture_index):
    """Balanced training and test examples of the fixture."""
    kept = ds.balance(fixture_index, {"train": 30, "test": 12})
    data = ds.Dataset(ds.FIXTURE)
    return tuple(ds.load_images(data, kept[kept["split"] == split]) for split in ds.SPLITS)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the fixture that a test may damage; FER_DATA points to it."""
    folder = tmp_path / "copy"
    shutil.copytree(ds.FIXTURE, folder)
    monkeypatch.setenv("FER_DATA", str(folder))
    return folder
