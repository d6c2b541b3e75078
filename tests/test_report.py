import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from fer_helpers import models, report
from fer_helpers.runs import Run


def test_the_printed_log_is_whole():
    log = report.printed_log()
    assert list(log.index) == list(range(1, 21))
    assert log["val_loss"].idxmin() == report.printed()["log"]["best_epoch"] == 18
    assert log.loc[18, "val_loss"] == 1.3261
    assert log["seconds"].sum() == 12_923  # added up by hand


def test_accuracies_are_whole_numbers_of_images():
    images = 6 * report.printed()["counts"]["test"]
    for accuracy, right in (("baseline", 1697), ("final", 1989), ("ablation", 1908)):
        assert round(right / images, 4) == report.printed()["accuracy"][accuracy]


@pytest.mark.parametrize(("model", "build", "wrong"), [
    ("baseline", models.build_baseline, [3, 6, 7, 9]),
    ("final", models.build_final, [0, 1, 5, 6, 10, 16, 18]),
])
def test_rows_that_the_report_misprints(model, build, wrong):
    table = report.layer_comparison(models.layer_table(build()), model)
    found = table[~(table["output_agrees"] & table["parameters_agree"])]
    assert list(found.index) == wrong


def test_layers_of_another_model_are_refused():
    with pytest.raises(ValueError, match="not those of the report's final model"):
        report.layer_comparison(models.layer_table(models.build_baseline()), "final")


def run_with_accuracy(right, total, epochs):
    labels = np.zeros(total, int)
    probabilities = np.full((total, 6), 0.1, np.float32)
    probabilities[:right, 0] = 0.5
    probabilities[right:, 1] = 0.5
    return Run({}, pd.DataFrame({"loss": [1.0] * epochs}), probabilities, labels,
               np.array(["x"] * total), {"dataset": "fixture"})


def test_closing_table():
    table = report.closing_table("final", run_with_accuracy(3, 4, 2), [])
    assert list(table.columns) == ["report", "run made here"]
    assert table.loc["test accuracy"].tolist() == ["55.34%", "75.00%"]
    assert table.loc["test images"].tolist() == ["3,594", "4"]
    assert table.loc["epochs run"].tolist() == ["20", "2"]
    assert float(table.loc["test cross-entropy", "run made here"]) == pytest.approx(
        -(3 * np.log(0.5) + np.log(0.1)) / 4, abs=1e-3)


def test_closing_table_gives_the_spread_over_seeds():
    references = [run_with_accuracy(right, 4, epochs) for right, epochs in ((1, 20), (3, 17))]
    column = report.closing_table("baseline", references[0], references)["shipped FER-2013 runs"]
    assert column["runs"] == "2"
    assert column["test accuracy"] == "50.00% (25.00% to 75.00%)"
    assert column["epochs run"] == "17 to 20"


def test_differences_of_two_models(monkeypatch):
    """Two seeds of each, on images of which the last hundred have a copy in train."""
    labels = np.tile(np.arange(6), 100)
    known = pd.DataFrame({"group": np.arange(600), "copy_in_train": [""] * 500 + ["exact"] * 100,
                          "copy_left_out": [""] * 600})

    def made_up(seed, right):
        predictions = np.where(right, labels, (labels + 1) % 6)
        return Run({"seed": seed}, pd.DataFrame(), np.eye(6, dtype=np.float32)[predictions],
                   labels, labels.astype(str), {})

    position = np.arange(600)
    runs = {"baseline": [made_up(seed, position < 360 - 30 * seed) for seed in range(2)],
            "final": [made_up(0, position < 360), made_up(1, position < 330),
                      made_up(7, position < 0)],  # a seed that the other model does not have
            "ablation": [made_up(0, position < 300),
                         made_up(1, (position < 282) | (position > 587))]}
    monkeypatch.setattr(report, "reference_runs", runs.get)
    monkeypatch.setattr(report, "known_copies", lambda run: known)
    table, control = report.differences("final", "ablation").values()
    assert list(table.index) == [
        "report", "seed 0, all images", "seed 0, new images only", "seed 1, all images",
        "seed 1, new images only", "means of 2 seeds"]
    assert table["difference"].tolist() == pytest.approx(
        [0.0225, 60 / 600, 60 / 500, 36 / 600, 48 / 500, 48 / 600])
    assert control["difference"].to_dict() == pytest.approx({
        "final, seed 0 - 1": 30 / 600, "final, seed 1 - 7": 330 / 600,
        "ablation, seed 0 - 1": 6 / 600, "baseline, seed 0 - 1": 30 / 600})
    assert (table["low"] < table["difference"]).all()
    assert (table["difference"] < table["high"]).all()
    # McNemar's spread: the root of the number of images on which the two differ.
    width = (table["high"] - table["low"]).loc["seed 0, all images"]
    assert width == pytest.approx(2 * 1.96 * np.sqrt(60 - 60**2 / 600) / 600, rel=0.08)
    expected = CompareMeans(DescrStatsW([0.6, 0.55]), DescrStatsW([0.5, 0.49])).tconfint_diff(
        usevar="unequal")
    assert table.loc["means of 2 seeds", ["low", "high"]].tolist() == pytest.approx(expected)


def test_the_reports_difference_has_the_interval_of_two_proportions():
    row = report.differences("final", "ablation")["another model"].loc["report"]
    low, high = confint_proportions_2indep(1989, 3594, 1908, 3594, method="wald")
    assert row["low"] == pytest.approx(low, abs=2e-4)
    assert row["high"] == pytest.approx(high, abs=2e-4)
