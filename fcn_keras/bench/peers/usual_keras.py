"""FCNs in Keras as one writes them without this package: for images of one size."""

import keras
import numpy as np
from keras import layers

from fcn_keras.bench.peers.network import fcn_layers
from fcn_keras.models.bilinear import Bilinear
from fcn_keras.models.layers import preprocess


def usual_keras(
    variant: str,
    num_classes: int,
    size: tuple[int, int],
    width: float = 1.0,
    geometry: str = "paper",
    mean: tuple[float, ...] = (0, 0, 0),
    std: float = 1.0,
) -> keras.Model:
    """Builds a network with all of its padding; its layers have the names of this package's.

    Args:
        variant: `"fcn32s"`, `"fcn16s"` or `"fcn8s"`.
        num_classes: number of classes C.
        size: height and width of the images.
        width, geometry: see `fcn_keras.build`.
        mean, std: of the preprocessing, BGR.

    Returns:
        A `keras.Model`: `(N, H, W, 3)` RGB in 0..255 to logits `(N, H, W, C)`.
    """
    trunk, upsamplings = fcn_layers(variant, width, geometry)
    image = keras.Input((*size, 3), name="image")
    x = preprocess(image, mean, std).tensor

    def score(x, name):
        return layers.Conv2D(num_classes, 1, kernel_initializer="zeros", name=name)(x)

    def crop(x, start, like):
        height, width = like.shape[1:3]
        return x[:, start : start + height, start : start + width]

    pools = {}
    for name, layer, channels in trunk:
        if not channels:
            x = pools[name] = layers.MaxPooling2D(2, padding="same")(x)
            continue
        x = layers.ZeroPadding2D(layer.pad)(x) if layer.pad > 1 else x
        x = layers.Conv2D(
            channels,
            layer.kernel,
            padding="same" if layer.pad == 1 else "valid",
            activation="relu",
            kernel_initializer="he_normal",
            name=name,
        )(x)
        if name.startswith("fc"):
            x = layers.Dropout(0.5)(x)
    x = score(x, "score_fr")
    for step in upsamplings:
        x = layers.Conv2DTranspose(
            num_classes,
            2 * step.factor,
            strides=step.factor,
            use_bias=False,
            kernel_initializer=Bilinear(),
            trainable=False,
            name=step.name,
        )(x)
        if step.skip is None:
            x = crop(x, step.crop, image)
            continue
        skip = score(pools[step.skip], f"score_{step.skip}")
        if step.crop:
            x = crop(x, step.crop, skip)
        else:
            skip = crop(skip, step.crop_skip, x)
        x = layers.Add()([x, skip])
    return keras.Model(image, layers.Identity(dtype="float32", name="score")(x), name="usual")


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]):
    """Fills a network with `weights`, see `fcn_keras.bench.peers.files`."""
    for layer in model.layers:
        names = [name for name in ("kernel", "bias") if f"{layer.name}.{name}" in weights]
        if names:
            layer.set_weights([weights[f"{layer.name}.{name}"] for name in names])
