"""Train a network as the report did, one epoch at a time, and keep everything as a Run."""

import contextlib
import io
import json
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from fer_helpers import __version__, models
from fer_helpers.augmentation import REPORT_AUGMENTATION
from fer_helpers.course import COURSE, EMOTIONS, course_path
from fer_helpers.dataset import Balanced, Dataset, Examples
from fer_helpers.runs import Answers, Run, load_run, save_run
from machinery.computer import machine
from machinery.files import CourseError, Stopped, write_whole
from machinery.keras_quietly import ONEDNN, device, keras
from machinery.winograd import speed_up


@dataclass(frozen=True)
class Settings:
    """What a training needs to know. The defaults are the report's final run (section 3.2)."""

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-4
    patience: int | None = 3  # epochs without a lower val_loss; None trains to the end
    augmentation: dict = field(default_factory=lambda: dict(REPORT_AUGMENTATION))
    seed: int = 0


class Recipe:
    """How to train, apart from the settings: the report's way. Notebook 10 has one of its own."""

    def label(self) -> dict:
        """Return what a run's settings say of this recipe; of the report's, nothing."""
        return {}

    def optimizer(self, rate: float, steps: int) -> keras.Optimizer:
        """Return the optimizer for a training of so many steps (report, Figure 5)."""
        return keras.optimizers.Adam(rate)

    def images(self, images: np.ndarray, epoch: int, epochs: int) -> np.ndarray:
        """Return images, uint8 [n, side, side, 1], as an epoch (from 0) shows them; tests get the
        last epoch's."""
        return images

    def predict(self, model, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the probabilities of test images, float32 [n, 6]."""
        return predict(model, images, batch_size)


REPORT = Recipe()


def fresh_start(seed: int) -> None:
    """Forget earlier models and seed Python, NumPy and Keras: call it before building a network.

    Layer names and initial weights then do not depend on what ran before.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)


def run_file(dataset: Dataset, model: str, seed: int) -> Path | None:
    """Return where the run of a user's own dataset is kept: ``runs/``, or ``FER_RUNS``.

    Runs on the fixture are not kept: None.
    """
    folder = course_path("FER_RUNS", "runs") / dataset.name
    return None if dataset.is_fixture else folder / f"{model}_seed{seed}.npz"


def train(build, data: Balanced, settings: Settings, *, recipe: Recipe = REPORT,
          save_to: Path | None = None, other_versions: bool = False, watch=None, log=print) -> Run:
    """Build a network from the seed, train it, one printed line an epoch, and predict the test set.

    As in the report, the *test* images are the validation data: early stopping looks at them.
    The best weights are restored if ``patience`` is set, whether training stopped early or not.

    ``build``, such as :func:`fer_helpers.models.build_final`, returns an untrained network; it is
    called after :func:`fresh_start`. ``data`` is from :func:`fer_helpers.dataset.load_balanced`.
    If its training labels are shares, [n, 6], the network learns from them: training accuracies
    count how often it gives the class with the largest share; tests are by labels as ever. An epoch
    takes ``len(train) // batch_size`` steps. ``log`` takes its line, ``watch`` the history so far.

    ``save_to`` is a file for the run, ending in ``.npz``. If it is there already, it is returned.
    The state after each epoch goes into a checkpoint beside it. If that is there at the start,
    training goes on from it, and ends with the numbers of an uninterrupted training; if it was made
    with other versions or on another system, only with ``other_versions``, and the run says so.
    The checkpoint is removed once the run is saved.

    Raises CourseError if there is no epoch to train, there are fewer training images than one
    batch, the folder cannot take the files, another process is making the same run, or one of the
    files belongs to other settings or data or cannot be read; Stopped when it is interrupted.
    """
    _refuse_the_impossible(data, settings)
    fresh_start(settings.seed)
    network = build()
    training = _Training(network, data, settings, recipe)
    about = data.about | _environment()
    if faster := speed_up(network):
        about["winograd"] = faster
    if save_to is None:
        training.go_on(None, about, watch, log)
        return training.finish(about)
    save_to = Path(save_to)
    with _alone(save_to, training):
        if save_to.exists():
            return _finished(save_to, training.label | about, log)
        checkpoint = save_to.with_suffix(".checkpoint")
        if checkpoint.exists():
            about |= training.restore(checkpoint, about, other_versions)
            log(f"Going on after epoch {len(training.history)} from {checkpoint.name}")
        training.go_on(checkpoint, about, watch, log)
        run = training.finish(about)
        save_run(run, save_to)
        checkpoint.unlink(missing_ok=True)  # somebody may have tidied up
    return run


def predict(model, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    """Return the probabilities of images, float32 [n, 6], without the wait at the end."""
    starts = range(0, len(images), batch_size)
    return np.concatenate([model.predict_on_batch(images[i:i + batch_size]) for i in starts])


def mean_over_batches(step, examples: Examples, batch_size: int, order=None, title="") -> dict:
    """Call ``step`` with one batch after the other; return the mean of each of its results.

    ``fit`` and ``evaluate`` would do the same. But with TensorFlow 2.21 they often wait at their
    end, for about as long as they ran, until a sleeping thread of tf.data wakes up. ``order`` is
    int [m], positions of the images; ``title`` shows a bar with it if this takes long.
    """
    order = np.arange(len(examples.labels)) if order is None else order
    batches = [order[i:i + batch_size] for i in range(0, len(order), batch_size)]
    hidden = None if title else True  # None: hidden unless somebody is looking
    results = pd.DataFrame([
        step(examples.images[batch], examples.labels[batch], return_dict=True)
        for batch in tqdm(batches, title, leave=False, delay=30, disable=hidden)])
    weights = [len(batch) for batch in batches]
    return {name: float(np.average(results[name], weights=weights)) for name in results}


def compiled(network, settings: Settings, *, shares=False, recipe: Recipe = REPORT, steps=0):
    """Put the preprocessing in front of a network; choose optimizer, loss and metrics.

    ``shares`` says whether it learns from shares, [n, 6], instead of labels; ``steps`` is the
    length of the whole training, for recipes that plan ahead.
    """
    model = models.with_preprocessing(network, settings.augmentation, settings.seed)
    loss = "categorical_crossentropy" if shares else "sparse_categorical_crossentropy"
    model.compile(
        optimizer=recipe.optimizer(settings.learning_rate, steps), loss=loss,
        # The loss is cross-entropy plus L2 penalty: this metric shows the first alone.
        metrics=["accuracy", keras.metrics.MeanMetricWrapper(keras.losses.get(loss),
                                                             name="cross_entropy")])
    model.optimizer.build(model.trainable_variables)
    return model


def _refuse_the_impossible(data: Balanced, settings: Settings) -> None:
    if settings.epochs < 1:
        raise CourseError(f"{settings.epochs} epochs train nothing. Ask for at least one.")
    if len(data.train.labels) < settings.batch_size:
        raise CourseError(
            f"{len(data.train.labels)} training images do not fill one batch of "
            f"{settings.batch_size}. Ask for a smaller batch_size, or for more images.")


class _Training:
    """A model with all that its next epoch depends on: what a checkpoint holds."""

    def __init__(self, network, data: Balanced, settings: Settings, recipe: Recipe):
        self.data, self.settings, self.recipe = data, settings, recipe
        self.history: list[dict] = []
        self.machines: list[dict] = []
        self.best_weights: list[np.ndarray] = []
        dropout = [layer.rate for layer in network.layers
                   if isinstance(layer, keras.layers.Dropout)]
        self.label = json.loads(json.dumps({
            "model": network.name, "dropout": dropout, **asdict(settings), **recipe.label()}))
        count, shares = len(data.train.labels), data.train.labels.ndim == 2
        self.test = self.shown(data.test)
        if shares:  # one loss for both sets, so labels become shares of 0 and 1
            self.test = self.test._replace(labels=np.eye(len(EMOTIONS))[self.test.labels])
        self.model = compiled(network, settings, shares=shares, recipe=recipe,
                              steps=count // settings.batch_size * settings.epochs)
        self.size: tuple | None = None  # of the images of the last step

    def shown(self, examples: Examples, epoch: int | None = None) -> Examples:
        """Return images as an epoch shows them. Left out, it is the last one: so tests see them."""
        epochs = self.settings.epochs
        epoch = epochs - 1 if epoch is None else epoch
        return examples._replace(images=self.recipe.images(examples.images, epoch, epochs))

    @property
    def frame(self) -> pd.DataFrame:
        """The history so far, one row an epoch."""
        return pd.DataFrame(
            self.history, index=pd.RangeIndex(1, len(self.history) + 1, name="epoch"))

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest test loss, from 1; 0 before the first."""
        losses = np.nan_to_num([row["val_loss"] for row in self.history], nan=np.inf)
        return 1 + int(np.argmin(losses)) if self.history else 0

    @property
    def ended(self) -> bool:
        done, patience = len(self.history), self.settings.patience
        return done >= self.settings.epochs or (
            patience is not None and done - self.best_epoch >= max(patience, 1))  # as in Keras

    def go_on(self, checkpoint: Path | None, about: dict, watch, log) -> None:
        """Train to the end, one epoch after the other, and keep the state after each."""
        if (here := machine(COURSE)) not in self.machines:
            self.machines.append(here)
        finished = len(self.history)
        try:
            while not self.ended:
                self.one_epoch()
                if checkpoint:
                    self.save(checkpoint, about)
                finished += 1
                log(_epoch_line(self.history, self.settings.epochs))
                if watch:
                    watch(self.frame)
        except KeyboardInterrupt:
            raise Stopped(
                f"Stopped. {finished} of {self.settings.epochs} epochs are finished"
                + (" and kept: run this again, and it goes on." if checkpoint else ".")) from None

    def one_epoch(self) -> None:
        """Train for one epoch, test, and keep the weights if the test loss is the lowest so far."""
        started, cpu_started = time.perf_counter(), time.process_time()
        epoch, settings = len(self.history), self.settings
        _reseed(self.model, settings.seed, epoch)
        shown = self.shown(self.data.train, epoch)
        if self.size not in (None, shown.images.shape):
            # or TensorFlow would compile for any size, which changes last digits
            self.model.make_train_function(force=True)
        self.size = shown.images.shape
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(shown.labels))
        # Like the report, leave out the images that do not fill a last batch.
        order = order[:len(order) // settings.batch_size * settings.batch_size]
        row = mean_over_batches(self.model.train_on_batch, shown, settings.batch_size, order,
                                title=f"Epoch {epoch + 1}")
        tested = mean_over_batches(self.model.test_on_batch, self.test, settings.batch_size)
        row |= {f"val_{name}": value for name, value in tested.items()}
        row |= {"seconds": time.perf_counter() - started,
                "cpu_seconds": time.process_time() - cpu_started}
        self.history.append(row)
        if settings.patience is not None and self.best_epoch == len(self.history):
            self.best_weights = self.model.get_weights()

    def finish(self, about: dict) -> Run:
        """Choose the weights that are kept; answer the test images, and the unused ones."""
        data, kept, batch = self.data, len(self.history), self.settings.batch_size
        if self.best_weights:
            self.model.set_weights(self.best_weights)
            kept = self.best_epoch

        def answers(examples):
            probabilities = self.recipe.predict(self.model, self.shown(examples).images, batch)
            return {"probabilities": probabilities, "labels": examples.labels, "ids": examples.ids}

        # Whether a network overfits shows on the training images as they are, without dropout.
        trained = mean_over_batches(self.model.test_on_batch, self.shown(data.train), batch)
        unused = data.unused is not None and len(data.unused.ids)
        return Run(
            settings=self.label, history=self.frame, **answers(data.test),
            about=about | {"machines": self.machines, "kept_epoch": kept,
                           "train_accuracy": trained["accuracy"]},
            unused=Answers(**answers(data.unused)) if unused else None)

    def variables(self) -> list:
        return [*self.model.weights, *self.model.optimizer.variables]

    def bytes(self) -> int:
        """How large a checkpoint is: all variables, and the best weights."""
        best = [] if self.settings.patience is None else self.model.weights
        return sum(np.asarray(variable).nbytes for variable in [*self.variables(), *best])

    def save(self, path: Path, about: dict) -> None:
        """Write the state after an epoch: variables, best weights, history, machines."""
        arrays: dict = {f"state_{i}": np.asarray(v) for i, v in enumerate(self.variables())}
        arrays |= {f"best_{i}": kept for i, kept in enumerate(self.best_weights)}
        text = json.dumps({"label": self.label | about, "history": self.history,
                           "machines": self.machines})
        buffer = io.BytesIO()
        np.savez(buffer, text=text, **arrays)
        write_whole(path, buffer.getbuffer())

    def restore(self, path: Path, about: dict, other_versions: bool) -> dict:
        """Put a saved state back; return what the run has to say of other versions, if any."""
        try:
            with np.load(path, allow_pickle=False) as file:
                text = json.loads(str(file["text"]))
                elsewhere = _made_elsewhere(path, text["label"], self.label | about)
                state = [file[f"state_{i}"] for i in range(len(self.variables()))]
                if self.settings.patience is not None:
                    self.best_weights = [file[f"best_{i}"] for i in range(len(self.model.weights))]
            for variable, value in zip(self.variables(), state, strict=True):
                variable.assign(value)
        except CourseError:
            raise
        except Exception as error:  # zipfile, zlib and NumPy have many kinds
            raise CourseError(f"{path} cannot be continued: {error}. Move it away to start this "
                              "training again.") from error
        if elsewhere and not other_versions:
            raise CourseError(
                f"{path} was made elsewhere ({_told(elsewhere)}): the numbers would not be those "
                "of one uninterrupted training. To go on all the same, call train with "
                "other_versions=True (tools/train.py: --other-versions); the run will say so.")
        self.history, self.machines = text["history"], text["machines"]
        begun = text["label"].get("begun_with", {})  # it may have changed places before
        begun |= {name: [begun.get(name, [then])[0], now]
                  for name, (then, now) in elsewhere.items()}
        return {"begun_with": begun} if begun else {}


@contextlib.contextmanager
def _alone(save_to: Path, training: _Training):
    """See before the first epoch that the folder takes the files, and that no other process is
    making this run."""
    try:
        write_whole(probe := save_to.with_suffix(f".{os.getpid()}.probe"), b"")
    except CourseError as error:
        raise CourseError(f"{save_to.parent} cannot be written to ({error.__cause__}). Change "
                          "that, or set FER_RUNS to another folder.") from error
    probe.unlink()
    lock = save_to.with_name(f".{save_to.stem}.lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                for left in save_to.parent.glob(f".{save_to.stem}.checkpoint.*.partial"):
                    left.unlink()  # half a checkpoint, from a training that was killed
                free, needed = shutil.disk_usage(save_to.parent).free, 2 * training.bytes()
                # The last checkpoint stays until the next one is whole.
                if free < needed and not save_to.exists():
                    raise CourseError(
                        f"{save_to.parent} has room for {free / 1e9:.1f} GB. The checkpoints of "
                        f"this training need {needed / 1e9:.1f} GB. Make room, or set FER_RUNS to "
                        "another folder.")
                yield
            finally:
                with contextlib.suppress(OSError):
                    lock.unlink()
    except Timeout:
        raise CourseError(f"Another process is making {save_to}. Wait until it ends, or stop it, "
                          "and run this again.") from None


# What a run says of itself, and how two of them are told apart

def _environment() -> dict:
    """What a result depends on beside data and settings; a training goes on only if it agrees."""
    backend = keras.backend.backend()
    names = ("keras", backend, "numpy", "pandas", "pillow")
    return {
        "course": __version__, "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "backend": backend, "onednn": ONEDNN, "device": device(),
        "versions": {name: version(name) for name in names}}


def _finished(path: Path, wanted: dict, log) -> Run:
    """Read a run that is there already, if it is the one that was asked for."""
    run = load_run(path)
    elsewhere = _made_elsewhere(path, run.settings | run.about, wanted)
    note = f". It was made elsewhere ({_told(elsewhere)})" if elsewhere else ""
    log(f"Read the finished run {path.name}; move it away to train again{note}")
    return run


# If a run or a checkpoint differs in these only, it was made elsewhere, and is usable.
_ELSEWHERE = ("course", "python", "system", "backend", "onednn", "device", "versions", "winograd",
              "precision")
_RESULTS = ("machines", "kept_epoch", "train_accuracy", "begun_with")  # what came out on the way


def _made_elsewhere(path: Path, then: dict, now: dict) -> dict:
    """Return in what a file's place of making differs; CourseError if it is of another training."""
    different = _different(then, now)
    elsewhere = {name: different.pop(name) for name in _ELSEWHERE if name in different}
    if different:
        raise CourseError(f"{path} is of other settings or data ({_told(different)}). Move it away "
                          "to train again.")
    return elsewhere


def _different(then: dict, now: dict) -> dict:
    """Return what differs between two descriptions of a run: name, and the two values."""
    return {name: [then.get(name), now.get(name)] for name in {**then, **now}
            if name not in _RESULTS and (then.get(name) or "") != (now.get(name) or "")}


def _told(different: dict) -> str:
    """Say in words what differs; of packages, only those that do."""
    parts = []
    for name, (then, now) in different.items():
        if isinstance(then, dict) and isinstance(now, dict):
            parts.append(_told(_different(then, now)))
        else:
            parts.append(f"{name}: {then} there, {now} here")
    return "; ".join(parts)


def _reseed(model, seed: int, epoch: int) -> None:
    """Make augmentation and dropout of an epoch depend on (seed, epoch) alone.

    They keep their random state in variables named ``seed_generator_state``. With these set anew,
    an epoch is the same whether the ones before it ran in this process or in one that was killed.
    """
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    draws = np.random.SeedSequence([seed, epoch]).generate_state(len(states))
    for state, draw in zip(states, draws, strict=True):
        state.assign(np.array([draw, 0], dtype="uint32"))
    if keras.backend.backend() == "torch":  # its dropout draws from PyTorch's own random numbers
        keras.utils.set_random_seed(int(draws[0]))


def _epoch_line(history: list[dict], epochs: int) -> str:
    """Return one line such as Figure 7 of the report prints for each epoch."""
    row, done = history[-1], len(history)
    names = ("accuracy", "loss", "val_accuracy", "val_loss")
    numbers = "  ".join(f"{name} {row[name]:.4f}" for name in names)
    left = np.mean([past["seconds"] for past in history]) * (epochs - done)
    remaining = f"  about {left / 60:.0f} min left" if left > 60 else ""
    return f"Epoch {done:2}/{epochs}  {row['seconds']:4.0f} s  {numbers}{remaining}"
