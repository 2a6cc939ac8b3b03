"""Bilinear interpolation as the kernel of a transposed convolution."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def bilinear_kernel(size: int) -> np.ndarray:
    """The kernel with which a transposed convolution interpolates bilinearly.

    With stride `s` and size `2 * s` (or `2 * s - 1`) its gain is 1 in the interior of a map.
    This is the filling of the paper's reference code (section 3.3 of arXiv 1411.4038).

    Args:
        size: width and height of the kernel.

    Returns:
        A float32 array of shape `(size, size)`.

    Example:

    >>> bilinear_kernel(4)[0]
    array([0.0625, 0.1875, 0.1875, 0.0625], dtype=float32)
    """
    if size < 1:
        raise ValueError(f"`size` must be at least 1. Received: size={size}.")
    line = _line(size)
    return np.outer(line, line).astype("float32")


def _line(size):
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)


def interpolate(
    x: Any,
    stride: int,
    size: int,
    rows: tuple[int, Any] = (0, None),
    columns: tuple[int, Any] = (0, None),
) -> Any:
    """What a transposed convolution does whose kernel `Bilinear` has filled.

    It takes an axis at a time, and each channel by itself: a pixel is a mix of its two nearest
    cells. The convolution multiplies all pairs of channels, most of them by zero.

    Args:
        x: `(N, H, W, C)`.
        stride: how many times as large it becomes.
        size: width and height of the kernel, `2 * stride` or `2 * stride - 1`.
        rows, columns: which of the result are wanted: from which one on, and how many; None for
            all that are left.

    Returns:
        `(N, (H - 1) * stride + size, (W - 1) * stride + size, C)`, or as much of it as is wanted.

    Example:

    >>> interpolate(keras.ops.ones((1, 2, 2, 1)), stride=2, size=4).shape
    (1, 6, 6, 1)

    Reference:
        arXiv 1411.4038, section 3.3.
    """
    [whole] = interpolated_strips(x, stride, size, rows, columns, count=1)
    return whole


def interpolated_strips(
    x: Any,
    stride: int,
    size: int,
    rows: tuple[int, Any],
    columns: tuple[int, Any],
    count: int,
) -> Iterator[Any]:
    """Iterates over what `interpolate` returns in so many strips: the last ones may have no rows.

    So one can be done with before the next one is made.
    """
    ops = keras.ops
    images, height, width, channels = ops.shape(x)
    down, across = (
        _Part(stride, size, side, *part) for side, part in ((height, rows), (width, columns))
    )
    # Beyond the edges cells are zero.
    x = ops.pad(x, [(0, 0), (1, 2), (1, 2), (0, 0)])
    x = x[:, down.first : down.first + down.cells, across.first : across.first + across.cells]
    x = ops.stack([x[:, :, i : i + across.blocks] for i in range(across.taps)], axis=3)
    x = ops.matmul(ops.cast(across.mix, x.dtype), x)
    x = ops.reshape(x, (images, down.cells, across.blocks * stride * channels))
    x = x[:, :, : across.number * channels]
    mix, most = ops.cast(down.mix, x.dtype), -(-down.blocks // count)
    for number in range(count):
        first, blocks = number * most, most
        if count > 1:
            first = ops.minimum(first, down.blocks)
            blocks = ops.minimum(most, down.blocks - first)
        taps = [x[:, first + i : first + i + blocks] for i in range(down.taps)]
        strip = ops.matmul(mix, ops.stack(taps, axis=2))
        strip = ops.reshape(strip, (images, blocks * stride, across.number, channels))
        yield strip[:, : down.number - first * stride]


class _Part:
    """What a part of an interpolated axis is made of: blocks of a stride's pixels.

    Attributes:
        number: of its pixels.
        first: its first cell, of those with one of zeros before them.
        taps: how many cells a block is made of, one behind the other; the next block begins one
            cell further.
        mix: their shares in each pixel of a block, `(stride, taps)`.
        blocks, cells: how many there are.
    """

    def __init__(self, stride, size, side, offset, number):
        self.number = (side - 1) * stride + size - offset if number is None else number
        self.first, phase = divmod(offset, stride)
        # Where a block begins between two cells' pixels, it reaches as far as a third cell.
        self.taps = 3 if phase else 2
        near, far = np.pad(_line(size), (0, 2 * stride - size)).reshape(2, stride)
        self.mix = np.zeros((stride, self.taps))
        for pixel in range(stride):
            cell, place = divmod(phase + pixel, stride)
            self.mix[pixel, cell : cell + 2] = far[place], near[place]
        self.blocks = -(-self.number // stride)
        self.cells = self.blocks + self.taps - 1


@keras.saving.register_keras_serializable(package="fcn_keras")
class Bilinear(keras.initializers.Initializer):
    """Fills a `Conv2DTranspose` kernel so that the layer interpolates bilinearly.

    Each class is interpolated by itself: the kernel joins class `c` to class `c` alone, and
    every other entry is zero (section 3.3 of arXiv 1411.4038).

    Args:
        classes: how many there are. Twice as many channels, in or out, are the positive and the
            negative part of each class: 0+, 0-, 1+, ... Not given: as many as channels.

    Example:

    >>> upscore2 = keras.layers.Conv2DTranspose(
    ...     21, 4, strides=2, use_bias=False, kernel_initializer=Bilinear()
    ... )
    """

    def __init__(self, classes: int | None = None):
        self.classes = classes

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """Returns the kernel.

        Args:
            shape: `(size, size, channels out, channels in)`.
            dtype: dtype of the kernel, the backend's float type if not given.

        Raises:
            ValueError: if the kernel is not square, or channels in and out differ.
        """
        height, width, channels_out, channels_in = shape
        classes = self.classes or channels_out
        allowed = (classes, 2 * classes) if self.classes else (classes,)
        if height != width or not {channels_out, channels_in} <= {*allowed}:
            raise ValueError(
                "`Bilinear` fills square kernels with as many channels out as in, or one or two "
                f"for each of `classes`. Received: shape={tuple(shape)}, classes={self.classes}."
            )
        joined = _parts(channels_out, classes) @ _parts(channels_in, classes).T
        kernel = bilinear_kernel(height)[:, :, None, None] * joined
        return keras.ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())

    def get_config(self) -> dict:
        return {"classes": self.classes} if self.classes else {}


def _parts(channels, classes):
    """What each channel holds of each class: all of it, or with signs its two parts."""
    part = np.ones((1, 1)) if channels == classes else np.array([[1], [-1]])
    return np.kron(np.eye(classes), part).astype("float32")
