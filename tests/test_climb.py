"""The ladder of notebook 10, data/climb.py."""

import importlib.util

import nbformat
import numpy as np
import pandas as pd
import pytest
from sklearn import model_selection

from fer_helpers import copies, models
from fer_helpers import dataset as ds
from fer_helpers.course import COURSE, EMOTIONS
from fer_helpers.identity import images
from fer_helpers.training import EXPERIMENTS, Settings

CHOSEN = "compact_22"


@pytest.fixture(scope="module")
def climb():
    spec = importlib.util.spec_from_file_location("climb", COURSE / "data" / "climb.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_chosen_network_stands_on_the_top_of_the_ladder(climb):
    """All changes that were kept, and only the epochs differ."""
    last = max(number for number, rung in enumerate(climb.LADDER) if rung.kept)
    top = climb.standing_on(last)
    build, settings = EXPERIMENTS[CHOSEN]
    assert Settings(**top.settings | {"epochs": 22}) == Settings(**settings)
    assert top.data == {"targets": "smooth"}
    assert build is models.build_compact
    chosen, climbed = build().get_config(), models.build_compact(**top.network).get_config()
    assert [layer["class_name"] for layer in chosen["layers"]] == [
        layer["class_name"] for layer in climbed["layers"]]


def test_a_rung_stands_on_what_was_kept_below_it(climb):
    first, crowd = climb.standing_on(0), climb.standing_on(len(climb.LADDER) - 1)
    assert first.network == {"flatten": True, "l2": 0.01, "even_light": False}
    assert Settings(**first.settings) == Settings(epochs=8, patience=None, both_ways=True)
    assert crowd.data == {"targets": "crowd"}, "all images were not kept"
    dropped = next(rung for rung in climb.LADDER if not rung.kept)
    assert crowd.settings["augmentation"] != dropped.settings["augmentation"]


def test_validation_is_of_train_and_shares_no_picture_with_the_rest(climb):
    marked = copies.mark_copies(ds.Dataset(ds.FIXTURE))
    index = climb.hold_out(marked)
    train = marked.query("split == 'train' and emotion != 'disgust'")
    assert sorted(index["path"]) == sorted(train["path"])
    held, rest = (set(index.loc[index["split"] == split, "group"]) for split in ds.SPLITS[::-1])
    assert held and rest and not held & rest
    assert 0.1 < (index["split"] == "test").mean() < 0.25
    pd.testing.assert_frame_equal(index, climb.hold_out(marked))
    assert not index["split"].equals(climb.hold_out(marked, seed=1)["split"])


def test_whole_groups_are_held_out(climb):
    """On FER-2013's own groups, where images drawn one by one would share pictures."""
    known = images()
    index = climb.hold_out(known)
    held, rest = (set(index.loc[index["split"] == split, "group"]) for split in ds.SPLITS[::-1])
    assert held and rest and not held & rest
    single = index.sample(4000, random_state=0)
    assert single["group"].isin(index.drop(single.index)["group"]).sum() > 100


def test_notebook_10_shows_the_split_that_was_climbed_on(climb):
    notebook = nbformat.read(COURSE / "notebooks" / "10_beyond_the_report.ipynb", as_version=4)
    cell, = [cell.source for cell in notebook.cells if "GroupShuffleSplit(" in cell.source]
    shown = {"images": images, "EMOTIONS": EMOTIONS, "model_selection": model_selection}
    exec(cell, shown)
    index = climb.hold_out(images())
    for name, split in (("rest", "train"), ("held", "test")):
        assert list(shown[name]["path"]) == list(index.loc[index["split"] == split, "path"]), name


def test_a_row_counts_in_trainings_of_the_report(climb, made_up_run):
    run = made_up_run("compact", 1, np.arange(36) % 3 > 0)
    run = run.__class__(**vars(run) | {
        "history": run.history.assign(cpu_seconds=[562.0, 562.0], val_accuracy=[0.2, 0.5]),
        "about": run.about | {"train_accuracy": 0.6, "machines": [{"processor": "slow"}]}})
    row = climb.row("rung1", run, step=2.0).iloc[0]
    assert (row["compute"], row["accuracy"], row["processor"]) == (0.1, 0.5, "slow")
    assert row["both_ways"] == pytest.approx(run.accuracy, abs=1e-4)
    assert row["change"] == climb.LADDER[1].change


def test_training_on_all_images_validates_on_the_same(climb, monkeypatch):
    monkeypatch.setattr(climb, "SIZES", {"train": 20, "test": 3})
    fixture = ds.Dataset(ds.FIXTURE)
    few, every = (climb.prepare(fixture, images) for images in ("balanced", "all"))
    index = climb.hold_out(copies.mark_copies(fixture))
    assert set(every.train.ids) == set(index.loc[index["split"] == "train", "path"])
    assert set(few.train.ids) < set(every.train.ids) and len(few.train.ids) == 6 * 20
    np.testing.assert_array_equal(few.test.ids, every.test.ids)
    assert len(few.test.ids) == 6 * 3
    assert few.about["fingerprint"] != every.about["fingerprint"]


def test_targets_of_the_ladder(climb, monkeypatch):
    monkeypatch.setattr(climb, "SIZES", {"train": 20, "test": 3})
    fixture = ds.Dataset(ds.FIXTURE)
    smooth, crowd = (climb.prepare(fixture, targets=name) for name in ("smooth", "crowd"))
    assert smooth.about["targets"] == "labels smoothed by 0.1"
    assert crowd.about["targets"] == "the crowd's shares"
    assert smooth.train.labels.shape == crowd.train.labels.shape == (6 * 20, 6)
