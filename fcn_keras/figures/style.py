"""What all figures have in common: colours, text, files.

Matplotlib is used through its objects alone, so that drawing needs no display and leaves a
caller's own plots alone.
"""

import warnings
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from fcn_keras.system.files import written_whole
from fcn_keras.system.spelling import shown_name

INK, FAINT = "#333333", "#777777"

# Around what may be as white as the page, and around what has a colour of its own.
RIM, DARK_RIM = "#bbbbbb", "#00000060"

# Okabe and Ito's colours, told apart by readers of any colour vision.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#b0609a"

# Decorates the functions that draw, and the one that writes, as axes make their ticks last.
in_style = rc_context(
    {
        "text.color": INK,
        # A dollar in a class name is no formula.
        "text.parse_math": False,
        "figure.titlesize": 12,
        "figure.titleweight": "bold",
        "axes.titlecolor": INK,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.labelcolor": INK,
        "axes.edgecolor": RIM,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": "#e4e4e4",
        **{f"{axis}tick.{which}.size": 0 for axis in "xy" for which in ("major", "minor")},
        **{f"{axis}tick.labelcolor": INK for axis in "xy"},
        **{f"{axis}tick.labelsize": 9 for axis in "xy"},
    }
)


def shortened(name: str, limit: int = 32) -> str:
    """Returns a name as one line of text, the end of a long one replaced by an ellipsis."""
    name = shown_name(name)
    return name if len(name) <= limit else name[: limit - 1] + "…"


def text_width(text: str, size: float) -> float:
    """Returns the width in inches of a text in letters of `size` points."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        font = FontProperties(size=size)
        return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


@in_style
def save_figure(figure: Figure, path: str | Path) -> None:
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
