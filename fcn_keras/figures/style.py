"""What all figures have in common: colours, text, places in inches, files.

Matplotlib is used through its objects alone, so that drawing needs no display and leaves a
caller's own plots alone."""

import math
import warnings

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from fcn_keras.data.palette import VOID
from fcn_keras.figures.label_maps import colorize, label_name
from fcn_keras.system.files import written_whole

_DPI = 120

INK, FAINT, _GRID = "#333333", "#777777", "#e4e4e4"

# Okabe and Ito's colours, told apart by readers of any colour vision.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#b0609a"

ERROR = (220, 30, 30)

LINE = 0.26  # inches from one row of a legend to the next


def write_words(figure, x, y, words, **style):
    """Text at a place in inches from the upper left corner."""
    width, height = figure.get_size_inches()
    style = {"fontsize": 10, "color": INK, "va": "center", "parse_math": False, **style}
    figure.text(x / width, 1 - y / height, words, **style)


def place_picture(figure, pixels, left, top, width, height):
    """A picture at a place in inches from the upper left corner."""
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
    axes.set_xticks([])
    axes.set_yticks([])
    # A rim, for images as white as the page.
    axes.spines[:].set(color="#bbbbbb", linewidth=0.6)


def draw_legend(figure, legend, palette, left, top):
    total_width, total_height = figure.get_size_inches()
    for x, y, name, label in legend:
        chip = Rectangle(
            ((left + x) / total_width, 1 - (top + y * LINE + 0.2) / total_height),
            0.15 / total_width,
            0.15 / total_height,
            transform=figure.transFigure,
            facecolor="white" if label == VOID else palette[label] / 255,
            hatch="//////" if label == VOID else None,
            edgecolor="#bbbbbb" if label == VOID else "#00000060",
            linewidth=0.6,
        )
        figure.add_artist(chip)
        write_words(figure, left + x + 0.22, top + y * LINE + 0.125, name)


def legend_entries(labels, classes, width):
    """`(x in inches, row, name, label)` for each label."""
    names = {k: shortened(label_name(k, classes)) for k in sorted(labels)}
    column = max(text_width(name, 10) for name in names.values()) + 0.45
    columns = max(1, int(width // column))
    rows = -(-len(names) // columns)
    return [(i // rows * column, i % rows, name, k) for i, (k, name) in enumerate(names.items())]


def truth_picture(label, palette):
    picture = colorize(label, palette)
    rows, columns = np.indices(label.shape)
    stripe = max(1, max(label.shape) // 90)
    hatch = np.where((rows + columns) // stripe % 3 == 0, 190, 255).astype(np.uint8)
    void = label == VOID
    picture[void] = hatch[void, None]
    return picture


def as_number(value):
    """A float; NaN for what is missing or not finite, which matplotlib then leaves out."""
    value = math.nan if value is None else float(value)
    return value if math.isfinite(value) else math.nan


def calm(axes, grid="both"):
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#bbbbbb")
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)


def plain_text(texts):
    # A dollar in a class name is no formula.
    for text in texts:
        text.set_parse_math(False)


def shortened(name, limit=32):
    return name if len(name) <= limit else name[: limit - 1] + "…"


def text_width(words, size):
    """Width in inches."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        font = FontProperties(size=size)
        return text_to_path.get_text_width_height_descent(words, font, ismath=False)[0] / 72


def save_figure(figure, path):
    with written_whole(path) as aside, warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; no reason to bother the user.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(aside, dpi=_DPI, facecolor="white")
