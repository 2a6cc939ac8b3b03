"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from fcn_keras.figures.style import FAINT, INK, in_style, shortened, text_width


@in_style
def confusion_figure(confusion: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draws a heat map of a confusion matrix, in percent of the true pixels.

    Args:
        confusion: integers `(C, C)`, numbers of pixels; rows = truth, columns = prediction.
        classes: the classes' names.

    Example:

    >>> confusion_figure(np.array([[90, 10], [5, 45]]), ["background", "cat"])
    """
    count = len(classes)
    if np.shape(confusion) != (count, count):
        raise ValueError(f"A {np.shape(confusion)} confusion matrix does not fit {count} classes")
    totals = np.sum(confusion, axis=1)
    with np.errstate(invalid="ignore"):
        percent = 100.0 * np.asarray(confusion) / totals[:, None]

    cell = min(0.62, max(0.15, 11 / count))
    font = min(9.5, 45 * cell)
    names = [shortened(name) for name in classes]
    label_width = max(text_width(name, font) for name in names)
    side = max(count * cell, 1.6)
    figure = Figure(
        figsize=(side + label_width + 2.6, side + 0.75 * label_width + 1.5), layout="compressed"
    )
    axes = figure.subplots()
    picture = axes.imshow(
        percent,
        cmap=colormaps["Blues"].with_extremes(bad="#f0f0f0"),
        # The root shows confusions of a few percent, which a linear scale leaves next to white.
        norm=PowerNorm(0.5, vmin=0, vmax=100),
        interpolation="nearest",
    )
    _write_cells(axes, percent, font)
    _label_sides(axes, names, totals, font)
    # White lines between the cells, thin enough not to eat them.
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=min(1.5, 3 * cell))
    bar = figure.colorbar(
        picture,
        ax=axes,
        shrink=min(1, 3.5 / side),
        aspect=18,
        pad=0.03,
        ticks=(0, 1, 5, 20, 50, 100),
        label="% of the pixels in truth",
    )
    bar.outline.set_visible(False)
    axes.set_title("Confusion", pad=12)
    return figure


def _write_cells(axes, percent, font):
    """Writes percentages, unless they would be unreadably small, and marks rows without truth."""
    style = {"ha": "center", "va": "center", "fontsize": font}
    if len(percent) <= 25:
        for row, column in np.argwhere(percent >= 0.5):
            value = percent[row, column]
            axes.text(column, row, f"{value:.0f}", color="white" if value > 35 else INK, **style)
    for row in np.flatnonzero(np.isnan(percent[:, 0])):
        axes.text(
            (len(percent) - 1) / 2, row, "not in the truth", color=FAINT, style="italic", **style
        )


def _label_sides(axes, names, totals, font):
    """Names the rows and columns, and says how many pixels each row has."""
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="prediction", ylabel="truth")
    pixels = axes.secondary_yaxis("right")
    pixels.set_yticks(range(len(names)), [_rounded(total) for total in totals])
    pixels.set_ylabel("pixels in truth", labelpad=8)
    for side in (axes, pixels):
        side.tick_params(labelsize=font)
        side.spines[:].set_visible(False)


def _rounded(pixels):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if pixels >= 0.9995 * size:
            return f"{pixels / size:.3g} {unit}"
    return f"{pixels:.0f}"
