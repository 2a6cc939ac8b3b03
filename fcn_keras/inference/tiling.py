"""Large images in parts, with the result of the whole: each part sees all that decides on it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from fcn_keras.data.files.large import Bands
from fcn_keras.errors import UserError
from fcn_keras.models.sights import sights_of


class Tiling:
    """How to cut images for a network.

    A cell of a feature map sees a limited part of the image (its receptive field), and the maps
    lie on the image in steps of the coarsest stride. So a network that sees the part and as much
    around it as the field reaches, from a whole step on, computes the same numbers as one that
    sees the whole image. Where the image ends, the part ends, and is padded as the image would be.
    A network whose layers see the whole image at each place cannot look at parts.

    Args:
        model: a network of this package.
        tile: height and width of a part, in pixels. What the network sees of the image at once is
            larger, by less than `reach + stride` on either side.

    Attributes:
        reach: how far the network sees from a pixel, in pixels.
        stride: the steps that parts begin on.

    Raises:
        UserError: if `tile` is less than 1, or the network sees the whole image, or how far it
            sees is not known; names the layer.

    Example:

    >>> tiling = Tiling(model, 512)
    >>> scores = np.empty((*image.shape[:2], num_classes))
    >>> tiling.map(model, image, scores).shape == scores.shape
    True

    Reference:
        Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation,
        section 3: a net of such layers computes a filter, whatever the size of its input.
    """

    def __init__(self, model: keras.Model, tile: int):
        if tile < 1:
            raise UserError(f"`tile` must be at least 1. Received: {tile}.")
        if not any(layer.name.startswith("normalize") for layer in model.layers):
            raise UserError(
                f"`tile` needs a network of this package, which tells how far it sees. "
                f"Received: {model.name}."
            )
        sights = sights_of(model)
        scores = [sights[id(output)] for output in model.outputs]
        for sight in scores:
            if sight.through:
                raise UserError(
                    f"`tile` must be left out with {model.name}: its layer {sight.through.name} "
                    f"({type(sight.through).__name__}) sees all of the image at once, or it is not "
                    "known how far it sees, so that parts would not have the whole's result."
                )
        self.tile = tile
        self.reach = math.ceil(max(sight.reach for sight in scores))
        strides = [axis.stride for sight in sights.values() for axis in (sight.rows, sight.columns)]
        self.stride = math.lcm(*map(int, strides), *_padded_to(model))

    def parts(self, length: int) -> Iterator[tuple[slice, slice, slice]]:
        """Cuts an axis of `length` pixels.

        Yields:
            For each part, what the network has to see of the axis to know it; the part itself;
            and where in what is seen it lies.
        """
        for start in range(0, length, self.tile):
            stop = min(start + self.tile, length)
            first = max(start - self.reach, 0) // self.stride * self.stride
            last = min(stop + self.reach, length)
            yield slice(first, last), slice(start, stop), slice(start - first, stop - first)

    def map(
        self, function: Callable[[np.ndarray], Any], image: np.ndarray | Bands, output: np.ndarray
    ) -> np.ndarray:
        """Fills `output`, part by part, with what `function` makes of the image.

        Args:
            function: from `(1, h, w, 3)` to `(1, h, w, ...)`.
            image: `(H, W, 3)`; or a large one, of which each window is read when it is needed.
            output: `(H, W, ...)`.
        """
        for seen_rows, rows, inner_rows in self.parts(image.shape[0]):
            for seen_columns, columns, inner_columns in self.parts(image.shape[1]):
                if isinstance(image, Bands):
                    window = image.read(seen_rows, seen_columns)
                else:
                    window = image[seen_rows, seen_columns]
                seen = np.asarray(function(window[None]))[0]
                output[rows, columns] = seen[inner_rows, inner_columns]
        return output


def _padded_to(model):
    """What a network pads its image to multiples of, see `fcn_keras.models.layers`."""
    return [x.repeats for x in model.operations if type(x).__name__ == "Repeat"]
