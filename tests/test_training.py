import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import log_loss

from fer_helpers import dataset as ds
from fer_helpers import models, training
from fer_helpers.course import COURSE, CourseError
from fer_helpers.dataset import Examples
from fer_helpers.keras_quietly import keras
from fer_helpers.runs import load_run
from fer_helpers.training import Settings

SECONDS = ["seconds", "cpu_seconds"]


def tiny_network():
    """Small, but with all that keeps a state: batch normalization, dropout, a penalty."""
    return keras.Sequential([
        keras.Input((48, 48, 1)),
        keras.layers.AveragePooling2D(2),
        *models.conv_block(8, l2=0.01, dropout=0.25),
        *models.classifier(32, dropout=0.25),
    ], name="tiny")


def train_tiny(sets, settings, **more):
    return training.train(tiny_network, sets, settings, **{"log": lambda line: None} | more)


@pytest.fixture(scope="module")
def misleading_sets(fixture_sets):
    """A test set with every second label wrong: learning helps at first, then hurts."""
    images, labels, ids = fixture_sets.train
    wrong = np.where(np.arange(len(labels)) % 2, labels, (labels + 1) % 6)
    return fixture_sets._replace(test=Examples(images, wrong, ids))


def stopping(patience, epochs):
    """Settings with which the best epoch on the misleading test set is not the last."""
    return Settings(epochs=epochs, batch_size=4, learning_rate=0.003, patience=patience,
                    augmentation={"horizontal_flip": True})


def numbers(run):
    return run.history.drop(columns=SECONDS)


def test_the_defaults_are_the_reports():
    settings = Settings()
    assert (settings.epochs, settings.batch_size, settings.learning_rate, settings.patience) == (
        20, 64, 0.0001, 3)
    assert settings.augmentation == {"rotation": 30, "height_shift": 0.1, "width_shift": 0.1,
                                     "shear": 0.1, "zoom": 0.1, "horizontal_flip": True}


def test_the_training_accuracy_is_measured_without_augmentation_and_dropout(fixture_sets):
    same = fixture_sets._replace(test=fixture_sets.train)
    run = train_tiny(same, stopping(patience=None, epochs=4))
    assert run.about["train_accuracy"] == pytest.approx(run.accuracy, abs=1e-6)
    assert run.about["train_accuracy"] != pytest.approx(run.history["accuracy"].iloc[-1], abs=1e-3)


def test_the_baseline_learns_the_fixture(fixture_sets):
    settings = Settings(epochs=12, batch_size=4, learning_rate=3e-4, patience=None,
                        augmentation={"horizontal_flip": True})
    run = training.train(models.build_baseline, fixture_sets, settings)
    assert run.accuracy > 0.5, "guessing is 0.17"
    assert len(run.history) == 12
    assert run.settings["model"] == "baseline"


def measured(run):
    """The cross-entropy of a run's predictions, by scikit-learn."""
    given = run.probabilities.astype(float)
    return log_loss(run.labels, given / given.sum(axis=1, keepdims=True))


def test_a_run_holds_what_was_predicted(fixture_sets):
    lines = []
    run = train_tiny(fixture_sets, Settings(epochs=2, patience=None), log=lines.append)
    assert len(lines) == len(run.history) == 2
    assert lines[0].startswith("Epoch  1/2")
    assert f"val_loss {run.history['val_loss'][1]:.4f}" in lines[0]
    np.testing.assert_array_equal(run.labels, fixture_sets.test.labels)
    np.testing.assert_array_equal(run.ids, fixture_sets.test.ids)
    np.testing.assert_allclose(run.probabilities.sum(axis=1), 1, atol=1e-5)
    # The last weights were kept, so the last epoch's test numbers are the predictions' numbers.
    assert run.accuracy == pytest.approx(run.history["val_accuracy"][2])
    assert run.cross_entropy == run.history["val_cross_entropy"][2]
    assert run.cross_entropy == pytest.approx(measured(run), rel=1e-4)
    assert (run.history["loss"] > run.history["cross_entropy"]).all(), "the penalty is in the loss"
    assert run.about["versions"]["keras"] == keras.__version__
    assert run.about["dataset"] == "fixture"


def test_unused_images_are_answered_once_and_change_nothing(fixture_sets):
    """Exchanging test and unused images exchanges the answers; without them, nothing else moves."""
    _, labels, ids = fixture_sets.unused
    assert 0 < len(ids) == len(set(ids) - set(fixture_sets.test.ids) - set(fixture_sets.train.ids))
    run = train_tiny(fixture_sets, Settings(epochs=2, patience=None))
    np.testing.assert_array_equal(run.unused.ids, ids)
    np.testing.assert_array_equal(run.unused.labels, labels)
    turned = fixture_sets._replace(test=fixture_sets.unused, unused=fixture_sets.test)
    other = train_tiny(turned, Settings(epochs=2, patience=None))
    np.testing.assert_allclose(other.probabilities, run.unused.probabilities, atol=1e-6)
    np.testing.assert_allclose(other.unused.probabilities, run.probabilities, atol=1e-6)
    without = train_tiny(fixture_sets._replace(unused=None), Settings(epochs=2, patience=None))
    assert without.unused is None
    np.testing.assert_array_equal(without.probabilities, run.probabilities)


def test_same_seed_same_numbers_other_seed_other_numbers(fixture_sets):
    one, two, other = (train_tiny(fixture_sets, Settings(epochs=2, seed=seed))
                       for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    pd.testing.assert_frame_equal(numbers(one), numbers(two), check_exact=True)
    assert not np.array_equal(one.probabilities, other.probabilities)


@pytest.fixture
def steps(monkeypatch):
    """What every training step gets: images, labels, and all variables before it."""
    seen, step = [], keras.Sequential.train_on_batch

    def spy(self, images, labels, **options):
        seen.append((images, labels, [v.numpy() for v in self.variables]))
        return step(self, images, labels, **options)

    monkeypatch.setattr(keras.Sequential, "train_on_batch", spy)
    return seen


def test_every_epoch_takes_the_full_batches_only(fixture_sets, steps):
    train_tiny(fixture_sets, Settings(epochs=2, batch_size=64))
    assert [len(images) for images, *_ in steps] == [64, 64] * 2, "180 // 64 = 2 steps of 64"


def test_the_numbers_are_those_of_fit_and_evaluate(fixture_sets):
    """The same network, order and random states through Keras's own loop."""
    settings = Settings(epochs=1, batch_size=50)  # 72 test images: the last batch is smaller
    run = train_tiny(fixture_sets, settings)
    training.fresh_start(settings.seed)
    model = training._compiled(tiny_network(), settings, "sparse_categorical_crossentropy")
    training._reseed(model, settings.seed, 0)
    order = np.random.default_rng([settings.seed, 0]).permutation(180)[:150]
    train_set, test_set, *_ = fixture_sets
    fitted = model.fit(train_set.images[order], train_set.labels[order], shuffle=False,
                       batch_size=50, verbose=0)
    tested = model.evaluate(test_set.images, test_set.labels, batch_size=50, verbose=0,
                            return_dict=True)
    expected = {name: values[0] for name, values in fitted.history.items()}
    expected |= {f"val_{name}": value for name, value in tested.items()}
    assert run.history.iloc[0][list(expected)].to_dict() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(run.probabilities,
                                  model.predict(test_set.images, batch_size=50, verbose=0))


def test_early_stopping_keeps_the_best_epoch(misleading_sets):
    run = train_tiny(misleading_sets, stopping(patience=3, epochs=40))
    best = int(run.history["val_loss"].idxmin())
    assert best > 1
    assert len(run.history) == best + 3 < 40
    assert run.about["kept_epoch"] == best
    assert measured(run) == pytest.approx(run.history["val_cross_entropy"][best], rel=1e-4)


def test_best_weights_are_restored_also_when_it_did_not_stop_early(misleading_sets):
    run = train_tiny(misleading_sets, stopping(patience=100, epochs=20))
    assert len(run.history) == 20
    best = int(run.history["val_loss"].idxmin())
    assert run.about["kept_epoch"] == best < 20
    assert measured(run) == pytest.approx(run.history["val_cross_entropy"][best], rel=1e-4)


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def whole(misleading_sets):
    """An uninterrupted training that stops early."""
    return train_tiny(misleading_sets, stopping(patience=3, epochs=40))


@pytest.mark.parametrize("before_the_end", [0, 1, 2, 7])
def test_a_stopped_training_goes_on_with_the_same_numbers(
        misleading_sets, whole, tmp_path, before_the_end):
    settings = stopping(patience=3, epochs=40)
    after = len(whole.history) - before_the_end
    save_to = tmp_path / "run.npz"
    lines = []

    def stop(line):
        lines.append(line)
        if len(lines) == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_tiny(misleading_sets, settings, save_to=save_to, log=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["run.checkpoint"]
    resumed = train_tiny(misleading_sets, settings, save_to=save_to, log=lines.append)
    assert f"after epoch {after}" in lines[after]
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=True)
    np.testing.assert_array_equal(whole.probabilities, resumed.probabilities)
    assert whole.about["kept_epoch"] == resumed.about["kept_epoch"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]
    np.testing.assert_array_equal(load_run(save_to).probabilities, resumed.probabilities)


def test_a_checkpoint_of_other_settings_is_refused(fixture_sets, tmp_path):
    save_to = tmp_path / "run.npz"

    def stop(line):
        raise Interrupted

    with pytest.raises(Interrupted):
        train_tiny(fixture_sets, Settings(epochs=3), save_to=save_to, log=stop)
    with pytest.raises(CourseError, match=r"run.checkpoint cannot be.*other settings.*Delete"):
        train_tiny(fixture_sets, Settings(epochs=4), save_to=save_to)
    checkpoint = tmp_path / "run.checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CourseError, match=r"run.checkpoint cannot be continued.*Delete it"):
        train_tiny(fixture_sets, Settings(epochs=3), save_to=save_to)


def test_a_finished_run_is_read_and_not_repeated(fixture_sets, tmp_path):
    save_to = tmp_path / "run.npz"
    first = train_tiny(fixture_sets, Settings(epochs=1), save_to=save_to)
    written = save_to.read_bytes()
    lines = []
    second = train_tiny(fixture_sets, Settings(epochs=1), save_to=save_to, log=lines.append)
    assert lines == ["Read the finished run run.npz; move it away to train again"]
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    with pytest.raises(CourseError, match=r"run.npz holds a run with other settings.*Move it"):
        train_tiny(fixture_sets, Settings(epochs=2), save_to=save_to)
    with pytest.raises(CourseError, match=r"run.npz holds a run with other settings.*Move it"):
        train_tiny(fixture_sets._replace(about={"fingerprint": "x"}), Settings(epochs=1),
                   save_to=save_to)
    assert save_to.read_bytes() == written


# Learning from the crowd's shares

@pytest.fixture(scope="module")
def crowd_sets(fixture_sets):
    return ds.learn_from_crowd(fixture_sets, ds.votes_of(ds.Dataset(ds.FIXTURE)))


def test_shares_of_one_give_the_numbers_of_labels(fixture_sets):
    train_set = fixture_sets.train
    certain = train_set._replace(labels=np.eye(6, dtype=np.float32)[train_set.labels])
    settings = Settings(epochs=2, batch_size=16)
    labels, shares = (train_tiny(sets, settings)
                      for sets in (fixture_sets, fixture_sets._replace(train=certain)))
    np.testing.assert_allclose(shares.probabilities, labels.probabilities, atol=1e-4)
    np.testing.assert_allclose(numbers(shares), numbers(labels), rtol=1e-3)
    np.testing.assert_array_equal(shares.labels, fixture_sets.test.labels)
    assert shares.settings == labels.settings


def test_only_the_targets_differ(fixture_sets, crowd_sets, steps):
    for sets in (fixture_sets, crowd_sets):
        train_tiny(sets, Settings(epochs=2, seed=5))
    by_label, by_shares = steps[:4], steps[4:]
    assert len(by_shares) == 4
    for one, other in zip(by_label, by_shares, strict=True):
        np.testing.assert_array_equal(one[0], other[0], "images in their order")
    for one, other in zip(by_label[0][2], by_shares[0][2], strict=True):
        np.testing.assert_array_equal(one, other, "first weights, and the states that draw")
    by_id = dict(zip(crowd_sets.train.ids, crowd_sets.train.labels, strict=True))
    order = np.random.default_rng([5, 0]).permutation(180)[:64]
    np.testing.assert_array_equal(by_shares[0][1],
                                  [by_id[i] for i in crowd_sets.train.ids[order]])


def test_a_network_that_learns_from_shares_gives_shares(fixture_sets):
    """One answer fits all images here; it is tested by the labels all the same."""
    always = np.array([0.5, 0.3, 0.2, 0, 0, 0], np.float32)
    train_set = fixture_sets.train._replace(labels=np.tile(always, (180, 1)))
    run = train_tiny(fixture_sets._replace(train=train_set), stopping(patience=None, epochs=8))
    np.testing.assert_allclose(run.probabilities.mean(axis=0), always, atol=0.1)
    assert run.accuracy == pytest.approx(run.history["val_accuracy"].iloc[-1])
    assert measured(run) == pytest.approx(run.cross_entropy, rel=1e-3)


def test_a_stopped_training_on_shares_goes_on_with_the_same_numbers(
        fixture_sets, crowd_sets, tmp_path):
    settings, save_to = Settings(epochs=4, batch_size=16), tmp_path / "run.npz"
    whole, lines = train_tiny(crowd_sets, settings), []

    def stop(line):
        lines.append(line)
        if len(lines) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_tiny(crowd_sets, settings, save_to=save_to, log=stop)
    with pytest.raises(CourseError, match="other settings"):
        train_tiny(fixture_sets, settings, save_to=save_to)
    resumed = train_tiny(crowd_sets, settings, save_to=save_to)
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=True)
    np.testing.assert_array_equal(whole.probabilities, resumed.probabilities)
    with pytest.raises(CourseError, match="other settings"):
        train_tiny(fixture_sets, settings, save_to=save_to)


# What the report did not do (notebook 10)

def test_smoothed_labels(fixture_sets):
    """The loss of a certain network, by arithmetic: 0.9 + 0.1 / 6 on its answer."""
    smooth = ds.smooth_labels(fixture_sets, 0.1)
    label = fixture_sets.train.labels
    np.testing.assert_array_equal(smooth.train.labels.argmax(axis=1), label)
    np.testing.assert_allclose(np.unique(smooth.train.labels), [0.1 / 6, 0.9 + 0.1 / 6], rtol=1e-6)
    np.testing.assert_allclose(smooth.train.labels.sum(axis=1), 1, rtol=1e-6)
    assert smooth.test is fixture_sets.test
    run = train_tiny(smooth, Settings(epochs=1))
    assert run.about["targets"] == "labels smoothed by 0.1"


@pytest.fixture
def rates(monkeypatch):
    """The learning rate of every training step."""
    seen, step = [], keras.Sequential.train_on_batch

    def spy(self, *batch, **options):
        seen.append(float(self.optimizer.learning_rate))
        return step(self, *batch, **options)

    monkeypatch.setattr(keras.Sequential, "train_on_batch", spy)
    return seen


def test_one_cycle_goes_up_for_a_quarter_and_down_to_nothing(fixture_sets, rates):
    train_tiny(fixture_sets, Settings(epochs=4, batch_size=18, learning_rate=0.05, one_cycle=True))
    up = 10  # of 40 steps
    np.testing.assert_allclose(rates[:up], np.linspace(0.002, 0.05, up + 1)[:up], rtol=1e-4)
    down = 0.025 * (1 + np.cos(np.pi * np.arange(30) / 30))
    np.testing.assert_allclose(rates[up:], down, rtol=1e-4)


def test_weight_decay_shrinks_the_weights_beside_the_gradient(fixture_sets):
    """One step with and without it differs by rate times decay times the first weights."""
    few = Examples(*(part[:64] for part in fixture_sets.train))
    before, after = [], []
    for decay in (0.0, 0.5):
        training.fresh_start(0)
        network = tiny_network()
        before.append(network.get_weights())
        training.train(lambda network=network: network, fixture_sets._replace(train=few),
                       Settings(epochs=1, weight_decay=decay, learning_rate=0.01, patience=None),
                       log=lambda line: None)
        after.append(network.get_weights())
    kernels = [i for i, weights in enumerate(before[0]) if weights.ndim > 1]
    assert len(kernels) == 3
    for i in kernels:
        np.testing.assert_allclose(after[0][i] - after[1][i], 0.01 * 0.5 * before[0][i], atol=1e-6)


def test_training_images_grow_as_told(fixture_sets, steps):
    """As Pillow makes them smaller, to one grey value."""
    settings = Settings(epochs=3, batch_size=180, sizes=(24, 32, 48), patience=None)
    run = train_small(fixture_sets, settings)
    assert [images.shape for images, *_ in steps] == [(180, n, n, 1) for n in (24, 32, 48)]
    order = np.random.default_rng([0, 0]).permutation(180)
    for image, original in zip(steps[0][0], fixture_sets.train.images[order], strict=True):
        pillow = Image.fromarray(original[..., 0]).resize((24, 24), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(image[..., 0], np.asarray(pillow, float), atol=1)
    np.testing.assert_array_equal(steps[2][0], fixture_sets.train.images[
        np.random.default_rng([0, 2]).permutation(180)])
    assert run.accuracy == pytest.approx(run.history["val_accuracy"].iloc[-1])


@pytest.mark.parametrize(("epochs", "sides"), [(2, (32, 48)), (3, (24, 32, 48)),
                                               (5, (24, 32, 32, 48, 48))])
def test_sizes_share_the_epochs(fixture_sets, steps, epochs, sides):
    train_small(fixture_sets, Settings(epochs=epochs, batch_size=180, sizes=(24, 32, 48)))
    assert tuple(images.shape[1] for images, *_ in steps) == sides


def test_both_ways_is_the_mean_over_an_image_and_its_mirror(fixture_sets):
    """A test set of the mirrored images then has the same predictions."""
    images = fixture_sets.test.images[:, :, ::-1]
    mirrored = fixture_sets._replace(test=fixture_sets.test._replace(images=images))
    settings = Settings(epochs=1, both_ways=True)
    one, other = (train_tiny(sets, settings) for sets in (fixture_sets, mirrored))
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    plain, turned = (train_tiny(sets, Settings(epochs=1)) for sets in (fixture_sets, mirrored))
    assert np.abs(plain.probabilities - turned.probabilities).max() > 1e-3
    np.testing.assert_allclose(one.probabilities,
                               (plain.probabilities + turned.probabilities) / 2, atol=1e-6)


def train_small(sets, settings, **more):
    """Train a network for images of any size."""
    def build():
        image = keras.Input((None, None, 1))
        maps = keras.layers.Conv2D(4, 3, activation="relu")(image)
        means = keras.layers.GlobalAveragePooling2D()(maps)
        return keras.Model(image, keras.layers.Dense(6, activation="softmax")(means), name="small")

    return training.train(build, sets, settings, **{"log": lambda line: None} | more)


def test_a_stopped_training_goes_on_in_its_cycle_and_size(fixture_sets, tmp_path):
    settings = Settings(epochs=3, batch_size=60, learning_rate=0.01, one_cycle=True,
                        weight_decay=0.1, sizes=(24, 32, 48))
    whole, lines = train_small(fixture_sets, settings), []

    def stop(line):
        lines.append(line)
        raise Interrupted

    with pytest.raises(Interrupted):
        train_small(fixture_sets, settings, save_to=tmp_path / "run.npz", log=stop)
    resumed = train_small(fixture_sets, settings, save_to=tmp_path / "run.npz")
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=True)
    np.testing.assert_array_equal(whole.probabilities, resumed.probabilities)
    again = train_small(fixture_sets, settings, save_to=tmp_path / "run.npz")
    assert again.settings["sizes"] == [24, 32, 48]


def test_what_the_report_did_not_do_is_mentioned_only_where_it_was_done(fixture_sets):
    """So finished runs of the report's networks are still recognised."""
    new = {"one_cycle", "weight_decay", "sizes", "both_ways"}
    assert not new & set(train_tiny(fixture_sets, Settings(epochs=1)).settings)
    run = train_tiny(fixture_sets, Settings(epochs=1, one_cycle=True, weight_decay=0.1))
    assert new & set(run.settings) == {"one_cycle", "weight_decay"}


def test_no_epochs(fixture_sets):
    with pytest.raises(CourseError, match="0 epochs train nothing"):
        train_tiny(fixture_sets, Settings(epochs=0))


def test_fewer_images_than_a_batch(fixture_sets):
    few = Examples(*(part[:10] for part in fixture_sets.train))
    with pytest.raises(CourseError, match=r"10 training images do not fill.*a smaller batch_size"):
        train_tiny(fixture_sets._replace(train=few), Settings())


# oneDNN, and where a run was made

CONVOLUTION = """
import numpy as np
from fer_helpers.keras_quietly import ONEDNN, keras
network = keras.Sequential([keras.Input((48, 48, 8)), keras.layers.Conv2D(32, 3)])
network.predict(np.zeros((64, 48, 48, 8)), verbose=0)
print("recorded as", ONEDNN)
"""


@pytest.mark.parametrize("switch", [None, "0"])
def test_convolutions_go_through_onednn_unless_told_otherwise(switch):
    """OneDNN itself tells: it prints a line for each of its operations."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("TF_ENABLE_ONEDNN")}
    environment |= {"ONEDNN_VERBOSE": "1"} | ({"TF_ENABLE_ONEDNN_OPTS": switch} if switch else {})
    result = subprocess.run([sys.executable, "-c", CONVOLUTION], capture_output=True, text=True,
                            env=environment, cwd=COURSE)
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("onednn_verbose")]
    assert any(",exec,cpu,convolution," in line for line in lines) == (switch is None)
    assert f"recorded as {switch is None}" in result.stdout


def test_a_run_says_where_it_was_made(monkeypatch, fixture_sets, tmp_path):
    places = [{"processor": "first", "cores": 2, "commit": "abc"},
              {"processor": "second", "cores": 4, "commit": "abc"}]
    save_to = tmp_path / "run.npz"

    def stop(line):
        raise Interrupted

    monkeypatch.setattr(training, "_machine", lambda: places[0])
    with pytest.raises(Interrupted):
        train_tiny(fixture_sets, Settings(epochs=3), save_to=save_to, log=stop)
    monkeypatch.setattr(training, "_machine", lambda: places[1])
    run = train_tiny(fixture_sets, Settings(epochs=3), save_to=save_to)
    assert run.about["machines"] == places
    assert run.about["onednn"] is True


def test_the_machine_is_described_without_git_too(monkeypatch):
    found = training._machine()
    assert found["processor"] and found["cores"] >= 1
    monkeypatch.setenv("PATH", "")
    assert training._machine() == found | {"commit": ""}
