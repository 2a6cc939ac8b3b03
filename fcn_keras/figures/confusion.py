"""Which classes are taken for which."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from fcn_keras.figures.style import FAINT, INK, plain_text, save_figure, shortened, text_width


def plot_confusion(confusion, classes, path):
    """Writes a heat map of a confusion matrix, in percent of the true pixels, to a file.

    Example:

    >>> plot_confusion([[90, 10], [5, 45]], ["background", "cat"], "confusion.png")

    Args:
        confusion: Integer array `(C, C)` of pixel counts, rows = truth, columns = prediction.
        classes: Sequence of `C` strings.
        path: String or `Path`. The file appears whole or not at all.
    """
    save_figure(confusion_figure(confusion, classes), path)


def confusion_figure(confusion, classes):
    """The figure that `plot_confusion` writes.

    Args:
        confusion: As for `plot_confusion`.
        classes: As for `plot_confusion`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    confusion = np.asarray(confusion)
    count = len(classes)
    if confusion.shape != (count, count):
        raise ValueError(f"A {confusion.shape} confusion matrix does not fit {count} classes")
    totals = confusion.sum(axis=1)
    percent = np.full(confusion.shape, np.nan)
    np.divide(100.0 * confusion, totals[:, None], out=percent, where=totals[:, None] > 0)

    cell = min(0.62, max(0.15, 11 / count))
    font = min(9.5, 45 * cell)
    names = [shortened(name) for name in classes]
    label_width = max(text_width(name, font) for name in names)
    side = max(count * cell, 1.6)
    figure = Figure(
        figsize=(side + label_width + 2.6, side + 0.75 * label_width + 1.5), layout="constrained"
    )
    axes = figure.subplots()
    heat = colormaps["Blues"].with_extremes(bad="#f0f0f0")
    # The root shows confusions of a few percent, which a linear scale leaves next to white.
    scale = PowerNorm(0.5, vmin=0, vmax=100)
    picture = axes.imshow(percent, cmap=heat, norm=scale, interpolation="nearest")
    if count <= 25:
        for row, column in np.argwhere(percent >= 0.5):
            value = percent[row, column]
            axes.text(
                column,
                row,
                f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=font,
                color="white" if value > 35 else INK,
            )
    for row in np.flatnonzero(totals == 0):
        axes.text(
            (count - 1) / 2,
            row,
            "not in the truth",
            ha="center",
            va="center",
            fontsize=font,
            color=FAINT,
            style="italic",
        )

    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    # White lines between the cells, thin enough not to eat them.
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=min(1.5, 3 * cell))
    axes.set_xlabel("prediction", color=INK)
    axes.set_ylabel("truth", color=INK)
    pixels = axes.secondary_yaxis("right")
    pixels.set_yticks(range(count), [_count(total) for total in totals])
    pixels.set_ylabel("pixels in truth", color=INK, labelpad=8)
    for side_axes in (axes, pixels):
        side_axes.tick_params(which="both", length=0, labelsize=font, labelcolor=INK)
        side_axes.spines[:].set_visible(False)
    plain_text([*axes.get_xticklabels(), *axes.get_yticklabels()])
    bar = figure.colorbar(
        picture,
        ax=axes,
        shrink=min(1, 3.5 / side),
        aspect=18,
        pad=0.03,
        ticks=(0, 1, 5, 20, 50, 100),
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9, labelcolor=INK)
    bar.set_label("% of the pixels in truth", color=INK)
    axes.set_title("Confusion", color=INK, fontsize=12, fontweight="bold", pad=12)
    return figure


def _count(pixels):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if pixels >= 0.9995 * size:
            return f"{pixels / size:.3g} {unit}"
    return f"{pixels:.0f}"
