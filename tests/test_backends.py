"""Models, augmentation, training and resume, with whatever Keras computes with.

`make test` runs them with TensorFlow, `make test-backends` with each backend that is installed.
"""

import os
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from fer_helpers.dataset import Balanced, Examples

BACKEND = os.environ.get("KERAS_BACKEND") or "tensorflow"
pytestmark = pytest.mark.skipif(not find_spec(BACKEND), reason=f"{BACKEND} is not installed")


@pytest.fixture(scope="module")
def keras():
    from machinery.keras_quietly import keras
    assert keras.backend.backend() == BACKEND
    return keras


def noise(count):
    pixels = np.random.default_rng(count).integers(0, 256, (count, 48, 48, 1), dtype=np.uint8)
    return Examples(pixels, np.arange(count) % 6, np.arange(count).astype(str))


@pytest.mark.parametrize("name", ["baseline", "final", "compact_10"])
def test_networks_give_probabilities(keras, name):
    from experiments.plan import ALL
    from fer_helpers import training
    training.fresh_start(0)
    network = ALL[name].build()
    probabilities = training.predict(network, noise(5).images / np.float32(255))
    assert probabilities.shape == (5, 6) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_augmentation_moves_and_mirrors_and_rests_outside_training(keras):
    from fer_helpers.augmentation import RandomAffine
    layer = RandomAffine(rotation=30, horizontal_flip=True, seed=0)
    images = noise(3).images.astype("float32")
    given = dict.fromkeys(layer.draw_parameters(3), [0.0] * 3) | {
        "zoom_x": [1.0] * 3, "zoom_y": [1.0] * 3, "flip": [0.0, 1.0, 0.0],
        "height_shift": [0.0, 0.0, -0.25]}
    parameters = {name: keras.ops.convert_to_tensor(values) for name, values in given.items()}
    same, mirrored, lower = keras.ops.convert_to_numpy(layer.transform(images, parameters))
    np.testing.assert_allclose(same, images[0], atol=0.01)
    np.testing.assert_allclose(mirrored, images[1, :, ::-1], atol=0.01)
    np.testing.assert_allclose(lower[12:], images[2, :-12], atol=0.01)
    assert np.abs(keras.ops.convert_to_numpy(layer(images, training=True)) - images).mean() > 10
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(images)), images)


def test_winograd_is_a_convolution_and_learns_as_one(keras):
    """One step of plain gradient descent moves the weights as Keras's own convolution does."""
    from fer_helpers import models, training
    from machinery import winograd
    if BACKEND == "torch":
        assert winograd.speed_up(models.build_final()) == []
        return
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 5)).astype("float32")
    target = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")

    def after_a_step(operation):
        training.fresh_start(0)
        layer = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)
        if operation:
            layer.convolution_op = operation
        model = keras.Sequential([keras.Input((8, 8, 5)), layer])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(images, target)
        return keras.ops.convert_to_numpy(layer.kernel)

    np.testing.assert_allclose(after_a_step(winograd.convolve), after_a_step(None), atol=1e-5)


def test_a_training_that_was_stopped_goes_on_with_the_same_numbers(keras, tmp_path):
    from fer_helpers import training

    def build():
        return keras.Sequential([
            keras.Input((48, 48, 1)), keras.layers.Conv2D(4, 3, strides=4, activation="relu"),
            keras.layers.BatchNormalization(), keras.layers.Dropout(0.25), keras.layers.Flatten(),
            keras.layers.Dense(6, activation="softmax")], name="small")

    def train(log=lambda line: None, **options):
        return training.train(build, Balanced(noise(24), noise(12), {"dataset": "noise"}),
                              training.Settings(epochs=2, batch_size=8), log=log, **options)

    def stop(line):
        if line.startswith("Epoch  1"):
            raise KeyboardInterrupt

    whole = train()
    with pytest.raises(KeyboardInterrupt):
        train(log=stop, save_to=tmp_path / "small.npz")
    lines = []
    resumed = train(log=lines.append, save_to=tmp_path / "small.npz")
    assert lines[0].startswith("Going on after epoch 1")
    seconds = ["seconds", "cpu_seconds"]
    pd.testing.assert_frame_equal(resumed.history.drop(columns=seconds),
                                  whole.history.drop(columns=seconds))
    np.testing.assert_allclose(resumed.probabilities, whole.probabilities, atol=1e-6)
    assert (resumed.about["backend"], resumed.about["onednn"]) == (BACKEND, BACKEND == "tensorflow")
    assert BACKEND in resumed.about["versions"]
