"""What is to be added to an image so that scores cover all of it: sizes and grids, no tensors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fcn_keras.errors import UserError
from fcn_keras.models.architecture import scores
from fcn_keras.models.geometry import IMAGE, Grid, bilinear_window
from fcn_keras.models.tracing import SIZES, STRIDE, Place


def moved(grid: Grid, before: int) -> Grid:
    """Returns where a map lies on an image that had `before` zeros in front of it."""
    return Grid(grid.stride, grid.shift - before, grid.field)


@dataclass
class _Map:
    """A map without the numbers in it, along one axis."""

    size: int
    grid: Grid


class _Sizes:
    """Plays the part of `fcn_keras.models.head.Head` on sizes alone."""

    def score(self, x, name):
        return x

    def rescale(self, x, scale, name):
        return x

    def upsample(self, x, factor, name, onto):
        deconv = bilinear_window(x.grid, factor, onto)
        return _Map(deconv.size(x.size), deconv.grid(x.grid))

    def fuse(self, coarse, skip, name):
        offset = skip.grid.offset_over(coarse.grid)
        small, large = (coarse, skip) if offset > 0 else (skip, coarse)
        if abs(offset) + small.size > large.size:
            raise ValueError(f"{name}: {large.size} cells cannot be cropped to {small.size}.")
        return small


def least_padding(
    maps: Mapping[str, Place],
    variant: str,
    remainder: int,
    name: str,
    phase: tuple[int, int] = (0, 1),
) -> tuple[int, int]:
    """Returns the fewest zeros before and behind an image with which scores cover all of it.

    And with which there is a cell that sees its first pixel, and one that sees its last.

    Args:
        maps: where the maps lie that heads score, by the names that `architecture.scores` has.
        variant: which network.
        remainder: which remainder by `STRIDE` the size of a padded image has.
        name: of the classifier, for errors.
        phase: a number of zeros before an image, from which theirs is to be a multiple away, and
            of what.

    Returns:
        What is added before a side, and what is added to it before it is rounded up to a multiple
        of `STRIDE`, and to that `remainder`.

    Raises:
        UserError: if the maps cannot be laid over each other.
    """

    def maps_of(size, before):
        """The maps that heads score of an image of `size`, padding included."""
        found = {}
        for key, place in maps.items():
            grid = moved(place.grid, before)
            cells = min(int(axis.sizes[remainder]) for axis in place)
            found[key] = _Map(int(cells - (SIZES[remainder] - size) // grid.stride), grid)
        return found

    def covers(before, more):
        for height in range(1, 2 * STRIDE + 1):
            size = STRIDE * -(-(height + more) // STRIDE) + remainder
            found = maps_of(size, before)
            if size < before + height or min(x.size for x in found.values()) < 1:
                return False
            x = scores(variant, found, _Sizes())
            if x.grid.offset_over(IMAGE) + height > x.size:
                return False
            if height > 1 + max(_sees(x.grid, x.size - 1)[1] for x in found.values()):
                return False
        return True

    try:
        found = maps_of(int(SIZES[remainder]), 0)
        uncovered = -scores(variant, found, _Sizes()).grid.offset_over(IMAGE)
        unseen = min(_sees(x.grid, 0)[0] for x in found.values())
        before = max(0, uncovered, math.ceil(max(0, unseen)))
        before += (phase[0] - before) % phase[1]
        for more in range(before - remainder, before - remainder + 8 * STRIDE):
            if covers(before, more):
                return before, more
    except ValueError as error:
        raise UserError(f"`backbone` {name} cannot be a trunk of {variant}: {error}") from error
    raise UserError(
        f"`backbone` {name} cannot be a trunk of {variant}: its scores do not cover the image."
    )


def _sees(grid, cell):
    """The first and the last place of an image that a cell sees."""
    reach = (grid.field - 1) / 2
    place = grid.stride * cell + grid.shift
    return place - reach, place + reach
