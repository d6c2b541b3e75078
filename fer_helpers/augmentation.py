"""The report's random transformations (Figure 3) as one Keras layer.

The report used ``ImageDataGenerator``, which Keras keeps for old code only. This layer draws the
same parameters from the same distributions and applies them in the same order, but to a whole
batch at once, inside the model, and only while training.
"""

import math

from machinery.keras_quietly import keras

ops = keras.ops

# Figure 3 of the report. The shear is in degrees in ImageDataGenerator, so 0.1 is next to nothing.
REPORT_AUGMENTATION = {
    "rotation": 30.0,
    "height_shift": 0.1,
    "width_shift": 0.1,
    "shear": 0.1,
    "zoom": 0.1,
    "horizontal_flip": True,
}


@keras.saving.register_keras_serializable(package="fer_helpers")
class RandomAffine(keras.layers.Layer):
    """Rotate, shift, shear, zoom and mirror images at random, with a single interpolation.

    Input and output are float images [n, height, width, channels]. At inference the images pass
    unchanged. Pixels from outside the image repeat the nearest edge pixel.

    ``rotation`` and ``shear`` are the largest angles to either side, in degrees; ``height_shift``
    and ``width_shift`` the largest shifts, as fractions of the height or width. The zoom factors of
    width and height are drawn from ``1 - zoom`` to ``1 + zoom``, each on its own, so a face can
    also grow wider or taller. ``horizontal_flip`` mirrors left and right in half of the images.
    ``seed`` fixes the sequence of draws.

    In ``ImageDataGenerator`` of Keras 3 the shifts are exchanged: ``height_shift_range`` moves the
    image sideways. The report sets both to 0.1, so nothing changes for it.
    """

    def __init__(self, rotation=0.0, height_shift=0.0, width_shift=0.0, shear=0.0, zoom=0.0,
                 horizontal_flip=False, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rotation = rotation
        self.height_shift = height_shift
        self.width_shift = width_shift
        self.shear = shear
        self.zoom = zoom
        self.horizontal_flip = horizontal_flip
        self.seed_generator = keras.random.SeedGenerator(seed)

    def draw_parameters(self, count):
        """Draw the parameters of ``count`` images, uniformly, as ``ImageDataGenerator`` does.

        Returns a dict of float32 tensors [count]: ``theta`` and ``shear`` in degrees;
        ``height_shift`` and ``width_shift`` as fractions; ``zoom_x`` and ``zoom_y``, where below 1
        magnifies; ``flip``, 1 or 0.
        """
        def uniform(low, high):
            return keras.random.uniform((count,), low, high, seed=self.seed_generator)

        coin = uniform(0.0, 1.0) < (0.5 if self.horizontal_flip else 0.0)
        return {
            "theta": uniform(-self.rotation, self.rotation),
            "height_shift": uniform(-self.height_shift, self.height_shift),
            "width_shift": uniform(-self.width_shift, self.width_shift),
            "shear": uniform(-self.shear, self.shear),
            "zoom_x": uniform(1 - self.zoom, 1 + self.zoom),
            "zoom_y": uniform(1 - self.zoom, 1 + self.zoom),
            "flip": ops.cast(coin, "float32"),
        }

    def transform(self, images, parameters):
        """Apply given parameters, one value an image (see :meth:`draw_parameters`).

        ``images`` is float32 [n, height, width, channels], and so is the result.
        With x to the right and y down, measured from the centre, the output pixel at (x, y) takes
        its value from rotation @ shift @ shear @ zoom @ (x, y) in the input. The four matrices are
        multiplied out below, so that the image is interpolated once and not four times.
        """
        height, width = (ops.cast(side, "float32") for side in ops.shape(images)[1:3])
        degrees = math.pi / 180.0
        cos, sin = (f(parameters["theta"] * degrees) for f in (ops.cos, ops.sin))
        shear_cos, shear_sin = (f(parameters["shear"] * degrees) for f in (ops.cos, ops.sin))
        shift_x = parameters["width_shift"] * width  # pixels
        shift_y = parameters["height_shift"] * height
        zoom_x, zoom_y = parameters["zoom_x"], parameters["zoom_y"]

        # input x = xx * x + xy * y + offset_x
        # input y = yx * x + yy * y + offset_y
        xx = cos * zoom_x
        xy = -(cos * shear_sin + sin * shear_cos) * zoom_y
        yx = sin * zoom_x
        yy = (cos * shear_cos - sin * shear_sin) * zoom_y
        offset_x = cos * shift_x - sin * shift_y
        offset_y = sin * shift_x + cos * shift_y

        # Mirroring comes last: the output at x takes what stood at -x.
        mirror = 1.0 - 2.0 * parameters["flip"]
        xx, yx = xx * mirror, yx * mirror

        # Keras measures from the first pixel, not from the centre.
        centre_x, centre_y = (width - 1) / 2.0, (height - 1) / 2.0
        offset_x += centre_x - xx * centre_x - xy * centre_y
        offset_y += centre_y - yx * centre_x - yy * centre_y

        zero = ops.zeros_like(xx)  # the last two coefficients would bend perspective
        matrix = ops.stack([xx, xy, offset_x, yx, yy, offset_y, zero, zero], axis=1)
        return ops.image.affine_transform(
            images, matrix, interpolation="bilinear", fill_mode="nearest",
            data_format="channels_last",
        )

    def call(self, images, training=False):
        """Transform the batch while training; return it unchanged otherwise."""
        if not training:
            return images
        return self.transform(images, self.draw_parameters(ops.shape(images)[0]))

    def compute_output_shape(self, input_shape):
        return input_shape
