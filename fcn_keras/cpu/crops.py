"""Rows and columns that a crop takes one by one, in one slice."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from fcn_keras.models.bilinear import interpolated_strips


class Crop(layers.Layer):
    """Takes as many rows and columns as there are places, from an offset on.

    Args:
        offsets: of the axes that are cropped, 1 for rows and 2 for columns.
        maker: the layer whose work the crop does too, which says what is computed in.
    """

    def __init__(self, offsets: Mapping[int, int], maker: layers.Layer | None = None):
        # Keras' policy of the moment may be another one than the network's.
        super().__init__(dtype=maker and maker.dtype_policy, autocast=maker is not None)
        self.axes, self.offsets = [*offsets], [*offsets.values()]

    def call(self, x, *places):
        return self._slice(x, self.offsets, places)

    def _slice(self, x, offsets, places):
        begin, size = [0] * 4, [-1] * 4
        for axis, offset, taken in zip(self.axes, offsets, places, strict=True):
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


class PaddedCrop(Crop):
    """A crop of a padded map, which is padded by as much as is kept.

    Where that is nothing, TensorFlow copies nothing.
    """

    def __init__(self, pad: layers.ZeroPadding2D, offsets: Mapping[int, int]):
        super().__init__(offsets, pad)
        self.pad = pad

    def call(self, x, *places):
        padding, offsets = [(0, 0), *self.pad.padding, (0, 0)], []
        for axis, offset, taken in zip(self.axes, self.offsets, places, strict=True):
            before = max(padding[axis][0] - offset, 0)
            offsets.append(max(offset - padding[axis][0], 0))
            behind = offsets[-1] + tf.size(taken) - before - tf.shape(x)[axis]
            padding[axis] = before, tf.maximum(behind, 0)
        return self._slice(tf.pad(x, padding), offsets, places)

    def compute_output_spec(self, x, *places):
        made = keras.KerasTensor(self.pad.compute_output_shape(x.shape), x.dtype)
        return super().compute_output_spec(made, *places)


class InterpolatedCrop(Crop):
    """A crop of what a transposed convolution makes whose kernel is bilinear.

    Nothing else of it is computed.
    """

    def __init__(self, conv: layers.Conv2DTranspose, offsets: Mapping[int, int]):
        super().__init__(offsets, conv)
        self.conv = conv

    def call(self, x, *places):
        [whole] = self.strips(x, *places, count=1)
        return whole

    def strips(self, x, *places, count):
        """Returns what is kept in strips of rows, one below the other."""
        parts = {1: (0, None), 2: (0, None)}
        for axis, offset, taken in zip(self.axes, self.offsets, places, strict=True):
            parts[axis] = offset, tf.size(taken)
        stride, size = self.conv.strides[0], self.conv.kernel_size[0]
        x = tf.cast(x, self.compute_dtype)  # as Keras does where it calls a layer
        return interpolated_strips(x, stride, size, parts[1], parts[2], count)

    def compute_output_spec(self, x, *places):
        made = keras.KerasTensor(self.conv.compute_output_shape(x.shape), self.compute_dtype)
        return super().compute_output_spec(made, *places)


class Lines:
    """Which tensors count rows or columns one by one, and from where on.

    A network counts them on a map: as many ones as it has rows, or as many as are made of these,
    summed up, and an offset added.
    """

    def __init__(self):
        self._ones = set()
        self._offsets = {}

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
