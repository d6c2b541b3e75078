"""The networks against plain Keras: the report's listings, written down once more."""

import numpy as np
import pytest

from experiments.beyond import build_compact
from experiments.plan import ALL
from fer_helpers import models
from fer_helpers.augmentation import REPORT_AUGMENTATION
from fer_helpers.training import fresh_start
from machinery.keras_quietly import keras

L = keras.layers


def figure_4(last_filters):
    """The listing in the report's Figure 4, line by line."""
    l2 = {"kernel_regularizer": keras.regularizers.L2(0.01)}
    return keras.Sequential([
        keras.Input((48, 48, 1)),
        L.Conv2D(32, (3, 3), activation="relu", padding="same"),
        L.Conv2D(64, (3, 3), activation="relu", padding="same"),
        L.BatchNormalization(), L.MaxPooling2D((2, 2)), L.Dropout(0.25),
        L.Conv2D(128, (3, 3), activation="relu", padding="same", **l2),
        L.Conv2D(256, (3, 3), activation="relu", padding="same", **l2),
        L.BatchNormalization(), L.MaxPooling2D((2, 2)), L.Dropout(0.25),
        L.Conv2D(512, (3, 3), activation="relu", padding="same", **l2),
        L.Conv2D(last_filters, (3, 3), activation="relu", padding="same", **l2),
        L.BatchNormalization(), L.MaxPooling2D((2, 2)), L.Dropout(0.25),
        L.Flatten(), L.Dense(1024, activation="relu"), L.Dropout(0.5),
        L.Dense(6, activation="softmax"),
    ])


def figure_9():
    """The table in the report's Figure 9, with our dropout."""
    return keras.Sequential([
        keras.Input((48, 48, 1)),
        L.Conv2D(32, (3, 3), activation="relu", padding="same"),
        L.BatchNormalization(), L.MaxPooling2D((2, 2)),
        L.Conv2D(128, (3, 3), activation="relu", padding="same"),
        L.BatchNormalization(), L.MaxPooling2D((2, 2)),
        L.Flatten(), L.Dense(256, activation="relu"), L.Dropout(0.25),
        L.Dense(6, activation="softmax"),
    ])


def compact(flatten=False, l2=0.0, even_light=True):
    """Convolutions without biases; each pair's second one is added to what goes into it."""
    def step(maps, filters, strides):
        maps = L.Conv2D(filters, (3, 3), strides, padding="same", use_bias=False,
                        kernel_regularizer=keras.regularizers.L2(l2))(maps)
        return L.Activation("relu")(L.BatchNormalization(momentum=0.9)(maps))

    image = keras.Input((48, 48, 1) if flatten else (None, None, 1))
    places = (1, 2, 3)
    even = L.Lambda(lambda x: (x - keras.ops.mean(x, places, keepdims=True)) / keras.ops.sqrt(
        keras.ops.var(x, places, keepdims=True) + 0.001))
    maps = step(even(image) if even_light else image, 16, 1)
    for filters in (32, 96, 256):
        half = step(maps, filters, 2)
        maps = half + step(half, filters, 1)
    vector = L.Flatten()(maps) if flatten else keras.ops.mean(maps, (1, 2))
    return keras.Model(image, L.Dense(6, activation="softmax")(vector))


PARTS = [{"even_light": False}, {"flatten": True}, {"l2": 0.01}]
# With few filters at the end, the final network is small enough for a step in no time.
CASES = {
    "final": (lambda: models.build_final(8), lambda: figure_4(8)),
    "baseline": (models.build_baseline, figure_9),
    "compact": (build_compact, compact),
} | {f"compact {part}": (lambda part=part: build_compact(**part),
                         lambda part=part: compact(**part)) for part in PARTS}


@pytest.fixture
def float64():
    """With seven digits, a ReLU near 0 would be on in one network and off in the other."""
    policy = keras.config.dtype_policy()  # other tests may have set it
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("case", CASES)
def test_answers_and_steps_are_those_of_the_network_written_in_plain_keras(case, float64):
    """Training mode, penalty and moving means included: one step at rate 1 shows each gradient."""
    rng = np.random.default_rng(0)
    images = rng.random((3, 48, 48, 1)) * [[[[1]]], [[[.5]]], [[[.2]]]]
    ours, oracle = ([keras.utils.set_random_seed(0), build()][1] for build in CASES[case])
    for mine, its in zip(ours.get_weights(), oracle.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its, "another start")
    for mine, its in zip(ours.variables, oracle.variables, strict=True):
        value = np.asarray(mine)
        if mine.name == "seed_generator_state":  # the same dropout
            value = np.array([rng.integers(2**31), 0], "uint32")
        elif value.ndim == 1:  # biases and moving means, which all start at 0 or 1
            value = value + rng.uniform(0, 0.2, value.shape)
        mine.assign(value)
        its.assign(value)
    near = {"rtol": 1e-7, "atol": 1e-9}  # the same sums, maybe in another order
    np.testing.assert_allclose(ours(images), oracle(images), **near)
    losses = []
    for network in (ours, oracle):
        network.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
        losses.append(network.train_on_batch(images, np.array([0, 3, 5])))
    np.testing.assert_allclose(*losses, rtol=1e-6)  # Keras keeps it in float32
    for mine, its in zip(ours.weights, oracle.weights, strict=True):
        np.testing.assert_allclose(mine, its, err_msg=mine.path, **near)


def test_every_network_of_the_plan_has_an_oracle():
    builds = {getattr(one.build, "func", one.build) for one in ALL.values()}
    lacking = {build().name for build in builds} - {*CASES, "ablation"}  # which is a final one
    assert not lacking, "write them once more in plain Keras, and both into CASES"


@pytest.mark.parametrize(("build", "name", "parameters"), [
    (models.build_baseline, "baseline", 4_758_342), (models.build_final, "final", 44_048_902),
    (lambda: models.build_final(512), "ablation", 22_812_678),  # by arithmetic, all three
    (lambda: models.build_final(8), "final_8", None), (build_compact, "compact", 940_246),
])
def test_names_and_numbers_of_parameters(build, name, parameters):
    network = build()
    assert network.name == name
    assert models.layer_table(network)["parameters"].sum() == network.count_params()
    assert network.count_params() == parameters or parameters is None
    assert models.build_baseline(0.5).layers[-2].rate == 0.5, "the grid of notebook 3 changes it"


def test_the_layer_table():
    model = keras.Sequential([keras.Input((48, 48, 1)), L.Conv2D(3, 5, name="a"),
                              L.Flatten(name="b")])
    assert models.layer_table(model).to_dict("list") == {
        "layer": ["a", "b"], "type": ["Conv2D", "Flatten"], "output": ["44 x 44 x 3", "5808"],
        "parameters": [78, 0]}


@pytest.mark.parametrize("side", [24, 32])
def test_the_compact_network_takes_images_of_any_size_in_any_even_light(side):
    network = build_compact()
    images = np.random.default_rng(0).random((2, side, side, 1), dtype="float32")
    np.testing.assert_allclose(np.asarray(network(images)).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(network(images * 0.5 + 0.3), network(images), atol=0.01)


def test_names_and_first_weights_depend_on_the_seed_and_not_on_history():
    networks = []
    for seed in (3, 3, 4):
        fresh_start(seed)
        networks.append(build_compact())
    weights = [network.get_weights()[0] for network in networks]
    assert models.layer_table(networks[0]).equals(models.layer_table(networks[1]))
    assert models.layer_table(networks[0])["layer"][2] == "conv2d"
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_preprocessing_scales_raw_pixels_and_augments_in_training():
    network = models.build_baseline()
    model = models.with_preprocessing(network, REPORT_AUGMENTATION, seed=7)
    raw = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), dtype="uint8")
    np.testing.assert_allclose(model(raw), network(raw / np.float32(255)), atol=1e-5)
    config = model.layers[1].get_config()
    assert {"seed": config["seed"]} | {name: config[name] for name in REPORT_AUGMENTATION} \
        == {"seed": 7} | REPORT_AUGMENTATION
    assert model.name == "baseline_with_preprocessing"
