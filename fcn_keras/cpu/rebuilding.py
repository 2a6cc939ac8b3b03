"""Networks that compute the same by other layers."""

from collections.abc import Callable
from inspect import isfunction
from typing import Any, NamedTuple

import keras
from keras import layers

from fcn_keras.cpu.crops import Crop, InterpolatedCrop, Lines, PaddedCrop
from fcn_keras.cpu.layers import Convolution, Interpolation, Padded, can_be_padded
from fcn_keras.cpu.normalization import Normalization
from fcn_keras.models.tracing import is_graph

# In float16 a kernel that normalisation multiplies may be beyond the largest number.
FLOATS = ("float32", "bfloat16")


def rebuilt(network: keras.Model, kind: Callable[..., Any]) -> keras.Model:
    """Builds a network, which shares all weights, of layers that compute faster.

    Batch normalisation behind a convolution is folded into it, any other becomes one operation, the
    padding before a depthwise one with a stride is left to TensorFlow, and rows and columns that
    a crop takes one by one are sliced.

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


class _Folded(NamedTuple):
    """Layers that one layer computes: a convolution, and what is around it."""

    conv: keras.Layer
    pad: keras.Layer | None = None
    norm: keras.Layer | None = None
    activation: keras.Layer | None = None


class _Rebuilding:
    def __init__(self, kind):
        self.kind = kind
        self.changes = 0
        self._computing = {}  # layers that one layer computes -> that layer
        # By the `id` of what was made: of which layers, and of what.
        self._convolved = {}
        self._padded = {}
        self._interpolated = {}
        self._cropped = {}
        self._lines = Lines()
        self._made = []  # so that no other tensor gets the `id` of one

    def clone(self, layer):
        replacement = self.kind(layer, None) if isinstance(layer, keras.Layer) else None
        self.changes += replacement is not None
        return replacement(layer) if replacement else layer

    def call(self, operation, *args, **kwargs):
        made = self._instead(operation, args, kwargs)
        if made is None:
            made = operation(*args, **kwargs)
            self._note(operation, args, kwargs, made)
        else:
            self.changes += 1
        self._made.append(made)
        return made

    def _instead(self, operation, args, kwargs):
        """What is computed by another operation; None if nothing is."""
        # All by their names; or normalisation by the batch's statistics whatever the network is
        # called with.
        if not args or kwargs.get("training"):
            return None
        given = id(args[0])
        if given in self._convolved:
            folded, image = self._convolved[given]
            alone = folded.norm is None and folded.activation is None
            if alone and _can_be_folded(operation) and _compute_alike(folded.conv, operation):
                return self._fold(folded._replace(norm=operation), image)
            # Without padding TensorFlow finds by itself what it can compute together.
            if folded.pad and folded.activation is None and _can_follow(operation):
                return self._fold(folded._replace(activation=operation), image)
        if given in self._padded and _can_fold(operation):
            pad, image = self._padded[given]
            if can_be_padded(operation, pad) and _compute_alike(operation, pad):
                return self._fold(_Folded(operation, pad), image)
        if _can_be_folded(operation) and len(args[0].shape) == 4:
            return self._normalize(operation, args[0])
        if type(operation).__name__ == "Take" and operation.axis in (1, 2) and len(args) > 1:
            return self._crop(operation.axis, *args[:2])
        return None

    def _normalize(self, norm, image):
        if norm not in self._computing:
            self._computing[norm] = Normalization(norm)
        return self._computing[norm](image)

    def _fold(self, folded, image):
        if folded not in self._computing:  # layers that are called twice are one layer
            self._computing[folded] = self._computed_by(folded)
        made = self._computing[folded](image)
        self._convolved[id(made)] = folded, image
        return made

    def _computed_by(self, folded):
        conv, pad, norm, activation = folded
        layer = (self.kind(conv, norm) or Convolution)(conv, norm)
        return layer if pad is None else Padded(layer, pad, activation)

    def _crop(self, axis, x, places):
        offset = self._lines.offset(places)
        if offset is None or len(x.shape) != 4:
            return None
        # Rows and columns are cropped one behind the other: then both at once.
        whole, crops = self._cropped.get(id(x), (x, {}))
        if axis in crops:
            whole, crops = x, {}
        crops = crops | {axis: (offset, places)}
        offsets = {axis: offset for axis, (offset, _) in crops.items()}
        if id(whole) in self._interpolated:
            conv, taken = self._interpolated[id(whole)]
            layer = InterpolatedCrop(conv, offsets)
        elif id(whole) in self._padded:
            pad, taken = self._padded[id(whole)]
            layer = PaddedCrop(pad, offsets)
        else:
            layer, taken = Crop(offsets), whole
        made = layer(taken, *(places for _, places in crops.values()))
        self._cropped[id(made)] = whole, crops
        return made

    def _note(self, operation, args, kwargs, made):
        if not args:
            return
        conv = operation.conv if isinstance(operation, Convolution) else operation
        if _can_fold(conv):
            self._convolved[id(made)] = _Folded(conv), args[0]
        elif isinstance(operation, Interpolation):
            self._interpolated[id(made)] = conv, args[0]
        elif type(operation) is layers.ZeroPadding2D and operation.data_format == "channels_last":
            self._padded[id(made)] = operation, args[0]
        else:
            self._lines.note(operation, args, kwargs, made)


def _can_fold(layer):
    return (
        # A class of someone else's may compute something else.
        type(layer) in (layers.Conv2D, layers.DepthwiseConv2D)
        and layer.built
        and layer.data_format == "channels_last"
        and layer.compute_dtype in FLOATS
        and layer.activation is keras.activations.linear
    )


def _can_be_folded(layer):
    return (
        type(layer) is layers.BatchNormalization
        and layer.built
        and not layer.renorm
        and layer.axis in (-1, 3)
        and layer.compute_dtype in FLOATS
    )


def _compute_alike(one, other):
    """Whether nothing is rounded between two layers."""
    return one.compute_dtype == other.compute_dtype


def _can_follow(layer):
    """Whether a layer works on each place by itself."""
    if type(layer) is layers.Activation:
        function = layer.activation
        # Someone else's may look at the whole map, as a layer may that is called as a function.
        if not (isfunction(function) and function.__module__.startswith("keras.")):
            return False
    elif type(layer) is not layers.ReLU:
        return False
    return layer.compute_dtype in FLOATS
