"""Rows and columns that a crop takes one by one, in one slice."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from fcn_keras.models.bilinear import interpolate


class Crop(layers.Layer):
    """Takes as many rows and columns as there are places, from an offset on.

    Args:
        offsets: of the axes that are cropped, 1 for rows and 2 for columns.
    """

    def __init__(self, offsets: Mapping[int, int]):
        super().__init__(dtype=None)
        self.axes, self.offsets = [*offsets], [*offsets.values()]

    def call(self, x, *places):
        begin, size = [0] * 4, [-1] * 4
        for axis, offset, taken in zip(self.axes, self.offsets, places, strict=True):
            begin[axis], size[axis] = offset, tf.size(taken)
        y = tf.slice(x, begin, size)
        # Where one size is computed, TensorFlow may take none of the others for known.
        return tf.ensure_shape(y, self._shape(x.shape))

    def _shape(self, shape):
        return [None if axis in self.axes else side for axis, side in enumerate(shape)]

    def compute_output_spec(self, x, *places):
        shape = [*x.shape]
        for axis, taken in zip(self.axes, places, strict=True):
            shape[axis] = taken.shape[0]
        return keras.KerasTensor(shape, x.dtype)


class InterpolatedCrop(Crop):
    """A crop of what a transposed convolution makes whose kernel is bilinear.

    Nothing else of it is computed.
    """

    def __init__(self, conv: layers.Conv2DTranspose, offsets: Mapping[int, int]):
        super().__init__(offsets)
        self.conv = conv

    def call(self, x, *places):
        taken = {
            axis: (offset, tf.size(each))
            for axis, offset, each in zip(self.axes, self.offsets, places, strict=True)
        }
        everything = (0, None)
        return interpolate(
            x,
            self.conv.strides[0],
            self.conv.kernel_size[0],
            taken.get(1, everything),
            taken.get(2, everything),
        )

    def compute_output_spec(self, x, *places):
        made = keras.KerasTensor(self.conv.compute_output_shape(x.shape), x.dtype)
        return super().compute_output_spec(made, *places)


class Lines:
    """Which tensors count rows or columns one by one, and from where on.

    A network counts them on a map: as many ones as it has rows, or as many as are made of these,
    summed up, and an offset added.
    """

    def __init__(self):
        self._ones: set[int] = set()
        self._offsets: dict[int, int] = {}

    def offset(self, tensor: Any) -> int | None:
        """Returns from where on a tensor counts; None if it counts nothing."""
        return self._offsets.get(id(tensor))

    def note(self, operation: keras.Operation, args: tuple, kwargs: dict, made: Any) -> None:
        """Notes what an operation has made of its arguments."""
        kind, given = type(operation).__name__, id(args[0])
        if len(getattr(made, "shape", ())) != 1:
            return
        if kind == "OnesLike" or (given in self._ones and _keeps_ones(kind, args, kwargs)):
            self._ones.add(id(made))
        elif kind == "Cumsum" and given in self._ones:
            self._offsets[id(made)] = 1
        elif kind in ("Add", "Subtract") and given in self._offsets and isinstance(args[1], int):
            more = args[1] if kind == "Add" else -args[1]
            self._offsets[id(made)] = self._offsets[given] + more


def _keeps_ones(kind, args, kwargs):
    """Whether an operation makes ones alone of ones."""
    if kind == "Pad":
        return (*args, None)[1] == 1 or kwargs.get("constant_values") == 1
    return kind in ("Repeat", "GetItem")
