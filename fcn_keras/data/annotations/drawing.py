"""Label maps that are drawn from shapes, each time they are read."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fcn_keras.data.files.images import read_size
from fcn_keras.errors import LabelError

# Pixels from the corner of an image; what is drawn so far away takes memory for the way there.
_FAR = 1e6

# From height and width to the pixels that a shape covers, bool `(H, W)`.
Draw = Callable[[tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Shape:
    """A shape of one label.

    Attributes:
        value: what its pixels become: the label's number, or 255 for void.
        draw: tells which they are.
        name: what messages call it.
    """

    value: int
    draw: Draw
    name: str = "a shape"


@dataclass(frozen=True)
class Drawn:
    """The label map of an image, as shapes that lie one upon the other.

    Attributes:
        file: the file that holds the shapes.
        image: the image.
        shapes: the one on top last.
        size: height and width that the shapes are meant for; those of the image if None.
        small_on_top: whether a shape of fewer pixels lies upon one of more, whatever their order.
        fault: what is wrong with a shape; "" if nothing is.
    """

    file: Path
    image: Path
    shapes: Sequence[Shape] = ()
    size: tuple[int, int] | None = None
    small_on_top: bool = False
    fault: str = ""

    def __str__(self) -> str:
        one = self.file.stem == self.image.stem
        return f"{self.file}" if one else f"{self.file}, {self.image.stem}"

    def values(self) -> np.ndarray:
        """Draws the label map, uint8 `(H, W)`; where there is no shape it is 0.

        Raises:
            LabelError: if something is wrong with a shape.
        """
        if self.fault:
            raise LabelError(f"{self}: {self.fault}")
        size = self.size or read_size(self.image)
        values = np.zeros(size, np.uint8)
        layers = []
        for shape in self.shapes:
            try:
                layers.append((shape.value, shape.draw(size)))
            # Files hold anything.
            except Exception as error:
                raise LabelError(f"{self}: {shape.name} cannot be drawn ({error}).") from error
        if self.small_on_top:
            layers.sort(key=lambda layer: -np.count_nonzero(layer[1]))
        for value, covered in layers:
            values[covered] = value
        return values


def drawn(method: str, points: Any, **options: Any) -> Draw:
    """Returns what draws a shape by a method of Pillow's `ImageDraw`.

    Args:
        method: "polygon", "rectangle", "ellipse" or "line".
        points: as the method takes them, in pixels.
        **options: of the method.
    """
    return partial(_drawn, method, points, options)


def _drawn(method, points, options, size):
    check_near(points)
    image = Image.new("L", size[::-1])
    getattr(ImageDraw.Draw(image), method)(points, fill=1, **options)
    return np.asarray(image, bool)


def check_near(points: Any) -> None:
    """Raises a `ValueError` if a coordinate is no number, or lies far beyond any image."""
    numbers = np.asarray(points, float)
    if not (np.abs(numbers) <= _FAR).all():  # written such that what is no number is too far
        raise ValueError(f"a corner at {numbers[~(np.abs(numbers) <= _FAR)][0]}")


def turned(
    corners: Sequence[tuple[float, float]], center: tuple[float, float], degrees: float
) -> list[tuple[float, float]]:
    """Returns points turned clockwise, as they are seen, around a centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0 = center
    return [
        (x0 + (x - x0) * cos - (y - y0) * sin, y0 + (x - x0) * sin + (y - y0) * cos)
        for x, y in corners
    ]


def drawn_box(left: float, top: float, right: float, bottom: float) -> Draw:
    """Returns what draws an upright rectangle."""
    box = (min(left, right), min(top, bottom)), (max(left, right), max(top, bottom))
    return drawn("rectangle", box)


def drawn_ellipse(center: tuple[float, float], radii: tuple[float, float], degrees: float) -> Draw:
    """Returns what draws an ellipse, turned clockwise around its middle."""
    (x, y), (rx, ry) = center, radii
    if not degrees:
        return drawn("ellipse", ((x - rx, y - ry), (x + rx, y + ry)))
    angles = np.linspace(0, 2 * math.pi, 360, endpoint=False)
    points = [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]
    return drawn("polygon", turned(points, center, degrees))


def pasted(mask: np.ndarray, left: int, top: int) -> Draw:
    """Returns what puts a mask, bool `(h, w)`, to a place; what reaches beyond is cut off."""
    return partial(_pasted, mask, left, top)


def _pasted(mask, left, top, size):
    covered = np.zeros(size, bool)
    height, width = mask.shape
    inside = covered[max(0, top) : top + height, max(0, left) : left + width]
    mask = mask[max(0, -top) :, max(0, -left) :]
    inside[:] = mask[: inside.shape[0], : inside.shape[1]]
    return covered
