"""Tables against counting, the bootstrap against a loop and against the truth."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_helpers import evaluation
from fer_helpers.course import EMOTIONS

CLASS = st.integers(0, 5)
PAIRS = st.lists(st.tuples(CLASS, CLASS), min_size=1, max_size=40)  # label, prediction
MEASURES = ["precision", "recall", "f1-score"]


@pytest.mark.filterwarnings(  # a class without images is nothing to warn of
    "error::RuntimeWarning", "error::sklearn.exceptions.UndefinedMetricWarning")
@given(PAIRS)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_tables_are_what_counting_gives(pairs):
    labels, predictions = np.array(pairs).T
    counted, six = Counter(pairs), range(6)
    matrix = evaluation.confusion_matrix(labels, predictions)
    assert list(matrix.index) == list(matrix.columns) == list(EMOTIONS)
    assert (matrix.index.name, matrix.columns.name) == ("true", "predicted")
    assert matrix.to_numpy().tolist() == [[counted[i, j] for j in six] for i in six]
    ranked = evaluation.most_confused(matrix)
    both = {f"{EMOTIONS[i]}/{EMOTIONS[j]}": counted[i, j] + counted[j, i]
            for i in six for j in six if i < j}
    assert [*ranked.items()] == sorted(both.items(), key=lambda pair: -pair[1])
    report = evaluation.classification_report(labels, predictions)
    assert list(report.index) == [*EMOTIONS, "macro avg", "weighted avg"]
    assert report["support"].tolist() == [*np.bincount(labels, minlength=6), *[len(labels)] * 2]
    right = np.array([counted[i, i] for i in six])
    predicted, true = (np.bincount(x, minlength=6) for x in (predictions, labels))
    cells = evaluation.cells(labels, predictions)
    for measure, total in zip(MEASURES, (predicted, true, (predicted + true) / 2), strict=True):
        by_hand = right / np.where(total > 0, total, 1)
        np.testing.assert_allclose(report[measure].iloc[:6], by_hand)
        assert report.loc["macro avg", measure] == pytest.approx(by_hand.mean())
        weighted = np.average(by_hand, weights=true)
        assert report.loc["weighted avg", measure] == pytest.approx(weighted)
        for counts in (cells.sum(axis=0), np.stack([cells, cells]).sum(axis=1).astype(int)):
            found = evaluation.by_class(counts, measure)
            np.testing.assert_allclose(found, np.broadcast_to(by_hand, found.shape))


def test_the_bootstrap_draws_whole_groups():
    """The same draws as a loop over the images; by default 2,000 of them, with seed 0."""
    rng = np.random.default_rng(5)
    groups = rng.choice([3, 7, 8, 20, 21, 40], 30)
    values = rng.random((30, 2)) < 0.6
    names = np.unique(groups)

    def by_loop(resamples, seed):
        draw, means = np.random.default_rng(seed), []
        for _ in range(resamples):
            chosen = [names[i] for i in draw.integers(0, len(names), len(names))]
            means.append(np.concatenate([values[groups == name] for name in chosen]).mean(axis=0))
        return values.mean(axis=0), *np.quantile(means, [0.025, 0.975], axis=0)

    for found, given_ in ((evaluation.bootstrap(values, groups), (2000, 0)),
                          (evaluation.bootstrap(values, groups, resamples=50, seed=1), (50, 1))):
        assert list(found) == ["value", "low", "high"]
        np.testing.assert_allclose(found.to_numpy().T, by_loop(*given_))
    gain = evaluation.bootstrap(values, groups, lambda means: means[..., :1] - means[..., 1:])
    alone = evaluation.bootstrap(values[:, 0].astype(float) - values[:, 1], groups)
    np.testing.assert_allclose(gain, alone)


def test_the_bootstrap_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(120), np.arange(120) % 5 + 1)  # 120 pictures, 360 images
    inside = np.zeros(2)
    for i in range(200):  # one model's right answers minus another's; copies come out the same
        first, second = (rng.random(120) < accuracy for accuracy in (0.6, 0.5))
        gain = (first.astype(float) - second)[groups]
        for k, of in enumerate((groups, np.arange(360))):
            row = evaluation.bootstrap(gain, of, resamples=300, seed=i).iloc[0]
            inside[k] += row["low"] <= 0.1 <= row["high"]
    assert inside[0] / 200 == pytest.approx(0.95, abs=0.045)  # three standard errors
    assert inside[1] / 200 < 0.85, "whoever takes copies for independent is too sure"
