"""The trunk of a network, built of the layers that `architecture.py` lists.

Reference:
    Section 4.1 of arXiv 1411.4038.
"""

from collections.abc import Iterable

from keras import layers

from fcn_keras.models.architecture import Named, Normalize
from fcn_keras.models.geometry import Conv, Pool, Widen
from fcn_keras.models.layers import Feature, convolve, normalize_responses, pool, widen


def build_trunk(
    trunk: Iterable[Named],
    image: Feature,
    dropout: float = 0.5,
    initializer: str = "he_normal",
    suffix: str = "",
) -> dict[str, Feature]:
    """Builds the layers of a trunk, each on the map of the one before.

    Args:
        trunk: the layers, as `fcn_keras.models.architecture` has them.
        image: the preprocessed image.
        dropout: rate of the dropout behind fc6 and fc7.
        initializer: how kernels start.
        suffix: what the names of the layers end in.

    Returns:
        Each layer's map, by its name without the suffix.
    """
    maps, x = {}, image
    for name, layer, channels, groups in trunk:
        match layer:
            case Widen():
                x = widen(x, layer, name)
            case Normalize():
                x = normalize_responses(x, name)
            case Pool():
                x = pool(x, layer, name)
            case Conv():
                x = convolve(x, channels, layer, name, groups, initializer)
        if name.startswith("fc"):
            drop = layers.Dropout(dropout, name=f"drop{name.removeprefix('fc')}")
            x = Feature(drop(x.tensor), x.grid)
        maps[name.removesuffix(suffix)] = x
    return maps
