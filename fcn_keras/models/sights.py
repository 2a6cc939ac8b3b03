"""How far the cells of all maps of a network see: one walk over its graph.

Unlike `tracing.py`, which lays a classifier's maps on the image and refuses what it does not know,
this takes whole networks, with their paddings and crops by the image's size, and any other: what
it does not know may see all of the image.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
from keras import layers

from fcn_keras.models.geometry import Conv, Deconv, Layer, Sight
from fcn_keras.models.tracing import WHOLE, WINDOWED, is_pointwise, windows_of


@dataclass(frozen=True)
class MapSight:
    """How far the cells of a map see.

    Attributes:
        rows, columns: along either axis of the image; infinitely far if not known.
        through: the operation through which they see all of the image, or may do so.
    """

    rows: Sight = Sight()
    columns: Sight = Sight()
    through: keras.Operation | None = None

    @property
    def reach(self) -> Fraction | float:
        """How far they see along the axis along which they see farther, in image pixels."""
        return max(self.rows.reach, self.columns.reach)


def calls_of(network: keras.Model) -> Iterator[Any]:
    """Iterates over the calls that a functional network consists of, in their order.

    Returns:
        An iterator over Keras' nodes: each has the `operation`, its `arguments`, and its
        `input_tensors` and `output_tensors`.
    """
    by_depth = network._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from (node for node in by_depth[depth] if not node.is_input)


def sights_of(network: keras.Model) -> dict[int, MapSight]:
    """Finds out how far the cells of each map of a network see.

    Args:
        network: a functional network of images `(N, H, W, C)`.

    Returns:
        The sights of all tensors that depend on what is in the image, by their `id`. What depends
        on its size alone has none.
    """
    sights = {id(image): MapSight() for image in network.inputs}
    for call in calls_of(network):
        taken = [sights[id(x)] for x in call.input_tensors if id(x) in sights]
        if taken and type(call.operation).__name__ not in ("OnesLike", "ZerosLike"):
            sights |= dict.fromkeys(map(id, call.output_tensors), _behind(call, taken))
    return sights


def _behind(call: Any, taken: Sequence[MapSight]) -> MapSight:
    """How far cells see that are made of maps that lie over each other."""
    rows, columns = (
        max((getattr(sight, axis) for sight in taken), key=lambda sight: sight.reach)
        for axis in ("rows", "columns")
    )
    through = next((sight.through for sight in taken if sight.through), None)
    windows = _windows(call)
    if windows is None:
        through = through or call.operation
        return MapSight(Sight(rows.stride, math.inf), Sight(columns.stride, math.inf), through)
    return MapSight(rows.behind(windows[0]), columns.behind(windows[1]), through)


def _windows(call: Any) -> Sequence[Layer] | None:
    """What each cell is made of along either axis; None if that is all there is, or not known."""
    # A layer that computes a convolution faster has that as `conv`.
    layer, alone = getattr(call.operation, "conv", call.operation), (Conv(1), Conv(1))
    if type(layer) in WHOLE or any(len(x.shape) != 4 for x in call.output_tensors):
        return None
    if type(layer) in WINDOWED:
        return [window for window, _ in windows_of(layer)]
    if type(layer) is layers.Conv2DTranspose:
        sides = zip(layer.kernel_size, layer.dilation_rate, layer.strides, strict=True)
        return [Deconv(dilation * (side - 1) + 1, stride) for side, dilation, stride in sides]
    if isinstance(layer, layers.Cropping2D):
        # A pooling with dilation compares cells with those that lie so far behind; one layer
        # does it for the rows, one for the columns.
        return [Conv(1 + before) for before, _ in layer.cropping]
    if is_pointwise(layer) or isinstance(layer, layers.ZeroPadding2D):
        return alone
    # Slices and paddings of channels alone; rows and columns that are taken by the image's size.
    kind, arguments = type(layer).__name__, call.arguments.args
    if kind == "GetItem" and arguments[1][0] is Ellipsis and len(arguments[1]) == 2:
        return alone
    if kind == "Pad" and not any(map(any, layer.pad_width[1:3])):
        return alone
    return alone if kind == "Take" and layer.axis in (1, 2) else None
