"""What is drawn for slides and sheets alone: grids of numbers, one convolution, one answer."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from experiments import laboratory
from fer_helpers import plotting
from fer_helpers.course import COURSE
from fer_helpers.report import printed, printed_log
from fer_helpers.runs import design_difference, reference_runs

BAR = np.array([[0, 0, 1, 1, 0, 0]] * 6)  # a light bar on dark ground
SQUARE = np.array([[0, 0, 0, 0, 0, 0]] * 2 + [[0, 0, 1, 1, 1, 1]] * 4)
EDGE = np.array([[-1, 0, 1]] * 3)  # the filter: dark on the left, light on the right
PATIENCE = printed()["training"]["patience"]
HISTORIES = {  # test losses
    "A": [1.7, 1.5, 1.4, 1.6, 1.5, 1.45, 1.3],
    "B": [1.9, 1.6, 1.4, 1.3, 1.25, 1.3, 1.35, 1.45, 1.6, 1.8],
    "C": list(printed_log()["val_loss"]),
}
THREE_FACES = {"A": laboratory.draw("sad", person=2, inner=-2.5),  # those of notebook 4
               "B": laboratory.draw("neutral", person=1),
               "C": laboratory.draw("surprise", 0.6, person=4, corners=-2)}
SIX = ["sad", "happy", "fear", "neutral", "surprise", "angry"]


def convolution(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return sums, ReLU and max pooling of EDGE over 6 × 6 pixels; outside, pixels count as 0."""
    around = np.pad(pixels, 1)
    sums = np.array([[(around[i:i + 3, j:j + 3] * EDGE).sum() for j in range(6)] for i in range(6)])
    relu = np.maximum(sums, 0)
    return {"sums": sums, "after ReLU": relu,
            "after max pooling": relu.reshape(3, 2, 3, 2).max(axis=(1, 3))}


def stop(losses: list[float]) -> tuple[int, int]:
    """Return after which epoch early stopping ends a training, and which epoch is kept."""
    history = pd.Series(losses, index=range(1, len(losses) + 1))
    waits = history.groupby(history.cummin()).cumcount()  # epochs since the last lower loss
    tired = waits.index[waits == PATIENCE]
    ends = int(tired[0]) if len(tired) else len(losses)
    return ends, int(history[:ends].idxmin())


def grid(axis: Axes, numbers: np.ndarray, title: str, size: float = 12, *,
         empty: bool = False) -> None:
    """Draw a grid of numbers, or an empty one to write into."""
    rows, columns = numbers.shape
    axis.set_title(title, fontsize=size)
    axis.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(True)
    for place in range(1, max(rows, columns)):
        if place < rows:
            axis.axhline(place, color="0.5", lw=0.6)
        if place < columns:
            axis.axvline(place, color="0.5", lw=0.6)
    for (i, j), number in np.ndenumerate(numbers):
        if not empty:
            axis.text(j + 0.5, i + 0.5, f"{number:g}".replace("-", "−"), ha="center", va="center",
                      fontsize=size)


def faces(labels: list[str]) -> list[np.ndarray]:
    """Return a drawn face for each label, uint8 [48, 48]; another one if a label comes again."""
    folder = COURSE / "data" / "fixture" / "test"
    chosen = [sorted((folder / label).glob("*.jpg"))[3 + labels[:i].count(label)]
              for i, label in enumerate(labels)]
    return [np.asarray(Image.open(path).convert("L")) for path in chosen]


def row_of_faces(images: dict[str, np.ndarray]) -> Figure:
    """Draw faces in a row, each with its name below."""
    figure, axes = plt.subplots(1, len(images), figsize=(1.5 * len(images), 1.9),
                                layout="constrained")
    for axis, (name, image) in zip(axes, images.items(), strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.set_xlabel(name, fontsize=14)
    return figure


def six_faces() -> Figure:
    """Draw a face of each class, with a number in place of its label."""
    return row_of_faces(dict(zip("123456", faces(SIX), strict=True)))


def three_faces() -> Figure:
    """Draw the faces on which a class and a network vote (notebook 4)."""
    return row_of_faces(THREE_FACES)


def convolution_by_hand() -> Figure:
    """Draw one convolution, step by step (notebook 3)."""
    parts = {"pixels": BAR, "filter": EDGE, **convolution(BAR)}
    figure, axes = plt.subplots(1, 5, figsize=(9.2, 3), layout="constrained",
                                width_ratios=[numbers.shape[1] for numbers in parts.values()])
    for axis, (name, numbers) in zip(axes, parts.items(), strict=True):
        grid(axis, numbers, name.replace("max ", "max\n"))
    return figure


def report_difference() -> tuple[float, float, float]:
    """Return the report's 1024 minus 512, a share, and its 95 % interval over test images."""
    shares, images = printed()["accuracy"], 6 * printed()["counts"]["test"]
    final, ablation = shares["final"], shares["ablation"]
    half = 1.96 * np.sqrt((final * (1 - final) + ablation * (1 - ablation)) / images)
    return final - ablation, final - ablation - half, final - ablation + half


def answer() -> Figure:
    """Draw 1024 minus 512: the report, our pairs by seed, and the means (notebook 5, shorter)."""
    finals, ablations = reference_runs("final"), reference_runs("ablation")
    report = pd.Series(report_difference(), ["value", "low", "high"])
    dots = {f"ours, seed {one.settings['seed']}": {"value": one.accuracy - two.accuracy}
            for one, two in zip(finals, ablations, strict=False)}

    def table(rows):
        return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])

    figure = plotting.plot_intervals({
        "chance of the\ntest images": table({"report": report}),
        "one seed each": table(dots),
        "chance of the seeds": table({"ours, means": design_difference(finals, ablations)}),
    }, "1024 minus 512, percentage points of test accuracy", mark=0)
    figure.axes[0].xaxis.set_major_formatter(lambda share, _: f"{100 * share:+.0f}")
    return figure


DRAWN = {  # name: (how, in words)
    "six_faces": (six_faces, "Six drawn faces in a row with the numbers 1 to 6, one of each class. "
                  "Brows, eyes and mouths differ. Their labels are not shown."),
    "three_faces": (three_faces, "Three drawn faces in a row with the letters A, B and C. Each "
                    "could be read in more than one way. Their names are not shown."),
    "convolution_by_hand": (convolution_by_hand, "Five grids of numbers in a row: pixels of a "
                            "light bar on dark ground, the filter, its sums, the same after "
                            "ReLU, and after max pooling. Only the left edge of the bar is left."),
    "answer": (answer, "Marks on a line of differences in accuracy, with a dotted line at zero: "
               "the report with its bar, a square for each of our seeds, and the difference "
               "of our means with its bar. A bar that crosses the line settles nothing."),
}
