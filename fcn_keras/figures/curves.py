"""The course of a training, epoch by epoch."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from fcn_keras.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    PURPLE,
    VERMILION,
    in_style,
)

# A panel is what its axis says, a factor, and its curves: column, name, colour, style, width.
_PANELS = (
    (
        "loss",
        1,
        (
            ("loss", "training", BLUE, "-", 1.8),
            ("val_loss", "validation", VERMILION, "-", 1.8),
        ),
    ),
    (
        "validation score, %",
        100,
        (
            ("mean_iu", "mean IU", VERMILION, "-", 2.4),
            ("train_mean_iu", "mean IU (training)", BLUE, "-", 1.4),
            ("frequency_weighted_iu", "frequency weighted IU", GREEN, "--", 1.4),
            ("mean_accuracy", "mean accuracy", PURPLE, "-.", 1.4),
            ("pixel_accuracy", "pixel accuracy", INK, ":", 1.6),
        ),
    ),
    ("learning rate", 1, (("learning_rate", None, INK, "-", 1.6),)),
)


@in_style
def curves_figure(rows: Sequence[Mapping[str, float | None]]) -> Figure:
    """Draws the losses, scores and learning rate of a run, epoch by epoch.

    Args:
        rows: the columns of `log.csv` for each epoch: `epoch`, `loss`, `val_loss`, `mean_iu`,
            `pixel_accuracy`, `mean_accuracy`, `frequency_weighted_iu` (validation scores as
            fractions of 1), `train_mean_iu`, `learning_rate`, `images_per_second`, `seconds`. A
            value may be None, NaN or left out.

    Example:

    >>> curves_figure([{"epoch": 1, "loss": 2.1, "mean_iu": 0.3}])
    """
    drawn = [column for _, _, curves in _PANELS for column, *_ in curves]
    table = {
        column: np.array([row.get(column) for row in rows], float)
        for column in ("epoch", "images_per_second", "seconds", *drawn)
    }
    epochs, mean_iu = table["epoch"], table["mean_iu"]
    figure = Figure(figsize=(9, 8), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.1))
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[3, 4, 1.4])
    for panel, (label, factor, curves) in zip(panels, _PANELS, strict=True):
        panel.grid()
        panel.set_ylabel(label)
        _draw_curves(panel, table, factor, curves)

    loss, scores, rate = panels
    _scale_numbers(loss, np.concatenate([table["loss"], table["val_loss"]]))
    scores.set_ylim(0, 100)
    _scale_numbers(rate, table["learning_rate"])
    if rate.get_yscale() == "linear":
        # A constant rate, the usual case, is then read off the axis as it was given.
        largest = np.nanmax(table["learning_rate"], initial=0)
        rate.set_ylim(bottom=0)
        rate.set_yticks([0, largest], ["0", f"{largest:.4g}"])
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if np.isfinite(epochs).any():
        first, last = np.nanmin(epochs), np.nanmax(epochs)
        margin = max(0.5, 0.02 * (last - first))
        rate.set_xlim(first - margin, last + margin)

    title = "Training"
    if np.isfinite(mean_iu).any():
        best = np.nanargmax(mean_iu)
        for panel in panels:  # below the curves
            panel.axvline(
                epochs[best], color="#aaaaaa", linewidth=1, linestyle=(0, (4, 3)), zorder=1.9
            )
        scores.plot(
            epochs[best],
            100 * mean_iu[best],
            "o",
            label="best",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=VERMILION,
            markeredgewidth=1.8,
        )
        title = f"Best mean IU on validation: {100 * mean_iu[best]:.1f} % at epoch {epochs[best]:g}"
    figure.suptitle(title)
    rate.text(
        1.03,
        1,
        _pace(table),
        transform=rate.transAxes,
        va="top",
        color=FAINT,
        size=9,
        linespacing=1.5,
    )
    return figure


def _draw_curves(panel, table, factor, curves):
    for column, name, color, style, width in curves:
        # Gaps are bridged: validation may run on every fifth epoch only.
        known = np.isfinite(table[column])
        if known.any():
            panel.plot(
                table["epoch"][known],
                factor * table[column][known],
                color=color,
                linestyle=style,
                linewidth=width,
                label=name,
                markersize=3.5,
                # Dots help while they are few; a lone value would be invisible without.
                marker="o" if known.sum() <= 40 else None,
            )
    if panel.get_legend_handles_labels()[0]:
        panel.legend(
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            frameon=False,
            fontsize=9,
            borderaxespad=0,
            handlelength=2.4,
        )


def _scale_numbers(panel, values):
    """Plain numbers on the y axis; logarithmic where the values span more than a decade."""
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 10 * values.min():
        panel.set_yscale("log")
        decades = math.log10(values.max() / values.min())
        panel.yaxis.set(
            major_locator=LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)),
            minor_locator=NullLocator(),
        )
    else:
        panel.yaxis.set_major_locator(MaxNLocator(6))
    # The usual formatter would put a common factor in a corner of its own, over the title.
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))


def _pace(table):
    count = len(table["epoch"])
    lines = [f"{count} epoch" + "s" * (count != 1)]
    seconds, speed = np.nansum(table["seconds"]), table["images_per_second"]
    units = {"h": 3600, "min": 60, "s": 1}
    lines += [f"{seconds / n:.1f} {unit}" for unit, n in units.items() if seconds >= 1.5 * n][:1]
    if np.isfinite(speed).any():
        lines.append(f"{np.nanmedian(speed):.3g} images/s")
    return "\n".join(lines)
