import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_helpers import evaluation, models, plotting, report
from fer_helpers.course import EMOTIONS, CourseError

RNG = np.random.default_rng(0)
LABELS, PREDICTIONS = RNG.integers(0, 6, 200), RNG.integers(0, 6, 200)
IMAGES = RNG.integers(0, 256, (6, 48, 48, 1), dtype=np.uint8)
LOG = report.printed_log()
INTERVALS = pd.DataFrame({"value": [0.5, 0.6], "low": [0.4, 0.55], "high": [0.7, 0.65]},
                         index=["all", "new"])
COUNTS = pd.DataFrame({"train": [3, 0], "test": [1, 20_000]}, index=["a", "b"])


def layers():
    table = models.layer_table(models.build_baseline())
    return plotting.plot_layer_table(report.layer_comparison(table, "baseline"), "layers")


def confusion(transpose=False):
    matrix = evaluation.confusion_matrix(LABELS, PREDICTIONS)
    values = matrix.to_numpy()
    matrix[:] = values.T if transpose else values
    return plotting.plot_confusion_and_report(
        matrix, evaluation.classification_report(LABELS, PREDICTIONS), "title")


DRAW = {
    "grid": lambda: plotting.plot_image_grid(IMAGES, list("abcdef"), 4, row_labels=["one"]),
    "layers": layers,
    "history": lambda: plotting.plot_history(LOG, "the report's log", 18),
    "history over the report's": lambda: plotting.plot_history(
        LOG + 0.1, "title", 18, behind=("report", LOG)),
    "bars": lambda: plotting.plot_bars(COUNTS, "title"),
    "confusion": confusion,
    "intervals": lambda: plotting.plot_intervals({"one": INTERVALS}, "accuracy"),
}
# What a figure would look like if something were wrong.
WRONG = {
    "a wrong sign": ("intervals", lambda: plotting.plot_intervals(
        {"one": -INTERVALS.rename(columns={"low": "high", "high": "low"})}, "accuracy")),
    "a transposed matrix": ("confusion", lambda: confusion(transpose=True)),
    "another seed's curves": ("history", lambda: plotting.plot_history(
        LOG.assign(val_accuracy=LOG["val_accuracy"].shift(1, fill_value=0.1671)),
        "the report's log", 18)),
    "a shifted accuracy": ("intervals", lambda: plotting.plot_intervals(
        {"one": INTERVALS.assign(value=[0.501, 0.6])}, "accuracy")),
    "names reversed": ("bars", lambda: plotting.plot_bars(COUNTS.set_axis(["b", "a"]), "title")),
    "train and test exchanged": ("history", lambda: plotting.plot_history(
        LOG.rename(columns={"val_loss": "loss", "loss": "val_loss"}), "the report's log", 18)),
    "another image": ("grid", lambda: plotting.plot_image_grid(
        IMAGES[::-1], list("abcdef"), 4, row_labels=["one"])),
    "another title": ("history", lambda: plotting.plot_history(LOG, "our log", 18)),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_FIGURES", str(tmp_path))
    return tmp_path


# saving

@pytest.mark.parametrize("name", DRAW)
def test_each_figure_is_drawn_and_saved_the_same_twice(name, folder):
    plotting.save_figure(DRAW[name](), name, "fixture")
    path = folder / "fixture" / f"{name}.png"
    first = path.read_bytes()
    with Image.open(path) as picture:
        assert min(picture.size) > 150
        assert np.asarray(picture.convert("L")).std() > 5, "not blank"
        assert picture.info["Dataset"] == "fixture"
    plotting.save_figure(DRAW[name](), name, "fixture")
    assert path.read_bytes() == first


def test_a_figure_says_which_dataset_it_shows(folder):
    figure = DRAW["bars"]()
    plotting.save_figure(figure, "x", "custom-mine")
    assert [text.get_text() for text in figure.texts] == ["dataset: custom-mine"]


def test_a_figure_with_real_images_gets_a_name_that_git_ignores(folder):
    for name, dataset in (("grid", "fer2013"), ("history", "fer2013"), ("grid", "fixture")):
        plotting.save_figure(DRAW[name](), "x", dataset)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == {
        "fer2013/x_faces.png", "fer2013/x.png", "fixture/x.png"}
    with Image.open(folder / "fer2013" / "x_faces.png") as picture:
        assert picture.info["Faces"] == "True"


def test_an_unwritable_figures_folder(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("FER_FIGURES", str(tmp_path / "taken"))
    with pytest.raises(CourseError, match=r"taken.*cannot be written.*Check that the folder"):
        plotting.save_figure(DRAW["bars"](), "x", "fixture")


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_figure_does_not_look_like_the_right_one(fault, folder):
    name, wrong = WRONG[fault]
    plotting.save_figure(DRAW[name](), "right", "fixture")
    plotting.save_figure(wrong(), "wrong", "fixture")
    pictures = [folder / "fixture" / f"{name}.png" for name in ("right", "wrong")]
    assert not plotting.look_alike(*pictures)


# what each shows

@pytest.mark.parametrize("behind", [None, ("report", LOG)])
def test_history_draws_the_numbers_given(behind):
    for axis, name in zip(plotting.plot_history(LOG * 1.1, "title", 18, behind=behind).axes,
                          ("accuracy", "loss"), strict=True):
        lines = {line.get_label(): line.get_ydata() for line in axis.lines}
        assert "weights kept: epoch 18" in lines
        for what, column in (("train (augmented)", name), ("test", f"val_{name}")):
            np.testing.assert_allclose(lines[what], 1.1 * LOG[column])
            if behind:
                np.testing.assert_array_equal(lines[f"report: {what}"], LOG[column])


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


def test_layer_table_marks_what_differs_only():
    cells = layers().axes[0].tables[0].get_celld()
    red = {cell.get_text().get_text() for cell in cells.values()
           if cell.get_text().get_color() == plotting.ALERT_COLOUR}
    assert red == {"36,832", "1536", "3,718,048", "1", "1,280"}


def test_bars_show_every_count():
    axis = DRAW["bars"]().axes[0]
    assert [bar.get_width() for bars in axis.containers for bar in bars] == [3, 0, 1, 20_000]
    assert {text.get_text() for text in axis.texts} == {
        "3 train", "0 train", "1 test", "20,000 test"}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_intervals_are_drawn_from_low_to_high():
    axis = plotting.plot_intervals({"one": INTERVALS, "two": INTERVALS + 0.1}, "accuracy",
                                   mark=0).axes[0]
    assert any(list(line.get_xdata()) == [0, 0] for line in axis.lines)
    drawn = [bars.get_segments() for bars in axis.collections]
    for segments, shift in zip(drawn, (0, 0.1), strict=True):
        np.testing.assert_allclose([s[:, 0] for s in segments],
                                   INTERVALS[["low", "high"]].to_numpy() + shift)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["all", "new"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["one", "two"]


def test_intervals_of_tables_with_rows_of_their_own_stand_below_each_other():
    rows = INTERVALS.set_axis(["a", "b"]), INTERVALS[:1].set_axis(["c"])
    axis = plotting.plot_intervals({"one": rows[0], "two": rows[1]}, "x").axes[0]
    heights = [bars.get_segments()[-1][:, 1].tolist() for bars in axis.collections]
    assert heights == [[1, 1], [2, 2]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]
