"""Train a network as the report did, one epoch at a time, and keep everything as a Run."""

import contextlib
import io
import json
import math
import os
import platform
import subprocess
import time
import zipfile
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from fer_helpers import __version__, models, winograd
from fer_helpers.augmentation import REPORT_AUGMENTATION
from fer_helpers.course import COURSE, EMOTIONS, CourseError, write_whole
from fer_helpers.dataset import Balanced, Dataset, Examples
from fer_helpers.keras_quietly import ONEDNN, keras
from fer_helpers.runs import Answers, Run, load_run, save_run


@dataclass(frozen=True)
class Settings:
    """What a training needs to know. The defaults are the report's final run (section 3.2)."""

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-4
    patience: int | None = 3  # epochs without a lower val_loss; None trains to the end
    augmentation: dict = field(default_factory=lambda: dict(REPORT_AUGMENTATION))
    seed: int = 0
    # What the report did not do (notebook 10). Left as they are, a run does not mention them.
    one_cycle: bool = False  # up to learning_rate and down to 0, instead of a constant rate
    weight_decay: float = 0.0  # shrinks the weights beside the gradient (AdamW)
    # Sides of the training images in pixels, each for an equal part of the epochs. The test images
    # get the last one: a network that learned at one size fails at another.
    sizes: tuple[int, ...] = ()
    both_ways: bool = False  # the predictions are the mean over each test image and its mirror


# The report's experiments: how to build the network, and in what they differ from the defaults.
# The report gives none of the baseline's settings. These are the likeliest reading, written down
# before any run with them, and kept whatever comes out: 0.001 is Keras's default, and section 3.2.3
# says that the rate was *lowered* to 0.0001 later; mirroring is the first thing that one tries, and
# the augmentation was "another" than the later one, of which it is a part; the listing of the
# network has one dropout, without its rate (0.25 is that of the final model's blocks).
EXPERIMENTS = {
    "baseline": (models.build_baseline, {
        "learning_rate": 1e-3, "patience": None, "augmentation": {"horizontal_flip": True}}),
    "final": (models.build_final, {}),
    "ablation": (lambda: models.build_final(512), {}),
}
# Ours: nothing differs but the targets, which are those of learn_from_crowd (notebook 7).
EXPERIMENTS["baseline_crowd"] = EXPERIMENTS["baseline"]
SMALL_WARP = {"rotation": 10.0, "height_shift": 0.05, "width_shift": 0.05, "zoom": 0.1,
              "horizontal_flip": True}
# Beyond the report (notebook 10), on targets of smooth_labels, for three budgets of computing time.
EXPERIMENTS |= {f"compact_{epochs}": (models.build_compact, {
    "epochs": epochs, "learning_rate": 3e-3, "patience": None, "one_cycle": True,
    "weight_decay": 0.05, "sizes": (24, 32, 32, 32), "both_ways": True,
    "augmentation": SMALL_WARP}) for epochs in (10, 22, 88)}


def fresh_start(seed: int) -> None:
    """Forget earlier models and seed Python, NumPy and Keras: call it before building a network.

    Layer names and initial weights then do not depend on what ran before.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)


def run_file(dataset: Dataset, model: str, seed: int) -> Path | None:
    """Return where the run of a user's own dataset is kept: in ``runs/``; none for the fixture."""
    folder = COURSE / "runs" / dataset.name
    return None if dataset.is_fixture else folder / f"{model}_seed{seed}.npz"


def train(build, data: Balanced, settings: Settings, *, save_to: Path | None = None,
          log=print) -> Run:
    """Build a network from the seed, train it, one printed line an epoch, and predict the test set.

    As in the report, the *test* images are the validation data: early stopping looks at them.
    The best weights are restored if ``patience`` is set, whether training stopped early or not.

    ``build``, such as :func:`fer_helpers.models.build_final`, returns an untrained network; it is
    called after :func:`fresh_start`. ``data`` is from :func:`fer_helpers.dataset.load_balanced`.
    After ``learn_from_crowd`` or ``smooth_labels`` the network learns from shares, not labels:
    training accuracies count how often it gives the class with the largest share; tests are by
    labels as ever. An epoch takes ``len(train) // batch_size`` steps; ``log`` takes its line.

    ``save_to`` is a file for the run, ending in ``.npz``. If it is there already, it is returned.
    The state after each epoch goes into a checkpoint beside it. If that is there at the start,
    training goes on from it, and ends with the numbers of an uninterrupted training. The
    checkpoint is removed once the run is saved.

    Raises CourseError if there is no epoch to train, there are fewer training images than one
    batch, or the file or its checkpoint belongs to other settings or cannot be read or written.
    """
    if settings.epochs < 1:
        raise CourseError(f"{settings.epochs} epochs train nothing. Ask for at least one.")
    train_set, test_set, about, unused = data
    if len(train_set.labels) < settings.batch_size:
        raise CourseError(
            f"{len(train_set.labels)} training images do not fill one batch of "
            f"{settings.batch_size}. Ask for a smaller batch_size, or for more images."
        )
    shares = train_set.labels.ndim == 2
    if shares:  # one loss for both sets, so labels become shares of 0 and 1
        test_set = test_set._replace(labels=np.eye(len(EMOTIONS))[test_set.labels])
    if settings.sizes:
        test_set = _resized(test_set, settings.sizes[-1])
    fresh_start(settings.seed)
    network = build()
    kind = "" if shares else "sparse_"  # sparse: labels are positions and not one-hot vectors
    steps = len(train_set.labels) // settings.batch_size * settings.epochs
    model = _compiled(network, settings, f"{kind}categorical_crossentropy", steps)
    # Keras's own early stopping decides. It is called by hand, so that a checkpoint can hold it.
    stopper = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=settings.patience or settings.epochs,
        restore_best_weights=settings.patience is not None,
    )
    stopper.set_model(model)
    stopper.on_train_begin()

    dropout = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    chosen = {name: value for name, value in asdict(settings).items()
              if name not in ("one_cycle", "weight_decay", "sizes", "both_ways") or value}
    label = json.loads(json.dumps({"model": network.name, "dropout": dropout, **chosen}))
    about = about | _environment()
    if faster := winograd.speed_up(network):
        about["winograd"] = faster  # runs of other networks are what they were before
    history, machines, checkpoint = [], [], None
    if save_to:
        checkpoint = Path(save_to).with_suffix(".checkpoint")
        for left in checkpoint.parent.glob(f".{checkpoint.stem}.*.partial"):
            left.unlink()  # half a checkpoint, from a training that was killed
        if Path(save_to).exists():
            run = _finished(save_to, label, about)
            log(f"Read the finished run {Path(save_to).name}; move it away to train again")
            return run
        if checkpoint.exists():
            history, machines = _restore(checkpoint, model, stopper, label | about)
            log(f"Going on after epoch {len(history)} from {checkpoint.name}")
    if (machine := _machine()) not in machines:
        machines.append(machine)

    while len(history) < settings.epochs and not model.stop_training:
        row = _one_epoch(model, train_set, test_set, settings, epoch=len(history))
        stopper.on_epoch_end(len(history), row)
        history.append(row)
        if checkpoint:
            _save(checkpoint, model, stopper, label | about, history, machines)
        log(_epoch_line(history, settings.epochs))

    kept = len(history)
    if stopper.restore_best_weights:
        model.set_weights(stopper.best_weights)
        kept = stopper.best_epoch + 1
    # Whether a network overfits shows on the training images as they are, without dropout.
    if settings.sizes:
        train_set = _resized(train_set, settings.sizes[-1])
    trained = _mean_over_batches(model.test_on_batch, train_set, None, settings.batch_size)

    def answers(examples):
        found = predict(model, examples.images, settings.batch_size)
        if settings.both_ways:
            found += predict(model, examples.images[:, :, ::-1], settings.batch_size)
            found /= 2
        return found

    if unused is not None and settings.sizes:
        unused = _resized(unused, settings.sizes[-1])
    run = Run(
        settings=label,
        history=pd.DataFrame(history, index=pd.RangeIndex(1, len(history) + 1, name="epoch")),
        probabilities=answers(test_set),
        labels=data.test.labels,
        ids=test_set.ids,
        about=about | {"machines": machines, "kept_epoch": kept,
                       "train_accuracy": trained["accuracy"]},
        unused=None if unused is None or not len(unused.ids)
        else Answers(answers(unused), unused.labels, unused.ids),
    )
    if save_to:
        save_run(run, save_to)
        checkpoint.unlink()
    return run


def predict(model, images, batch_size: int = 64) -> np.ndarray:
    """Return the probabilities of images, float32 [n, 6], without the wait at the end."""
    starts = range(0, len(images), batch_size)
    return np.concatenate([model.predict_on_batch(images[i:i + batch_size]) for i in starts])


def _compiled(network, settings: Settings, loss: str, steps: int = 0):
    """Put the preprocessing in front; choose optimizer, loss and metrics (report, Figure 5)."""
    model = models.with_preprocessing(network, settings.augmentation, settings.seed)
    rate = settings.learning_rate
    if settings.one_cycle:
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 25, warmup_target=rate, warmup_steps=steps // 4, decay_steps=steps - steps // 4)
    model.compile(
        optimizer=keras.optimizers.Adam(rate, weight_decay=settings.weight_decay or None),
        loss=loss,
        # The loss is cross-entropy plus L2 penalty: this metric shows the first alone.
        metrics=["accuracy", keras.metrics.MeanMetricWrapper(keras.losses.get(loss),
                                                             name="cross_entropy")],
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _one_epoch(model, train_set: Examples, test_set: Examples, settings: Settings,
               epoch: int) -> dict:
    """Train for one epoch and test; return a row of the history."""
    started, cpu_started = time.perf_counter(), time.process_time()
    _reseed(model, settings.seed, epoch)
    if sizes := settings.sizes:
        last, side = (sizes[math.ceil((number + 1) * len(sizes) / settings.epochs) - 1]
                      for number in (max(epoch - 1, 0), epoch))
        train_set = _resized(train_set, side)
        if side != last:  # or TensorFlow would compile for any size, which changes last digits
            model.make_train_function(force=True)
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(train_set.labels))
    # Like the report, leave out the images that do not fill a last batch.
    order = order[:len(order) // settings.batch_size * settings.batch_size]
    row = _mean_over_batches(model.train_on_batch, train_set, order, settings.batch_size)
    tested = _mean_over_batches(model.test_on_batch, test_set, None, settings.batch_size)
    row |= {f"val_{name}": value for name, value in tested.items()}
    return row | {"seconds": time.perf_counter() - started,
                  "cpu_seconds": time.process_time() - cpu_started}


def _resized(examples: Examples, side: int) -> Examples:
    """Change the size of images to uint8 [n, side, side, 1]."""
    images = keras.ops.image.resize(examples.images, (side, side), antialias=True)
    return examples._replace(images=np.asarray(keras.ops.round(images)).astype(np.uint8))


def _mean_over_batches(step, examples: Examples, order, batch_size: int) -> dict:
    """Call ``step`` with one batch after the other; return the mean of each of its results.

    ``fit`` and ``evaluate`` would do the same. But with TensorFlow 2.21 they often wait at their
    end, for about as long as they ran, until a sleeping thread of tf.data wakes up.
    """
    order = np.arange(len(examples.labels)) if order is None else order
    batches = [order[i:i + batch_size] for i in range(0, len(order), batch_size)]
    results = pd.DataFrame([step(examples.images[batch], examples.labels[batch], return_dict=True)
                            for batch in batches])
    weights = [len(batch) for batch in batches]
    return {name: float(np.average(results[name], weights=weights)) for name in results}


def _finished(path: Path, label: dict, about: dict) -> Run:
    """Read a run that is there already, if it is the one that was asked for."""
    run = load_run(path)
    same = run.settings == label and about.items() <= run.about.items()
    if not same or run.about.get("targets") != about.get("targets"):
        raise CourseError(
            f"{path} holds a run with other settings, data or versions. Move it away to train "
            "again."
        )
    return run


def _environment() -> dict:
    """What a result depends on beside data and settings; a training goes on only if it agrees."""
    backend = keras.backend.backend()
    names = ("keras", backend, "numpy", "pandas", "pillow")
    return {
        "course": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "backend": backend,
        "onednn": ONEDNN,
        "device": keras.distribution.list_devices()[0].split(":")[0],
        "versions": {name: version(name) for name in names},
    }


def _machine() -> dict:
    """Where a training ran, for the record: last digits and seconds depend on it."""
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    commit = ""
    with contextlib.suppress(OSError):  # no git
        command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        commit = subprocess.run(command, cwd=COURSE, capture_output=True, text=True).stdout.strip()
    return {"processor": processor, "cores": os.cpu_count(), "commit": commit}


def _reseed(model, seed: int, epoch: int) -> None:
    """Make augmentation and dropout of an epoch depend on (seed, epoch) alone.

    They keep their random state in variables named ``seed_generator_state``. With these set anew,
    an epoch is the same whether the ones before it ran in this process or in one that was killed.
    """
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    draws = np.random.SeedSequence([seed, epoch]).generate_state(len(states))
    for state, draw in zip(states, draws, strict=True):
        state.assign(np.array([draw, 0], dtype="uint32"))


def _epoch_line(history: list[dict], epochs: int) -> str:
    """Return one line such as Figure 7 of the report prints for each epoch."""
    row, done = history[-1], len(history)
    numbers = "  ".join(
        f"{name} {row[name]:.4f}" for name in ("accuracy", "loss", "val_accuracy", "val_loss")
    )
    left = np.mean([past["seconds"] for past in history]) * (epochs - done)
    remaining = f"  about {left / 60:.0f} min left" if left > 60 else ""
    return f"Epoch {done:2}/{epochs}  {row['seconds']:4.0f} s  {numbers}{remaining}"


def _save(path: Path, model, stopper, label: dict, history: list[dict], machines: list) -> None:
    """Write the state after an epoch: weights, optimizer, early stopping, history, machines."""
    arrays = {f"state_{i}": np.asarray(v) for i, v in enumerate(_state(model))}
    arrays |= {f"best_{i}": weights for i, weights in enumerate(stopper.best_weights or [])}
    text = json.dumps({
        "label": label, "history": history, "machines": machines, "stop": model.stop_training,
        "stopper": {name: float(getattr(stopper, name)) for name in _STOPPER},
    })
    buffer = io.BytesIO()
    np.savez(buffer, text=text, **arrays)
    write_whole(path, buffer.getbuffer())


_STOPPER = ("best", "best_epoch", "wait", "stopped_epoch")


def _state(model) -> list:
    """All variables that the next epoch depends on."""
    return [*model.weights, *model.optimizer.variables]


def _restore(path: Path, model, stopper, label: dict) -> tuple[list[dict], list[dict]]:
    """Put a saved state back; return the history so far, and the machines that made it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            text = json.loads(str(file["text"]))
            if text["label"] != label:
                raise ValueError("it belongs to other settings, data or versions")
            state = [file[f"state_{i}"] for i in range(len(_state(model)))]
            if stopper.restore_best_weights:
                stopper.best_weights = [file[f"best_{i}"] for i in range(len(model.weights))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CourseError(
            f"{path} cannot be continued: {error}. Delete it to start this training again."
        ) from error
    for variable, value in zip(_state(model), state, strict=True):
        variable.assign(value)
    for name, value in text["stopper"].items():
        setattr(stopper, name, value if name == "best" else int(value))
    model.stop_training = text["stop"]
    return text["history"], text["machines"]
