"""Make the sheets to print, A4, one page each: build/sheets/*.pdf.

    python tools/make_sheets.py        # `make sheets` does it
"""

import sys
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from drawings import EDGE, HISTORIES, PATIENCE, SQUARE, convolution, faces, grid, stop
from lesson import LICENCE
from matplotlib.figure import Figure

from fer_helpers.course import COURSE, EMOTIONS

BUILD = COURSE / "build" / "sheets"
A4 = 8.27, 11.69
THREE = ["happy", "sad", "angry"]
MATRIX = pd.DataFrame([[8, 1, 1], [2, 5, 3], [4, 0, 6]], index=THREE, columns=THREE)
VOTE = ["angry", "sad", "neutral", "fear", "surprise", "sad", "happy", "fear"]


def page(title: str, text: str) -> Figure:
    """Return an empty page of A4 with its title, what to do, and the licence at its foot."""
    figure = plt.figure(figsize=A4, dpi=100)
    figure.text(0.09, 0.94, title, fontsize=20, weight="bold", va="top")
    write(figure, 0.905, text)
    figure.text(0.09, 0.04, f"Facial emotions: a reproduction. {LICENCE}", fontsize=8, color="0.35")
    return figure


def write(figure: Figure, top: float, text: str, size: float = 12) -> None:
    """Write paragraphs below each other; lines that are too long go on in the next one."""
    lines = [line for paragraph in text.split("\n")
             for line in textwrap.wrap(paragraph, int(1000 / size)) or [""]]
    figure.text(0.09, top, "\n".join(lines), fontsize=size, va="top", linespacing=1.5)


def pairs() -> list[tuple[str, str]]:
    """Return the thirty answers behind MATRIX, true class and answer, mixed."""
    found = [(true, answer) for true in THREE for answer in THREE
             for _ in range(MATRIX.loc[true, answer])]
    return [found[i] for i in np.random.RandomState(0).permutation(len(found))]


def sheet_convolution() -> Figure:
    """Draw the grid, the filter, and empty grids for sums, ReLU and pooling."""
    places = np.lib.stride_tricks.sliding_window_view(np.pad(SQUARE, 1), EDGE.shape)
    different = len(np.unique(places.reshape(SQUARE.size, EDGE.size), axis=0))
    figure = page("One convolution, by hand", (
        "1. Lay the filter over nine numbers: multiply, and add up. Outside, pixels are 0.\n"
        f"The same nine numbers give the same sum: of {SQUARE.size} places {different} differ.\n"
        "2. ReLU: write 0 over what is negative.\n"
        "3. Max pooling: the largest number of each block of 2 × 2."))
    parts = convolution(SQUARE)
    for numbers, title, place, empty in [
            (SQUARE, "pixels", (0.09, 0.50, 0.4, 0.28), False),
            (EDGE, "filter", (0.62, 0.57, 0.2, 0.14), False),
            (parts["sums"], "1. sums, 2. ReLU", (0.09, 0.13, 0.4, 0.28), True),
            (parts["after max pooling"], "3. max pooling", (0.62, 0.2, 0.2, 0.14), True)]:
        grid(figure.add_axes(place), numbers, title, empty=empty)
    return figure


def sheet_matrix() -> Figure:
    """Write thirty answers, and draw the empty confusion matrix."""
    figure = page("A confusion matrix", (
        "A network looked at thirty faces. Before the arrow stands the true class, behind it the "
        "network's answer. Make a stroke for each in the matrix, then count: a row is a true "
        "class, a column an answer."))
    for i, (true, answer) in enumerate(pairs()):
        figure.text(0.11 + 0.29 * (i // 10), 0.79 - 0.022 * (i % 10), f"{true} → {answer}",
                    fontsize=12)
    axis = figure.add_axes((0.28, 0.25, 0.5, 0.27))
    grid(axis, MATRIX.to_numpy(), "answer", empty=True)
    axis.set_xticks([0.5, 1.5, 2.5], THREE, fontsize=12)
    axis.set_yticks([0.5, 1.5, 2.5], THREE, fontsize=12)
    axis.tick_params(length=0, top=False, labelbottom=False, labeltop=True)
    axis.set_ylabel("true class", fontsize=13)
    write(figure, 0.18, "Recall of happy: of the happy faces, how many are found?   _____ of _____"
          "\n\nPrecision of happy: of the answers happy, how many are right?   _____ of _____")
    return figure


def sheet_stop() -> Figure:
    """Draw three histories of a test loss."""
    figure = page("Where would you stop?", (
        f"Early stopping, with a patience of {PATIENCE}: training ends after {PATIENCE} epochs "
        "without a new lowest loss. The weights of the epoch with the lowest loss so far are kept. "
        f"C is the report's own training: it has no more than {len(HISTORIES['C'])} epochs.\n"
        "Cover the curves with a sheet, and uncover one epoch after the other."))
    line = "\n\n_______________"
    for i, (name, losses) in enumerate(HISTORIES.items()):
        axis = figure.add_axes((0.13, 0.635 - 0.245 * i, 0.52, 0.15))
        axis.plot(range(1, len(losses) + 1), losses, "o-", color="#e8710a", ms=4)
        axis.set(xlabel="epoch", ylabel="test loss",
                 xticks=range(1, len(losses) + 1, 1 + len(losses) // 15))
        if max(losses) > 5 * min(losses):
            axis.set_yscale("log", subs=[1])
            axis.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
            axis.minorticks_off()
        axis.grid(alpha=0.4)
        axis.set_title(name, loc="left", fontsize=15, weight="bold")
        figure.text(0.7, 0.735 - 0.245 * i, f"ends after epoch{line}\n\nkept: epoch{line}",
                    fontsize=12, va="center")
    last = ", ".join(f"{loss:.4f}" for loss in HISTORIES["C"][-6:])
    write(figure, 0.1, f"C, its last six epochs: {last}.\n"
          "On which images is this loss measured, and what is wrong with that?")
    return figure


def sheet_vote() -> Figure:
    """Draw eight faces without a title, with a line to write on and a table for the class."""
    figure = page("What do they call it?", (
        "Give each drawing one of six words, alone: happy, sad, fear, surprise, neutral, or angry. "
        "Then count hands, and write into the table how many of you gave each word."))
    for i, image in enumerate(faces(VOTE)):
        axis = figure.add_axes((0.09 + 0.21 * (i % 4), 0.66 - 0.2 * (i // 4), 0.185, 0.13))
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.set_xlabel(f"{i + 1}: ______________", fontsize=11, loc="left", labelpad=12)
    axis = figure.add_axes((0.2, 0.12, 0.71, 0.24))
    grid(axis, np.zeros((6, 8)), "the votes of the class, face by face", empty=True)
    axis.set(aspect="auto", xticks=np.arange(8) + 0.5, yticks=np.arange(6) + 0.5)
    axis.set_xticklabels([str(number) for number in range(1, 9)], fontsize=11)
    axis.set_yticklabels(EMOTIONS, fontsize=11)
    axis.tick_params(length=0, labelbottom=False, labeltop=True)
    write(figure, 0.1, "The most frequent word: how many of all votes? Is it the label?")
    return figure


def sheet_answers() -> Figure:
    """Write the answers to all sheets."""
    figure = page("Answers (for the teacher)", "")
    parts = convolution(SQUARE)
    figure.text(0.09, 0.89, "One convolution, by hand", fontsize=14, weight="bold")
    for i, (name, numbers) in enumerate(parts.items()):
        grid(figure.add_axes((0.09 + 0.3 * i, 0.68, 0.25, 0.17)), numbers, name, size=10)
    figure.text(0.09, 0.63, "A confusion matrix", fontsize=14, weight="bold")
    figure.text(0.09, 0.61, MATRIX.to_string(), fontsize=11, va="top", family="monospace")
    found = MATRIX.loc["happy", "happy"]
    write(figure, 0.52, f"Recall of happy: {found} of {MATRIX.loc['happy'].sum()}. "
          f"Precision of happy: {found} of {MATRIX['happy'].sum()}.", 11)
    figure.text(0.09, 0.46, "Where would you stop?", fontsize=14, weight="bold")
    said = {"A": "Nobody sees epoch 7, which would have been better.", "B": "",
            "C": "It uses all its epochs: no wait was long enough."}
    write(figure, 0.445, "\n".join(
        [f"{name}: ends after epoch {{}}, epoch {{}} is kept. {said[name]}".format(*stop(losses))
         for name, losses in HISTORIES.items()]
        + ["The loss is measured on the test images. So the test has helped to choose, and its "
           "accuracy is a little too good. Better: stop by images set aside from train."]), 11)
    figure.text(0.09, 0.25, "What do they call it?", fontsize=14, weight="bold")
    labels = ", ".join(f"{i} {label}" for i, label in enumerate(VOTE, 1))
    write(figure, 0.235, f"The labels: {labels}.\nA label is what somebody meant to draw. Where "
          "the class disagrees with it, the class is not wrong: it says what it sees. Count also "
          "how far the class agrees with itself.", 11)
    return figure


SHEETS = {"convolution": sheet_convolution, "confusion_matrix": sheet_matrix,
          "where_to_stop": sheet_stop, "vote": sheet_vote, "answers": sheet_answers}


def main() -> int:
    """Write one PDF for each sheet."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name, draw in SHEETS.items():
        figure = draw()
        figure.savefig(BUILD / f"{name}.pdf")
        plt.close(figure)
        print(f"build/sheets/{name}.pdf")
    return 0


if __name__ == "__main__":
    sys.exit(main())
