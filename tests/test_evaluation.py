import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

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


def test_confident_mistakes_are_wrong_and_the_surest_come_first():
    rng = np.random.default_rng(12)
    probabilities, labels = rng.dirichlet(np.ones(6), 100), rng.integers(0, 6, 100)
    table = evaluation.confident_mistakes(probabilities, labels, 10)
    assert not table["correct"].any()
    assert table["probability"].is_monotonic_decreasing
    wrong = probabilities.argmax(axis=1) != labels
    others = np.setdiff1d(np.flatnonzero(wrong), table.index)
    assert probabilities[others].max() <= table["probability"].min()
    row = table.iloc[0]
    assert EMOTIONS[labels[table.index[0]]] == row["true"] != row["predicted"]
    assert len(evaluation.confident_mistakes(np.eye(6), np.arange(6), 3)) == 0


# Honest comparison: against statsmodels and scikit-learn, and against simulations

LABELS_200 = np.random.default_rng(0).integers(0, 6, 200)


def predictions(accuracy, rng, labels):
    right = rng.random(len(labels)) < accuracy
    return np.where(right, labels, (labels + rng.integers(1, 6, len(labels))) % 6)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (7, 20), (1989, 3594), (599, 599)])
def test_accuracy_interval_agrees_with_statsmodels(right, n):
    expected = proportion_confint(right, n, method="wilson")
    assert evaluation.accuracy_interval(right, n) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("p", "n"), [(0.55, 3594), (0.3, 599), (0.9, 72)])
def test_coverage_of_the_accuracy_interval(p, n):
    # Not simulated: the probability of each possible count, added up where the interval holds p.
    counts = np.arange(n + 1)
    likely = counts[stats.binom.pmf(counts, n, p) > 1e-9]
    inside = [low <= p <= high for low, high in
              (evaluation.accuracy_interval(k, n) for k in likely)]
    coverage = stats.binom.pmf(likely, n, p)[inside].sum()
    assert coverage == pytest.approx(0.95, abs=0.015)


def test_mcnemar_agrees_with_statsmodels():
    rng = np.random.default_rng(1)
    for _ in range(20):
        first, second = (predictions(a, rng, LABELS_200) for a in (0.6, 0.5))
        table = pd.crosstab(first == LABELS_200, second == LABELS_200)
        found = evaluation.mcnemar(LABELS_200, first, second)
        assert found["p_value"] == pytest.approx(mcnemar(table, exact=True).pvalue)
        assert (found["only_first"], found["only_second"]) == (
            table.loc[True, False], table.loc[False, True])
    assert evaluation.mcnemar(LABELS_200, first, first)["p_value"] == 1


def test_size_and_power_of_mcnemar():
    # Two models on the same 600 images, 2,000 times.
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(6), 100)

    def rejected(first, second):
        return np.mean([evaluation.mcnemar(labels, predictions(first, rng, labels),
                                           predictions(second, rng, labels))["p_value"] < 0.05
                        for _ in range(2000)])

    assert rejected(0.55, 0.55) < 0.055, "an exact test is wrong in at most one case of twenty"
    # By arithmetic: the difference 0.10 has a spread of about 0.0285, so z = 3.5.
    assert rejected(0.60, 0.50) == pytest.approx(0.92, abs=0.03)


def clustered(rng, accuracies, groups):
    """Labels and predictions of two models; all images of a group are right or wrong together."""
    labels = np.zeros(len(groups), int)
    size = groups.max() + 1
    both = [(rng.random(size) > accuracy).astype(int)[groups] for accuracy in accuracies]
    return labels, *both


GROUPS = np.repeat(np.arange(120), np.arange(120) % 5 + 1)  # 120 pictures, 360 images


def test_the_bootstrap_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    inside, alone = 0, 0
    for i in range(400):
        labels, first, second = clustered(rng, (0.6, 0.5), GROUPS)
        grouped, single = (
            evaluation.bootstrap_difference(labels, first, second, groups, resamples=400, seed=i)
            for groups in (GROUPS, np.arange(360)))
        inside += grouped["low"] <= 0.1 <= grouped["high"]
        alone += single["low"] <= 0.1 <= single["high"]
    assert inside / 400 == pytest.approx(0.95, abs=0.035)
    assert alone / 400 < 0.85, "whoever takes copies for independent is too sure"


def test_the_bootstrap_agrees_with_scipy():
    rng = np.random.default_rng(4)
    labels, first, second = clustered(rng, (0.6, 0.5), GROUPS)
    gains = np.bincount(GROUPS, (first == labels) - (second == labels).astype(float))
    sizes = np.bincount(GROUPS).astype(float)
    expected = stats.bootstrap(
        (gains, sizes), lambda g, s, axis: g.sum(axis=axis) / s.sum(axis=axis), paired=True,
        vectorized=True, method="percentile", n_resamples=20_000, rng=5).confidence_interval
    found = evaluation.bootstrap_difference(labels, first, second, GROUPS, resamples=20_000)
    assert found["low"] == pytest.approx(expected.low, abs=0.006)
    assert found["high"] == pytest.approx(expected.high, abs=0.006)
    assert found["difference"] == pytest.approx(
        metrics.accuracy_score(labels, first) - metrics.accuracy_score(labels, second))
    again = evaluation.bootstrap_difference(labels, first, second, GROUPS, resamples=20_000)
    assert found == again, "seeded"


def test_class_intervals():
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(6), 100)
    predicted = predictions(0.6, rng, labels)
    groups = np.arange(600)
    table = evaluation.class_intervals(labels, predicted, groups)
    report = evaluation.classification_report(labels, predicted).iloc[:6]
    for name in ("precision", "recall", "f1-score"):
        np.testing.assert_allclose(table[name, "value"], report[name])
        assert (table[name, "low"] < report[name]).all()
        assert (report[name] < table[name, "high"]).all()
    # A recall is a share of 100 images: its interval is about Wilson's.
    for emotion, row in report.iterrows():
        low, high = evaluation.accuracy_interval(round(100 * row["recall"]), 100)
        assert table.loc[emotion, ("recall", "low")] == pytest.approx(low, abs=0.03)
        assert table.loc[emotion, ("recall", "high")] == pytest.approx(high, abs=0.03)


def test_class_differences():
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(6), 100)
    first, second = (predictions(accuracy, rng, labels) for accuracy in (0.7, 0.6))
    groups = np.arange(600)
    reports = [evaluation.classification_report(labels, answers).iloc[:6]
               for answers in (first, second)]
    for name in ("precision", "recall", "f1-score"):
        table = evaluation.class_differences(labels, first, second, groups, measure=name)
        np.testing.assert_allclose(table["difference"], reports[0][name] - reports[1][name])
    # The recall of a class is the accuracy on its images.
    table = evaluation.class_differences(labels, first, second, groups, measure="recall")
    for i, emotion in enumerate(EMOTIONS):
        part = labels == i
        alone = evaluation.bootstrap_difference(labels[part], first[part], second[part],
                                                groups[part])
        assert table.loc[emotion].to_dict() == pytest.approx(alone, abs=0.025)
    same = evaluation.class_differences(labels, first, first, groups, resamples=20)
    assert (same == 0).all(axis=None), "the same draws for both"


def test_a_class_that_is_never_predicted_has_no_precision():
    labels = np.array([0, 1, 2, 3, 4, 5] * 5)
    table = evaluation.class_intervals(labels, np.zeros(30, int), np.arange(30), resamples=50)
    assert (table.loc["sad"] == 0).all()
    assert table.loc["happy", ("precision", "value")] == pytest.approx(1 / 6)


def test_coverage_over_seeds():
    rng = np.random.default_rng(7)
    draws = rng.normal(0.45, 0.03, (3000, 3))
    found = [evaluation.over_seeds(values) for values in draws]
    inside = np.mean([f["low"] <= 0.45 <= f["high"] for f in found])
    assert inside == pytest.approx(0.95, abs=0.015)
    assert found[0]["mean"] == pytest.approx(draws[0].mean())
    assert found[0]["sd"] == pytest.approx(pd.Series(draws[0]).std())


def test_one_seed_has_no_spread():
    found = evaluation.over_seeds([0.55])
    assert found["mean"] == 0.55
    assert np.isnan([found["sd"], found["low"], found["high"]]).all()


def test_so_many_seeds_have_the_power_that_was_asked_for():
    n = evaluation.seeds_needed(0.0225, 0.02)
    assert 10 <= n <= 20
    rng = np.random.default_rng(8)

    def power(n):
        first, second = rng.normal(0.5534, 0.02, (4000, n)), rng.normal(0.5309, 0.02, (4000, n))
        return (stats.ttest_ind(first, second, axis=1).pvalue < 0.05).mean()

    assert power(n) > 0.78
    assert power(n - 2) < 0.80


@pytest.mark.parametrize("sd", [0.0001, 0.003])
def test_two_seeds_are_enough_where_the_spread_is_tiny(sd):
    assert evaluation.seeds_needed(0.0225, sd) == 2


def test_reliability_agrees_with_scikit_learn():
    rng = np.random.default_rng(9)
    probabilities = rng.dirichlet(np.full(6, 0.7), 2000)
    labels = np.array([rng.choice(6, p=p) for p in probabilities])
    table = evaluation.reliability(probabilities, labels)
    right, sure = calibration_curve(probabilities.argmax(axis=1) == labels,
                                    probabilities.max(axis=1), n_bins=10)
    np.testing.assert_allclose(table["accuracy"], right)
    np.testing.assert_allclose(table["confidence"], sure)
    assert table["images"].sum() == 2000
    # Labels were drawn from the probabilities, so the model is as sure as it should be ...
    assert evaluation.expected_calibration_error(table) < 0.04
    # ... and one that is always sure is as far off as it is wrong.
    certain = np.eye(6)[probabilities.argmax(axis=1)]
    error = evaluation.expected_calibration_error(evaluation.reliability(certain, labels))
    assert error == pytest.approx((probabilities.argmax(axis=1) != labels).mean())


def test_accuracy_by_copies():
    labels = np.array([0, 1, 2, 3, 4, 5])
    predicted = np.array([0, 1, 2, 0, 0, 0])
    copies = pd.DataFrame({"copy_in_train": ["exact", "near", "", "", "", "near"],
                           "copy_left_out": ["", "", "exact", "near", "", ""]})
    table = evaluation.accuracy_by_copies(labels, predicted, copies)
    assert table["images"].to_dict() == {
        "all": 6, "no copy in train": 3, "exact copy, left out of train": 1,
        "near copy in train": 2, "exact copy in train": 1}
    assert table["accuracy"].tolist() == pytest.approx([1 / 2, 1 / 3, 1, 1 / 2, 1])
    assert (table["low"] < table["high"]).all()
    none = evaluation.accuracy_by_copies(labels, predicted, copies.assign(copy_in_train=""))
    assert "near copy in train" not in none.index


def test_epoch_choice():
    histories = [pd.DataFrame({"val_accuracy": values, "val_loss": losses}, index=[1, 2, 3])
                 for values, losses in (([0.1, 0.5, 0.4], [3, 2, 1]), ([0.2, 0.3, 0.6], [3, 2, 1]),
                                        ([0.2, 0.4, 0.5], [3, 1, 2]))]
    table = evaluation.epoch_choice(histories)
    assert table["best"].tolist() == [0.5, 0.6, 0.5]
    assert table["lowest loss"].tolist() == [0.4, 0.6, 0.4]
    assert table["last"].tolist() == [0.4, 0.6, 0.5]
    assert table["other runs"].tolist() == [0.4, 0.3, 0.5]
    assert np.isnan(evaluation.epoch_choice(histories[:1])["other runs"]).all()
