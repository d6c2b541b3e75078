"""What is drawn: each number in its place, in the colour that has its meaning."""

import colorsys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from fer_helpers import evaluation, models, plotting, report
from fer_helpers.course import EMOTIONS, CourseError
from fer_helpers.plotting import ALERT_COLOUR, GOOD_COLOUR, TEST_COLOUR, TRAIN_COLOUR

RNG = np.random.default_rng(0)
LABELS, PREDICTIONS = RNG.integers(0, 6, 200), RNG.integers(0, 6, 200)
IMAGES = RNG.integers(60, 200, (6, 48, 48, 1), dtype=np.uint8)
LOG = report.printed_log()
INTERVALS = pd.DataFrame({"value": [0.5, 0.6], "low": [0.4, 0.55], "high": [0.7, 0.65]},
                         index=["all", "new"])
COUNTS = pd.DataFrame({"train": [3, 0], "test": [1, 20_000]}, index=["a", "b"])
MATRIX = evaluation.confusion_matrix(LABELS, PREDICTIONS)
REPORT = evaluation.classification_report(LABELS, PREDICTIONS)
LAYERS = report.layer_comparison(models.layer_table(models.build_baseline()), "baseline")

DRAW = {
    "grid": lambda: plotting.plot_image_grid(IMAGES, list("abcdef"), 4, title="title"),
    "layers": lambda: plotting.plot_layer_table(LAYERS, "title"),
    "history": lambda: plotting.plot_history(LOG, "title", 18),
    "bars": lambda: plotting.plot_bars(COUNTS, "title"),
    "confusion": lambda: plotting.plot_confusion_and_report(MATRIX, REPORT, "title"),
    "intervals": lambda: plotting.plot_intervals({"one": INTERVALS}, "accuracy"),
}


def words(texts):
    return [text.get_text() for text in texts]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_FIGURES", str(tmp_path))
    yield tmp_path
    plt.close("all")


def test_colours_are_what_they_are_called():
    hues = [360 * colorsys.rgb_to_hsv(*to_rgb(colour))[0]
            for colour in (TRAIN_COLOUR, TEST_COLOUR, ALERT_COLOUR, GOOD_COLOUR)]
    assert hues == pytest.approx([210, 30, 0, 140], abs=15)  # blue, orange, red, green


# saving

@pytest.mark.parametrize("name", DRAW)
def test_each_figure_has_its_title_and_is_saved_whole(name, folder):
    figure = DRAW[name]()
    shown = [figure.get_suptitle(), figure.axes[0].get_title(loc="left")]
    assert name == "intervals" or "title" in shown
    plotting.save_figure(figure, name, "fixture")
    with Image.open(folder / "fixture" / f"{name}.png") as picture:
        grey = np.asarray(picture.convert("L"))
    assert min(grey.shape) > 150 and grey.std() > 5, "not blank"
    left, bottom = (np.flatnonzero((grey < 250).any(axis)) for axis in (0, 1))
    assert left[0] < 40 and bottom[-1] > len(grey) - 40, "nothing is cut off, no wide margin"


@pytest.mark.parametrize(("name", "dataset", "file", "faces"), [
    ("grid", "fer2013", "x_faces", "True"), ("history", "custom-mine", "x", "False"),
    ("grid", "fixture", "x", "False")])
def test_a_figure_says_its_dataset_and_git_ignores_real_faces(name, dataset, file, faces, folder):
    figure = DRAW[name]()
    plotting.save_figure(figure, "x", dataset)
    with Image.open(folder / dataset / f"{file}.png") as picture:
        assert (picture.info["Dataset"], picture.info["Faces"]) == (dataset, faces)
        assert "Software" not in picture.info
    said = figure.texts[-1]
    assert said.get_text() == f"dataset: {dataset}"
    x, y = figure.transFigure.inverted().transform(said.get_window_extent()).T
    assert 0.5 < x[0] < x[1] <= 1 and y[1] <= 0.001, "below, at the right"
    for size in ((48, 40), (40, 48)):  # only 48 x 48 is a face
        other = plt.figure()
        other.subplots().imshow(np.zeros((*size, 3)))
        assert not plotting.shows_images(other)


def test_a_picture_that_looks_the_same_is_left_as_it_is(folder):
    """Up to five pixels may differ, and all by 24 of 255; another size is another picture."""
    for name, changed, amount, alike in (("some", 5, 99, True), ("many", 6, 99, False),
                                         ("little", 48, 24, True), ("much", 48, 25, False)):
        pixels = np.full((48, 48, 3), 100, np.uint8)
        Image.fromarray(pixels).save(folder / "one.png")
        pixels[0, :changed, 1] -= amount
        Image.fromarray(pixels).save(folder / "other.png")
        assert plotting.look_alike(folder / "one.png", folder / "other.png") == alike, name
    Image.fromarray(pixels[1:]).save(folder / "one.png")
    assert not plotting.look_alike(folder / "one.png", folder / "other.png")
    path = folder / "fixture" / "x.png"
    for figure, stays in ((DRAW["bars"], False), (DRAW["bars"], True), (DRAW["grid"], False)):
        before = path.stat().st_mtime_ns if path.exists() else 0
        plotting.save_figure(figure(), "x", "fixture")
        assert (path.stat().st_mtime_ns == before) == stays


def test_an_unwritable_figures_folder(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("FER_FIGURES", str(tmp_path / "taken"))
    with pytest.raises(CourseError, match=r"taken.*cannot be written.*Check that the folder"):
        plotting.save_figure(DRAW["bars"](), "x", "fixture")


# what each shows

@pytest.mark.parametrize("colours", [None, ["red"] * 5 + ["blue"]])
def test_images_are_shown_in_their_greys_each_under_its_title(colours):
    figure = plotting.plot_image_grid(IMAGES, list("abcdef"), 4, colours=colours,
                                      row_labels=["one", "two"])
    assert len(figure.axes) == 8
    for axis, image, title in zip(figure.axes, IMAGES, "abcdef", strict=False):
        [shown] = axis.images
        np.testing.assert_array_equal(shown.get_array(), image[..., 0])
        black, grey, white = shown.to_rgba(np.array([[0, 128, 255]]))[0, :, :3]
        assert (*black, *white) == (0, 0, 0, 1, 1, 1) and grey == pytest.approx([0.5] * 3, abs=0.01)
        assert axis.get_title() == title
        assert axis.title.get_color() == ("black" if not colours else colours["abcdef".find(title)])
        assert all(spine.get_visible() for spine in axis.spines.values())
    for axis in figure.axes[6:]:
        assert not axis.images and not any(spine.get_visible() for spine in axis.spines.values())
    assert not any(len(axis.get_xticks()) + len(axis.get_yticks()) for axis in figure.axes)
    assert figure.get_suptitle() == ""
    assert [axis.get_ylabel() for axis in figure.axes] == ["one", *[""] * 3, "two", *[""] * 3]
    assert len(plotting.plot_image_grid(IMAGES[:1], ["a"], 1).axes) == 1
    with pytest.raises(ValueError, match="shorter"):
        plotting.plot_image_grid(IMAGES, ["a"], 4)


def test_bars_show_every_count_from_the_top_down():
    axis = DRAW["bars"]().axes[0]
    train, test = axis.containers
    assert [bar.get_width() for bars in (train, test) for bar in bars] == [3, 0, 1, 20_000]
    assert [to_hex(bars[0].get_facecolor()) for bars in (train, test)] \
        == [TRAIN_COLOUR, TEST_COLOUR]
    assert words(axis.texts) == ["3 train", "0 train", "1 test", "20,000 test"]
    assert train[0].get_y() < test[0].get_y() < train[1].get_y(), "train above test"
    assert words(axis.get_yticklabels()) == ["a", "b"] and axis.yaxis_inverted()
    assert (axis.get_xlabel(), axis.get_ylabel(), len(axis.get_xticks())) == ("", "", 0)
    assert not any(axis.spines[side].get_visible() for side in ("left", "bottom"))
    assert axis.get_xlim()[1] > 21_000, "room for the number"
    alone = plotting.plot_bars(COUNTS[["train"]], "title", ["red"]).axes[0]
    assert words(alone.texts) == ["3", "0"]
    assert to_hex(alone.containers[0][0].get_facecolor()) == to_hex("red")


def test_layer_table_shows_both_and_marks_what_differs_only():
    axis, table = DRAW["layers"]().axes[0], LAYERS
    cells = axis.tables[0].get_celld()
    columns = ["type", "output", "parameters", "printed_output", "printed_parameters"]
    shown = table[columns].assign(parameters=table["parameters"].map("{:,}".format)).to_numpy()
    heads = ["layer", "output", "parameters", "report: output", "report: parameters"]
    assert [words(cells[row, column].get_text() for column in range(5))
            for row in range(len(table) + 1)] == [heads, *shown.tolist()]
    red = {cell.get_text().get_text() for cell in cells.values()
           if cell.get_text().get_color() == ALERT_COLOUR}
    assert red == {"36,832", "1536", "3,718,048", "1", "1,280"}
    assert not axis.axison


@pytest.mark.parametrize("behind", [None, ("report", LOG)])
@pytest.mark.parametrize("kept", [None, 18])
def test_history_draws_the_numbers_given(behind, kept):
    ours = LOG[:15] * 1.1
    figure = plotting.plot_history(ours, "title", kept, behind=behind)
    left, right = figure.axes
    for axis, name in ((left, "accuracy"), (right, "loss")):
        lines = {line.get_label(): line for line in axis.lines}
        expected = {"train (augmented)": (ours[name], TRAIN_COLOUR, "-"),
                    "test": (ours[f"val_{name}"], TEST_COLOUR, "-")}
        if behind:
            expected |= {"report: train (augmented)": (LOG[name], TRAIN_COLOUR, "--"),
                         "report: test": (LOG[f"val_{name}"], TEST_COLOUR, "--")}
        for label, (values, colour, style) in expected.items():
            np.testing.assert_array_equal(lines[label].get_xydata(),
                                          np.column_stack([values.index, values]))
            assert (lines[label].get_color(), lines[label].get_linestyle()) == (colour, style)
        assert lines["test"].get_marker() != lines["train (augmented)"].get_marker() != "None"
        if kept:
            assert lines["weights kept: epoch 18"].get_xdata() == [18, 18]
        assert len(lines) == len(expected) + bool(kept) + (name == "accuracy")
        assert (axis.get_xlabel(), axis.get_ylabel().split(" (")[0]) == ("epoch", name)
        assert axis.get_xlim() == (0.5, (20 if behind else 15) + 0.5)
        assert all(tick == int(tick) for tick in axis.get_xticks())
    guessing = [line for line in left.lines if line.get_label() == "guessing (17%)"]
    assert guessing[0].get_ydata() == [1 / 6, 1 / 6]
    assert left.get_ylim()[0] == 0
    assert {*words(figure.legends[0].get_texts())} == {line.get_label() for line in left.lines}


@pytest.mark.parametrize(("first", "scale"), [(4.1, "log"), (3.9, "linear")])
def test_losses_that_fall_to_a_quarter_get_a_log_scale(first, scale):
    losses = pd.DataFrame({"loss": [first, 1.0], "val_loss": [2.0, 1.2]}, index=[1, 2])
    history = losses.assign(accuracy=0.3, val_accuracy=0.3)
    for drawn in (plotting.plot_history(history, ""), plotting.plot_history(
            history[1:], "", behind=("other", history))):
        axis = drawn.axes[1]
        assert axis.get_yscale() == scale
        assert axis.get_ylabel() == ("loss (log scale)" if scale == "log" else "loss")
        drawn.draw_without_rendering()
        assert ({"1", "2", "5"} <= {*words(axis.get_yticklabels())}) == (scale == "log")
        assert not any(words(axis.get_yticklabels(minor=True)))
        assert (axis.get_ylim()[0] == 0) == (scale == "linear")
    [one] = (tick for tick in plotting.plot_history(LOG[:1], "").axes[0].get_xticks()
             if 0.5 < tick < 1.5)
    assert one == 1, "a whole epoch"


def test_intervals_are_drawn_from_low_to_high_and_downwards():
    tables = {"one": INTERVALS, "two": INTERVALS + 0.1, "three": INTERVALS + 0.2}
    figure = plotting.plot_intervals(tables, "accuracy", mark=0.25)
    [axis] = figure.axes
    segments = np.array([bars.get_segments() for bars in axis.collections])  # [table, row, end, xy]
    for shown, table in zip(segments, tables.values(), strict=True):
        np.testing.assert_allclose(shown[:, :, 0], table[["low", "high"]])
    np.testing.assert_allclose(segments[..., 0, 1], [[-0.18, 0.82], [0, 1], [0.18, 1.18]])
    dots = [bars.lines[0] for bars in axis.containers]
    np.testing.assert_allclose([np.array(line.get_xdata(), float) for line in dots],
                               [table["value"] for table in tables.values()])
    assert len({line.get_color() for line in dots}) == len({d.get_marker() for d in dots}) == 3
    assert any(list(line.get_xdata()) == [0.25, 0.25] for line in axis.lines)
    assert words(axis.get_yticklabels()) == ["all", "new"] and list(axis.get_yticks()) == [0, 1]
    assert axis.get_ylim() == (1.5, -0.5) and axis.get_xlabel() == "accuracy"
    assert words(axis.get_legend().get_texts()) == ["one", "two", "three"]
    figure.draw_without_rendering()
    assert {*words(axis.get_xticklabels())} >= {"40%", "60%"}
    alone = DRAW["intervals"]().axes[0]
    assert alone.get_legend() is None and len(alone.lines) == len(axis.lines) / 3 - 1 / 3
    rows = INTERVALS.set_axis(["a", "b"]), INTERVALS[:1].set_axis(["c"])
    axis = plotting.plot_intervals({"one": rows[0], "two": rows[1]}, "x").axes[0]
    heights = [bars.get_segments()[-1][:, 1].tolist() for bars in axis.collections]
    assert heights == [[1, 1], [2, 2]], "rows of their own stand below each other"
    assert words(axis.get_yticklabels()) == ["a", "b", "c"]
    assert words(axis.get_legend().get_texts()) == ["one", "two"]


def test_confusion_matrix_runs_true_down_and_predicted_across_and_darker_is_more():
    matrix = evaluation.confusion_matrix(np.array([0] * 9 + [1]), np.array([1] * 9 + [0]))
    left, right, bar = plotting.plot_confusion_and_report(matrix, REPORT, "title").axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("predicted class", "true class")
    assert words(left.get_xticklabels()) == words(left.get_yticklabels()) == list(EMOTIONS)
    assert words(left.texts) == [str(count) for count in matrix.to_numpy().ravel()]
    assert words(left.texts)[:2] == ["0", "9"], "first row: happy, called sad nine times"
    red, _, blue, _ = left.collections[0].get_facecolors().T
    assert red.argmin() == 1 and (blue[:2] > red[:2]).all(), "nine images are the darkest blue"
    assert left.collections[0].get_clim() == (0, 9) and bar.get_ylabel() == "images"
    measures = ["precision", "recall", "f1-score"]
    assert words(right.get_xticklabels()) == measures
    shown = [float(text.rstrip("%")) / (100 if "%" in text else 1) for text in words(right.texts)]
    np.testing.assert_allclose(shown, REPORT[measures].to_numpy().ravel(), atol=0.0051)
    assert all(len(text) == len("0.12") or "." not in text for text in words(right.texts))
    assert words(right.get_yticklabels()) == [
        f"{name} ({count})" for name, count in REPORT["support"].items()]
    assert right.collections[0].get_clim() == (0, 1)
    red, green, _, _ = right.collections[0].get_facecolors().T
    assert green.mean() > red.mean() and (right.get_xlabel(), right.get_ylabel()) == ("", "")
    assert list(right.lines[0].get_ydata()) == [6, 6], "the means stand apart"
