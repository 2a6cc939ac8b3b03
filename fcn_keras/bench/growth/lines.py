"""The line that a curve should be, and how far the curve bends from it."""

from collections.abc import Sequence

# What memory does: it follows the line through its ends, or stays where it began.
LINEAR, FLAT = "linear", "flat"


def line_of(sizes: Sequence[float], values: Sequence[float], shape: str = LINEAR) -> list[float]:
    """Returns what the values would be on their line.

    Args:
        sizes: of what there is to do, ascending.
        values: what each takes.
        shape: `LINEAR`, through both ends; `FLAT`, what the first one takes.

    Example:

    >>> line_of([1, 2, 5], [10, 14, 18])
    [10.0, 12.0, 18.0]
    """
    first, last = values[0], values[-1]
    if shape == FLAT or len(sizes) == 1:
        return [float(first)] * len(sizes)
    rise = (last - first) / (sizes[-1] - sizes[0])
    return [first + rise * (size - sizes[0]) for size in sizes]


def bend_of(values: Sequence[float], line: Sequence[float]) -> float:
    """Returns the largest factor between a value and its line, above it or below.

    Example:

    >>> bend_of([10, 14, 18], [10, 20, 18])
    1.4285714285714286
    """
    return max(
        max(value / on_line, on_line / value) for value, on_line in zip(values, line, strict=True)
    )
