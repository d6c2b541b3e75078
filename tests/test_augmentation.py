"""The augmentation layer against Keras's own ImageDataGenerator, which the report used."""

import numpy as np
import pytest
from scipy import stats

from fer_helpers.augmentation import REPORT_AUGMENTATION, RandomAffine
from fer_helpers.keras_quietly import keras

# Keras 3 keeps it for tf.keras only, out of its own public names.
oracle = keras.src.legacy.preprocessing.image.ImageDataGenerator

SIZE = 48
IDENTITY = {"theta": 0.0, "height_shift": 0.0, "width_shift": 0.0, "shear": 0.0,
            "zoom_x": 1.0, "zoom_y": 1.0, "flip": 0.0}
# Each parameter alone, at both ends and in between; the shear also far beyond the report's 0.1
# degrees, where a mistake would show; then everything together.
CASES = [
    {},
    {"theta": 30.0}, {"theta": -30.0}, {"theta": 7.3},
    {"height_shift": 0.1}, {"height_shift": -0.1}, {"height_shift": 0.033},
    {"width_shift": 0.1}, {"width_shift": -0.1}, {"width_shift": -0.071},
    {"shear": 0.1}, {"shear": -0.1}, {"shear": 20.0}, {"shear": -20.0},
    {"zoom_x": 0.9}, {"zoom_x": 1.1}, {"zoom_y": 0.9}, {"zoom_y": 1.1},
    {"flip": 1.0},
    {"theta": 21.0, "height_shift": 0.07, "width_shift": -0.04, "shear": 15.0,
     "zoom_x": 0.93, "zoom_y": 1.08, "flip": 1.0},
    {"theta": -13.0, "height_shift": -0.02, "width_shift": 0.09, "shear": -8.0,
     "zoom_x": 1.04, "zoom_y": 0.91, "flip": 0.0},
]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 1)).astype("float32")


def expected(image, parameters):
    """What ImageDataGenerator makes of an image; its shifts are in pixels."""
    p = IDENTITY | parameters
    return oracle().apply_transform(image, {
        "theta": p["theta"], "tx": p["width_shift"] * SIZE, "ty": p["height_shift"] * SIZE,
        "shear": p["shear"], "zx": p["zoom_x"], "zy": p["zoom_y"],
        "flip_horizontal": bool(p["flip"]),
    })


def transformed(images, cases):
    parameters = {name: np.array([(IDENTITY | case)[name] for case in cases], "float32")
                  for name in IDENTITY}
    return np.asarray(RandomAffine().transform(images, parameters))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_image_data_generator(image, case):
    # Neighbouring pixels of this noise differ by up to 255, so 0.05 grey levels means that the
    # sampling positions agree to about 0.0002 pixels: float32 against float64.
    ours = transformed(image[None], [case])[0]
    np.testing.assert_allclose(ours, expected(image, case), atol=0.05)


def test_a_batch_is_transformed_image_by_image(image):
    batch = np.stack([image + shift for shift in range(len(CASES))])
    for ours, one, case in zip(transformed(batch, CASES), batch, CASES, strict=True):
        np.testing.assert_allclose(ours, expected(one, case), atol=0.05)


def test_drawn_parameters_have_the_distributions_of_image_data_generator():
    count = 4000
    drawn = RandomAffine(**REPORT_AUGMENTATION, seed=0).draw_parameters(count)
    np.random.seed(0)  # noqa: NPY002 - the oracle draws from the global generator
    generator = oracle(rotation_range=30, width_shift_range=0.1, height_shift_range=0.1,
                       shear_range=0.1, zoom_range=0.1, horizontal_flip=True)
    theirs = [generator.get_random_transform((SIZE, SIZE, 1)) for _ in range(count)]
    names = {"theta": ("theta", 1), "tx": ("width_shift", SIZE), "ty": ("height_shift", SIZE),
             "shear": ("shear", 1), "zx": ("zoom_x", 1), "zy": ("zoom_y", 1)}
    for theirs_name, (ours_name, scale) in names.items():
        ours = np.asarray(drawn[ours_name]) * scale
        test = stats.ks_2samp(ours, [t[theirs_name] for t in theirs])
        assert test.pvalue > 0.001, f"{ours_name} is distributed differently"
    flips = np.asarray(drawn["flip"])
    assert set(flips) == {0.0, 1.0}
    assert abs(flips.mean() - 0.5) < 4 * 0.5 / count**0.5
    # Drawn apart: no parameter follows another.
    correlations = np.corrcoef([np.asarray(values) for values in drawn.values()])
    assert np.abs(correlations - np.eye(len(drawn))).max() < 5 / count**0.5


def test_identity_at_inference(image):
    layer = RandomAffine(**REPORT_AUGMENTATION, seed=0)
    np.testing.assert_array_equal(np.asarray(layer(image[None], training=False)), image[None])
    assert np.abs(np.asarray(layer(image[None], training=True)) - image[None]).max() > 1


def test_same_seed_same_images_other_seed_other_images(image):
    batch = np.repeat(image[None], 8, axis=0)

    def draw(seed):
        return np.asarray(RandomAffine(**REPORT_AUGMENTATION, seed=seed)(batch, training=True))

    np.testing.assert_array_equal(draw(3), draw(3))
    assert np.abs(draw(3) - draw(4)).max() > 1
    one = draw(3)
    assert np.abs(one[0] - one[1]).max() > 1, "each image gets its own parameters"


def test_survives_saving(image, tmp_path):
    model = keras.Sequential([keras.Input((SIZE, SIZE, 1)),
                              RandomAffine(**REPORT_AUGMENTATION, seed=5)])
    model.save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras", safe_mode=True)
    assert loaded.layers[0].get_config() == model.layers[0].get_config()


def test_shifts_move_the_image_the_way_their_names_say():
    dot = np.zeros((1, SIZE, SIZE, 1), "float32")
    dot[0, 20, 20] = 255
    moved = transformed(dot, [{"width_shift": 5 / SIZE}])[0, :, :, 0]
    assert np.unravel_index(moved.argmax(), moved.shape) == (20, 15)
    moved = transformed(dot, [{"height_shift": 5 / SIZE}])[0, :, :, 0]
    assert np.unravel_index(moved.argmax(), moved.shape) == (15, 20)
