import numpy as np
import pytest

from experiments.beyond import build_compact
from fer_helpers import models
from fer_helpers.training import fresh_start

BUILD = {
    "baseline": models.build_baseline,
    "final": models.build_final,
    "ablation": lambda: models.build_final(512),
}


def conv(inputs, outputs):
    return 3 * 3 * inputs * outputs + outputs


def dense(inputs, outputs):
    return inputs * outputs + outputs


# By arithmetic: the layers with parameters, in order. Batch normalization has four a channel.
BY_HAND = {
    "baseline": [conv(1, 32), 4 * 32, conv(32, 128), 4 * 128,
                 dense(12 * 12 * 128, 256), dense(256, 6)],
    "final": [conv(1, 32), conv(32, 64), 4 * 64, conv(64, 128), conv(128, 256), 4 * 256,
              conv(256, 512), conv(512, 1024), 4 * 1024,
              dense(6 * 6 * 1024, 1024), dense(1024, 6)],
    "ablation": [conv(1, 32), conv(32, 64), 4 * 64, conv(64, 128), conv(128, 256), 4 * 256,
                 conv(256, 512), conv(512, 512), 4 * 512,
                 dense(6 * 6 * 512, 1024), dense(1024, 6)],
}
TOTALS = {"baseline": 4_758_342, "final": 44_048_902, "ablation": 22_812_678}


@pytest.mark.parametrize("name", BUILD)
def test_parameters_by_arithmetic_by_table_and_by_keras(name):
    network = BUILD[name]()
    table = models.layer_table(network)
    assert [n for n in table["parameters"] if n] == BY_HAND[name]
    assert sum(BY_HAND[name]) == table["parameters"].sum() == network.count_params()
    assert network.count_params() == TOTALS[name]


@pytest.mark.parametrize("side", [24, 48])
def test_the_compact_network_by_arithmetic(side):
    """Without biases, because batch normalization has one a filter."""
    network = build_compact()
    pairs = [(1, 16), (16, 32), (32, 32), (32, 96), (96, 96), (96, 256), (256, 256)]
    by_hand = sum(conv(*pair) - pair[1] + 4 * pair[1] for pair in pairs) + dense(256, 6)
    assert network.count_params() == by_hand == 940_246
    images = np.random.default_rng(0).random((2, side, side, 1), dtype="float32")
    np.testing.assert_allclose(np.asarray(network(images)).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", BUILD)
def test_probabilities_out(name):
    network = BUILD[name]()
    images = np.random.default_rng(0).random((3, 48, 48, 1), dtype="float32")
    probabilities = np.asarray(network(images))
    assert probabilities.shape == (3, 6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities >= 0).all()


def test_l2_is_on_the_kernels_of_blocks_two_and_three_of_the_final_model_only():
    network = models.build_final()
    convolutions = [layer for layer in network.layers if type(layer).__name__ == "Conv2D"]
    penalised = [layer.kernel_regularizer is not None for layer in convolutions]
    assert penalised == [False] * 2 + [True] * 4
    expected = 0.01 * sum(np.square(np.asarray(layer.kernel), dtype=float).sum()
                          for layer in convolutions[2:])
    assert float(sum(network.losses)) == pytest.approx(expected, rel=1e-4)
    assert models.build_baseline().losses == []


def test_layer_names_do_not_depend_on_history():
    models.build_baseline()
    fresh_start(0)
    first = models.layer_table(models.build_baseline())
    fresh_start(0)
    second = models.layer_table(models.build_baseline())
    assert first.equals(second)
    assert first["layer"][0] == "conv2d"


def test_same_seed_same_weights():
    fresh_start(3)
    one = models.build_baseline().get_weights()
    fresh_start(3)
    two = models.build_baseline().get_weights()
    fresh_start(4)
    other = models.build_baseline().get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_preprocessing_scales_raw_pixels():
    network = models.build_baseline()
    model = models.with_preprocessing(network, {"rotation": 30.0}, seed=0)
    raw = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), dtype="uint8")
    np.testing.assert_allclose(np.asarray(model(raw, training=False)),
                               np.asarray(network(raw / np.float32(255))), atol=1e-5)
