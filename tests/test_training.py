"""training.py: one training as the report made it, stopped and continued at any place."""

import contextlib
import dataclasses
import io
import itertools
import platform
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from sklearn.metrics import log_loss

from fer_helpers import dataset as ds
from fer_helpers import models, training
from fer_helpers.course import COURSE
from fer_helpers.dataset import Examples
from fer_helpers.runs import load_run
from fer_helpers.training import Recipe, Settings
from machinery import winograd
from machinery.files import CourseError, Stopped
from machinery.keras_quietly import keras

SECONDS = ["seconds", "cpu_seconds"]


def tiny_network():
    """Small, but with all that keeps a state: batch normalization, dropout, a penalty."""
    return keras.Sequential([
        keras.Input((48, 48, 1)),
        keras.layers.AveragePooling2D(2),
        *models.conv_block(8, l2=0.01, dropout=0.25),
        *models.classifier(32, dropout=0.25),
    ], name="tiny")


def short(epochs, **more):
    """Settings with batches of one size, since each size is compiled anew."""
    return Settings(**{"epochs": epochs, "batch_size": 36} | more)


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
    return short(epochs, batch_size=12, learning_rate=0.005, patience=patience,
                 augmentation={"horizontal_flip": True})


def numbers(run):
    return run.history.drop(columns=SECONDS)


def equal(one, other):
    """Two runs have the same numbers, to the last digit."""
    pd.testing.assert_frame_equal(numbers(one), numbers(other), check_exact=True)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    np.testing.assert_array_equal(one.unused.probabilities, other.unused.probabilities)
    assert one.about["kept_epoch"] == other.about["kept_epoch"]


def measured(run):
    """The cross-entropy of a run's predictions, by scikit-learn."""
    given = run.probabilities.astype(float)
    return log_loss(run.labels, given / given.sum(axis=1, keepdims=True))


class Interrupted(Exception):
    pass


def stop_after(epochs, lines=None, error=Interrupted):
    """A ``log`` that stops a training after so many lines."""
    lines = [] if lines is None else lines

    def log(line):
        lines.append(line)
        if len(lines) == epochs:
            raise error
    return log


class Growing(Recipe):
    """Another rate, other sizes, other answers, and a label: all that a recipe may change."""

    def label(self):
        return {"growing": True}

    def optimizer(self, rate, steps):
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))

    def images(self, images, epoch, epochs):
        return images[:, ::2, ::2] if epoch != epochs - 1 else images

    def predict(self, model, images, batch_size):
        return training.predict(model, images, batch_size)[:, ::-1]


GROWING = Growing()


def small_network():
    image = keras.Input((None, None, 1))
    maps = keras.layers.Conv2D(4, 3, activation="relu")(image)
    means = keras.layers.GlobalAveragePooling2D()(maps)
    return keras.Model(image, keras.layers.Dense(6, activation="softmax")(means), name="small")


def test_a_run_holds_what_was_predicted_and_each_epoch_is_told_in_one_line(
        fixture_sets, monkeypatch, tmp_path):
    """Two clocks: the wall's goes on by 6000 s at each look, the processor's by 7."""
    monkeypatch.setattr(training, "time", SimpleNamespace(
        perf_counter=itertools.count(0, 6000).__next__,
        process_time=itertools.count(0, 7).__next__))
    lines, bars, seen, path = [], [], [], tmp_path / "run.npz"
    monkeypatch.setattr(training, "tqdm", lambda batches, title, **_: bars.append(title) or batches)

    def log(line):
        lines.append(line)
        path.with_suffix(".checkpoint").unlink()  # somebody tidies up: it costs nothing

    run = train_tiny(fixture_sets, short(3, patience=None), log=log, watch=seen.append,
                     save_to=path)
    equal(run, load_run(path))
    assert [len(frame) for frame in seen] == [1, 2, 3]
    pd.testing.assert_frame_equal(seen[2], run.history)
    np.testing.assert_array_equal(run.labels, fixture_sets.test.labels)
    np.testing.assert_array_equal(run.ids, fixture_sets.test.ids)
    # The last weights were kept, so the last epoch's test numbers are the predictions' numbers.
    assert run.accuracy == pytest.approx(run.history["val_accuracy"][3])
    assert run.cross_entropy == run.history["val_cross_entropy"][3]
    assert run.cross_entropy == pytest.approx(measured(run), rel=1e-4)
    assert (run.history["loss"] > run.history["cross_entropy"]).all(), "the penalty is in the loss"
    assert run.about["versions"]["keras"] == keras.__version__
    assert (run.about["dataset"], run.about["onednn"]) == ("fixture", True)
    assert run.about["system"].split() == [platform.system(), platform.machine()]
    assert run.settings | {"seed": 0, "dropout": [0.25, 0.25], "model": "tiny"} == run.settings
    assert "winograd" not in run.about and "begun_with" not in run.about
    assert bars == ["Epoch 1", "", "Epoch 2", "", "Epoch 3", "", ""], "tests go without a bar"
    assert run.history["seconds"].tolist() == [6000] * 3
    assert run.history["cpu_seconds"].tolist() == [7] * 3
    ends = ("  about 200 min left", "  about 100 min left", "")
    for epoch, line, end in zip((1, 2, 3), lines, ends, strict=True):
        told = "  ".join(f"{name} {run.history[name][epoch]:.4f}"
                         for name in ("accuracy", "loss", "val_accuracy", "val_loss"))
        assert line == f"Epoch  {epoch}/3  6000 s  {told}{end}"
    row = run.history.assign(seconds=60.0).to_dict("records")[:1]
    assert training._epoch_line(row, 2).endswith(f"val_loss {row[0]['val_loss']:.4f}"), "a minute"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().epochs = 1


@pytest.mark.parametrize(("title", "terminal", "shown"), [
    ("Epoch 1", True, True), ("", True, False), ("Epoch 1", False, False)])
def test_means_are_of_images_in_order_and_a_bar_shows_if_that_takes_long(
        title, terminal, shown, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("tqdm.std.time", itertools.count(0, 20).__next__)  # seconds, at each look
    batches, examples = [], Examples(np.arange(10) ** 2, np.arange(10), np.array([]))

    def step(images, labels, return_dict):
        batches.append(labels.tolist())
        return {"a": images.mean(), "b": 1.0}

    order = np.array([9, 1, 7, 3, 5])
    assert training.mean_over_batches(step, examples, 2, order, title) == {
        "a": pytest.approx(np.mean(order ** 2)), "b": 1}
    training.mean_over_batches(step, examples, 6)
    assert batches == [[9, 1], [7, 3], [5], [0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
    assert ("Epoch 1:" in screen.getvalue()) == shown and "| 0/3" not in screen.getvalue()
    assert not screen.getvalue().endswith("\n"), "it goes away"


def test_answers_come_in_batches():
    sizes = []
    model = SimpleNamespace(predict_on_batch=lambda images: sizes.append(len(images)) or np.repeat(
        images, 6, axis=1))
    images = np.arange(65)[:, None]
    np.testing.assert_array_equal(training.predict(model, images)[:, 5], np.arange(65))
    np.testing.assert_array_equal(Recipe().predict(model, images, 40)[:, 0], np.arange(65))
    assert sizes == [64, 1, 40, 25]


def test_wide_convolutions_are_computed_fast_and_the_run_says_so(fixture_sets):
    made = []

    def wide():
        made.append(keras.Sequential([
            keras.Input((48, 48, 1)), keras.layers.AveragePooling2D(12),
            keras.layers.Conv2D(128, 1), keras.layers.Conv2D(6, 3, padding="same"),
            keras.layers.GlobalAveragePooling2D(), keras.layers.Softmax()]))
        return made[0]

    settings = short(1, batch_size=180)  # all images in one batch
    run = training.train(wide, fixture_sets, settings, log=lambda line: None)
    assert made[0].layers[2].convolution_op is winograd.convolve
    assert run.about["winograd"] == [made[0].layers[2].name]


def test_unused_images_are_answered_once_and_change_nothing(fixture_sets):
    """Exchanging test and unused images exchanges the answers; without them, nothing else moves."""
    def trained(**sets):
        return training.train(small_network, fixture_sets._replace(**sets), short(1),
                              log=lambda line: None, recipe=GROWING)

    test, unused = fixture_sets.test, fixture_sets.unused
    run, other = trained(), trained(test=unused, unused=test)
    np.testing.assert_array_equal(run.unused.ids, unused.ids)
    np.testing.assert_array_equal(run.unused.labels, unused.labels)
    np.testing.assert_allclose(other.probabilities, run.unused.probabilities, atol=1e-6)
    np.testing.assert_allclose(other.unused.probabilities, run.probabilities, atol=1e-6)
    for nothing in (None, Examples(*(part[:0] for part in unused))):
        without = trained(unused=nothing)
        assert without.unused is None
        np.testing.assert_array_equal(without.probabilities, run.probabilities)


# What a step does, and how epochs and seeds differ

def test_an_epoch_is_that_of_the_reports_own_code(fixture_sets):
    """``fit`` on scaled images and one-hot labels, as the report's listings call it.

    Without augmentation, which has an oracle of its own. Dropout is on: its random states are set
    as the docstrings say, from seed and epoch.
    """
    settings = Settings(epochs=1, batch_size=50, augmentation={}, seed=3)
    run = train_tiny(fixture_sets, settings)
    training.fresh_start(3)
    model = tiny_network()
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.0001),
                  loss="categorical_crossentropy", metrics=["accuracy"])
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    draws = np.random.SeedSequence([3, 0]).generate_state(len(states) + 1)[1:]  # one augments
    for state, draw in zip(states, draws, strict=True):
        state.assign([draw, 0])
    order = np.random.default_rng([3, 0]).permutation(180)[:150]  # full batches only
    (train_images, train_labels, _), (images, labels, _), *_ = fixture_sets
    fitted = model.fit(train_images[order] / 255.0, np.eye(6)[train_labels[order]], shuffle=False,
                       batch_size=50, verbose=0)
    tested = model.evaluate(images / 255.0, np.eye(6)[labels], batch_size=50, verbose=0,
                            return_dict=True)
    expected = {name: values[0] for name, values in fitted.history.items()}
    expected |= {f"val_{name}": value for name, value in tested.items()}
    assert run.history.iloc[0][list(expected)].to_dict() == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(run.probabilities, model.predict(images / 255.0, verbose=0),
                               atol=1e-5)


def test_epochs_and_seeds_differ_in_order_augmentation_and_dropout(fixture_sets, steps):
    runs = [train_tiny(fixture_sets, Settings(epochs=2, seed=seed)) for seed in (0, 1, 0)]
    equal(runs[0], runs[2])
    assert not np.array_equal(runs[0].probabilities, runs[1].probabilities)
    assert [len(images) for images, *_ in steps] == [64, 64] * 6, "180 // 64 = 2 steps of 64"
    first = steps[:8:2]  # of each epoch: seed 0, seed 0, seed 1, seed 1
    names = [name for name in first[0][3] if name.endswith("seed_generator_state")]
    assert len(names) == 3, "augmentation, and dropout twice"
    for name in names:
        drawn = {tuple(variables[name]) for *_, variables in first}
        assert len(drawn) == 4, f"{name} starts each epoch of each seed anew"
    assert len({images.tobytes() for images, *_ in first}) == 4, "another order"
    kernels = [name for name in first[0][3] if name.endswith("dense/kernel")]
    assert not np.array_equal(*(first[i][3][kernels[0]] for i in (0, 2))), "other first weights"
    assert {rate for *_, rate, _ in steps} == {np.float32(1e-4)}


@pytest.fixture(scope="module")
def whole(misleading_sets):
    """An uninterrupted training that stops early."""
    return train_tiny(misleading_sets, stopping(patience=3, epochs=40))


@pytest.mark.parametrize("patience", [3, 100, None])
def test_the_best_weights_are_kept_if_there_is_patience(misleading_sets, whole, patience):
    last = len(whole.history)
    run = whole if patience == 3 else train_tiny(misleading_sets, stopping(patience, last))
    pd.testing.assert_frame_equal(numbers(run), numbers(whole), check_exact=True)
    best = int(run.history["val_loss"].idxmin())
    kept = best if patience else last
    assert last == best + 3 and run.about["kept_epoch"] == kept
    assert measured(run) == pytest.approx(run.history["val_cross_entropy"][kept], rel=1e-4)
    # Train and test images are the same here, so the answers tell the plain training accuracy.
    assert run.about["train_accuracy"] == pytest.approx(
        (run.predictions == misleading_sets.train.labels).mean())


@pytest.mark.parametrize(("losses", "patience", "best", "ended"), [
    ([2, 1, 1.5], 2, 2, False), ([2, 1, 1.5], 1, 2, True), ([2, 1, 1.5], 0, 2, True),
    ([2, 1], 0, 2, False), ([1, 2, 3], None, 1, False), ([1, 1], 1, 1, True),
    ([1.8, np.nan, np.nan], 2, 1, True), ([np.nan, 9], 1, 2, False), ([], 3, 0, False)])
def test_the_best_epoch_is_the_first_of_the_lowest_loss_and_nan_is_none(
        losses, patience, best, ended):
    done = object.__new__(training._Training)
    done.history = [{"val_loss": loss} for loss in losses]
    done.settings = Settings(epochs=4, patience=patience)
    assert (done.best_epoch, done.ended) == (best, ended)


# Stopped and continued

@pytest.mark.parametrize(("patience", "before_the_end"), [(3, 0), (3, 1), (3, 3), (0, 0)])
def test_a_stopped_training_goes_on_with_the_same_numbers(
        misleading_sets, whole, tmp_path, patience, before_the_end):
    settings = stopping(patience, epochs=40)
    whole = whole if patience == 3 else train_tiny(misleading_sets, settings)
    after = len(whole.history) - before_the_end
    save_to, lines = tmp_path / "run.npz", []
    other = tmp_path / ".other.checkpoint.1.partial"
    for half in (other, tmp_path / ".run.checkpoint.1.partial"):
        half.write_text("half, the other one from a process that goes on")
    with pytest.raises(Interrupted):
        train_tiny(misleading_sets, settings, save_to=save_to, log=stop_after(after, lines))
    assert {*tmp_path.iterdir()} == {other, tmp_path / "run.checkpoint"}
    resumed = train_tiny(misleading_sets, settings, save_to=save_to, log=lines.append)
    assert f"after epoch {after}" in lines[after]
    equal(whole, resumed)
    assert {*tmp_path.iterdir()} == {other, save_to}
    assert len(resumed.about["machines"]) == 1
    equal(load_run(save_to), resumed)
    assert "begun_with" not in resumed.about


def test_a_recipe_comes_from_outside(fixture_sets, steps, tmp_path):
    settings = Settings(epochs=3, batch_size=60, learning_rate=0.01, patience=None)
    # Plain training images, each twice: as accurate, but of another number.
    twice = Examples(*(np.concatenate([part, part]) for part in fixture_sets.train))
    same = fixture_sets._replace(test=twice)

    def trained(log=lambda line: None, recipe=GROWING, **more):
        return training.train(small_network, same, settings, log=log, recipe=recipe, **more)

    whole, save_to = trained(), tmp_path / "run.npz"
    assert [images.shape[1] for images, *_ in steps] == [24] * 6 + [48] * 3
    cosine = 0.005 * (1 + np.cos(np.pi * np.arange(9) / 9))
    np.testing.assert_allclose([rate for *_, rate, _ in steps], cosine, rtol=1e-4)
    assert whole.settings["growing"] is True
    # Tests and plain training images are seen in the last epoch's size.
    turned = dataclasses.replace(whole, probabilities=whole.probabilities[:, ::-1])
    assert measured(turned) == pytest.approx(whole.history["val_cross_entropy"].iloc[-1], rel=1e-4)
    assert turned.accuracy == pytest.approx(whole.history["val_accuracy"].iloc[-1])
    assert turned.accuracy == pytest.approx(whole.about["train_accuracy"])
    with pytest.raises(Interrupted):
        trained(stop_after(2), save_to=save_to)
    with pytest.raises(CourseError, match="growing: True there, None here"):
        trained(recipe=training.REPORT, save_to=save_to)
    equal(whole, trained(save_to=save_to))


@pytest.fixture
def begun(fixture_sets, tmp_path):
    """The file of a training that was stopped after its first epoch of three."""
    with pytest.raises(Interrupted):
        train_tiny(fixture_sets, short(3), save_to=tmp_path / "run.npz",
                   log=stop_after(1))
    return tmp_path / "run.npz"


@pytest.mark.parametrize("name", [
    "course", "python", "system", "backend", "onednn", "device", "versions", "winograd",
    "precision"])  # the last one stands in older runs
def test_what_only_tells_where_a_run_was_made_does_not_refuse_it(name, tmp_path):
    result = dict.fromkeys(["machines", "kept_epoch", "train_accuracy", "begun_with"], 1)
    then, now = {name: {"a": 1}, "seed": 0} | result, {"seed": 0}
    for here in (None, {"a": 2}):
        found = training._made_elsewhere(tmp_path, then, now | ({name: here} if here else {}))
        assert found == {name: [{"a": 1}, here]}
    assert training._told(found) == "a: 1 there, 2 here"
    assert training._told({name: [{"a": 1}, None]}) == f"{name}: {{'a': 1}} there, None here"
    assert training._made_elsewhere(tmp_path, {name: [], "seed": 0}, now) == {}
    with pytest.raises(CourseError, match=r"other settings or data \(seed: 0 there, 1 here\)"):
        training._made_elsewhere(tmp_path, then, now | {"seed": 1})


@pytest.mark.parametrize("finished", [False, True])
def test_what_does_not_belong_together_is_refused(fixture_sets, begun, finished, monkeypatch):
    def again(epochs=3, log=lambda line: None, **about):
        return train_tiny(fixture_sets._replace(about=fixture_sets.about | about),
                          short(epochs), save_to=begun, log=log)

    run, lines = again() if finished else None, []
    file = begun if finished else begun.with_suffix(".checkpoint")
    content = file.read_bytes()
    for name, options in {"epochs: 3 there, 4 here": {"epochs": 4},
                          "fingerprint: .* there, x here": {"fingerprint": "x"},
                          "dataset: fixture there, y here": {"dataset": "y"},
                          "targets: None there, z here": {"targets": "z"}}.items():
        with pytest.raises(CourseError, match=f"{file.name} is of other settings or data "
                                              rf"\({name}\).*Move it away"):
            again(**options)
    assert file.read_bytes() == content
    if finished:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
        equal(run, again(log=lines.append))
        assert lines == ["Read the finished run run.npz; move it away to train again"]


def test_a_damaged_checkpoint_is_refused_and_nothing_in_it_is_executed(
        fixture_sets, begun, trap, capsys):
    checkpoint = begun.with_suffix(".checkpoint")
    for damage in (lambda file: file.truncate(1000),
                   lambda file: np.savez(file, text=trap, allow_pickle=True),
                   lambda file: np.save(file, [1.0])):
        with checkpoint.open("r+b") as file:
            damage(file)
        with pytest.raises(CourseError, match=r"run.checkpoint cannot be continued.*Move it away"):
            train_tiny(fixture_sets, short(3), save_to=begun)
    assert capsys.readouterr().out == ""


def test_no_trained_hour_is_lost_to_a_version(fixture_sets, begun, monkeypatch):
    """Begun here, gone on with elsewhere and elsewhere again, it says where it was begun."""
    now, settings, lines = training._environment(), short(3), []
    later = now | {"versions": now["versions"] | {"pillow": "99"}}
    for python, more, last in (("9.8", "; pillow: .* there, 99 here", 2), ("9.9", "", 9)):
        monkeypatch.setattr(training, "_environment", lambda p=python: later | {"python": p})
        monkeypatch.setattr(training, "machine", lambda _, p=python: {"processor": p})
        told = rf"made elsewhere \(python: .* there, {python} here{more}\).*other_versions=True"
        with pytest.raises(CourseError, match=told):
            train_tiny(fixture_sets, settings, save_to=begun)
        with contextlib.suppress(Interrupted):
            train_tiny(fixture_sets, settings, save_to=begun, other_versions=True,
                       log=stop_after(last))
    run = load_run(begun)
    assert run.about["begun_with"] == {"python": [now["python"], "9.9"],
                                       "versions": [now["versions"], later["versions"]]}
    assert len(run.history) == 3
    assert [machine["processor"] for machine in run.about["machines"]][1:] == ["9.8", "9.9"]
    monkeypatch.undo()
    equal(run, train_tiny(fixture_sets, settings, save_to=begun, log=lines.append))
    assert f"It was made elsewhere (python: 9.9 there, {now['python']} here" in lines[0]


def test_folder_room_and_company_are_looked_at_before_the_first_epoch(
        fixture_sets, begun, monkeypatch):
    folder, checkpoint = begun.parent / "new", begun.with_suffix(".checkpoint").stat().st_size

    def begin():
        return train_tiny(fixture_sets, short(1), save_to=folder / "run.npz",
                          log=stop_after(1))

    folder.write_text("a file in the folder's place")
    with pytest.raises(CourseError, match=r"new cannot be written to .*set FER_RUNS"):
        begin()
    folder.unlink()
    for free, said in ((1.9, r"has room for 0\.\d GB.*FER_RUNS"), (2.1, None)):
        with monkeypatch.context() as patch, pytest.raises(CourseError if said else Interrupted,
                                                           match=said):
            patch.setattr(shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(
                1, 1, free * checkpoint))
            begin()
    (folder / "run.checkpoint").unlink()
    assert not list(folder.iterdir()), "nothing half stays"
    with (FileLock(folder / ".run.lock"),
          pytest.raises(CourseError, match=r"Another process is making .*run\.npz")):
        begin()


@pytest.mark.parametrize(("kept", "lines", "writes"), [(True, 1, 9), (True, 9, 1), (False, 1, 9)])
def test_an_interrupted_cell_ends_with_one_line(
        fixture_sets, tmp_path, monkeypatch, kept, lines, writes):
    """After the line of the first epoch, or while the checkpoint of the second is written."""
    done, save = [], training._Training.save

    def save_some(self, *given):
        if len(done) == writes:
            raise KeyboardInterrupt
        done.append(save(self, *given))

    monkeypatch.setattr(training._Training, "save", save_some)
    with pytest.raises(Stopped) as stopped:
        train_tiny(fixture_sets, short(2), log=stop_after(lines, error=KeyboardInterrupt),
                   save_to=tmp_path / "run.npz" if kept else None)
    line, = stopped.value._render_traceback_()
    assert "1 of 2 epochs are finished" in line
    assert ("run this again, and it goes on" in line) == kept


@pytest.mark.parametrize(("epochs", "images", "message"), [
    (0, 180, "0 epochs train nothing"),
    (1, 10, r"10 training images do not fill.*a smaller batch_size")])
def test_impossible_trainings(fixture_sets, epochs, images, message):
    few = Examples(*(part[:images] for part in fixture_sets.train))
    with pytest.raises(CourseError, match=message):
        train_tiny(fixture_sets._replace(train=few), Settings(epochs=epochs))


# Learning from shares

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


def test_a_network_that_learns_from_shares_gives_shares(fixture_sets):
    """One answer fits all images here; it is tested by the labels all the same."""
    always = np.array([0.5, 0.3, 0.2, 0, 0, 0], np.float32)
    train_set = fixture_sets.train._replace(labels=np.tile(always, (180, 1)))
    settings = dataclasses.replace(stopping(None, 8), batch_size=4, learning_rate=0.003)
    run = train_tiny(fixture_sets._replace(train=train_set), settings)
    np.testing.assert_allclose(run.probabilities.mean(axis=0), always, atol=0.1)
    assert run.accuracy == pytest.approx(run.history["val_accuracy"].iloc[-1])
    assert measured(run) == pytest.approx(run.cross_entropy, rel=1e-3)


def test_where_runs_are_kept(monkeypatch, copy):
    own = ds.find_dataset()
    assert training.run_file(ds.Dataset(ds.FIXTURE), "final", 2) is None
    assert training.run_file(own, "final", 2) == COURSE / "runs" / own.name / "final_seed2.npz"
    monkeypatch.setenv("FER_RUNS", "elsewhere")
    assert training.run_file(own, "final", 2).parent.parent == COURSE / "elsewhere"
