"""What is drawn: each number in its place, in the colour that has its meaning."""

import colorsys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from fer_helpers import evaluation, models, plotting, report
from fer_helpers.course import EMOTIONS
from fer_helpers.plotting import (
    ALERT_COLOUR,
    GOOD_COLOUR,
    NETWORK_COLOUR,
    TEST_COLOUR,
    TRAIN_COLOUR,
)

RNG = np.random.default_rng(0)
LABELS, PREDICTIONS = RNG.integers(0, 6, 200), RNG.integers(0, 6, 200)
IMAGES = RNG.integers(60, 200, (6, 48, 48, 1), dtype=np.uint8)
LOG = report.printed_log()
INTERVALS = pd.DataFrame({"value": [0.5, 0.6], "low": [0.4, 0.55], "high": [0.7, 0.65]},
                         index=["all", "new"])
MATRIX = evaluation.confusion_matrix(LABELS, PREDICTIONS)
REPORT = evaluation.classification_report(LABELS, PREDICTIONS)
LAYERS = report.layer_comparison(models.layer_table(models.build_baseline()), "baseline")

DRAW = {
    "grid": lambda: plotting.plot_image_grid(IMAGES, list("abcdef"), 4, title="title"),
    "layers": lambda: plotting.plot_layer_table(LAYERS, "title"),
    "history": lambda: plotting.plot_history(LOG, "title", 18),
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
            for colour in (TRAIN_COLOUR, TEST_COLOUR, ALERT_COLOUR, GOOD_COLOUR, NETWORK_COLOUR)]
    assert hues == pytest.approx([210, 30, 0, 140, 280], abs=15), "blue, orange, red, green, purple"


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
    ("grid", "fer2013", "x_faces", "True"), ("grid", "custom-mine", "x_faces", "True"),
    ("history", "custom-mine", "x", "False"),
    ("grid", "fixture", "x", "False"), ("layers", "none", "x", "False")])
def test_a_figure_says_its_dataset_and_git_ignores_real_faces(name, dataset, file, faces, folder):
    figure = DRAW[name]()
    plotting.save_figure(figure, "x", dataset)
    with Image.open(folder / dataset / f"{file}.png") as picture:
        assert (picture.info["Dataset"], picture.info["Faces"]) == (dataset, faces)
        assert "Software" not in picture.info
    said = figure.texts[-1]
    assert said.get_text() == ("no dataset" if dataset == "none" else f"dataset: {dataset}")
    x, y = figure.transFigure.inverted().transform(said.get_window_extent()).T
    assert 0.5 < x[0] < x[1] <= 1 and y[1] <= 0.001, "below, at the right"
    for size in ((48, 40), (40, 48), (48, 48)):  # only 48 x 48 is a face
        left, right = plt.figure().subplots(1, 2)
        left.imshow(np.zeros((*size, 3)))
        right.imshow(np.zeros((6, 6)))
        assert plotting.shows_images(left.figure) == (size == (48, 48))


def test_a_picture_that_looks_the_same_is_left_as_it_is(folder):
    """Up to five pixels may differ, and all by 24 of 255; another size is another picture."""
    for name, changed, amount, alike in (("some", 5, 99, True), ("many", 6, 99, False),
                                         ("little", 48, 24, True), ("much", 48, 25, False)):
        pixels = np.full((48, 48, 3), 100, np.uint8)
        Image.fromarray(pixels).save(folder / "one.png")
        pixels[0, :changed, 1] -= amount
        Image.fromarray(pixels).save(folder / "other.png")
        for pair in (("one.png", "other.png"), ("other.png", "one.png")):
            assert plotting.look_alike(*(folder / name for name in pair)) == alike, name
    Image.fromarray(pixels[1:]).save(folder / "one.png")
    assert not plotting.look_alike(folder / "one.png", folder / "other.png")
    path = folder / "fixture" / "x.png"
    for figure, stays in ((DRAW["layers"], False), (DRAW["layers"], True), (DRAW["grid"], False)):
        before = path.stat().st_mtime_ns if path.exists() else 0
        plotting.save_figure(figure(), "x", "fixture")
        assert (path.stat().st_mtime_ns == before) == stays


# what each shows

@pytest.mark.parametrize("colours", [None, ["red"] * 5 + ["blue"]])
def test_images_are_shown_in_their_greys_each_under_its_title(colours):
    figure = plotting.plot_image_grid(IMAGES, list("abcdef"), 4, colours=colours,
                                      row_labels=["one", "two"])
    assert len(figure.axes) == 8
    for axis, image, title in zip(figure.axes, IMAGES, "abcdef", strict=False):
        [shown] = axis.images
        assert (shown.get_clim(), shown.get_cmap().name) == ((0, 255), "gray")
        np.testing.assert_array_equal(shown.get_array(), image[..., 0])
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
    assert {cells[0, i].get_text().get_weight() for i in range(5)} == {"bold"}
    assert [cells[1, i].get_text().get_ha() for i in range(5)] == ["left", *["right"] * 4]
    assert not axis.axison


@pytest.mark.parametrize("kept", [None, 12])
@pytest.mark.parametrize("factor", [1, 100])
def test_history_draws_the_numbers_given(kept, factor):
    """A loss that falls to less than a fourth has a log scale; accuracy never has."""
    ours = (LOG[:15] * 1.1).assign(loss=np.linspace(2 * factor, 1, 15))
    ours["val_loss"] = ours["loss"] / 1.9
    figure = plotting.plot_history(ours, "title", kept)
    left, right = figure.axes
    for axis, name in ((left, "accuracy"), (right, "loss")):
        train, test, *others = axis.lines
        for line, column, label, colour in ((train, name, "train (augmented)", TRAIN_COLOUR),
                                            (test, f"val_{name}", "test", TEST_COLOUR)):
            np.testing.assert_array_equal(line.get_xydata().T, [ours.index, ours[column]])
            assert (line.get_label(), line.get_color(), line.get_linestyle()) == (
                label, colour, "-")
        assert test.get_marker() != train.get_marker() != "None"
        if kept:
            dotted = others.pop(0)
            assert (dotted.get_label(), dotted.get_linestyle()) == ("weights kept: epoch 12", ":")
            assert dotted.get_xdata() == [12, 12]
        if axis is left:
            guessing = others.pop()
            assert (guessing.get_label(), *guessing.get_ydata()) == ("guessing (17%)", 1 / 6, 1 / 6)
        assert not others and axis.get_xlabel() == "epoch" and axis.get_xlim() == (0.5, 15.5)
        assert all(tick == int(tick) for tick in axis.get_xticks())
    figure.draw_without_rendering()
    assert {"10%", "50%"} <= {*words(left.get_yticklabels())}
    assert left.get_ylim()[0] == 0 and left.get_ylabel() == "accuracy"
    if factor == 1:
        assert (right.get_yscale(), right.get_ylabel()) == ("linear", "loss")
        assert right.get_ylim()[0] == 0
    else:
        assert (right.get_yscale(), right.get_ylabel()) == ("log", "loss (log scale)")
        assert {"1", "2", "5", "10", "200"} <= {*words(right.get_yticklabels())}
        assert 0.3 < right.get_ylim()[0] < ours["val_loss"].min()
        assert {*words(right.get_yticklabels(minor=True))} == {""}
    assert len(figure.legends[0].get_texts()) == 3 + bool(kept)
    for first, least, scale in ((4.0, 1.0, "linear"), (4.1, 1.0, "log"), (0.5, 0.1, "log"),
                                (0.5, 0.0, "linear")):  # four times is not enough
        drawn = plotting.plot_history(ours.assign(loss=first, val_loss=least), "")
        assert drawn.axes[1].get_yscale() == scale
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
    colours = [plt.cm.viridis(place) for place in (0, 0.29, 0.58)]  # dark enough on white
    assert [line.get_color() for line in dots] == colours
    six = plotting.plot_intervals(dict.fromkeys("abcdef", INTERVALS), "").axes[0].containers
    assert [bars.lines[0].get_marker() for bars in six] == list("osD^vo")
    assert any(list(line.get_xdata()) == [0.25, 0.25] for line in axis.lines)
    assert words(axis.get_yticklabels()) == ["all", "new"] and list(axis.get_yticks()) == [0, 1]
    assert axis.get_ylim() == (1.5, -0.5) and axis.get_xlabel() == "accuracy"
    assert words(axis.get_legend().get_texts()) == ["one", "two", "three"]
    figure.draw_without_rendering()
    assert {*words(axis.get_xticklabels())} >= {"40%", "60%"}
    points = plotting.plot_intervals({"": INTERVALS - 0.55}, "points", mark=0)
    points.draw_without_rendering()
    assert {*words(points.axes[0].get_xticklabels())} >= {"-10", "0", "+10"}
    alone = DRAW["intervals"]().axes[0]
    assert alone.get_legend() is None and len(alone.lines) == len(axis.lines) / 3 - 1 / 3
    rows = INTERVALS.set_axis(["a", "b"]), INTERVALS[:1].set_axis(["c"])
    axis = plotting.plot_intervals({"one": rows[0], "two": rows[1]}, "x").axes[0]
    assert [bars.lines[0].get_color() for bars in axis.containers] == colours[::2]
    heights = [bars.get_segments()[-1][:, 1].tolist() for bars in axis.collections]
    assert heights == [[1, 1], [2, 2]], "rows of their own stand below each other"
    assert words(axis.get_yticklabels()) == ["a", "b", "c"]
    assert words(axis.get_legend().get_texts()) == ["one", "two"]


def test_confusion_matrix_runs_true_down_and_predicted_across_and_darker_is_more():
    matrix = 1 + evaluation.confusion_matrix(np.array([0] * 1999 + [1]), np.array([1] * 1999 + [0]))
    numbers = REPORT.assign(support=100 * REPORT["support"])
    left, right, bar = plotting.plot_confusion_and_report(matrix, numbers, "title").axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("predicted class", "true class")
    assert words(left.get_xticklabels()) == words(left.get_yticklabels()) == list(EMOTIONS)
    assert words(left.texts) == [f"{count:,}" for count in matrix.to_numpy().ravel()]
    assert words(left.texts)[:2] == ["1", "2,000"], "first row: happy, called sad"
    red, _, blue, _ = left.collections[0].get_facecolors().T
    assert red.argmin() == 1 and (blue[:2] > red[:2]).all(), "most images are the darkest blue"
    assert left.collections[0].get_clim() == (0, 2000) and bar.get_ylabel() == "images"
    measures = ["precision", "recall", "f1-score"]
    assert words(right.get_xticklabels()) == measures
    shown = [float(text.rstrip("%")) / (100 if "%" in text else 1) for text in words(right.texts)]
    np.testing.assert_allclose(shown, REPORT[measures].to_numpy().ravel(), atol=0.0051)
    assert all(len(text) == len("0.12") or "." not in text for text in words(right.texts))
    assert words(right.get_yticklabels()) == [
        f"{name} ({count:,})" for name, count in numbers["support"].items()]
    assert right.collections[0].get_clim() == (0, 1)
    red, green, _, _ = right.collections[0].get_facecolors().T
    assert green.mean() > red.mean() and (right.get_xlabel(), right.get_ylabel()) == ("", "")
    assert list(right.lines[0].get_ydata()) == [6, 6], "the means stand apart"
    assert right.lines[0].get_color() == "white"
