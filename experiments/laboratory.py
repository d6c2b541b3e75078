"""The face laboratory of notebook 4: a drawn face, and what a small network makes of it.

It draws with `draw_fixture`, as the network's training images were drawn. It opens no picture.
"""

import itertools
import random

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from ipywidgets import HTML, Dropdown, FloatSlider, HBox, IntSlider, Tab, VBox, interactive
from matplotlib.figure import Figure
from PIL import Image, ImageFilter
from scipy import special

from experiments.draw_fixture import FEATURES, SIZE, draw_look
from fer_helpers import plotting
from fer_helpers.course import EMOTIONS

LABELS = (
    "<i>brow</i> lifts the brows, <i>inner</i> their inner ends, <i>corners</i> the corners of the "
    "mouth. <i>eye</i> and <i>open</i> are the heights of the eyes and the mouth, <i>wide</i> is "
    "the width of the mouth.<br>Orange: the answer loses most when this place is covered.")
STEP, REACH = 8, 6  # pixels: from one covered square to the next; from its centre to its border


def draw(emotion: str = "neutral", strength: float = 1.0, person: int = 1, **look: float
         ) -> np.ndarray:
    """Return a face, uint8 [48, 48, 1]: an emotion of a strength from 0 to 1, then changed.

    ``look`` is added to the face in pixels: brow (lift), inner (lift of the brows' inner ends),
    eye (half its height), corners (lift of the mouth's), open (half its height), wide (half its
    width). ``person`` chooses all that is no expression: skin, light, place, hair and noise.
    """
    neutral = FEATURES["neutral"]
    look = {name: neutral[name] + strength * (value - neutral[name]) + look.get(name, 0)
            for name, value in FEATURES[emotion].items()}
    return np.asarray(draw_look(look, random.Random(person)))[..., None]


def spoil(face: np.ndarray, blur: float = 0, light: int = 0, turn: float = 0) -> np.ndarray:
    """Return a face blurred (radius in pixels), lit (grey levels more) and turned (degrees)."""
    image = Image.fromarray(face[..., 0]).filter(ImageFilter.GaussianBlur(blur))
    image = image.rotate(turn, Image.Resampling.BILINEAR, fillcolor=int(face[0, 0, 0]))
    return np.clip(np.asarray(image, int) + light, 0, 255).astype("uint8")[..., None]


def ask(network, faces: np.ndarray) -> np.ndarray:
    """Return the network's probabilities, float32 [n, 6], for faces, uint8 [n, 48, 48, 1]."""
    return np.asarray(network(np.asarray(faces, "float32") / 255, training=False))


def covered(face: np.ndarray) -> np.ndarray:
    """Return the face and 36 copies of it, each with another square covered by its mean grey."""
    middles = range(STEP // 2, SIZE, STEP)
    faces = np.repeat(face[None], 1 + len(middles) ** 2, axis=0)
    for copy, (row, column) in zip(faces[1:], itertools.product(middles, middles), strict=True):
        copy[max(row - REACH, 0):row + REACH, max(column - REACH, 0):column + REACH] = face.mean()
    return faces


def look_into(network, face: np.ndarray) -> Figure:
    """Draw a face, the six probabilities that a network gives it, and where the network looks.

    It looks where its answer loses most (in log-odds) when that part of the face is covered.
    """
    given, *others = ask(network, covered(face)).astype(float).clip(1e-7, 1 - 1e-7)
    answer = given.argmax()
    odds = special.logit([given[answer], *(each[answer] for each in others)])
    falls = (odds[0] - odds[1:]).clip(0).reshape(SIZE // STEP, -1)
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.6))  # a layout that is computed takes longer
    figure.subplots_adjust(0.01, 0.12, 0.99, 0.88, wspace=0.28)
    for axis in axes[::2]:
        axis.imshow(face[..., 0], cmap="gray", vmin=0, vmax=255, extent=(0, SIZE, SIZE, 0))
        axis.axis("off")
    axes[2].imshow(falls, cmap="Oranges", vmin=0, alpha=0.5, interpolation="bilinear",
                   extent=(0, SIZE, SIZE, 0))
    axes[0].set_title("the face")
    axes[2].set_title("orange: what the answer needs")
    axes[1].barh(EMOTIONS, given, color=[plotting.TRAIN_COLOUR if i == answer else "0.75"
                                         for i in range(len(EMOTIONS))])
    axes[1].set(xlim=(0, 1), xticks=[0, 0.5, 1], xticklabels=["0 %", "50 %", "100 %"])
    axes[1].set_title(f"{EMOTIONS[answer]} {given[answer]:.0%}")
    axes[1].invert_yaxis()
    return figure


def agreement(network, faces: dict[str, np.ndarray], votes: dict[str, list[str]]) -> pd.DataFrame:
    """Return a table of what a class and a network answer; the network's only after the class."""
    rows = {}
    given = ask(network, np.stack(list(faces.values())))
    for name, probabilities in zip(faces, given, strict=True):
        words, counts = np.unique(votes.get(name) or [""], return_counts=True)
        most, answer = words[counts.argmax()], EMOTIONS[probabilities.argmax()]
        rows[name] = {
            "class": most or "vote first", "of the class": f"{counts.max() / counts.sum():.0%}",
            "network": answer, "its probability": f"{probabilities.max():.0%}",
            "agree": "yes" if most == answer else "no"} if most else {"class": "vote first"}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def sliders(network) -> VBox:
    """Return the laboratory for JupyterLab: sliders beside what :func:`look_into` draws."""
    drawing = {
        "emotion": Dropdown(options=EMOTIONS, value="sad"),
        "strength": FloatSlider(1, min=0, max=1, step=0.1), "person": IntSlider(2, min=1, max=30),
        **{name: FloatSlider(0, min=-end, max=end, step=end / 16) for name, end in {
            "brow": 4, "inner": 8, "eye": 2, "corners": 8, "open": 4, "wide": 4}.items()}}
    spoiling = {"blur": FloatSlider(0, min=0, max=4), "light": IntSlider(0, min=-120, max=120),
                "turn": IntSlider(0, min=-30, max=30)}

    def show(**moved):
        spoilt = {name: moved.pop(name) for name in spoiling}
        look_into(network, spoil(draw(**moved), **spoilt))

    *boxes, output = interactive(show, **drawing, **spoiling).children
    tabs = Tab([VBox(boxes[:len(drawing)]), VBox(boxes[len(drawing):])],
               titles=["Draw the face", "Spoil the picture"],
               layout={"min_height": "350px"})  # the page does not move with the tab
    return VBox([HTML(LABELS), HBox([tabs, output])])
