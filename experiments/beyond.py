"""What is not the report's: notebook 10's network and recipe, and other targets than labels."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from fer_helpers.course import EMOTIONS
from fer_helpers.dataset import FIXTURE, Balanced, Dataset
from fer_helpers.identity import VOTES, images
from fer_helpers.training import Recipe, predict
from machinery.files import CourseError
from machinery.keras_quietly import keras

layers = keras.layers

SMALL_WARP = {"rotation": 10.0, "height_shift": 0.05, "width_shift": 0.05, "zoom": 0.1,
              "horizontal_flip": True}


def build_compact(*, flatten=False, l2=0.0, even_light=True):
    """A small residual network (after He et al., 2016), not the report's; 940,246 parameters.

    It averages over the places of a feature map where the report's networks flatten it. That leaves
    one number of each filter, so images may have any size. ``even_light`` takes brightness and
    contrast out of each image; ``flatten`` and ``l2`` do as the report did.
    """
    def step(maps, filters, strides=1):
        maps = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False,
                             kernel_regularizer=keras.regularizers.L2(l2) if l2 else None)(maps)
        # A few hundred steps must do: the means of 100 batches, as by default, would come late.
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(maps))

    image = keras.Input((48, 48, 1) if flatten else (None, None, 1))
    even = layers.GroupNormalization(1, center=False, scale=False)  # over the whole image
    maps = step(even(image) if even_light else image, 16)
    for filters in (32, 96, 256):
        maps = step(maps, filters, strides=2)
        maps = layers.Add()([maps, step(maps, filters)])
    vector = (layers.Flatten() if flatten else layers.GlobalAveragePooling2D())(maps)
    return keras.Model(image, layers.Dense(len(EMOTIONS), activation="softmax")(vector),
                       name="compact")


@dataclass(frozen=True)
class Beyond(Recipe):
    """Each field is a change to the report's way. Left as it is, it changes nothing."""

    one_cycle: bool = False  # up to the learning rate and down to 0, instead of a constant rate
    weight_decay: float = 0.0  # shrinks the weights beside the gradient (AdamW)
    # Sides of the training images in pixels, each for an equal part of the epochs. The test images
    # get the last one: a network that learned at one size fails at another.
    sizes: tuple[int, ...] = ()
    both_ways: bool = False  # the answers are the mean over each test image and its mirror

    def label(self) -> dict:
        return {name: value for name, value in asdict(self).items() if value}

    def optimizer(self, rate, steps):
        if self.one_cycle:
            up = steps // 4
            rate = keras.optimizers.schedules.CosineDecay(
                rate / 25, warmup_target=rate, warmup_steps=up, decay_steps=steps - up)
        return keras.optimizers.Adam(rate, weight_decay=self.weight_decay or None)

    def images(self, images, epoch, epochs):
        if not self.sizes:
            return images
        side = self.sizes[math.ceil((epoch + 1) * len(self.sizes) / epochs) - 1]
        resized = keras.ops.image.resize(images, (side, side), antialias=True)
        return keras.ops.convert_to_numpy(keras.ops.round(resized)).astype(np.uint8)

    def predict(self, model, images, batch_size):
        found = predict(model, images, batch_size)
        if self.both_ways:
            found = (found + predict(model, images[:, :, ::-1], batch_size)) / 2
        return found


# What the ladder of notebook 10 led to.
RECIPE = Beyond(one_cycle=True, weight_decay=0.05, sizes=(24, 32, 32, 32), both_ways=True)


def smooth_labels(data: Balanced, amount: float = 0.1) -> Balanced:
    """Take a share off the labels of the training images and spread it over the six classes.

    Label smoothing (Szegedy et al., 2016): a network then has no reason to be quite sure. The
    labels, int [n], become float32 [n, 6].
    """
    shares = np.eye(len(EMOTIONS), dtype=np.float32)[data.train.labels]
    shares = (1 - amount) * shares + amount / len(EMOTIONS)
    return data._replace(train=data.train._replace(labels=shares),
                         about=data.about | {"targets": f"labels smoothed by {amount:g}"})


def votes_of(dataset: Dataset) -> pd.DataFrame:
    """Return what ten people say of each image: counts of their answers, one row a path.

    The columns are the six classes, then four other answers. The original FER-2013 has the votes
    of FER+ (Barsoum et al., 2016), the fixture has drawn ones. Raises CourseError for any other.
    """
    if dataset.is_fixture:
        table = pd.read_csv(FIXTURE / "votes.csv")
    elif dataset.name == "fer2013":
        table = images()
    else:
        raise CourseError(f"{dataset.root} comes without votes: only the original FER-2013 and the "
                          "fixture have them. data/README.md tells how to get the original.")
    return table.set_index("path")[list(VOTES)].rename(columns=VOTES)


def learn_from_crowd(data: Balanced, votes: pd.DataFrame) -> Balanced:
    """Replace the labels of the training images by the crowd's shares of the six classes.

    ``votes`` is from :func:`votes_of`. Other answers than the six do not count; an image without
    any of the six keeps its label, as a share of 1. The labels, int [n], become float32 [n, 6].
    Test labels stay. Raises KeyError if an image has no votes.
    """
    counts = votes.loc[data.train.ids, list(EMOTIONS)].to_numpy(np.float32)
    nobody = counts.sum(axis=1) == 0
    counts[nobody, data.train.labels[nobody]] = 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    return data._replace(train=data.train._replace(labels=shares),
                         about=data.about | {"targets": "the crowd's shares"})
