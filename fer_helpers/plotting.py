"""The figures that several notebooks draw: arrays or frames in, a Figure out."""

import contextlib
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from PIL import Image

from fer_helpers.course import IMAGE_SIZE, course_path
from machinery.files import write_whole

# One meaning for each colour in every figure: the two splits, a network of ours, what others say
# (people, the report), what is right, what to look out for.
TRAIN_COLOUR, TEST_COLOUR, NETWORK_COLOUR = "#1f77b4", "#e8710a", "#8e44ad"
OTHERS_COLOUR, GOOD_COLOUR, ALERT_COLOUR = "black", "#1b6e3c", "#b3261e"
plt.rcParams.update({
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "font.size": 10,
})


def save_figure(figure: Figure, name: str, dataset: str) -> None:
    """Write the dataset's name under the picture; save it as ``figures/<dataset>/<name>.png``.

    A figure without data has the dataset ``none``.
    ``FER_FIGURES`` names another folder than ``figures``; a relative one counts from the course's
    folder. A figure with images of another dataset than the fixture gets ``_faces`` at the end of
    its name: git ignores such files. A picture that looks the same already is left as it is.
    Raises CourseError if the folder cannot be written to.
    """
    said = "no dataset" if dataset == "none" else f"dataset: {dataset}"
    figure.text(0.995, 0.0, said, ha="right", va="top", fontsize=8, color="0.4")
    if faces := dataset != "fixture" and shows_images(figure):
        name += "_faces"
    figure.draw_without_rendering()  # a layout settles when it is made twice
    buffer = io.BytesIO()
    # Without the software's version in the file, the same picture is the same bytes.
    figure.savefig(buffer, format="png", bbox_inches="tight", metadata={
        "Software": None, "Dataset": dataset, "Faces": str(faces)})
    path = course_path("FER_FIGURES", "figures") / dataset / f"{name}.png"
    with contextlib.suppress(OSError):  # no such picture yet, or a damaged one
        if look_alike(path, buffer):
            return
    write_whole(path, buffer.getvalue())


def shows_images(figure: Figure) -> bool:
    """Say whether a figure shows images of a dataset."""
    return any(image.get_array().shape[:2] == (IMAGE_SIZE, IMAGE_SIZE)
               for image in figure.findobj(AxesImage))


def look_alike(first, second) -> bool:
    """Say whether two pictures (paths or files) are the same to the eye.

    On another processor the last digits of a network differ, and with them shades of a colour. One
    changed letter makes more than five pixels differ by more than 24 of 255.
    """
    one, other = (np.asarray(Image.open(path).convert("RGB"), int) for path in (first, second))
    return one.shape == other.shape and (abs(one - other).max(axis=2) > 24).sum() <= 5


def plot_image_grid(images: np.ndarray, titles: list[str], columns: int, *, title: str = "",
                    row_labels: list[str] | None = None,
                    colours: list[str] | None = None) -> Figure:
    """Draw grey images [n, 48, 48, 1] with values from 0 to 255, a title above each (Figures 2, 3).

    ``row_labels`` has a word for the left of each row, ``colours`` a colour for each title.
    """
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained",
                                figsize=(1.35 * columns, 1.55 * rows + 0.3 * bool(title)))
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, image, title, colour in zip(axes.flat[:len(images)], images, titles,
                                          colours or ["black"] * len(titles), strict=True):
        axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
        axis.spines[:].set_visible(True)
        axis.spines[:].set_color("0.85")  # a white image needs a border
        axis.set_title(title, fontsize=9, fontweight="normal", color=colour)
    for axis, label in zip(axes[:, 0], row_labels or [], strict=False):
        axis.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def plot_layer_table(table: pd.DataFrame, title: str) -> Figure:
    """Draw a layer table; mark what the report printed differently (Figures 9 and 12).

    ``table`` comes from :func:`fer_helpers.report.layer_comparison`.
    """
    cells = [
        [row.type, row.output, f"{row.parameters:,}", row.printed_output, row.printed_parameters]
        for row in table.itertuples()]
    figure, axis = plt.subplots(figsize=(9, 0.27 * (len(cells) + 1) + 0.4), layout="constrained")
    axis.axis("off")
    axis.set_title(title, loc="left")
    drawn = axis.table(
        cells, bbox=[0, 0, 1, 1], cellLoc="right", colWidths=[0.26, 0.19, 0.18, 0.19, 0.18],
        colLabels=["layer", "output", "parameters", "report: output", "report: parameters"])
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    for (row, column), cell in drawn.get_celld().items():
        cell.set_edgecolor("0.85")
        if column == 0:
            cell.set_text_props(ha="left")
        if row == 0:
            cell.set_text_props(weight="bold")
            cell.set_facecolor("0.93")
    for row, column in np.argwhere(~table[["output_agrees", "parameters_agree"]].to_numpy()):
        drawn[row + 1, column + 3].set_text_props(color=ALERT_COLOUR, weight="bold")
    return figure


def plot_history(history: pd.DataFrame, title: str, kept_epoch: int | None = None) -> Figure:
    """Draw accuracy and loss over the epochs, train and test (Figures 10, 13 and 16).

    ``history`` is a run's: index epoch, columns ``accuracy``, ``loss`` and the same with ``val_``.
    A dotted line marks ``kept_epoch``, whose weights were kept.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    for axis, name in zip(axes, ("accuracy", "loss"), strict=True):
        axis.plot(history[name], "o-", color=TRAIN_COLOUR, ms=3.5, label="train (augmented)")
        axis.plot(history[f"val_{name}"], "s-", color=TEST_COLOUR, ms=3.5, label="test")
        if kept_epoch:
            axis.axvline(kept_epoch, color="0.5", ls=":", label=f"weights kept: epoch {kept_epoch}")
        axis.set(xlabel="epoch", ylabel=name, xlim=(0.5, len(history) + 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0)
    left, right = axes
    left.axhline(1 / 6, color="0.5", ls="--", lw=1, label=f"guessing ({1 / 6:.0%})")
    left.yaxis.set_major_formatter(PercentFormatter(1))
    losses = history[["loss", "val_loss"]].to_numpy()
    if losses.max() > 4 * losses.min() > 0:  # so that both the first and the last epochs show
        right.set(yscale="log", ylabel="loss (log scale)")
        right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.yaxis.set_minor_formatter(NullFormatter())
        right.yaxis.set_major_formatter("{x:g}")
        right.autoscale(axis="y")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  frameon=False, fontsize=9)
    return figure


def plot_intervals(tables: dict[str, pd.DataFrame], xlabel: str, *,
                   mark: float | None = None) -> Figure:
    """Draw values with their intervals: a line for each row of the tables, a colour for each table.

    The tables' columns are ``value``, ``low`` and ``high``, as shares of 1; without ends, only a
    dot is drawn. ``mark`` is a value to compare with, drawn as a dotted line. With a mark at 0 they
    are differences: the axis counts points, with their sign.
    """
    rows = pd.concat(tables.values()).index.unique()
    figure, axis = plt.subplots(figsize=(9, 0.8 + 0.5 * len(rows)), layout="constrained")
    for i, (name, table) in enumerate(tables.items()):
        height = rows.get_indexer(table.index).astype(float)
        if len(table) == len(rows):  # side by side, where the tables share their rows
            height += 0.18 * (i - (len(tables) - 1) / 2)
        ends = np.abs(table[["low", "high"]].to_numpy().T - table["value"].to_numpy())
        axis.errorbar(table["value"], height, xerr=ends, fmt="osD^v"[i % 5], ms=5, capsize=3,
                      label=name, color=plt.cm.viridis(0.58 * i / max(len(tables) - 1, 1)))
    if mark is not None:
        axis.axvline(mark, color="0.3", ls=":")
    axis.set_yticks(range(len(rows)), rows)
    axis.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axis.xaxis.set_major_formatter(PercentFormatter(1) if mark != 0 else (
        lambda x, _: f"{100 * x:+.3g}" if abs(x) > 1e-9 else "0"))
    axis.grid(axis="x", alpha=0.3)
    if len(tables) > 1:
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_confusion_and_report(matrix: pd.DataFrame, report: pd.DataFrame, title: str) -> Figure:
    """Draw the confusion matrix beside the classification report (Figures 11 and 14).

    True classes run down, predicted classes across; a darker blue is more images.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained",
                                         width_ratios=[1.35, 1])
    figure.suptitle(title, fontweight="bold")
    sns.heatmap(matrix, annot=True, fmt=",d", cmap="Blues", vmin=0, square=True, ax=left,
                cbar_kws={"label": "images"})
    left.set(xlabel="predicted class", ylabel="true class")
    left.tick_params(axis="x", rotation=45)
    left.tick_params(axis="y", rotation=0)
    sns.heatmap(report[["precision", "recall", "f1-score"]], annot=True, fmt=".0%", cmap="Greens",
                vmin=0, vmax=1, cbar=False, ax=right)
    right.axhline(len(matrix), color="white", lw=4)
    right.set_yticklabels([f"{name} ({count:,})" for name, count in report["support"].items()],
                          rotation=0)
    return figure
