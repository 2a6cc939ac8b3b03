"""More classes for a trained network (`expand_score` of the reference's surgery)."""

import keras
import numpy as np
from keras import layers

from fcn_keras.bilinear import Bilinear
from fcn_keras.errors import UserError


def expand_classes(model: keras.Model, num_classes: int, name: str | None = None) -> keras.Model:
    """Makes a network that tells more classes apart out of a trained one.

    The old classes come first and keep their weights to the last bit, and so their scores; the
    new ones start with scores of zero. Layers are copied, so the old network stays as it is.

    Args:
        model: a network of this package with one head.
        num_classes: how many classes the new one has; not fewer than the old one.
        name: name of the new model; the old one's if not given.

    Returns:
        A functional `keras.Model`: `(N, H, W, 3)` to logits `(N, H, W, num_classes)`.

    Raises:
        UserError: if the network has more classes, or no layers that score them.

    Example:

    >>> model = expand_classes(FCN8s(num_classes=21), num_classes=25)
    >>> model.output_shape
    (None, None, None, 25)
    """
    grow = {
        layer.name
        for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose)
        and layer.name.startswith(("score", "up"))
    }
    if not grow or isinstance(model.output_shape, list):
        raise UserError(f"{model.name}: must be a network of this package with one head.")
    if num_classes < model.output_shape[-1]:
        raise UserError(
            f"`num_classes` must be at least the {model.output_shape[-1]} that {model.name} has. "
            f"Received: {num_classes}."
        )

    def cloned(layer):
        config = layer.get_config()
        if layer.name in grow:
            config["filters"] = num_classes
        return type(layer).from_config(config)

    new = keras.models.clone_model(model, clone_function=cloned)
    for layer in model.layers:
        if layer.weights:
            old = layer.get_weights()
            target = new.get_layer(layer.name)
            target.set_weights(_grown(layer, target, old) if layer.name in grow else old)
    return keras.Model(new.input, new.output, name=name or model.name)


def _grown(layer, target, old):
    shapes = [tuple(weight.shape) for weight in target.weights]
    grown = [np.zeros(shape, "float32") for shape in shapes]
    if isinstance(layer, layers.Conv2DTranspose):
        # Kernels (h, w, out, in): new classes are upsampled bilinearly, and touch no old one.
        grown[0] = np.array(Bilinear()(shapes[0]))
        grown[0][:, :, : old[0].shape[2], : old[0].shape[3]] = old[0]
    else:
        grown[0][..., : old[0].shape[-1]] = old[0]
        grown[1][: len(old[1])] = old[1]
    return grown
