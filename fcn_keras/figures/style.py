"""What all figures have in common: colours, text, axes, files.

Matplotlib is used through its objects alone, so that drawing needs no display and leaves a
caller's own plots alone.
"""

import math
import warnings
from collections.abc import Iterable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from fcn_keras.system.files import written_whole

INK, FAINT = "#333333", "#777777"

# Around what may be as white as the page, and around what has a colour of its own.
RIM, DARK_RIM = "#bbbbbb", "#00000060"

# Okabe and Ito's colours, told apart by readers of any colour vision.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#b0609a"

TITLE = {"color": INK, "fontsize": 12, "fontweight": "bold"}


def style_axes(axes: Axes, grid: str = "both"):
    """Gives axes a pale grid and leaves out what only frames them.

    Args:
        axes: the axes.
        grid: the lines across "x", across "y", or "both".
    """
    axes.grid(axis=grid, color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RIM)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)


def take_literally(texts: Iterable[Text]):
    """Shows texts as they are written: a dollar in a class name is no formula."""
    for text in texts:
        text.set_parse_math(False)


def shortened(name: str, limit: int = 32) -> str:
    """Returns a name, the end of a long one replaced by an ellipsis."""
    return name if len(name) <= limit else name[: limit - 1] + "…"


def text_width(text: str, size: float) -> float:
    """Returns the width in inches of a text in letters of `size` points."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        font = FontProperties(size=size)
        return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def number_or_nan(value: float | None) -> float:
    """Returns a float; NaN for what is missing or infinite, which matplotlib then leaves out."""
    value = math.nan if value is None else float(value)
    return value if math.isfinite(value) else math.nan


def save_figure(figure: Figure, path: str | Path):
    """Writes a figure to a file, which appears whole or not at all.

    Example:

    >>> save_figure(curves_figure([{"epoch": 1, "loss": 2.1, "mean_iu": 0.3}]), "curves.png")

    Args:
        figure: the figure.
        path: the file; its suffix tells the format.

    Raises:
        WriteError: if the disk refuses it.
    """
    with written_whole(path) as aside, warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; no reason to bother the user.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(aside, dpi=120, facecolor="white")
