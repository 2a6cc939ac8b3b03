"""Figures made of pictures, whose places are given in inches from the upper left corner.

So images of any shape stand where they are to, and nothing overlaps.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.figures.label_maps import colorize, label_name
from fcn_keras.figures.style import DARK_RIM, RIM, shortened, text_width

_LINE = 0.26  # from one row of a legend to the next


def write_text(
    figure: Figure, x: float, y: float, text: str, fontsize: float = 10, **style: Any
) -> None:
    """Writes a text from a place to the right, around the height `y`.

    Args:
        figure: the figure.
        x, y: the place.
        text: what to write.
        fontsize: in points.
        **style: of `matplotlib.text.Text`.
    """
    width, height = figure.get_size_inches()
    figure.text(x / width, 1 - y / height, text, fontsize=fontsize, va="center", **style)


def place_picture(
    figure: Figure, pixels: np.ndarray, left: float, top: float, width: float, height: float
) -> None:
    """Shows an image in a box."""
    total_width, total_height = figure.get_size_inches()
    axes = figure.add_axes(
        (
            left / total_width,
            1 - (top + height) / total_height,
            width / total_width,
            height / total_height,
        )
    )
    axes.imshow(pixels)
    axes.set(xticks=[], yticks=[])
    # For images as white as the page.
    axes.spines[:].set(visible=True, linewidth=0.6)


def thinned(*arrays: np.ndarray) -> list[np.ndarray]:
    """Leaves out rows and columns of images or label maps that have more of them than a figure.

    They would only cost time and memory.
    """
    step = 1 + max(arrays[0].shape[:2]) // 1000
    return [array[::step, ::step] for array in arrays]


def colorize_truth(label: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Colours a label map as `colorize` does, but void, which is hatched in grey on white."""
    stripe = max(1, max(label.shape) // 90)
    diagonals = sum(np.indices(label.shape)) // stripe
    hatch = np.where(diagonals % 3 == 0, 190, 255).astype(np.uint8)
    return np.where((label == IGNORE_LABEL)[..., None], hatch[..., None], colorize(label, palette))


class Legend:
    """The colours and names of the classes in label maps, in columns.

    Args:
        label_maps: integer arrays of any shape.
        classes: the classes' names.
        palette: uint8 `(256, 3)`, the labels' colours.
        width: how wide the legend may be.

    Attributes:
        height: how high it is.
    """

    def __init__(
        self,
        label_maps: Iterable[np.ndarray],
        classes: Sequence[str],
        palette: np.ndarray,
        width: float,
    ):
        labels: set[int] = set().union(*(np.unique(labels).tolist() for labels in label_maps))
        self.names = {label: shortened(label_name(label, classes)) for label in sorted(labels)}
        self.palette = palette
        self.column_width = max(text_width(name, 10) for name in self.names.values()) + 0.45
        self.rows = -(-len(self.names) // max(1, int(width // self.column_width)))
        self.height = _LINE * self.rows

    def draw(self, figure: Figure, left: float, top: float) -> None:
        """Draws the legend, its upper left corner at a place."""
        total_width, total_height = figure.get_size_inches()
        for number, (label, name) in enumerate(self.names.items()):
            x = left + number // self.rows * self.column_width
            y = top + number % self.rows * _LINE
            void = label == IGNORE_LABEL
            figure.add_artist(
                Rectangle(
                    (x / total_width, 1 - (y + 0.2) / total_height),
                    0.15 / total_width,
                    0.15 / total_height,
                    transform=figure.transFigure,
                    facecolor="white" if void else self.palette[label] / 255,
                    hatch="//////" if void else None,
                    edgecolor=RIM if void else DARK_RIM,
                    linewidth=0.6,
                )
            )
            write_text(figure, x + 0.22, y + 0.125, name)
