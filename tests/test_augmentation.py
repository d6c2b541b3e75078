"""The augmentation layer against Keras's own ImageDataGenerator, which the report used."""

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import map_coordinates

from fer_helpers.augmentation import REPORT_AUGMENTATION, RandomAffine
from machinery.keras_quietly import keras

# Keras 3 keeps it for tf.keras only, out of its own public names.
oracle = keras.src.legacy.preprocessing.image.ImageDataGenerator

HEIGHT = WIDTH = 48
IDENTITY = {"theta": 0.0, "height_shift": 0.0, "width_shift": 0.0, "shear": 0.0,
            "zoom_x": 1.0, "zoom_y": 1.0, "flip": 0.0}
# Each parameter alone, at both ends and in between; the shear also far beyond the report's 0.1
# degrees, where a mistake would show; then everything together.
ALONE = {"theta": [30, -30, 7.3], "height_shift": [0.1, -0.1, 0.033],
         "width_shift": [0.1, -0.1, -0.071], "shear": [0.1, -0.1, 20, -20],
         "zoom_x": [0.9, 1.1], "zoom_y": [0.9, 1.1], "flip": [1]}
CASES = [{}, *({name: value} for name, values in ALONE.items() for value in values),
         dict(zip(IDENTITY, (21, 0.07, -0.04, 15, 0.93, 1.08, 1), strict=True)),
         dict(zip(IDENTITY, (-13, -0.02, 0.09, -8, 1.04, 0.91, 0), strict=True))]
IMAGES = np.random.default_rng(0).integers(0, 256, (len(CASES), HEIGHT, WIDTH, 2)).astype("float32")


def transformed(images, cases):
    parameters = {name: np.array([(IDENTITY | case)[name] for case in cases], "float32")
                  for name in IDENTITY}
    return np.asarray(RandomAffine().transform(images, parameters))


def by_generator(image, p):
    return oracle().apply_transform(image, {  # its shifts are in pixels
        "theta": p["theta"], "tx": p["width_shift"] * WIDTH, "ty": p["height_shift"] * HEIGHT,
        "shear": p["shear"], "zx": p["zoom_x"], "zy": p["zoom_y"], "flip_horizontal": p["flip"]})


def by_matrices(image, p):
    """The same in words: rotation @ shift @ shear @ zoom, from the centre; mirrored at the end."""
    height, width = image.shape[:2]
    theta, shear = np.radians([p["theta"], p["shear"]])
    y, x = np.mgrid[:height, :width] - (np.array([[[height]], [[width]]]) - 1) / 2
    x, y = p["zoom_x"] * x * (-1 if p["flip"] else 1), p["zoom_y"] * y
    x, y = x - np.sin(shear) * y + p["width_shift"] * width, np.cos(shear) * y
    y += p["height_shift"] * height
    x, y = np.cos(theta) * x - np.sin(theta) * y, np.sin(theta) * x + np.cos(theta) * y
    places = [y + (height - 1) / 2, x + (width - 1) / 2]
    return np.stack([map_coordinates(channel, places, order=1, mode="nearest")
                     for channel in np.moveaxis(image, -1, 0)], -1)


@pytest.mark.parametrize(("by", "height"), [(by_generator, 48), (by_matrices, 40)])
def test_agrees_with_image_data_generator_and_with_scipy(by, height):
    """Keras's own takes height for width and the reverse, so only a square shows the first."""
    images = IMAGES[:, :height]
    for ours, image, case in zip(transformed(images, CASES), images, CASES, strict=True):
        # Neighbouring pixels of this noise differ by up to 255, so 0.05 grey levels means that the
        # sampling positions agree to about 0.0002 pixels: float32 against float64.
        np.testing.assert_allclose(ours, by(image, IDENTITY | case), atol=0.05, err_msg=str(case))


def test_drawn_parameters_have_the_distributions_of_image_data_generator():
    count, own = 4000, {"rotation": 20, "height_shift": 0.1, "width_shift": 0.2, "shear": 5,
                        "zoom": 0.3, "horizontal_flip": True}
    drawn = RandomAffine(**own, seed=0).draw_parameters(count)
    np.random.seed(0)  # noqa: NPY002 - the oracle draws from the global generator
    generator = oracle(rotation_range=20, width_shift_range=0.1, height_shift_range=0.2,
                       shear_range=5, zoom_range=0.3, horizontal_flip=True)  # shifts exchanged
    theirs = [generator.get_random_transform((HEIGHT, HEIGHT, 1)) for _ in range(count)]
    names = {"theta": ("theta", 1), "tx": ("width_shift", HEIGHT), "ty": ("height_shift", HEIGHT),
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


def test_in_training_each_image_and_call_has_its_own_draw_and_otherwise_nothing_happens():
    batch = np.repeat(IMAGES[:1], 8, axis=0)

    def calls(seed, training, augmentation=REPORT_AUGMENTATION):
        layer = RandomAffine(**augmentation, seed=seed)
        return [np.asarray(layer(batch, **training)) for _ in range(2)]

    on, off = {"training": True}, {"training": False}
    for unchanged in (calls(3, off), calls(3, {}), calls(3, on, {})):
        np.testing.assert_array_equal(unchanged, [batch, batch])
    assert not np.array_equal(*(calls(None, on)[0] for _ in range(2))), "no seed, no repetition"
    first, second = calls(3, on)
    np.testing.assert_array_equal((first, second), calls(3, on))
    for one, other in ((first, second), (first[:4], first[4:]), (first, calls(4, on)[0])):
        assert (np.abs(one - other).max(axis=(1, 2, 3)) > 1).all()


def test_the_reports_settings_and_that_they_survive_saving(tmp_path):
    assert REPORT_AUGMENTATION == {"rotation": 30, "height_shift": 0.1, "width_shift": 0.1,
                                   "shear": 0.1, "zoom": 0.1, "horizontal_flip": True}
    model = keras.Sequential([keras.Input((48, 40, 1)),
                              RandomAffine(**REPORT_AUGMENTATION, seed=5, name="warp")])
    assert keras.saving.get_registered_name(RandomAffine) == "fer_helpers>RandomAffine"
    model.save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras", safe_mode=True)
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    assert {**REPORT_AUGMENTATION, "seed": 5, "name": "warp"}.items() \
        <= loaded.layers[0].get_config().items()
    assert loaded.output_shape == (None, 48, 40, 1)


def test_shifts_move_the_image_the_way_their_names_say():
    dots = np.zeros((2, HEIGHT, WIDTH, 1), "float32")
    dots[:, 20, 20] = 255
    moved = transformed(dots, [{"width_shift": 5 / WIDTH}, {"height_shift": 5 / HEIGHT}])
    assert [tuple(np.argwhere(one > 254)[0]) for one in moved[..., 0]] == [(20, 15), (15, 20)]
