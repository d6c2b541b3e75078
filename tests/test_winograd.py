"""Winograd's convolution against Keras's own, in float64 where the digits count."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fer_helpers import models, training, winograd


def tensors(side: int, channels: int, filters: int, count: int = 3):
    rng = np.random.default_rng(side + channels)
    images = (count, side, side)
    shapes = [(*images, channels), (3, 3, channels, filters), (*images, filters)]
    return [tf.constant(rng.normal(size=shape).astype("float32")) for shape in shapes]


def with_gradients(function, images, kernel, upstream):
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        result = function(images, kernel)
    return [result, *tape.gradient(result, [images, kernel], output_gradients=upstream)]


def relative_error(found, exact) -> float:
    return float(np.linalg.norm(np.subtract(found, exact)) / np.linalg.norm(exact))


@pytest.mark.parametrize(("side", "channels", "filters"), [(4, 1, 2), (12, 130, 40), (24, 8, 16)])
def test_convolution_and_gradients_are_those_of_keras(side, channels, filters):
    given = tensors(side, channels, filters)

    def direct(images, kernel):
        return keras.ops.conv(images, kernel, padding="same")

    exact = with_gradients(direct, *[tf.cast(x, "float64") for x in given])
    found = with_gradients(winograd.convolve, *given)
    for one, other in zip(found, exact, strict=True):
        assert one.shape == other.shape
        # float32 has seven digits; the transforms cost one of them.
        assert relative_error(one, other) < 2e-5


def test_a_wrong_matrix_is_noticed(monkeypatch):
    images, kernel, _ = tensors(12, 8, 4)
    exact = keras.ops.conv(images, kernel, padding="same")
    assert relative_error(winograd.convolve(images, kernel), exact) < 2e-5
    wrong = winograd._INPUT.copy()
    wrong[7, 7] *= 1.01
    monkeypatch.setattr(winograd, "_INPUT", wrong)
    assert relative_error(winograd.convolve(images, kernel), exact) > 1e-4


def test_only_wide_convolutions_that_fit_are_changed():
    assert winograd.speed_up(models.build_baseline()) == []
    assert len(winograd.speed_up(models.build_final())) == 3
    layers = [keras.layers.Conv2D(128, 3, padding="same"),
              keras.layers.Conv2D(128, 3, padding="same", strides=2),  # every second place only
              keras.layers.Conv2D(128, 5, padding="same"), keras.layers.Conv2D(128, 3),
              keras.layers.Conv2D(128, 3, padding="same", groups=2)]
    network = keras.Sequential([keras.Input((24, 24, 128)), *layers])
    assert winograd.speed_up(network) == [layers[0].name]
    odd = keras.Sequential([keras.Input((10, 10, 128)), keras.layers.Conv2D(8, 3, padding="same")])
    assert winograd.speed_up(odd) == []


def test_a_graphics_processor_keeps_its_own(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    assert winograd.speed_up(models.build_final(128)) == []


def test_the_network_stays_what_it_was(tmp_path):
    """Same predictions, same weights, and a file that plain Keras reads."""
    images = np.random.default_rng(0).random((2, 48, 48, 1), dtype="float32")
    training.fresh_start(0)
    network = models.build_final(128)
    before, table = np.asarray(network(images)), models.layer_table(network)
    assert winograd.speed_up(network)
    np.testing.assert_allclose(np.asarray(network(images)), before, rtol=1e-4)
    assert models.layer_table(network).equals(table)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    assert winograd.convolve not in [getattr(layer, "convolution_op", None)
                                     for layer in loaded.layers]
    np.testing.assert_allclose(np.asarray(loaded(images)), before, rtol=1e-6)
