import numpy as np
import pytest
from sklearn import metrics

from fer_helpers import evaluation
from fer_helpers.emotions import EMOTIONS

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


def test_accuracy_and_loss():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(6), 100).astype(np.float32)
    labels = rng.integers(0, 6, 100)
    found = evaluation.accuracy_and_loss(probabilities, labels)
    assert found["accuracy"] == metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    by_definition = -np.log(probabilities[np.arange(100), labels]).mean()
    assert found["cross_entropy"] == pytest.approx(by_definition, rel=1e-5)
    guessing = np.full((6, 6), 1 / 6, dtype=np.float32)
    assert evaluation.accuracy_and_loss(guessing, np.arange(6))["cross_entropy"] == pytest.approx(
        np.log(6))


def test_sample_of_predictions():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(6), 50)
    labels = rng.integers(0, 6, 50)
    sample = evaluation.sample_of_predictions(probabilities, labels, 20, seed=0)
    assert len(sample) == sample.index.nunique() == 20
    for position, row in sample.iterrows():
        assert row["true"] == EMOTIONS[labels[position]]
        assert row["predicted"] == EMOTIONS[probabilities[position].argmax()]
        assert row["probability"] == probabilities[position].max()
        assert row["correct"] == (row["true"] == row["predicted"])
    again = evaluation.sample_of_predictions(probabilities, labels, 20, seed=0)
    assert sample.equals(again)
    other = evaluation.sample_of_predictions(probabilities, labels, 20, seed=1)
    assert list(other.index) != list(sample.index)
