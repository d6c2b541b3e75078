"""Where does a network look? Gradient-weighted class activation maps (Selvaraju et al., 2017)."""

import numpy as np

from fer_helpers.emotions import COURSE, IMAGE_SIZE, CourseError
from fer_helpers.keras_quietly import keras


def grad_cam(network, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how much each place of an image speaks for a class.

    The feature maps of the last convolution are added up, each with the mean gradient of the
    class's score (before softmax) as its weight; what is negative becomes 0.

    Parameters
    ----------
    network
        A trained network of this course, without preprocessing.
    images
        [n, 48, 48, 1], scaled to 0..1.
    classes
        int [n], for each image the class to explain.

    Returns
    -------
    float32 [n, 48, 48], from 0 to 1, where 1 is the largest value of an image

    Raises
    ------
    CourseError
        If Keras does not run on TensorFlow: the gradient is taken with it.
    """
    if keras.backend.backend() != "tensorflow":
        raise CourseError("Grad-CAM needs the TensorFlow backend: unset KERAS_BACKEND.")
    import tensorflow as tf

    last = max(i for i, layer in enumerate(network.layers)
               if isinstance(layer, keras.layers.Conv2D))
    features = images
    for layer in network.layers[:last + 1]:
        features = layer(features, training=False)
    with tf.GradientTape() as tape:
        tape.watch(features)
        hidden = features
        for layer in network.layers[last + 1:-1]:
            hidden = layer(hidden, training=False)
        scores = hidden @ network.layers[-1].kernel + network.layers[-1].bias
        chosen = tf.gather(scores, classes, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(chosen, features), axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1, keepdims=True))
    maps = np.asarray(tf.image.resize(maps, (IMAGE_SIZE, IMAGE_SIZE)))[..., 0]
    return maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)


def with_random_weights(network, seed: int = 0):
    """Return a copy of a network with new random weights, from the seed.

    A map that stays the same explains nothing: the sanity check of Adebayo et al. (2018).
    """
    keras.utils.set_random_seed(seed)
    return type(network).from_config(network.get_config())


def small_network():
    """Load the small network that comes with the course (``data/train_small.py`` made it)."""
    return keras.saving.load_model(COURSE / "data" / "small.keras", safe_mode=True)
