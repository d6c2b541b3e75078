"""The maps are those of the formula, and depend on what the network has learned."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from fer_helpers import gradcam
from fer_helpers.emotions import COURSE, CourseError
from fer_helpers.keras_quietly import keras

SMALL = COURSE / "data" / "small.keras"


def test_the_map_of_a_network_that_can_be_worked_out_by_hand():
    rng = np.random.default_rng(0)
    network = keras.Sequential([
        keras.Input((48, 48, 1)), keras.layers.Conv2D(3, 1), keras.layers.Flatten(),
        keras.layers.Dense(6, activation="softmax")])
    kernel, dense = rng.normal(size=3), rng.normal(size=(48, 48, 3, 6))
    network.set_weights([kernel.reshape(1, 1, 1, 3), np.zeros(3), dense.reshape(-1, 6),
                         rng.normal(size=6)])
    images = rng.random((2, 48, 48, 1))
    classes = np.array([4, 1])
    found = gradcam.grad_cam(network, images, classes)
    for image, label, shown in zip(images, classes, found, strict=True):
        features = image * kernel  # a convolution of 1 x 1
        # The score is linear in the features, so its gradient is the dense layer's weights.
        weights = dense[..., label].mean(axis=(0, 1))
        expected = np.maximum((features * weights).sum(axis=-1), 0)
        expected /= max(expected.max(), 1e-12)
        np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def small():
    return gradcam.small_network()


@pytest.fixture
def faces(fixture_sets):
    _, test = fixture_sets
    return test.images / 255.0, test.labels


def test_the_shipped_network_has_learned_the_fixture(small, faces):
    images, labels = faces
    right = np.asarray(small(images)).argmax(axis=1) == labels
    assert right.mean() > 0.8
    assert small.count_params() == 51_462
    assert SMALL.stat().st_size < 300_000


def test_maps_go_from_0_to_1_and_differ_by_class(small, faces):
    images, labels = faces
    maps = gradcam.grad_cam(small, images, labels)
    assert maps.shape == (72, 48, 48)
    assert maps.min() >= 0
    assert (maps.max(axis=(1, 2)) <= 1).all()
    others = gradcam.grad_cam(small, images, (labels + 1) % 6)
    assert np.abs(maps - others).mean() > 0.05


def test_with_random_weights_the_map_changes(small, faces):
    images, labels = faces
    random = gradcam.with_random_weights(small)
    assert all(not np.array_equal(a, b) for a, b in
               zip(small.get_weights()[::8], random.get_weights()[::8], strict=True))
    maps, changed = (gradcam.grad_cam(network, images, labels) for network in (small, random))
    agreement = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in
                 zip(maps, changed, strict=True) if a.any() and b.any()]
    assert abs(np.mean(agreement)) < 0.3
    again = gradcam.grad_cam(gradcam.with_random_weights(small), images, labels)
    np.testing.assert_array_equal(changed, again)


def test_another_backend_is_refused(small, monkeypatch):
    monkeypatch.setattr(gradcam.keras.backend, "backend", lambda: "jax")
    with pytest.raises(CourseError, match="needs the TensorFlow backend: unset KERAS_BACKEND"):
        gradcam.grad_cam(small, np.zeros((1, 48, 48, 1)), np.zeros(1, int))
