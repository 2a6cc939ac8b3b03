"""Weights from one network to another, layer by layer."""

from collections.abc import Mapping

import keras
import numpy as np

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import CONV1_1_BGRD
from fcn_keras.models.weights.first_layer import spread, widened


def copy_weights(source: keras.Model, target: keras.Model, names: Mapping[str, str]) -> None:
    """Copies weights layer by layer, by name; nothing is copied unless all of it fits.

    Args:
        source, target: the two models.
        names: layer name in `source` -> layer name in `target`.

    Raises:
        UserError: lists every layer that is missing or has another shape.
    """
    layers = {layer.name: layer for layer in source.layers}
    faults, channels = [], target.input_shape[-1]
    for old, new in names.items():
        wanted = _shapes(target.get_layer(new))
        if old not in layers:
            faults.append(f"{new} is missing")
        elif fitted(layers[old], target.get_layer(new), channels) is None:
            faults.append(f"{new} has shapes {_shapes(layers[old])}, not {wanted}")
    if faults:
        raise UserError(f"The weights of {source.name} do not fit: {'; '.join(faults)}.")
    for old, new in names.items():
        layer = target.get_layer(new)
        layer.set_weights(fitted(layers[old], layer, channels))


def copy_matching(layers: Mapping[str, keras.Layer], target: keras.Model) -> list[str]:
    """Copies the weights of those layers that a network has too, with the same shapes.

    As to the layer that sees the image, see `fitted`.

    Args:
        layers: layer name in `target` -> the layer to copy from.
        target: the network to copy to.

    Returns:
        The names of the other layers of `target` that have weights, in their order.
    """
    others, channels = [], target.input_shape[-1]
    for layer in target.layers:
        if not layer.weights:
            continue
        weights = fitted(layers[layer.name], layer, channels) if layer.name in layers else None
        if weights is None:
            others.append(layer.name)
        else:
            layer.set_weights(weights)
    return others


def fitted(source: keras.Layer, target: keras.Layer, channels: int) -> list[np.ndarray] | None:
    """Returns the weights of a layer as another one takes them; None if they do not fit.

    A convolution of three colours is widened to the channels of an image that has others, see
    `fcn_keras.models.weights.first_layer`.

    Args:
        source, target: the two layers.
        channels: how many the image has that the second network sees.
    """
    wanted, found = _shapes(target), _shapes(source)
    if found == wanted:
        return source.get_weights()
    if not (
        isinstance(target, keras.layers.Conv2D)
        and found
        and found[0][2:3] == (3,)
        and [(*found[0][:2], channels, found[0][3]), *found[1:]] == wanted
    ):
        return None
    kernel, *others = source.get_weights()
    widen = widened if target.name == CONV1_1_BGRD else spread
    return [widen(kernel, channels), *others]


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]
