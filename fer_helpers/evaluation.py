"""Numbers from predictions: they take arrays and return frames, and know no dataset or model.

Labels and predictions are int [n], from 0 to 5: positions in ``EMOTIONS``.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn import metrics

from fer_helpers.course import EMOTIONS

_LABELS = range(len(EMOTIONS))


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    """Count images by true class (rows) and predicted class (columns), as in Figures 11 and 14."""
    counts = metrics.confusion_matrix(labels, predictions, labels=list(_LABELS))
    return pd.DataFrame(counts, index=pd.Index(EMOTIONS, name="true"),
                        columns=pd.Index(EMOTIONS, name="predicted"))


def most_confused(matrix: pd.DataFrame) -> pd.Series:
    """Rank the 15 pairs of classes by how many images of one were taken for the other.

    Both directions count together. ``matrix`` is from :func:`confusion_matrix`.
    """
    both = matrix.to_numpy() + matrix.to_numpy().T
    rows, columns = np.triu_indices(len(both), 1)
    names = [f"{matrix.index[i]}/{matrix.index[j]}" for i, j in zip(rows, columns, strict=True)]
    return pd.Series(both[rows, columns], index=names, name="images").sort_values(
        ascending=False, kind="stable")


def classification_report(labels: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    """Return precision, recall, F1 (0 to 1) and support per class, with two means below.

    A class that is never predicted has precision 0.
    """
    report = metrics.classification_report(
        labels, predictions, labels=list(_LABELS), target_names=EMOTIONS, output_dict=True,
        zero_division=0)
    return pd.DataFrame(report).T.drop("accuracy").astype({"support": int})


def by_class(counts: np.ndarray, measure: str) -> np.ndarray:
    """Return precision, recall or F1 of each class, [..., 6], from confusion counts [..., 36].

    ``measure`` is ``precision``, ``recall`` or ``f1-score``. For :func:`bootstrap`, together with
    :func:`cells`. A class without any image gets 0.
    """
    matrices = counts.reshape(*counts.shape[:-1], len(EMOTIONS), len(EMOTIONS))
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    predicted, true = matrices.sum(axis=-2), matrices.sum(axis=-1)
    total = {"precision": predicted, "recall": true, "f1-score": (predicted + true) / 2}[measure]
    return np.divide(right, total, out=np.zeros_like(right, float), where=total > 0)


def cells(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Say of each image in which of the 36 cells of the confusion matrix it is: 0 or 1, [n, 36]."""
    return np.eye(len(EMOTIONS) ** 2)[labels * len(EMOTIONS) + predictions]


def bootstrap(values: np.ndarray, groups: np.ndarray, statistic: Callable = lambda means: means,
              *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Return statistics of images with their 95 % bootstrap intervals (Efron 1979).

    Copies of a picture are not independent, so whole groups are drawn, with replacement, and not
    single images. As many groups are drawn as there are; the number of images then varies.

    ``values`` are numbers of each image, [n] or [n, k]; in ``groups``, [n], copies of each other
    have equal values. ``statistic`` takes the means of ``values`` over the images drawn, [..., k],
    and returns [..., m] numbers; left out, these means are the statistics. Returns m rows:
    ``value``, and the ends of its interval, ``low`` and ``high``.
    """
    values = np.asarray(values, dtype=float).reshape(len(groups), -1)
    _, position = np.unique(groups, return_inverse=True)
    sums = np.zeros((position.max() + 1, values.shape[1] + 1))
    np.add.at(sums, position, np.column_stack([values, np.ones(len(values))]))
    rng, n = np.random.default_rng(seed), len(sums)
    drawn = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) @ sums
                      for _ in range(resamples)])
    found = statistic(values.mean(axis=0))
    low, high = np.quantile(statistic(drawn[:, :-1] / drawn[:, -1:]), [0.025, 0.975], axis=0)
    return pd.DataFrame({"value": found, "low": low, "high": high})
