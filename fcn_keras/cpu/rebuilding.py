"""Networks that compute the same by other layers."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from fcn_keras.cpu.layers import Convolution
from fcn_keras.models.tracing import is_graph


def rebuilt(network: keras.Model, kind: Callable[..., Any]) -> keras.Model:
    """Builds a network, which shares all weights, of layers that compute faster.

    Batch normalisation behind a convolution is folded into it, and rows and columns that a crop
    takes one by one are sliced.

    Args:
        network: a functional network; layers of models within it stay as they are.
        kind: returns the class that computes a layer, or None for the layer itself. It is called
            with the layer, and the batch normalisation behind it or None.

    Returns:
        A network to compute with; `network` itself if it has nothing to be replaced.
    """
    if not is_graph(network):
        return network
    rebuilding = _Rebuilding(kind)
    found = keras.models.clone_model(
        # A sequence of layers has a graph within it.
        keras.Model(network.inputs, network.outputs, name=network.name)
        if isinstance(network, keras.Sequential)
        else network,
        clone_function=rebuilding.clone,
        call_function=rebuilding.call,
    )
    return found if rebuilding.changes else network


class _Rebuilding:
    def __init__(self, kind):
        self.kind = kind
        self.changes = 0
        self._folded = {}
        self._convolved = {}  # what a convolution made -> the convolution, and what it was given
        self._lines = {}  # what counts rows or columns -> from where it counts
        self._made = []  # so that no other tensor gets the `id` of one

    def clone(self, layer):
        replacement = self.kind(layer, None) if isinstance(layer, keras.Layer) else None
        self.changes += replacement is not None
        return replacement(layer) if replacement else layer

    def call(self, operation, *args, **kwargs):
        made = self._instead(operation, args)
        if made is None:
            made = operation(*args, **kwargs)
            self._note(operation, args, made)
        else:
            self.changes += 1
        self._made.append(made)
        return made

    def _instead(self, operation, args):
        """What is computed by another operation; None if nothing is."""
        if args and id(args[0]) in self._convolved and _can_be_folded(operation):
            conv, image = self._convolved[id(args[0])]
            key = conv, operation  # layers that are called twice are one layer
            if key not in self._folded:
                self._folded[key] = self.kind(conv, operation)(conv, operation)
            return self._folded[key](image)
        if (
            type(operation).__name__ == "Take"
            and operation.axis in (1, 2)
            and len(args) > 1
            and id(args[1]) in self._lines
            and len(args[0].shape) == 4
        ):
            return _Crop(self._lines[id(args[1])], operation.axis)(*args[:2])
        return None

    def _note(self, operation, args, made):
        if not args:  # all by their names
            return
        conv = operation.conv if isinstance(operation, Convolution) else operation
        if _can_fold(conv):
            self._convolved[id(made)] = conv, args[0]
        # A crop counts the rows of another map: 1, 1, .. summed up, and an offset added.
        kind = type(operation).__name__
        if kind == "OnesLike" and len(made.shape) == 1:
            self._lines[id(made)] = None
        elif kind == "Cumsum" and self._lines.get(id(args[0]), 0) is None:
            self._lines[id(made)] = 1
        elif kind == "Add" and self._lines.get(id(args[0])) and isinstance(args[1], int):
            self._lines[id(made)] = self._lines[id(args[0])] + args[1]


class _Crop(layers.Layer):
    """Takes as many rows or columns as there are places, from an offset on."""

    def __init__(self, offset, axis):
        super().__init__(dtype=None)
        self.offset, self.axis = offset, axis

    def call(self, x, places):
        number = tf.size(places)
        begin, size = [0] * 4, [-1] * 4
        begin[self.axis], size[self.axis] = self.offset, number
        y = tf.slice(x, begin, size)
        # Where one size is computed, TensorFlow may take none of the others for known.
        return tf.ensure_shape(y, [None if n == self.axis else x.shape[n] for n in range(4)])

    def compute_output_spec(self, x, places):
        shape = [*x.shape]
        shape[self.axis] = places.shape[0]
        return keras.KerasTensor(shape, x.dtype)


def _can_fold(layer):
    return (
        # A class of someone else's may compute something else.
        type(layer) in (layers.Conv2D, layers.DepthwiseConv2D)
        and layer.built
        and layer.data_format == "channels_last"
        and layer.compute_dtype == "float32"
        and layer.activation is keras.activations.linear
    )


def _can_be_folded(layer):
    return (
        type(layer) is layers.BatchNormalization
        and layer.built
        and not layer.renorm
        and layer.axis in (-1, 3)
        and layer.compute_dtype == "float32"
    )
