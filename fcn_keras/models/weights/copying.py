"""Weights from one network to another, layer by layer."""

from collections.abc import Mapping

import keras

from fcn_keras.errors import UserError


def copy_weights(source: keras.Model, target: keras.Model, names: Mapping[str, str]) -> None:
    """Copies weights layer by layer, by name; nothing is copied unless all of it fits.

    Args:
        source, target: the two models.
        names: layer name in `source` -> layer name in `target`.

    Raises:
        UserError: lists every layer that is missing or has another shape.
    """
    layers = {layer.name: layer for layer in source.layers}
    faults = []
    for old, new in names.items():
        wanted = _shapes(target.get_layer(new))
        if old not in layers:
            faults.append(f"{new} is missing")
        elif _shapes(layers[old]) != wanted:
            faults.append(f"{new} has shapes {_shapes(layers[old])}, not {wanted}")
    if faults:
        raise UserError(f"The weights of {source.name} do not fit: {'; '.join(faults)}.")
    for old, new in names.items():
        target.get_layer(new).set_weights(layers[old].get_weights())


def copy_matching(layers: Mapping[str, keras.Layer], target: keras.Model) -> list[str]:
    """Copies the weights of those layers that a network has too, with the same shapes.

    Args:
        layers: layer name in `target` -> the layer to copy from.
        target: the network to copy to.

    Returns:
        The names of the other layers of `target` that have weights, in their order.
    """
    others = []
    for layer in target.layers:
        if not layer.weights:
            continue
        if layer.name in layers and _shapes(layers[layer.name]) == _shapes(layer):
            layer.set_weights(layers[layer.name].get_weights())
        else:
            others.append(layer.name)
    return others


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]
