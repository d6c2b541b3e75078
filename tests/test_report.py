import pytest

from fer_helpers import models, report


def test_the_printed_numbers_are_whole():
    assert set(report.printed()) == {
        "counts", "original", "training", "evaluation", "accuracy", "precision", "predictions",
        "log", "layers"}
    assert report.printed() is report.printed(), "read once"
    log = report.printed_log()
    assert list(log.index) == list(range(1, 21)) and log.index.name == "epoch"
    assert list(log.columns) == ["seconds", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert log["val_loss"].idxmin() == report.printed()["log"]["best_epoch"] == 18
    assert log.loc[18, "val_loss"] == 1.3261
    assert log["seconds"].sum() == 12_923  # added up by hand
    images = 6 * report.printed()["counts"]["test"]
    for accuracy, right in (("baseline", 1697), ("final", 1989), ("ablation", 1908)):
        assert round(right / images, 4) == report.printed()["accuracy"][accuracy]


@pytest.mark.parametrize(("model", "build", "outputs", "parameters"), [
    ("baseline", models.build_baseline, {6: "1536", 9: "1"}, {
        3: "36,832", 7: "3,718,048", 9: "1,280"}),
    ("final", models.build_final, {18: "1"}, {
        0: "528", 1: "10,496", 5: "71,680", 6: "289,792", 10: "3,189,184", 16: "37,743,104",
        18: "0.154"}),
])
def test_rows_that_the_report_has_otherwise(model, build, outputs, parameters):
    found = report.layer_comparison(models.layer_table(build()), model)
    for what, agrees, printed in (("output", "output_agrees", outputs),
                                  ("parameters", "parameters_agree", parameters)):
        assert found.loc[~found[agrees], f"printed_{what}"].to_dict() == printed
        same = found.loc[found[agrees], [what, f"printed_{what}"]]
        ours = same[what] if what == "output" else same[what].map("{:,}".format)
        assert ours.tolist() == same[f"printed_{what}"].tolist()
    one_more = found.assign(parameters=found["parameters"] + 1)
    assert not report.layer_comparison(one_more, model)["parameters_agree"][
        found["parameters_agree"]].any(), "exactly, however large"
    for other in (models.layer_table(models.build_final(8))[1:], models.layer_table(build())[::-1]):
        with pytest.raises(ValueError, match=f"not those of the report's {model} model"):
            report.layer_comparison(other, model)
