"""A run: everything that one training left behind, in memory or in one file; runs compared.

A run made a minute ago and a run read from ``data/reference/`` are the same type, so the same
functions draw both.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

from fer_helpers.copies import known_copies
from fer_helpers.course import EMOTIONS, REFERENCE
from fer_helpers.report import printed
from machinery.files import CourseError, write_whole


@dataclass(frozen=True)
class Answers:
    """What a network says of some images, row by row."""

    probabilities: np.ndarray  # float32 [n, 6], rows sum to 1
    labels: np.ndarray  # int64 [n], true classes as positions in EMOTIONS
    ids: np.ndarray  # str [n], paths of the images inside the dataset

    @property
    def predictions(self) -> np.ndarray:
        """The most probable class of each image, int64 [n]."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of images classified correctly, 0 to 1."""
        return float((self.predictions == self.labels).mean())


@dataclass(frozen=True)
class Run(Answers):
    """One finished training and its answers on the test images."""

    settings: dict  # what was asked for: model, epochs, learning rate, seed, ...
    history: pd.DataFrame  # one row an epoch, index 1, 2, ...; the last columns are seconds
    # dataset, form and fingerprint, versions, device, oneDNN, machines (processor, cores, commit),
    # kept_epoch, and train_accuracy: on the training images as they are, without dropout
    about: dict
    # Of the test images that the draw leaves out: nobody looked at them before the training ended.
    unused: Answers | None = None  # older files have none

    @property
    def cross_entropy(self) -> float:
        """The mean cross-entropy on the test images: nats, without any penalty."""
        return float(self.history.loc[self.about["kept_epoch"], "val_cross_entropy"])


ARRAYS = ("probabilities", "labels", "ids")


def save_run(run: Run, path: Path) -> None:
    """Save a run as one ``.npz`` file, whole or not at all; CourseError if it cannot be written."""
    arrays = {name: getattr(run, name) for name in ARRAYS}
    if run.unused:
        arrays |= {f"unused_{name}": getattr(run.unused, name) for name in ARRAYS}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, **arrays, settings=json.dumps(run.settings), about=json.dumps(run.about),
        history=json.dumps(run.history.to_dict(orient="list")))
    write_whole(path, buffer.getvalue())


def load_run(path: Path) -> Run:
    """Load a run that :func:`save_run` saved. Nothing in the file is executed.

    Raises CourseError if the file is missing, damaged, or not a run.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        texts = {name: json.loads(str(content[name])) for name in ("settings", "history", "about")}
        texts["history"] = history = pd.DataFrame(texts["history"])
        history.index = pd.RangeIndex(1, len(history) + 1, name="epoch")
        unused = None
        if "unused_ids" in content:
            unused = Answers(**{name: content[f"unused_{name}"] for name in ARRAYS})
        run = Run(**{name: content[name] for name in ARRAYS}, **texts, unused=unused)
        for answers in (run, unused or run):
            if answers.probabilities.shape != (len(answers.labels), len(EMOTIONS)):
                raise ValueError(f"probabilities have shape {answers.probabilities.shape}")
            if len(answers.ids) != len(answers.labels):
                raise ValueError(f"{len(answers.ids)} ids for {len(answers.labels)} labels")
    except FileNotFoundError:
        raise CourseError(f"No run at {path}. Train it first, or restore the file.") from None
    except Exception as error:  # zipfile, zlib and NumPy have many kinds
        raise CourseError(
            f"{path} is not a complete run ({error}). Delete it and train it again, or restore it."
        ) from error
    return run


def reference_runs(model: str) -> list[Run]:
    """Return the FER-2013 runs of one model that come with the course, by seed; maybe none.

    ``cpu/`` before the model's name asks for those made on a CPU (``data/README.md``).
    """
    return [load_run(path) for path in sorted(REFERENCE.glob(f"{model}_seed*.npz"))]


def accuracies(runs: list[Run]) -> pd.DataFrame:
    """Return three accuracies (0 to 1) of runs on the original FER-2013, one row a seed.

    - ``test images``: those of the report's protocol, to compare with the report.
    - ``without a copy``: those of them that have no copy, exact or near, in *train*.
    - ``unused``: the test images that the draw left out, without a copy in *train*. No early
      stopping and no choice has looked at them: this is the number to believe. Their classes are
      of unequal size, so it is the mean recall: the accuracy that equal classes would have. It is
      nan for older files, which lack these answers.

    Raises CourseError for a run on other images.
    """
    rows = {}
    for run in runs:
        new, unused = _new(run), run.unused
        rows[run.settings["seed"]] = {
            "test images": run.accuracy,
            "without a copy": (run.predictions == run.labels)[new].mean(),
            "unused": np.nan if unused is None else metrics.balanced_accuracy_score(
                unused.labels[_new(unused)], unused.predictions[_new(unused)])}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")


def _new(answers: Answers) -> np.ndarray:
    return (known_copies(answers.ids)["copy_in_train"] == "").to_numpy()


def closing_table(model: str, run: Run) -> pd.DataFrame:
    """Put side by side, as text: the report, the course's FER-2013 runs, and the run made here.

    ``model`` is ``baseline``, ``final`` or ``ablation``, ``run`` the run made in the notebook.
    Several shipped runs give the mean, and the range over seeds in brackets.
    """
    said = {
        "dataset": "fer2013", "runs": "1", "test images": f"{6 * printed()['counts']['test']:,}",
        "epochs run": str(printed()["training"]["epochs"]) if model == "final" else "not said",
        "test accuracy": f"{printed()['accuracy'][model]:.2%}"}
    here = "drawn faces" if run.about["dataset"] == "fixture" else "run made here"
    table = pd.DataFrame({"report": said, "shipped runs": _column(reference_runs(model)),
                          here: _column([run])})
    return table.reindex(list(_column([run]))).fillna("")


def _column(runs: list[Run]) -> dict[str, str]:
    def text(values, form=".2%"):
        low, mean, high = (format(x, form) for x in (min(values), np.mean(values), max(values)))
        return mean if len(values) == 1 else f"{mean} ({low} to {high})"

    epochs = sorted({len(run.history) for run in runs})
    names = {run.about["dataset"] for run in runs}
    three = {name: text(column.dropna()) if column.any() else ""
             for name, column in accuracies(runs if names == {"fer2013"} else []).items()}
    return {
        "dataset": ", ".join(sorted(names)),
        "runs": str(len(runs)),
        "test images": f"{len(runs[0].labels):,}",
        "epochs run": " to ".join(map(str, epochs[:1] + epochs[1:][-1:])),
        "test accuracy": text([run.accuracy for run in runs]),
        "... without a copy in train": three.get("without a copy", ""),
        "... unused, without a copy": three.get("unused", ""),
        "test cross-entropy": text([run.cross_entropy for run in runs], ".3f"),
    }


def design_difference(first: list[Run], second: list[Run],
                      measure=lambda run: run.accuracy) -> pd.Series:
    """Subtract the mean accuracy over the seeds of a second design from that of a first.

    The course's one rule for comparing designs: Welch's t interval (1947). One run of a design has
    no spread, so the ends are then nan: nothing is settled. ``measure`` takes any other number of
    a run. Returns ``value``, ``low`` and ``high``, in the measure's unit. Raises CourseError if
    the runs are not all of the same images: of an original and an altered copy, for example.
    """
    found = {(run.about["dataset"], run.about.get("fingerprint")) for run in first + second}
    if len(found) > 1:
        raise CourseError(f"These runs cannot be compared, they are of different images: "
                          f"{sorted(map(str, found))}. Compare runs of one dataset and draw.")
    one, two = ([measure(run) for run in runs] for runs in (first, second))
    low = high = np.nan
    if min(len(one), len(two)) > 1:
        low, high = stats.ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    return pd.Series({"value": np.mean(one) - np.mean(two), "low": low, "high": high})
