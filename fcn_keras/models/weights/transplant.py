"""Puts weights of other frameworks into the networks of this package."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path

import keras
import numpy as np
from keras import layers

from fcn_keras.errors import UserError
from fcn_keras.models.channels import FROM

# What the names of layers begin with that a classifier does not have.
HEAD = ("score", "up", "scale")

# The classifier's last layer: its classes are ImageNet's, so it has no place in these networks.
CLASSES = "fc8"


def is_classifier(blobs: Mapping[str, list[np.ndarray]]) -> bool:
    """Whether weights are those of a classifier, from which a network may start."""
    return not any(name.startswith("score") for name in blobs)


def transplant(
    blobs: Mapping[str, list[np.ndarray]],
    model: keras.Model,
    source: str | Path,
    starting: bool = False,
    skip: Collection[str] = (),
) -> None:
    """Puts weights in Caffe's layout into the layers of the same names.

    Nothing is written unless all of it fits.

    Args:
        blobs, model, source, starting, skip: see `matched`.

    Raises:
        UserError: lists every layer that is missing, has no place, or has another shape or
            scale.

    Example:

    >>> model = fcn_keras.FCN8s(weights=None)
    >>> path = "fcn8s-heavy-pascal.caffemodel"
    >>> transplant(read_weights(path), model, path)

    Reference:
        `surgery.py` of shelhamer/fcn.berkeleyvision.org.
    """
    for layer, arrays in matched(blobs, model, source, starting, skip):
        for weight, array in zip(layer.weights, arrays, strict=True):
            _assign(weight, array)


def matched(
    blobs: Mapping[str, list[np.ndarray]],
    model: keras.Model,
    source: str | Path,
    starting: bool = False,
    skip: Collection[str] = (),
) -> list[tuple[keras.Layer, list[np.ndarray]]]:
    """Finds the layers that weights in Caffe's layout belong to.

    Dense layers become convolutions: their weights are those of the convolution as large as the
    map that they read, in the same order (section 3.1 of arXiv 1411.4038). Scales, which hold no
    weights here, are compared.

    Args:
        blobs: layer name -> weight and bias, see `fcn_keras.models.weights.published.read_weights`.
        model: a network of this package.
        source: the file they are from. Only Caffe's files hold scales: in other files none is
            missed.
        starting: whether the weights are a classifier's, from which the network is to be
            trained: its scores and upsamplings skip their start, fc8 is left behind.
        skip: names of layers that stay as they are, whatever the file has for them.

    Returns:
        `(layer, arrays)` pairs; the arrays are views of the blobs in the shapes of the layer's
        weights.

    Raises:
        UserError: lists every layer that is missing, has no place, or has another shape or
            scale.
    """
    blobs = {name: arrays for name, arrays in blobs.items() if name not in skip}
    targets = {
        layer.name: layer
        for layer in model.layers
        if (layer.weights or is_scale(layer)) and layer.name not in skip
    }
    for layer in targets.values():
        if not isinstance(layer, layers.Conv2D | layers.Conv2DTranspose | layers.Rescaling):
            raise ValueError(f"`model` must have weights in convolutions alone. Received: {layer}.")
    may_lack = HEAD if starting else ()
    if not str(source).lower().endswith(".caffemodel"):
        may_lack += tuple(name for name, layer in targets.items() if is_scale(layer))
    missing = [name for name in targets if name not in blobs and not name.startswith(may_lack)]
    surplus = [
        name
        for name in blobs
        if name not in targets and not (starting and name.startswith(CLASSES))
    ]
    both = [(name, layer, blobs[name]) for name, layer in targets.items() if name in blobs]
    shapes = [_other_shapes(*pair) for pair in both if not is_scale(pair[1])]
    scales = [_other_scale(*pair) for pair in both if is_scale(pair[1])]
    faults = {
        "missing": missing,
        "surplus": surplus,
        "other shapes": [fault for fault in shapes if fault],
        "other scales": [fault for fault in scales if fault],
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise UserError(
            f"{source}: does not fit {model.name}: {listed}. "
            "Build the variant, the classes, the width and the upsampling that the file is of."
        )
    return [
        (
            layer,
            # Views: the copies that are in Keras' order end with the assignment.
            [
                array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
                for array in map(np.reshape, arrays, _caffe_shapes(layer))
            ],
        )
        for _, layer, arrays in both
        if not is_scale(layer)
    ]


def _assign(weight, array):
    """Assigns row by row where that can be: as a whole, fc6 would be in memory four times."""
    rows = len(array) if array.ndim == 4 else 0
    # Variables of TensorFlow alone, and of a single device, have slices that can be assigned.
    if not rows or not hasattr(weight.value[:1], "assign"):
        weight.assign(array)
        return
    for row in range(rows):
        weight.value[row].assign(np.ascontiguousarray(array[row]))


def is_scale(layer: keras.Layer) -> bool:
    """Whether a layer multiplies by a number that Caffe's files hold and others do not."""
    return isinstance(layer, layers.Rescaling) and not layer.name.startswith(("normalize", FROM))


def _caffe_shapes(layer):
    """The shapes of a layer's blobs: Keras' kernels are `(kh, kw, I, O)`, transposed O and I."""
    return [
        (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else tuple(shape)
        for shape in (weight.shape for weight in layer.weights)
    ]


def _other_shapes(name, layer, arrays):
    """How the shapes of a layer's blobs differ from what it needs; None if they fit."""
    wanted = _caffe_shapes(layer)
    shapes = [array.shape for array in arrays]
    if len(shapes) == len(wanted) and all(
        shape == needed or _was_kept_as(needed, shape, layer)
        for shape, needed in zip(shapes, wanted, strict=True)
    ):
        return None
    return f"{name} has {_listed(shapes)}, needs {_listed(wanted)}"


def _was_kept_as(wanted, shape, layer):
    """Whether a weight may have another shape: that of a dense layer, or of an old file.

    Dense weights are `(O, I * kh * kw)`. Old files have four axes for everything; the first
    ones of a dense weight or a bias are 1. Equal counts alone would let permuted axes pass.
    """
    if len(wanted) == 4:
        if isinstance(layer, layers.Conv2DTranspose) or layer.groups > 1:
            return False
        wanted = (wanted[0], math.prod(wanted[1:]))
    padding = len(shape) - len(wanted)
    return padding >= 0 and shape == (1,) * padding + wanted


def _other_scale(name, layer, arrays):
    """How a scale differs from the network's; None if it does not."""
    numbers = np.concatenate([np.ravel(array) for array in arrays])
    if np.allclose(numbers, layer.scale, rtol=1e-6, atol=0):
        return None
    return f"{name} has {numbers.min():g} to {numbers.max():g}, needs {layer.scale:g}"


def _listed(shapes):
    return " and ".join(str(tuple(shape)) for shape in shapes)
