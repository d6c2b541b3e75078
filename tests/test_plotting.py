import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_helpers import evaluation, models, plotting, report
from fer_helpers.emotions import EMOTIONS, CourseError

RNG = np.random.default_rng(0)
LABELS, PREDICTIONS = RNG.integers(0, 6, 200), RNG.integers(0, 6, 200)
IMAGES = RNG.integers(0, 256, (20, 48, 48, 1), dtype=np.uint8)
COUNTS = pd.DataFrame([[10, 20, 3], [4, 5, 1]], index=["train", "test"],
                      columns=["happy", "sad", "disgust"])


RELIABILITY = pd.DataFrame({"confidence": [0.19, 0.25, 0.95], "accuracy": [0, 0.3, 0.8],
                            "images": [9.0, 40.0, 60.0]}, index=[1, 2, 9])


def predictions():
    probabilities = RNG.dirichlet(np.ones(6), 20)
    sample = evaluation.sample_of_predictions(probabilities, LABELS[:20], 20, 0)
    return plotting.plot_predictions(IMAGES[sample.index], sample)


def layer_table():
    table = models.layer_table(models.build_baseline())
    return plotting.plot_layer_table(report.layer_comparison(table, "baseline"), "layers")


DRAW = {
    "counts": lambda: plotting.plot_counts(COUNTS, COUNTS.drop(columns="disgust") - 2),
    "grid": lambda: plotting.plot_image_grid(IMAGES[:6], list("abcdef"), 4, row_labels=["one"]),
    "layers": layer_table,
    "history": lambda: plotting.plot_history(report.printed_log(), "the report's log", 18),
    "history over the report's": lambda: plotting.plot_history(
        report.printed_log() + 0.1, "title", 18, behind=("report", report.printed_log())),
    "maps": lambda: plotting.plot_maps(IMAGES[:3], {"one": np.eye(48)[None].repeat(3, 0)},
                                       list("abc")),
    "reliability": lambda: plotting.plot_reliability(RELIABILITY, "title"),
    "loss parts": lambda: plotting.plot_loss_parts(
        report.printed_log().assign(cross_entropy=1.2), "title"),
    "confusion": lambda: plotting.plot_confusion_and_report(
        evaluation.confusion_matrix(LABELS, PREDICTIONS),
        evaluation.classification_report(LABELS, PREDICTIONS), "title"),
    "predictions": predictions,
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_FIGURES", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", DRAW)
def test_each_figure_is_drawn_and_saved_the_same_twice(name, folder):
    assert plotting.save_figure(DRAW[name](), name, "fixture") == f"fixture/{name}.png"
    first = (folder / "fixture" / f"{name}.png").read_bytes()
    with Image.open(folder / "fixture" / f"{name}.png") as picture:
        assert min(picture.size) > 150
        assert np.asarray(picture.convert("L")).std() > 5, "not blank"
    if name != "predictions":  # drawn from a running generator
        plotting.save_figure(DRAW[name](), name, "fixture")
        assert (folder / "fixture" / f"{name}.png").read_bytes() == first


def test_a_figure_says_which_dataset_it_shows(folder):
    figure = DRAW["counts"]()
    plotting.save_figure(figure, "x", "custom-mine")
    assert [text.get_text() for text in figure.texts] == ["dataset: custom-mine"]


def test_an_unwritable_figures_folder(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("FER_FIGURES", str(tmp_path / "taken"))
    with pytest.raises(CourseError, match=r"taken.*cannot be written.*Check that the folder"):
        plotting.save_figure(DRAW["counts"](), "x", "fixture")


def test_history_draws_the_numbers_given():
    log = report.printed_log()
    left, right = plotting.plot_history(log, "title", 18).axes
    for axis, name in ((left, "accuracy"), (right, "loss")):
        lines = {line.get_label(): line.get_ydata() for line in axis.lines}
        np.testing.assert_array_equal(lines["train (augmented)"], log[name])
        np.testing.assert_array_equal(lines["test"], log[f"val_{name}"])
        assert lines["weights kept: epoch 18"] is not None


def test_history_over_the_reports_log_draws_all_eight_curves():
    log = report.printed_log()
    left, right = plotting.plot_history(log * 1.1, "title", behind=("report", log)).axes
    for axis, name in ((left, "accuracy"), (right, "loss")):
        lines = {line.get_label(): line.get_ydata() for line in axis.lines}
        for what, column in (("train (augmented)", name), ("test", f"val_{name}")):
            np.testing.assert_array_equal(lines[f"report: {what}"], log[column])
            np.testing.assert_allclose(lines[what], 1.1 * log[column])


def test_the_parts_of_the_loss_add_up():
    history = report.printed_log().assign(cross_entropy=np.linspace(2.2, 1.2, 20))
    axis = plotting.plot_loss_parts(history, "title").axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axis.lines}
    np.testing.assert_allclose(lines["cross-entropy"] + lines["L2 penalty"], lines["loss"])
    np.testing.assert_array_equal(lines["loss"], history["loss"])
    assert lines["guessing: ln 6"][0] == pytest.approx(np.log(6))


def test_confusion_matrix_runs_true_down_and_predicted_across_and_darker_is_more():
    matrix = evaluation.confusion_matrix(np.array([0] * 9 + [1]), np.array([1] * 9 + [0]))
    axis = plotting.plot_confusion_and_report(
        matrix, evaluation.classification_report(LABELS, PREDICTIONS), "title").axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")
    assert [t.get_text() for t in axis.get_yticklabels()] == list(EMOTIONS)
    cells = [t.get_text() for t in axis.texts]
    assert cells[:2] == ["0", "9"], "first row: happy, called sad nine times"
    colours = axis.collections[0].get_facecolors()[:, :3].sum(axis=1)
    assert colours.argmin() == 1, "nine images are the darkest cell"


def test_predictions_say_what_was_right():
    sample = pd.DataFrame({"true": ["sad", "fear"], "predicted": ["sad", "happy"],
                           "probability": [0.8, 0.4], "correct": [True, False]})
    axes = plotting.plot_predictions(IMAGES[:2], sample).axes
    assert [a.get_title() for a in axes[:2]] == ["sad 80%\nright", "happy 40%\nis fear"]


def test_layer_table_marks_misprints_only():
    table = report.layer_comparison(models.layer_table(models.build_baseline()), "baseline")
    cells = plotting.plot_layer_table(table, "layers").axes[0].tables[0].get_celld()
    red = {cell.get_text().get_text() for cell in cells.values()
           if cell.get_text().get_color() == plotting.ALERT_COLOUR}
    assert red == {"36,832", "1536", "3,718,048", "1", "1,280"}


@pytest.mark.parametrize("n", [30, 5000])
def test_similarity_shows_every_pair_once(n):
    similarity = pd.Series(np.append(np.random.default_rng(n).uniform(0.6, 1, n), [1.0] * 5))
    axis = plotting.plot_similarity(similarity, 0.85).axes[0]
    grey, orange = axis.containers
    assert sum(bar.get_height() for bar in grey) == n + 5
    assert sum(bar.get_height() for bar in orange) == (similarity >= 0.85).sum()
    assert axis.get_yscale() == ("log" if n == 5000 else "linear")


def test_bars_show_every_count():
    counts = pd.DataFrame({"train": [3, 0], "test": [1, 20_000]}, index=["a", "b"])
    axis = plotting.plot_bars(counts, "title").axes[0]
    assert [bar.get_width() for bars in axis.containers for bar in bars] == [3, 0, 1, 20_000]
    texts = {text.get_text() for text in axis.texts}
    assert texts == {"3", "0", "1", "20,000"}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_by_class_draws_medians_in_the_order_of_the_course(fixture_index):
    six = fixture_index[fixture_index["emotion"] != "disgust"]
    axis = plotting.plot_by_class(six, ["brightness", "contrast"]).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(EMOTIONS)
    medians = sorted(line.get_xdata()[0] for line in axis.lines
                     if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2)
    for median in six.groupby("emotion")["brightness"].median():
        assert np.isclose(medians, median).any()


def test_intervals_are_drawn_from_low_to_high():
    table = pd.DataFrame({"accuracy": [0.5, 0.6], "low": [0.4, 0.55], "high": [0.7, 0.65]},
                         index=["all", "new"])
    axis = plotting.plot_intervals({"one": table, "two": table + 0.1}, "accuracy", mark=0).axes[0]
    assert any(list(line.get_xdata()) == [0, 0] for line in axis.lines)
    drawn = [bars.get_segments() for bars in axis.collections]
    for segments, shift in zip(drawn, (0, 0.1), strict=True):
        np.testing.assert_allclose([s[:, 0] for s in segments],
                                   table[["low", "high"]].to_numpy() + shift)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["all", "new"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["one", "two"]


def test_intervals_of_tables_with_rows_of_their_own_stand_below_each_other():
    table = pd.DataFrame({"value": [0.5, 0.6], "low": [0.4, 0.55], "high": [0.7, 0.65]})
    axis = plotting.plot_intervals(
        {"one": table.set_axis(["a", "b"]), "two": table[:1].set_axis(["c"])}, "x",
        column="value").axes[0]
    heights = [bars.get_segments()[-1][:, 1].tolist() for bars in axis.collections]
    assert heights == [[1, 1], [2, 2]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]


def test_reliability_draws_accuracy_over_confidence_and_images_per_bin():
    left, right = plotting.plot_reliability(RELIABILITY, "title").axes
    line = next(line for line in left.lines if line.get_label() == "model")
    np.testing.assert_array_equal(line.get_xydata(), [[0.25, 0.3], [0.95, 0.8]],
                                  "no point for nine images")
    assert [(round(bar.get_x() + bar.get_width() / 2, 2), bar.get_height())
            for bar in right.patches] == [(0.15, 9), (0.25, 40), (0.95, 60)]


def test_maps_lie_over_their_images():
    maps = RNG.random((3, 48, 48))
    axes = plotting.plot_maps(IMAGES[:3], {"one": maps}, list("abc")).axes
    assert [a.get_title() for a in axes[:3]] == list("abc")
    for axis, image, shown in zip(axes[3:], IMAGES, maps, strict=False):
        np.testing.assert_array_equal(axis.images[0].get_array(), image[..., 0])
        np.testing.assert_array_equal(axis.images[1].get_array(), shown)
