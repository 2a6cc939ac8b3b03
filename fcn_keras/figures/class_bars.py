"""The IU of each class."""

import math

from matplotlib.figure import Figure

from fcn_keras.data.palette import palette_for
from fcn_keras.figures.style import FAINT, INK, as_number, calm, plain_text, save_figure, shortened


def plot_per_class_iu(per_class_iu, colors, mean_iu, path):
    """Writes a bar chart of the classes' IU, the best at the top, to a file.

    Example:

    >>> plot_per_class_iu({"cat": 0.7, "dog": None}, [(64, 0, 0), (64, 0, 128)], 0.7, "iu.png")

    Args:
        per_class_iu: Dict from class name to IU as a fraction, or None for a class that occurs
            neither in truth nor in prediction; in the order of the classes.
        colors: Sequence of RGB triples 0..255, one per class, in the same order.
        mean_iu: Float, the mean IU as a fraction.
        path: String or `Path`. The file appears whole or not at all.
    """
    save_figure(per_class_iu_figure(per_class_iu, colors, mean_iu), path)


def per_class_iu_figure(per_class_iu, colors, mean_iu):
    """The figure that `plot_per_class_iu` writes.

    Args:
        per_class_iu: As for `plot_per_class_iu`.
        colors: As for `plot_per_class_iu`.
        mean_iu: As for `plot_per_class_iu`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    palette = palette_for(colors)
    bars = [(name, as_number(iu), palette[k]) for k, (name, iu) in enumerate(per_class_iu.items())]
    # Absent classes go last; the sort is stable, so ties stay in the order of the classes.
    bars.sort(key=lambda bar: -1 if math.isnan(bar[1]) else bar[1], reverse=True)

    figure = Figure(figsize=(8, 1.3 + 0.28 * len(bars)), layout="constrained")
    axes = figure.subplots()
    calm(axes, grid="x")
    mean_iu = as_number(mean_iu)
    title = "IU by class"
    if math.isfinite(mean_iu):
        # A pale line below keeps the dashes in sight on dark bars.
        axes.axvline(100 * mean_iu, color="white", alpha=0.7, linewidth=2.6, zorder=3)
        axes.axvline(100 * mean_iu, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=3)
        title += f", mean {100 * mean_iu:.1f} % (dashed)"
    for row, (_, iu, color) in enumerate(bars):
        if math.isnan(iu):
            axes.text(
                0.8, row, "absent", va="center_baseline", color=FAINT, fontsize=9, style="italic"
            )
            continue
        axes.barh(row, 100 * iu, 0.72, color=color / 255, edgecolor="#00000060", linewidth=0.6)
        # On white, so that the line of the mean does not run through the number.
        axes.text(
            100 * iu + 1,
            row,
            f"{100 * iu:.1f}",
            va="center_baseline",
            color=INK,
            fontsize=9,
            zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.set_yticks(range(len(bars)), [shortened(name) for name, _, _ in bars], fontsize=9.5)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    # Room for the number behind a full bar.
    axes.set_xlim(0, 107)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("IU, %", color=INK)
    axes.set_title(title, color=INK, fontsize=12, fontweight="bold", pad=10)
    plain_text(axes.get_yticklabels())
    return figure
