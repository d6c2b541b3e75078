"""Winograd's convolution against Keras's own, in float64 where the digits count."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fer_helpers import models
from machinery import winograd

Conv2D = keras.layers.Conv2D


def with_gradients(function, images, kernel, upstream):
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        result = function(images, kernel)
    return [result, *tape.gradient(result, [images, kernel], output_gradients=upstream)]


@pytest.mark.parametrize(("height", "width", "channels", "filters"), [
    (4, 4, 1, 2), (12, 12, 130, 40), (24, 8, 8, 16), (4, 12, 3, 5)])
def test_convolution_and_gradients_are_those_of_keras(height, width, channels, filters):
    rng = np.random.default_rng(0)
    images = (3, height, width)
    given = [rng.normal(size=shape).astype("float32") for shape in (
        (*images, channels), (3, 3, channels, filters), (*images, filters))]
    exact = with_gradients(lambda x, kernel: keras.ops.conv(x, kernel, padding="same"),
                           *[tf.constant(x, "float64") for x in given])
    found = with_gradients(winograd.convolve, *map(tf.constant, given))
    for one, other in zip(found, exact, strict=True):
        assert one.shape == other.shape
        # float32 has seven digits; the transforms cost one of them.
        assert np.linalg.norm(np.subtract(one, other)) < 2e-5 * np.linalg.norm(other)


@pytest.mark.parametrize(("shape", "options", "changed"), [
    ((24, 24, 130), {}, True), ((4, 8, 128), {}, True),
    ((24, 24, 127), {}, False), ((10, 12, 128), {}, False), ((12, 10, 128), {}, False),
    ((None, None, 128), {}, False), ((24, 24, 128), {"strides": 2}, False),
    ((24, 24, 128), {"kernel_size": 5}, False), ((24, 24, 128), {"padding": "valid"}, False),
    ((24, 24, 128), {"groups": 2}, False), ((24, 24, 128), {"dilation_rate": 2}, False),
    ((128, 24, 128), {"data_format": "channels_first"}, False)])
def test_only_wide_convolutions_that_fit_are_changed(shape, options, changed):
    image = keras.Input(shape)  # Keras on a CPU does not compute channels first, but builds it
    layer = Conv2D(**{"filters": 4, "kernel_size": 3, "padding": "same"} | options)
    network = keras.Model(image, keras.layers.Activation("relu")(layer(image)))
    assert winograd.speed_up(network) == [layer.name] * changed
    assert (layer.convolution_op == winograd.convolve) == changed


def test_a_graphics_processor_keeps_its_own(monkeypatch):
    network = models.build_final(8)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    assert winograd.speed_up(network) == []


def test_the_network_stays_what_it_was(tmp_path):
    """Same predictions, same weights, and a file that plain Keras reads."""
    images = np.random.default_rng(0).random((2, 48, 48, 1), dtype="float32")
    network = models.build_final(128)
    before, table = np.asarray(network(images)), models.layer_table(network)
    wide = [layer for layer in network.layers if isinstance(layer, Conv2D)][3:]
    assert winograd.speed_up(network) == [layer.name for layer in wide]
    np.testing.assert_allclose(np.asarray(network(images)), before, rtol=1e-4)
    assert models.layer_table(network).equals(table)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    assert winograd.convolve not in [getattr(layer, "convolution_op", None)
                                     for layer in loaded.layers]
    np.testing.assert_allclose(np.asarray(loaded(images)), before, rtol=1e-6)
