"""The three networks of the report, and their layer tables.

The networks take float images [n, 48, 48, 1] with values from 0 to 1 and return probabilities
[n, 6]. :func:`with_preprocessing` puts the scaling and the augmentation in front.
"""

import pandas as pd

from fer_helpers.augmentation import RandomAffine
from fer_helpers.course import EMOTIONS, IMAGE_SIZE
from machinery.keras_quietly import keras

layers = keras.layers


def conv_block(*filters, l2=0.0, dropout=0.0):
    """Convolutions of 3 x 3, one for each entry of ``filters``, then a block's closing layers."""
    penalty = keras.regularizers.L2(l2) if l2 else None
    block = [
        layers.Conv2D(count, 3, padding="same", activation="relu", kernel_regularizer=penalty)
        for count in filters
    ]
    block += [layers.BatchNormalization(), layers.MaxPooling2D(2)]
    if dropout:
        block.append(layers.Dropout(dropout))
    return block


def classifier(units, dropout):
    """From feature maps to probabilities: flatten, one hidden layer, softmax over the classes."""
    return [
        layers.Flatten(),
        layers.Dense(units, activation="relu"),
        layers.Dropout(dropout),
        layers.Dense(len(EMOTIONS), activation="softmax"),
    ]


def build_baseline(dropout=0.25):
    """Two convolutions (report, section 4.1, Figure 9); 4,758,342 parameters.

    The report does not give the dropout rate: 0.25 is our choice.
    """
    return keras.Sequential([
        keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1)),
        *conv_block(32),
        *conv_block(128),
        *classifier(256, dropout),
    ], name="baseline")


def build_final(last_filters=1024):
    """Three blocks of two convolutions (report, Figures 4 and 12); 44,048,902 parameters.

    ``last_filters=512`` is the report's ablation (section 4.3); 22,812,678 parameters.
    """
    names = {1024: "final", 512: "ablation"}
    return keras.Sequential([
        keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1)),
        *conv_block(32, 64, dropout=0.25),
        *conv_block(128, 256, l2=0.01, dropout=0.25),
        *conv_block(512, last_filters, l2=0.01, dropout=0.25),
        *classifier(1024, dropout=0.5),
    ], name=names.get(last_filters, f"final_{last_filters}"))


def with_preprocessing(network, augmentation, seed):
    """Put the scaling to 0..1 and the augmentation in front of a network.

    The result takes raw images (0 to 255), so a saved model cannot be fed wrongly scaled pixels.
    """
    return keras.Sequential([
        keras.Input(network.input_shape[1:]),
        layers.Rescaling(1.0 / 255.0),
        RandomAffine(**augmentation, seed=seed),
        network,
    ], name=f"{network.name}_with_preprocessing")


def layer_table(network) -> pd.DataFrame:
    """Return one row a layer: ``layer``, ``type``, ``output`` (shape) and ``parameters``."""
    rows = []
    for layer in network.layers:
        shape = " x ".join(str(size) for size in layer.output.shape[1:])
        rows.append((layer.name, type(layer).__name__, shape, layer.count_params()))
    return pd.DataFrame(rows, columns=["layer", "type", "output", "parameters"])
