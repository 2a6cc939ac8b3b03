"""The trunk of a network, built of the layers that `architecture.py` lists.

Reference:
    Section 4.1 of arXiv 1411.4038.
"""

from collections.abc import Iterable
from typing import NamedTuple

from keras import layers

from fcn_keras.models.architecture import Named, Normalize
from fcn_keras.models.geometry import Conv, Pool, Widen
from fcn_keras.models.layers import Feature, convolve, normalize_responses, pool, widen


class Trunk(NamedTuple):
    """The maps that heads read: in VGG16 of strides 32, 16 and 8, in CaffeNet the last alone."""

    fc7: Feature
    pool4: Feature | None = None
    pool3: Feature | None = None


def build_trunk(
    trunk: Iterable[Named],
    image: Feature,
    dropout: float = 0.5,
    initializer: str = "he_normal",
    suffix: str = "",
) -> Trunk:
    """Builds the layers of a trunk, each on the map of the one before.

    Args:
        trunk: the layers, as `fcn_keras.models.architecture` has them.
        image: the preprocessed image.
        dropout: rate of the dropout behind fc6 and fc7.
        initializer: how kernels start.
        suffix: what the names of the layers end in.
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
            dropped = layers.Dropout(dropout, name=f"drop{name.removeprefix('fc')}")(x.tensor)
            x = Feature(dropped, x.grid)
        maps[name.removesuffix(suffix)] = x
    return Trunk(maps["fc7"], maps.get("pool4"), maps.get("pool3"))
