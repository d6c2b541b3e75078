import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from fer_helpers import evaluation
from fer_helpers.course import EMOTIONS

# Eight images; by hand: 5 of 8 right.
LABELS = np.array([0, 0, 1, 1, 2, 3, 4, 5])
PREDICTIONS = np.array([0, 1, 1, 1, 3, 3, 4, 0])


def test_confusion_matrix_has_true_classes_down():
    matrix = evaluation.confusion_matrix(LABELS, PREDICTIONS)
    assert list(matrix.index) == list(matrix.columns) == list(EMOTIONS)
    assert matrix.loc["happy", "sad"] == 1, "a happy face called sad"
    assert matrix.loc["sad", "happy"] == 0
    assert matrix.loc["fear", "surprise"] == 1
    assert np.trace(matrix) == 5
    assert matrix.to_numpy().sum() == 8


def test_most_confused_counts_both_directions():
    matrix = pd.DataFrame(np.arange(36).reshape(6, 6), index=EMOTIONS, columns=EMOTIONS)
    ranked = evaluation.most_confused(matrix)
    assert len(ranked) == 15
    assert ranked.index[0] == "neutral/angry"
    assert ranked.iloc[0] == matrix.loc["neutral", "angry"] + matrix.loc["angry", "neutral"]
    assert ranked.sum() == matrix.to_numpy().sum() - np.trace(matrix)


def test_classification_report_by_hand():
    report = evaluation.classification_report(LABELS, PREDICTIONS)
    assert report.loc["happy"].tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 2, 2])
    assert report.loc["sad"].tolist() == pytest.approx([2 / 3, 1, 0.8, 2])
    assert report.loc["fear"].tolist() == [0, 0, 0, 1], "never predicted"
    assert report.loc["macro avg", "recall"] == pytest.approx((0.5 + 1 + 0 + 1 + 1 + 0) / 6)
    assert report.loc["weighted avg", "recall"] == pytest.approx(5 / 8)
    assert list(report.index) == [*EMOTIONS, "macro avg", "weighted avg"]


def test_classes_that_do_not_occur_are_listed_all_the_same():
    report = evaluation.classification_report(np.zeros(3, int), np.zeros(3, int))
    assert list(report.index) == [*EMOTIONS, "macro avg", "weighted avg"]
    assert evaluation.confusion_matrix(np.zeros(3, int), np.zeros(3, int)).shape == (6, 6)


# Honest comparison: against statsmodels, SciPy and scikit-learn

GROUPS = np.repeat(np.arange(120), np.arange(120) % 5 + 1)  # 120 pictures, 360 images


def gains(rng):
    """One model's right answers minus another's; all images of a group come out the same."""
    first, second = (rng.random(120) < accuracy for accuracy in (0.6, 0.5))
    return (first.astype(float) - second)[GROUPS]


def test_the_bootstrap_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    inside = {"groups": 0, "images": 0}
    for i in range(400):
        gain = gains(rng)
        for name, groups in (("groups", GROUPS), ("images", np.arange(360))):
            row = evaluation.bootstrap(gain, groups, resamples=400, seed=i).iloc[0]
            inside[name] += row["low"] <= 0.1 <= row["high"]
    assert inside["groups"] / 400 == pytest.approx(0.95, abs=0.035)
    assert inside["images"] / 400 < 0.85, "whoever takes copies for independent is too sure"


def test_the_bootstrap_agrees_with_scipy():
    gain = gains(np.random.default_rng(4))
    sums, sizes = np.bincount(GROUPS, gain), np.bincount(GROUPS).astype(float)
    expected = stats.bootstrap(
        (sums, sizes), lambda g, s, axis: g.sum(axis=axis) / s.sum(axis=axis), paired=True,
        vectorized=True, method="percentile", n_resamples=20_000, rng=5).confidence_interval
    found = evaluation.bootstrap(gain, GROUPS, resamples=20_000)
    assert found.loc[0].tolist() == pytest.approx([gain.mean(), expected.low, expected.high],
                                                  abs=0.006)
    assert found.equals(evaluation.bootstrap(gain, GROUPS, resamples=20_000)), "seeded"


@pytest.mark.parametrize("measure", ["precision", "recall", "f1-score"])
def test_the_bootstrap_of_classes(measure):
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(6), 100)
    predicted = np.where(rng.random(600) < 0.6, labels, rng.integers(0, 6, 600))
    table = evaluation.bootstrap(evaluation.cells(labels, predicted), np.arange(600),
                                 lambda counts: evaluation.by_class(counts, measure))
    report = evaluation.classification_report(labels, predicted).iloc[:6]
    np.testing.assert_allclose(table["value"], report[measure])
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()
    if measure == "recall":  # a share of about 100 images: its interval is about Wilson's
        ends = proportion_confint(100 * report["recall"], 100, method="wilson")
        np.testing.assert_allclose(table[["low", "high"]].T, ends, atol=0.03)


def test_a_class_that_is_never_predicted_has_no_precision():
    counts = evaluation.cells(np.arange(6), np.zeros(6, int)).sum(axis=0)
    assert evaluation.by_class(counts, "precision").tolist() == [1 / 6, 0, 0, 0, 0, 0]
