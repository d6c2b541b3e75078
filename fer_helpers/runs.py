"""A run: everything that one training left behind, in memory or in one file.

A run made a minute ago and a run read from ``data/reference/`` are the same type, so the same
functions draw both.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fer_helpers.emotions import COURSE, EMOTIONS, CourseError
from fer_helpers.files import write_whole

REFERENCE = COURSE / "data" / "reference"


@dataclass(frozen=True)
class Run:
    """One finished training and its predictions on the test images."""

    settings: dict  # what was asked for: model, epochs, learning rate, seed, ...
    history: pd.DataFrame  # one row an epoch, index 1, 2, ...; the last columns are seconds
    probabilities: np.ndarray  # float32 [n, 6], rows sum to 1
    labels: np.ndarray  # int64 [n], true classes as positions in EMOTIONS
    ids: np.ndarray  # str [n], paths of the test images inside the dataset
    about: dict  # dataset and its fingerprint, versions, device, best epoch, accuracy in train

    @property
    def predictions(self) -> np.ndarray:
        """The most probable class of each test image, int64 [n]."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of test images classified correctly, 0 to 1."""
        return float((self.predictions == self.labels).mean())


def save_run(run: Run, path: Path) -> None:
    """Save a run as one ``.npz`` file, whole or not at all.

    Raises
    ------
    CourseError
        If the file cannot be written.
    """
    text = {
        "settings": json.dumps(run.settings),
        "about": json.dumps(run.about),
        "history": json.dumps(run.history.to_dict(orient="list")),
    }
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, probabilities=run.probabilities.astype(np.float32), labels=run.labels,
        ids=run.ids, **text,
    )
    write_whole(path, buffer.getvalue())


def load_run(path: Path) -> Run:
    """Load a run that :func:`save_run` saved. Nothing in the file is executed.

    Raises
    ------
    CourseError
        If the file is missing, damaged, or not a run.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        history = pd.DataFrame(json.loads(str(content["history"])))
        history.index = pd.RangeIndex(1, len(history) + 1, name="epoch")
        run = Run(
            settings=json.loads(str(content["settings"])),
            history=history,
            probabilities=content["probabilities"],
            labels=content["labels"],
            ids=content["ids"],
            about=json.loads(str(content["about"])),
        )
        if run.probabilities.shape != (len(run.labels), len(EMOTIONS)):
            raise ValueError(f"probabilities have shape {run.probabilities.shape}")
        if len(run.ids) != len(run.labels):
            raise ValueError(f"{len(run.ids)} ids for {len(run.labels)} labels")
    except FileNotFoundError:
        raise CourseError(f"No run at {path}. Train it first, or restore the file.") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CourseError(
            f"{path} is not a complete run ({error}). Delete it and train it again, or restore it."
        ) from error
    return run


def reference_runs(model: str) -> list[Run]:
    """Return the FER-2013 runs of one model that come with the course, by seed; maybe none."""
    return [load_run(path) for path in sorted(REFERENCE.glob(f"{model}_seed*.npz"))]


def known_copies(run: Run) -> pd.DataFrame:
    """Say which test images of a shipped FER-2013 run are copies (notebook 1 finds them).

    Returns
    -------
    DataFrame
        One row a test image, in the run's order: ``group`` (equal for copies of each other) and
        ``copy_in_train`` (``exact``, ``near`` or nothing), and ``copy_left_out``, the same for
        copies among the training images that were not drawn.
    """
    listed = pd.read_csv(REFERENCE / "fer2013_test_copies.csv", index_col="path",
                         keep_default_na=False)
    rows = listed.reindex(run.ids)
    alone = pd.Series(-1 - np.arange(len(rows)), index=rows.index)  # not listed: its own group
    return rows.assign(group=rows["group"].fillna(alone).astype(int)).fillna("")
