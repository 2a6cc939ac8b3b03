"""Weights from one network to another, layer by layer."""

import keras

from fcn_keras.errors import UserError


def copy_weights(source: keras.Model, target: keras.Model, names: dict[str, str] | None = None):
    """Copies weights layer by layer, by name; nothing is copied unless all of it fits.

    Args:
        source, target: the two models.
        names: layer name in `source` -> layer name in `target`; if not given, every layer
            of `target` that has weights takes those of the same name.

    Raises:
        UserError: lists every layer that is missing or has another shape.
    """
    if names is None:
        names = {layer.name: layer.name for layer in target.layers if layer.weights}
    have = {layer.name: layer for layer in source.layers}
    faults = []
    for old, new in names.items():
        wanted = [tuple(w.shape) for w in target.get_layer(new).weights]
        if old not in have:
            faults.append(f"{new} is missing")
            continue
        found = [tuple(w.shape) for w in have[old].weights]
        if found != wanted:
            faults.append(f"{new} has shapes {found}, not {wanted}")
    if faults:
        raise UserError(f"The weights of {source.name} do not fit: {'; '.join(faults)}.")
    for old, new in names.items():
        target.get_layer(new).set_weights(have[old].get_weights())
