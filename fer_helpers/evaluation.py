"""Numbers from predictions: they take arrays and return frames, and know no dataset or model."""

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics

from fer_helpers.emotions import EMOTIONS

_LABELS = range(len(EMOTIONS))


def accuracy_and_loss(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the accuracy (0 to 1) and the mean cross-entropy (nats, without any penalty).

    Parameters
    ----------
    probabilities
        float [n, 6], rows sum to 1.
    labels
        int [n], true classes.
    """
    return {
        "accuracy": metrics.accuracy_score(labels, probabilities.argmax(axis=1)),
        # float64: scikit-learn checks that the rows sum to 1 and clips by the type's precision.
        "cross_entropy": metrics.log_loss(
            labels, _normalised(probabilities), labels=list(_LABELS)
        ),
    }


def _normalised(probabilities: np.ndarray) -> np.ndarray:
    wide = probabilities.astype(np.float64)
    return wide / wide.sum(axis=1, keepdims=True)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    """Count images by true class (rows) and predicted class (columns), as in Figures 11 and 14."""
    counts = metrics.confusion_matrix(labels, predictions, labels=list(_LABELS))
    return pd.DataFrame(
        counts,
        index=pd.Index(EMOTIONS, name="true"),
        columns=pd.Index(EMOTIONS, name="predicted"),
    )


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
        zero_division=0,
    )
    frame = pd.DataFrame(report).T.drop("accuracy", errors="ignore")
    return frame.astype({"support": int})


def sample_of_predictions(probabilities: np.ndarray, labels: np.ndarray, count: int,
                          seed: int) -> pd.DataFrame:
    """Draw ``count`` test images and list what was predicted for them (Figure 15).

    Returns
    -------
    DataFrame
        Indexed by position in the test set; ``true``, ``predicted``, ``probability`` of the
        predicted class, ``correct``.
    """
    positions = np.random.RandomState(seed).permutation(len(labels))[:count]
    return _predictions(probabilities, labels, positions)


def confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, count: int) -> pd.DataFrame:
    """List the ``count`` wrong predictions of which the model was most sure, surest first.

    Returns
    -------
    DataFrame
        As from :func:`sample_of_predictions`.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    surest = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return _predictions(probabilities, labels, wrong[surest[:count]])


def _predictions(probabilities, labels, positions) -> pd.DataFrame:
    predicted = probabilities[positions].argmax(axis=1)
    return pd.DataFrame({
        "true": [EMOTIONS[i] for i in labels[positions]],
        "predicted": [EMOTIONS[i] for i in predicted],
        "probability": probabilities[positions].max(axis=1),
        "correct": predicted == labels[positions],
    }, index=pd.Index(positions, name="position"))


# Honest comparison

def accuracy_interval(correct: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson interval of an accuracy (Wilson 1927): low and high, 0 to 1.

    It answers: which true accuracies fit ``correct`` right answers on ``images`` images?
    """
    interval = stats.binomtest(int(correct), int(images)).proportion_ci(confidence, "wilson")
    return float(interval.low), float(interval.high)


def mcnemar(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Compare the predictions of two models on the same images (exact test, McNemar 1947).

    Only the images count that one model has right and the other wrong. If the models are equally
    good, each such image is a toss of a coin.

    Returns
    -------
    dict
        ``only_first`` and ``only_second`` (images that only this model has right) and ``p_value``.
    """
    right_first, right_second = first == labels, second == labels
    only_first = int((right_first & ~right_second).sum())
    only_second = int((right_second & ~right_first).sum())
    tosses = only_first + only_second
    p_value = stats.binomtest(only_first, tosses).pvalue if tosses else 1.0
    return {"only_first": only_first, "only_second": only_second, "p_value": float(p_value)}


def _resampled_sums(values: np.ndarray, groups: np.ndarray, resamples: int, seed: int):
    """Draw whole groups with replacement; add up each column of ``values`` in every draw."""
    _, position = np.unique(groups, return_inverse=True)
    sums = np.zeros((position.max() + 1, values.shape[1]))
    np.add.at(sums, position, values)
    rng = np.random.default_rng(seed)
    n = len(sums)
    return np.stack([np.bincount(rng.integers(0, n, n), minlength=n) @ sums
                     for _ in range(resamples)])


def bootstrap_difference(labels: np.ndarray, first: np.ndarray, second: np.ndarray,
                         groups: np.ndarray, *, resamples: int = 2000, confidence: float = 0.95,
                         seed: int = 0) -> dict[str, float]:
    """Return the accuracy of ``first`` minus that of ``second``, with an interval, -1 to 1.

    A paired bootstrap (Efron 1979): the same images for both models. Copies of a picture are not
    independent, so whole groups are drawn and not single images.

    Parameters
    ----------
    groups
        [n], images with equal values are copies of each other.

    Returns
    -------
    dict
        ``difference``, ``low`` and ``high``.
    """
    gain = (first == labels).astype(float) - (second == labels)
    values = np.column_stack([gain, np.ones(len(labels))])
    sums = _resampled_sums(values, groups, resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [tail, 1 - tail])
    return {"difference": float(gain.mean()), "low": float(low), "high": float(high)}


def class_intervals(labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray, *,
                    resamples: int = 2000, confidence: float = 0.95,
                    seed: int = 0) -> pd.DataFrame:
    """Return precision, recall and F1 of each class with bootstrap intervals, 0 to 1.

    Returns
    -------
    DataFrame
        One row a class; for each measure the columns value, ``low`` and ``high``, such as
        (``f1-score``, ``low``). Groups are drawn as in :func:`bootstrap_difference`.
    """
    n = len(EMOTIONS)
    cells = np.eye(n * n)[labels * n + predictions]  # each image is one cell of the matrix
    matrices = _resampled_sums(cells, groups, resamples, seed).reshape(-1, n, n)
    found = confusion_matrix(labels, predictions).to_numpy()[None].astype(float)
    tail = (1 - confidence) / 2
    columns = {}
    for name in ("precision", "recall", "f1-score"):
        columns[name, "value"] = _measure(found, name)[0]
        columns[name, "low"], columns[name, "high"] = np.quantile(
            _measure(matrices, name), [tail, 1 - tail], axis=0)
    return pd.DataFrame(columns, index=list(EMOTIONS))


def class_differences(labels: np.ndarray, first: np.ndarray, second: np.ndarray,
                      groups: np.ndarray, *, measure: str = "f1-score", resamples: int = 2000,
                      confidence: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Return precision, recall or F1 of ``first`` minus that of ``second``, class by class.

    Returns
    -------
    DataFrame
        One row a class: ``difference``, ``low`` and ``high``, -1 to 1. Both models are tested on
        the same draws of groups, as in :func:`bootstrap_difference`.
    """
    n = len(EMOTIONS)
    cells = np.hstack([np.eye(n * n)[labels * n + answers] for answers in (first, second)])
    drawn = _resampled_sums(cells, groups, resamples, seed).reshape(-1, 2, n, n)
    found = cells.sum(axis=0).reshape(1, 2, n, n)
    value, samples = (_measure(both[:, 0], measure) - _measure(both[:, 1], measure)
                      for both in (found, drawn))
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return pd.DataFrame({"difference": value[0], "low": low, "high": high}, index=list(EMOTIONS))


def _measure(matrices: np.ndarray, name: str) -> np.ndarray:
    """Precision, recall or F1 [k, 6] of confusion matrices [k, 6, 6]; 0 where there is nothing."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    predicted, true = matrices.sum(axis=1), matrices.sum(axis=2)
    total = {"precision": predicted, "recall": true, "f1-score": (predicted + true) / 2}[name]
    return np.divide(right, total, out=np.zeros_like(right), where=total > 0)


def over_seeds(values, confidence: float = 0.95) -> dict[str, float]:
    """Return mean, standard deviation and t interval of the mean of one number a seed.

    One seed has no spread: ``sd``, ``low`` and ``high`` are then nan.
    """
    values = np.asarray(values, dtype=float)
    low = high = sd = np.nan
    if len(values) > 1:
        sd = values.std(ddof=1)
        interval = stats.ttest_1samp(values, 0).confidence_interval(confidence)
        low, high = interval.low, interval.high
    return {"seeds": len(values), "mean": values.mean(), "sd": sd, "low": low, "high": high}


def seeds_needed(difference: float, sd: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many seeds of each model would show a difference of their means.

    In a t test of two models whose accuracies have the standard deviation ``sd`` over seeds, a true
    ``difference`` is then found with the probability ``power``.
    """
    from statsmodels.stats.power import TTestIndPower  # slow to import, seldom needed

    test, effect, n = TTestIndPower(), abs(difference) / sd, 2
    while not test.power(effect, n, alpha) >= power:
        n += 1
    return n


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Compare how sure a model is with how often it is right.

    Returns
    -------
    DataFrame
        One row for each bin of confidence (the largest probability of an image) that holds images:
        ``confidence`` (mean, 0 to 1), ``accuracy`` (0 to 1) and ``images``.
    """
    sure = probabilities.max(axis=1)
    number = np.minimum((sure * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"confidence": sure, "accuracy": probabilities.argmax(axis=1) == labels})
    groups = frame.astype(float).groupby(number)
    return groups.mean().assign(images=groups.size()).rename_axis("bin")


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Return the mean gap between confidence and accuracy, weighted by images (Guo et al. 2017).

    ``table`` is from :func:`reliability`.
    """
    gap = (table["confidence"] - table["accuracy"]).abs()
    return float((gap * table["images"]).sum() / table["images"].sum())


def accuracy_by_copies(labels: np.ndarray, predictions: np.ndarray,
                       copies: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy on all test images, and apart for those known from training.

    Parameters
    ----------
    copies
        From :func:`fer_helpers.runs.known_copies`.

    Returns
    -------
    DataFrame
        ``images``, ``accuracy`` and its Wilson interval ``low`` to ``high``.
    """
    seen, left_out = copies["copy_in_train"].to_numpy(), copies["copy_left_out"].to_numpy()
    parts = {"all": np.ones(len(labels), bool), "no copy in train": seen == "",
             "exact copy, left out of train": left_out == "exact",
             "near copy in train": seen == "near", "exact copy in train": seen == "exact"}
    rows = {}
    for name, part in parts.items():
        images, right = int(part.sum()), int((labels == predictions)[part].sum())
        if images:
            low, high = accuracy_interval(right, images)
            rows[name] = {"images": images, "accuracy": right / images, "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def epoch_choice(histories: list[pd.DataFrame]) -> pd.DataFrame:
    """Say what it was worth to choose the epoch on the test images.

    Parameters
    ----------
    histories
        Of runs that differ by their seed, or by little.

    Returns
    -------
    DataFrame
        One row a run, accuracies on the test images (0 to 1): at the ``best`` epoch, at the one
        with the ``lowest loss`` (early stopping), at the ``last``, and at the one that is best on
        average in the ``other runs``, chosen without a look at this one.
    """
    curves = pd.DataFrame({i: history["val_accuracy"] for i, history in enumerate(histories)})
    rows = []
    for i, history in enumerate(histories):
        curve = history["val_accuracy"]
        chosen = curves.drop(columns=i).mean(axis=1).idxmax() if len(histories) > 1 else None
        rows.append({"best": curve.max(), "lowest loss": curve[history["val_loss"].idxmin()],
                     "last": curve.iloc[-1], "other runs": curve.get(chosen, np.nan)})
    return pd.DataFrame(rows)
