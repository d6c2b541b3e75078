"""Wide 3×3 convolutions on a CPU with a quarter of the multiplications (Lavin & Gray, 2016).

Winograd's F(4×4, 3×3) is to a convolution what the fast Fourier transform is: another order of the
same sums. Each tile of 4×4 outputs depends on 6×6 inputs. In transformed coordinates it costs one
multiplication for each of the 36, not nine for each of the 16 outputs. The results differ in the
last digits, as they do between two processors. (Libraries for GPUs do the same on their own.)
Nothing here knows of faces or of this course.
"""

import keras
import numpy as np

ops = keras.ops

TILE, WINDOW = 4, 6  # outputs of a tile, and the inputs that they depend on, along one side
LEAST_CHANNELS = 128  # with fewer, the transforms cost more than they save

# Lavin & Gray, https://arxiv.org/abs/1509.09308, section 4.3: of inputs, kernel and outputs along
# one side. The Kronecker product of a matrix with itself transforms both sides at once.
_ONE_SIDE: tuple[list, ...] = (
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
     [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]],
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
)
_INPUT, _KERNEL, _OUTPUT = (np.kron(one, one).astype("float32") for one in _ONE_SIDE)


def speed_up(network) -> list[str]:
    """Let the wide convolutions of a network compute this way; return the names of their layers.

    Weights, layers and saved files stay what they were. Nothing is changed on a GPU, nor with
    PyTorch, whose gradients are its own.
    """
    if keras.backend.backend() == "torch" or keras.distribution.list_devices()[0][:3] != "cpu":
        return []
    chosen = [
        layer for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D)
        and (layer.kernel_size, layer.strides, layer.dilation_rate) == ((3, 3), (1, 1), (1, 1))
        and (layer.padding, layer.data_format, layer.groups) == ("same", "channels_last", 1)
        and layer.input.shape[-1] >= LEAST_CHANNELS
        and all(side and side % TILE == 0 for side in layer.input.shape[1:3])
    ]
    for layer in chosen:
        layer.convolution_op = convolve
    return [layer.name for layer in chosen]


def convolve(images, kernel):
    """Convolve float32 images [n, height, width, c] with a kernel [3, 3, c, f], padded with zeros.

    Height and width are multiples of 4. Returns float32 [n, height, width, f].
    """
    return _convolve(images, ops.copy(kernel))  # from a variable to a tensor


@ops.custom_gradient
def _convolve(images, kernel):
    tiles = _input_tiles(images)

    def gradient(upstream):
        turned = ops.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
        products = _transform(_OUTPUT.T, _output_tiles(upstream))
        in_kernel = ops.matmul(ops.transpose(tiles, (0, 2, 1)), products)
        return (_multiply(_input_tiles(upstream), turned, upstream),
                ops.reshape(_transform(_KERNEL.T, in_kernel), kernel.shape))

    return _multiply(tiles, kernel, images), gradient


def _multiply(tiles, kernel, images):
    """Multiply transformed tiles [36, m, c] by a kernel; return [n, height, width, f]."""
    height, width = images.shape[1:3]
    filters = kernel.shape[-1]
    weights = _transform(_KERNEL, kernel)
    outputs = _transform(_OUTPUT, ops.matmul(tiles, weights))
    outputs = ops.reshape(outputs, (TILE, TILE, -1, height // TILE, width // TILE, filters))
    return ops.reshape(ops.transpose(outputs, (2, 3, 0, 4, 1, 5)), (-1, height, width, filters))


def _transform(matrix, values):
    """Multiply the first k numbers of values [..., b] by a matrix [j, k]; return [j, m, b]."""
    flat = ops.matmul(matrix, ops.reshape(values, (matrix.shape[1], -1)))
    return ops.reshape(flat, (matrix.shape[0], -1, values.shape[-1]))


def _output_tiles(images):
    """Cut images into tiles side by side; return [4, 4, n, rows, columns, channels]."""
    height, width, channels = images.shape[1:]
    tiles = ops.reshape(images, (-1, height // TILE, TILE, width // TILE, TILE, channels))
    return ops.transpose(tiles, (2, 4, 0, 1, 3, 5))


def _input_tiles(images):
    """Cut images into windows that overlap by two, and transform them; return [36, m, c]."""
    height, width, channels = images.shape[1:]
    rows, columns = height // TILE, width // TILE
    edge = (1, TILE - 1)  # one pixel of padding, and the rest of a last tile
    tiles = ops.pad(images, ((0, 0), edge, edge, (0, 0)))
    tiles = ops.reshape(tiles, (-1, rows + 1, TILE, columns + 1, TILE, channels))
    tiles = ops.transpose(tiles, (2, 4, 0, 1, 3, 5))  # [row, column, n, tile, tile, channel]
    more = WINDOW - TILE  # each takes these from the next tile
    tiles = ops.concatenate([tiles[:, :, :, :rows], tiles[:more, :, :, 1:]], 0)
    tiles = ops.concatenate([tiles[..., :columns, :], tiles[:, :more, ..., 1:, :]], 1)
    return _transform(_INPUT, tiles)
