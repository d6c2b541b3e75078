import pytest

from fer_helpers import models, report


def test_it_holds_what_was_printed_and_nothing_else():
    assert set(report.printed()) == {
        "counts", "original", "training", "evaluation", "accuracy", "precision", "predictions",
        "log", "layers"}
    assert report.printed() is report.printed(), "read once"


def test_the_printed_log_is_whole():
    log = report.printed_log()
    assert list(log.index) == list(range(1, 21))
    assert list(log.columns) == ["seconds", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert log["val_loss"].idxmin() == report.printed()["log"]["best_epoch"] == 18
    assert log.loc[18, "val_loss"] == 1.3261
    assert log["seconds"].sum() == 12_923  # added up by hand


def test_accuracies_are_whole_numbers_of_images():
    images = 6 * report.printed()["counts"]["test"]
    for accuracy, right in (("baseline", 1697), ("final", 1989), ("ablation", 1908)):
        assert round(right / images, 4) == report.printed()["accuracy"][accuracy]


@pytest.mark.parametrize(("model", "build", "otherwise"), [
    ("baseline", models.build_baseline, [3, 6, 7, 9]),
    ("final", models.build_final, [0, 1, 5, 6, 10, 16, 18]),
])
def test_rows_that_the_report_has_otherwise(model, build, otherwise):
    table = report.layer_comparison(models.layer_table(build()), model)
    found = table[~(table["output_agrees"] & table["parameters_agree"])]
    assert list(found.index) == otherwise


def test_layers_of_another_model_are_refused():
    with pytest.raises(ValueError, match="not those of the report's final model"):
        report.layer_comparison(models.layer_table(models.build_baseline()), "final")
