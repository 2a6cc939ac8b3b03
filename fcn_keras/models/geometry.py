"""Where the cells of a feature map lie on the image: pure arithmetic, one axis at a time.

A *grid* is a stride and a shift: cell `i` of a map looks at image coordinate
`stride * i + shift`. Convolution, pooling and deconvolution each turn one grid into the next,
so walking over the layers of a network tells how any two of its maps lie over each other. The
crop offsets of the paper's networks (19 | 5, 27 | 5, 9, 31) are not typed in anywhere: they
are what is left between two grids of one stride.

Sizes follow Caffe: a convolution rounds down, a pooling rounds up.
"""

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
    field: Fraction | float = Fraction(1)

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


def bilinear_window(grid: Grid, factor: int, onto: Grid) -> Deconv:
    """Returns the transposed convolution that brings a map on to a finer one, bilinearly.

    A kernel of `2 * factor` moves the cells by half a cell of the finer map, one of
    `2 * factor - 1` has a middle and does not: which of them fits follows from the two grids.

    Args:
        grid: of the coarse map.
        factor: how many times as many cells there are to be.
        onto: the grid of the finer map.

    Raises:
        ValueError: if neither does, or the strides do not fit.

    Example:

    >>> bilinear_window(Grid(Fraction(32), Fraction(31)), 2, Grid(Fraction(16), Fraction(15)))
    Deconv(kernel=3, stride=2)
    """
    even, odd = Deconv(2 * factor, factor), Deconv(2 * factor - 1, factor)
    try:
        even.grid(grid).offset_over(onto)
        return even
    except ValueError:
        odd.grid(grid).offset_over(onto)
        return odd


def walk(layers: Iterable[Layer], grid: Grid = IMAGE) -> Grid:
    """Returns the grid after `layers`, starting from `grid` (the image if not given).

    Example:

    >>> walk([Conv(3, pad=1), Pool(), Conv(3, pad=1), Pool()]).stride
    Fraction(4, 1)
    """
    for layer in layers:
        grid = layer.grid(grid)
    return grid


@dataclass(frozen=True)
class Sight:
    """How far a cell of a map sees along one axis, from the place that it looks at.

    Attributes:
        stride: distance between two cells, in image pixels.
        reach: nothing that lies farther off decides what is in a cell, in image pixels.

    Example:

    >>> reduce(Sight.behind, [Conv(3, pad=1), Pool(), Conv(3, pad=1)], Sight()).reach
    Fraction(7, 2)
    """

    stride: Fraction = Fraction(1)
    reach: Fraction | float = Fraction(0)

    def behind(self, layer: Layer) -> "Sight":
        """Returns how far the cells see that a layer makes of these."""
        if isinstance(layer, Deconv):
            stride = self.stride / layer.stride
            return Sight(stride, self.reach + stride * Fraction(layer.kernel - 1, 2))
        if isinstance(layer, Conv):
            reach = self.reach + self.stride * Fraction(layer.extent - 1, 2)
            return Sight(self.stride * layer.stride, reach)
        return self
