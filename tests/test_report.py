import numpy as np
import pandas as pd
import pytest

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
