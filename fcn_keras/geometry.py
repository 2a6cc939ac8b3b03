"""Where the cells of a feature map lie on the image: pure arithmetic, one axis at a time.

A *grid* is a stride and a shift: cell `i` of a map looks at image coordinate
`stride * i + shift`. Convolution, pooling and deconvolution each turn one grid into the next,
so walking over the layers of a network tells how any two of its maps lie over each other. The
crop offsets of the paper's networks (19 | 5, 27 | 5, 9, 31) are not typed in anywhere: they
are what is left between two grids of one stride.

Sizes follow Caffe: a convolution rounds down, a pooling rounds up.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Grid:
    """How a feature map samples the image along one axis.

    Attributes:
        stride: distance between two cells, in image pixels.
        shift: image coordinate that cell 0 looks at (0 is the centre of the first pixel).
        field: how many image pixels a cell sees (its receptive field).
    """

    stride: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)
    field: Fraction = Fraction(1)

    def offset_over(self, other: "Grid") -> int:
        """Returns how many cells of this map come before cell 0 of `other`.

        Cell `i + offset` of this map and cell `i` of `other` look at one place. A negative
        offset says that `other` is the one that starts earlier.

        Raises:
            ValueError: if the strides differ, or the maps lie a part of a cell apart: then no
                crop can align them, and the network is wrongly designed.
        """
        if self.stride != other.stride:
            raise ValueError(
                "Only maps of one stride can be laid over each other. "
                f"Received: strides {self.stride} and {other.stride}."
            )
        offset = (other.shift - self.shift) / self.stride
        if offset.denominator != 1:
            raise ValueError(
                f"The two maps lie {offset} cells apart, which no crop can align: "
                "change a padding or a kernel size by one."
            )
        return int(offset)


IMAGE = Grid()


@dataclass(frozen=True)
class Conv:
    """A convolution with `pad` zeros on either side; its size rounds down."""

    kernel: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    def size(self, n: int) -> int:
        return (n + 2 * self.pad - self.extent) // self.stride + 1

    def grid(self, grid: Grid) -> Grid:
        return Grid(
            stride=grid.stride * self.stride,
            shift=grid.shift + grid.stride * (Fraction(self.extent - 1, 2) - self.pad),
            field=grid.field + grid.stride * (self.extent - 1),
        )


@dataclass(frozen=True)
class Pool(Conv):
    """A pooling; its size rounds up, the last window being cut at the edge."""

    kernel: int = 2
    stride: int = 2

    def size(self, n: int) -> int:
        return -((self.extent - n - 2 * self.pad) // self.stride) + 1


@dataclass(frozen=True)
class DensePool(Pool):
    """A pooling whose stride was taken out: a window at every cell, cut at the edge."""

    stride: int = 1

    def size(self, n: int) -> int:
        return n


@dataclass(frozen=True)
class Deconv:
    """A transposed convolution without padding."""

    kernel: int
    stride: int

    def size(self, n: int) -> int:
        return self.stride * (n - 1) + self.kernel

    def grid(self, grid: Grid) -> Grid:
        stride = grid.stride / self.stride
        return Grid(
            stride=stride,
            shift=grid.shift - stride * Fraction(self.kernel - 1, 2),
            field=grid.field + grid.stride * (-(-self.kernel // self.stride) - 1),
        )


@dataclass(frozen=True)
class Widen:
    """Repeats a row on either side of a map, `copies` times: a border made of one row."""

    row: int
    copies: int

    def size(self, n: int) -> int:
        return n + 2 * self.copies

    def grid(self, grid: Grid) -> Grid:
        return Grid(grid.stride, grid.shift - self.copies * grid.stride, grid.field)


Layer = Conv | Pool | Deconv | Widen


def walk(layers: Iterable[Layer], grid: Grid = IMAGE) -> Grid:
    """Returns the grid after `layers`, starting from `grid` (the image if not given).

    Example:

    >>> walk([Conv(3, pad=1), Pool(), Conv(3, pad=1), Pool()]).stride
    Fraction(4, 1)
    """
    for layer in layers:
        grid = layer.grid(grid)
    return grid


def reach(layers: Iterable[Layer]) -> Fraction:
    """Returns how far from its centre a cell behind `layers` sees, in pixels of the image.

    Nothing that lies farther from the place that a cell looks at decides what is in it.

    Example:

    >>> reach([Conv(3, pad=1), Pool(), Conv(3, pad=1)])
    Fraction(7, 2)
    """
    stride, distance = Fraction(1), Fraction(0)
    for layer in layers:
        if isinstance(layer, Deconv):
            stride /= layer.stride
            distance += stride * Fraction(layer.kernel - 1, 2)
        elif isinstance(layer, Conv):
            distance += stride * Fraction(layer.extent - 1, 2)
            stride *= layer.stride
    return distance


def size_after(layers: Iterable[Layer], n: int) -> int:
    """Returns how many cells an axis of `n` pixels has after `layers`.

    Example:

    >>> size_after([Conv(3, pad=100), Conv(3, pad=1), Pool()], 500)
    349
    """
    for layer in layers:
        n = layer.size(n)
    return n


@dataclass(frozen=True)
class Border:
    """What is known about the rows on one side of a map, counted from its outer edge.

    An image is surrounded by zeros. What a network makes of them is the same in every row, but
    for the rows near the edge of the map, which see its own padding, and those near the image.

    Attributes:
        disturbed: how many rows at the edge may differ from the ones that follow.
        alike: how many rows there are before the image is seen, those included.
    """

    disturbed: int
    alike: int

    def after(self, layer: Conv) -> "Border":
        """The border of the map that a layer makes, whatever the size of the image."""
        # Where strides do not come out even, the last window stands back from the edge (a
        # convolution) or reaches beyond it (a pooling) by less than a stride: the worst counts.
        slack = layer.stride - 1
        beyond, back = (slack, 0) if isinstance(layer, Pool) else (0, slack)
        disturbed = self.disturbed + layer.pad
        if disturbed or layer.pad:
            disturbed = -(-(disturbed + beyond) // layer.stride)
        alike = (self.alike + layer.pad - layer.extent - back) // layer.stride + 1
        return Border(disturbed, max(alike, 0))

    def widened(self, copies: int) -> "Border":
        return Border(self.disturbed, self.alike + copies)

    @property
    def constant(self) -> bool:
        """Whether there is a row that stands for the whole border."""
        return self.alike > self.disturbed


def thin_border(stages: list[list[Conv]], pad: int) -> tuple[int, list[Widen]]:
    """Finds how little padding does for a network that pads its image a lot.

    Between stages the border is made wider again by repeating a row of it, so that after the
    last one it is exactly what the whole padding would have given, and each stage computes as
    little of it as it can.

    Args:
        stages: the layers of each stage; the first one's padding of the image is left out, as
            it is what is looked for.
        pad: how many zeros the network has around its image.

    Returns:
        How many zeros are enough, and how to widen the border behind each stage. Without a
        gain all of the zeros, and nothing to widen.

    Example:

    >>> vgg = [[Conv(3), Conv(3, pad=1), Pool()], [Conv(3, pad=1), Conv(3, pad=1), Pool()]]
    >>> thin_border(vgg, 100)
    (8, [Widen(row=1, copies=6), Widen(row=2, copies=20)])
    """
    for thin in range(pad):
        border, reached, stride, widenings = Border(0, thin), thin, 1, []
        for number, stage in enumerate(stages):
            for layer in stage:
                border = border.after(layer)
                stride *= layer.stride
            if not border.constant:
                break
            following = stages[number + 1 : number + 2]
            copies = _copies(border, following, pad - reached, stride)
            if copies is None:
                break
            widenings.append(Widen(border.disturbed, copies))
            border, reached = border.widened(copies), reached + copies * stride
        else:
            return thin, widenings
    return pad, []


def _copies(border, following, missing, stride):
    """The fewest copies of a row that leave the next stage one, and its windows in their places.

    Behind the last stage all that is missing.
    """
    if not following:
        return missing // stride if missing % stride == 0 else None
    further = stride * math.prod(layer.stride for layer in following[0])
    for copies in range(missing // stride + 1):
        after = border.widened(copies)
        for layer in following[0]:
            after = after.after(layer)
        if after.constant and (missing - copies * stride) % further == 0:
            return copies
    return None
