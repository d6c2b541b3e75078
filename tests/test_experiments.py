"""experiments/: what made the shipped files, the ladder of notebook 10 first of all."""

import json
from collections import Counter, defaultdict
from types import SimpleNamespace

import notebook_files
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import model_selection
from sklearn.metrics import log_loss

from experiments import beyond, ladder, plan
from experiments.near_copies import mark_copies
from fer_helpers import dataset as ds
from fer_helpers import models, training
from fer_helpers.course import EMOTIONS, REFERENCE
from fer_helpers.identity import images
from fer_helpers.runs import load_run
from fer_helpers.training import Recipe, Settings
from machinery.keras_quietly import keras

FIXTURE = ds.Dataset(ds.FIXTURE)
SHIPPED = defaultdict(list)  # in all folders: cpu/, grid/ and jax/, too
for file in sorted(REFERENCE.rglob("*_seed*.npz")):
    SHIPPED[file.name.rpartition("_seed")[0]].append(load_run(file))
SMALL = {"train": 18, "test": 4}  # images of each class: few enough to hold a sixth of them out


def test_the_plan_names_every_training_of_its_lists_once():
    for runs in plan.LISTS.values():
        assert len(set(runs)) == len(runs)
        assert {name for name, _ in runs} <= set(plan.ALL)
    assert len(plan.GRID) == 13 and len(plan.WHOLE_GRID) == 23, "without the baseline itself"
    assert Counter(name for name, _ in plan.LISTS["gpu"])["final"] == 10
    assert plan.AGREE_WITHIN == 0.02, "written down before the runs"
    assert plan.ALL["baseline_0.001_mirror_0.25"].settings == plan.ALL["baseline"].settings


@pytest.mark.parametrize("name", SHIPPED)
def test_the_plan_names_what_the_shipped_runs_were(name):
    """Their files say how each was trained: the report's settings, too, which are the defaults."""
    one = plan.ALL[name]
    network = one.build()
    dropout = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    for run in SHIPPED[name]:
        settings = vars(Settings(seed=run.settings["seed"], **one.settings)) | one.recipe.label()
        settings |= {"model": network.name, "dropout": dropout}
        assert json.loads(json.dumps(settings)) == run.settings
        assert {"labels": None, "crowd": "the crowd's shares", "smooth": "labels smoothed by 0.1"}[
            one.targets] == run.about.get("targets")


def test_no_shipped_run_is_of_an_unknown_training():
    assert {*SHIPPED} <= {*plan.ALL} and sum(map(len, SHIPPED.values())) > 50
    with pytest.raises(KeyError, match="smoth"):
        plan.Experiment(models.build_baseline, targets="smoth").data(FIXTURE, SMALL)


def test_the_swaps_change_one_thing_each():
    swapped, network = plan.ALL["final_with_recipe"], plan.ALL["final_with_recipe"].build()
    assert network.count_params() == models.build_final().count_params()
    assert Settings(**swapped.settings) == Settings(**plan.COMPACT | {"epochs": 22})
    assert not network.losses, "decay instead of the penalty"
    assert len(models.build_final().losses) == 4
    assert swapped.recipe.label() == {"one_cycle": True, "weight_decay": 0.05, "both_ways": True}
    other = plan.ALL["compact_with_reports_recipe"]
    assert Settings(**other.settings) == Settings() and other.recipe.label() == {}
    longer = Settings(**plan.ALL["final_40"].settings)
    assert (longer.epochs, longer.patience, longer.learning_rate) == (40, None, 1e-4)


def test_held_out_looks_at_no_test_image_and_all_images_validate_on_the_same():
    held, usual = (plan.ALL[name].data(FIXTURE, SMALL) for name in ("final_held_out", "final"))
    assert all(path.startswith("train/") for path in (*held.train.ids, *held.test.ids))
    assert (len(held.train.ids), len(held.test.ids)) == (6 * 15, 6 * 3)
    assert set(held.unused.ids) == {*usual.test.ids, *usual.unused.ids}
    every = plan.held_out(FIXTURE, SMALL, "all")
    index = plan.hold_out(mark_copies(FIXTURE))
    assert set(every.train.ids) == set(index.loc[index["split"] == "train", "path"])
    assert set(held.train.ids) < set(every.train.ids)
    np.testing.assert_array_equal(held.test.ids, every.test.ids)
    fingerprints = {data.about["fingerprint"] for data in (held, usual, every)}
    assert len(fingerprints) == 3


def test_the_chosen_network_stands_on_the_top_of_the_ladder():
    """All changes that were kept, and only the epochs differ."""
    last = max(number for number, rung in enumerate(plan.LADDER) if rung.kept)
    top, chosen = plan.on_rung(last), plan.ALL["compact_22"]
    assert Settings(**top.settings | {"epochs": 22}) == Settings(**chosen.settings)
    assert top.recipe == chosen.recipe == beyond.RECIPE
    assert top.targets == chosen.targets == "smooth"
    assert [layer["class_name"] for layer in chosen.build().get_config()["layers"]] == [
        layer["class_name"] for layer in top.build().get_config()["layers"]]


def test_a_rung_stands_on_what_was_kept_below_it():
    first, crowd = plan.standing_on(0), plan.on_rung(len(plan.LADDER) - 1)
    assert first.network == {"flatten": True, "l2": 0.01, "even_light": False}
    assert Settings(**first.settings) == Settings(epochs=8, patience=None)
    assert first.recipe == {"both_ways": True}
    dropped = next(rung for rung in plan.LADDER if not rung.kept)
    assert crowd.settings["augmentation"] != dropped.settings["augmentation"]
    data = crowd.data(FIXTURE, SMALL)
    assert data.about["targets"] == "the crowd's shares"
    assert data.train.labels.shape == (6 * 15, 6), "all images were not kept"


def test_validation_is_of_train_and_shares_no_picture_with_the_rest():
    """On FER-2013's own groups, where images drawn one by one would share pictures."""
    known = images()
    index = plan.hold_out(known)
    train = known.query("split == 'train' and emotion != 'disgust'")
    assert sorted(index["path"]) == sorted(train["path"])
    assert 0.1 < (index["split"] == "test").mean() < 0.25
    every = plan.LADDER[9].settings["epochs"] * (index["split"] == "train").sum()
    assert every == pytest.approx(8 * 6 * 2999 * 5 / 6, rel=0.1), "all images, as many steps"
    pd.testing.assert_frame_equal(index, plan.hold_out(known))
    assert not index["split"].equals(plan.hold_out(known, seed=1)["split"])
    held, rest = (set(index.loc[index["split"] == split, "group"]) for split in ds.SPLITS[::-1])
    assert held and rest and not held & rest
    single = index.sample(4000, random_state=0)
    assert single["group"].isin(index.drop(single.index)["group"]).sum() > 100


def test_notebook_10_shows_the_split_that_was_climbed_on():
    shown = {"images": images, "EMOTIONS": EMOTIONS, "model_selection": model_selection}
    exec(next(cell.source for cell in notebook_files.code_cells(10)
              if "GroupShuffleSplit(" in cell.source), shown)
    index = plan.hold_out(images())
    for name, split in (("rest", "train"), ("held", "test")):
        assert list(shown[name]["path"]) == list(index.loc[index["split"] == split, "path"]), name


def test_a_row_counts_in_trainings_of_the_report(made_up_run):
    run = made_up_run("compact", 1, np.arange(36) % 3 > 0)
    run = run.__class__(**vars(run) | {
        "history": run.history.assign(cpu_seconds=[562.0, 562.0], val_accuracy=[0.2, 0.5]),
        "about": run.about | {"train_accuracy": 0.6, "machines": [{"processor": "slow"}]}})
    row = ladder.row("rung1", run, step=2.0).iloc[0]
    assert (row["compute"], row["accuracy"], row["processor"]) == (0.1, 0.5, "slow")
    assert row["both_ways"] == pytest.approx(run.accuracy, abs=1e-4)
    assert row["change"] == plan.LADDER[1].change


# The recipe of notebook 10

def tiny_network():
    image = keras.Input((None, None, 1))
    maps = keras.layers.Conv2D(4, 3, activation="relu")(image)
    means = keras.layers.GlobalAveragePooling2D()(maps)
    return keras.Model(image, keras.layers.Dense(6, activation="softmax")(means), name="tiny")


def train_tiny(sets, settings, build=tiny_network, **recipe):
    return training.train(build, sets, settings, recipe=beyond.Beyond(**recipe),
                          log=lambda line: None)


def test_a_recipe_that_changes_nothing_is_the_reports():
    plain, report = beyond.Beyond(), Recipe()
    images = np.zeros((2, 48, 48, 1), np.uint8)
    assert plain.label() == report.label() == {}
    assert plain.images(images, 0, 3) is images is report.images(images, 0, 3)
    one, other = (recipe.optimizer(0.01, 100).get_config() for recipe in (plain, report))
    assert one | {"name": ""} == other | {"name": ""}
    assert {plain: 1}[beyond.Beyond()] == 1, "it cannot be changed"
    sizes = []
    model = SimpleNamespace(predict_on_batch=lambda images: sizes.append(len(images)) or np.ones(
        (len(images), 6)))
    for recipe in (plain, beyond.Beyond(both_ways=True)):
        recipe.predict(model, np.zeros((5, 4, 4, 1)), 3)
    assert sizes == [3, 2, 3, 2, 3, 2]


def test_smoothed_labels(fixture_sets):
    """The loss of a certain network, by arithmetic: 0.9 + 0.1 / 6 on its answer."""
    smooth = beyond.smooth_labels(fixture_sets)
    assert smooth.train.labels.dtype == np.float32
    label = fixture_sets.train.labels
    np.testing.assert_array_equal(smooth.train.labels.argmax(axis=1), label)
    np.testing.assert_allclose(np.unique(smooth.train.labels), [0.1 / 6, 0.9 + 0.1 / 6], rtol=1e-6)
    np.testing.assert_allclose(smooth.train.labels.sum(axis=1), 1, rtol=1e-6)
    assert smooth.test is fixture_sets.test
    assert smooth.about["targets"] == "labels smoothed by 0.1"


def test_one_cycle_goes_up_for_a_quarter_and_down_to_nothing(fixture_sets, steps):
    train_tiny(fixture_sets, Settings(epochs=4, batch_size=50, learning_rate=0.05), one_cycle=True)
    up, rates = 3, [rate for *_, rate, _ in steps]  # of 4 x (180 // 50) steps
    np.testing.assert_allclose(rates[:up], np.linspace(0.002, 0.05, up + 1)[:up], rtol=1e-4)
    down = 0.025 * (1 + np.cos(np.pi * np.arange(9) / 9))
    np.testing.assert_allclose(rates[up:], down, rtol=1e-4)


def test_weight_decay_shrinks_the_weights_beside_the_gradient(fixture_sets):
    """One step with and without it differs by rate times decay times the first weights."""
    few = fixture_sets._replace(train=ds.Examples(*(part[:64] for part in fixture_sets.train)))
    before, after = [], []
    for decay in (0.0, 0.5):
        training.fresh_start(0)
        network = tiny_network()
        before.append(network.get_weights())
        train_tiny(few, Settings(epochs=1, learning_rate=0.01, patience=None),
                   lambda network=network: network, weight_decay=decay)
        after.append(network.get_weights())
    kernels = [i for i, weights in enumerate(before[0]) if weights.ndim > 1]
    assert len(kernels) == 2
    for i in kernels:
        np.testing.assert_allclose(after[0][i] - after[1][i], 0.01 * 0.5 * before[0][i], atol=1e-6)


@pytest.mark.parametrize(("epochs", "sides"), [(2, (32, 40)), (5, (24, 32, 32, 40, 40))])
def test_images_grow_and_are_tested_at_their_last_size(
        fixture_sets, steps, monkeypatch, epochs, sides):
    """As Pillow makes them smaller, to one grey value."""
    tested, test = [], keras.Model.test_on_batch
    monkeypatch.setattr(keras.Model, "test_on_batch", lambda self, images, labels, **options: (
        tested.append(images) or test(self, images, labels, **options)))
    run = train_tiny(fixture_sets, Settings(epochs=epochs, batch_size=180, patience=None),
                     sizes=(24, 32, 40))
    assert [images.shape for images, *_ in steps] == [(180, n, n, 1) for n in sides]
    order = np.random.default_rng([0, 0]).permutation(180)
    for image, original in zip(steps[0][0], fixture_sets.train.images[order], strict=True):
        pillow = Image.fromarray(original[..., 0]).resize((sides[0],) * 2,
                                                          Image.Resampling.BILINEAR)
        np.testing.assert_allclose(image[..., 0], np.asarray(pillow, float), atol=1)
        assert abs((image[..., 0] - np.asarray(pillow, float)).mean()) < 0.25, "rounded"
    assert {images.shape[1] for images in tested} == {sides[-1]}, "training images, too"
    given = run.probabilities.astype(float)
    assert run.cross_entropy == pytest.approx(
        log_loss(run.labels, given / given.sum(axis=1, keepdims=True)), rel=1e-4)
    assert run.accuracy == pytest.approx(run.history["val_accuracy"].iloc[-1])
    assert run.settings["sizes"] == [24, 32, 40]


def test_both_ways_is_the_mean_over_an_image_and_its_mirror(fixture_sets):
    images = fixture_sets.test.images[:, :, ::-1]
    mirrored = fixture_sets._replace(test=fixture_sets.test._replace(images=images))
    plain, turned = (train_tiny(sets, Settings(epochs=1)) for sets in (fixture_sets, mirrored))
    assert np.abs(plain.probabilities - turned.probabilities).max() > 1e-5
    both = train_tiny(fixture_sets, Settings(epochs=1), both_ways=True)
    np.testing.assert_allclose(both.probabilities,
                               (plain.probabilities + turned.probabilities) / 2, atol=1e-6)
