"""The course of a training, epoch by epoch."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from fcn_keras.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    PURPLE,
    VERMILION,
    as_number,
    calm,
    save_figure,
)


def plot_curves(rows, path):
    """Writes the losses, scores and learning rate of a run, epoch by epoch, to a file.

    Example:

    >>> plot_curves([{"epoch": 1, "loss": 2.1, "mean_iu": 0.3}], "curves.png")

    Args:
        rows: List of dicts, one per epoch, with the columns of `log.csv`: `epoch`, `loss`,
            `val_loss`, `mean_iu`, `pixel_accuracy`, `mean_accuracy`, `frequency_weighted_iu`
            (validation scores as fractions), `train_mean_iu`, `learning_rate`,
            `images_per_second`, `seconds`. Floats; a value may be None, NaN or left out.
        path: String or `Path`. The file appears whole or not at all.
    """
    save_figure(curves_figure(rows), path)


def curves_figure(rows):
    """The figure that `plot_curves` writes.

    Args:
        rows: As for `plot_curves`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    table = {
        key: np.array([as_number(row.get(key)) for row in rows])
        for key in (
            "epoch loss val_loss mean_iu pixel_accuracy mean_accuracy frequency_weighted_iu "
            "train_mean_iu learning_rate images_per_second seconds"
        ).split()
    }
    epochs = table["epoch"]
    figure = Figure(figsize=(9, 8), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.1)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[3, 4, 1.4])
    loss, scores, rate = panels

    best = _best(table["mean_iu"])
    for panel in panels:
        calm(panel)
        if best is not None:
            panel.axvline(epochs[best], color="#aaaaaa", linewidth=1, linestyle=(0, (4, 3)))

    def curves(panel, factor, *lines):
        for key, label, color, style, width in lines:
            # Gaps are bridged: validation may run on every fifth epoch only.
            known = np.isfinite(table[key])
            if known.any():
                panel.plot(
                    epochs[known],
                    factor * table[key][known],
                    color=color,
                    linestyle=style,
                    linewidth=width,
                    label=label,
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
                labelcolor=INK,
                borderaxespad=0,
                handlelength=2.4,
            )

    curves(
        loss,
        1,
        ("loss", "training", BLUE, "-", 1.8),
        ("val_loss", "validation", VERMILION, "-", 1.8),
    )
    curves(
        scores,
        100,
        ("mean_iu", "mean IU", VERMILION, "-", 2.4),
        ("train_mean_iu", "mean IU (training)", BLUE, "-", 1.4),
        ("frequency_weighted_iu", "frequency weighted IU", GREEN, "--", 1.4),
        ("mean_accuracy", "mean accuracy", PURPLE, "-.", 1.4),
        ("pixel_accuracy", "pixel accuracy", INK, ":", 1.6),
    )
    curves(rate, 1, ("learning_rate", None, INK, "-", 1.6))

    _number_axis(loss, np.concatenate([table["loss"], table["val_loss"]]))
    _number_axis(rate, table["learning_rate"])
    if rate.get_yscale() == "linear":
        # A constant rate, the usual case, is then read off the axis as it was given.
        largest = np.nanmax(table["learning_rate"], initial=0)
        rate.set_ylim(bottom=0)
        rate.set_yticks([0, largest], ["0", f"{largest:.4g}"])
    loss.set_ylabel("loss", color=INK)
    scores.set_ylabel("validation score, %", color=INK)
    scores.set_ylim(0, 100)
    rate.set_ylabel("learning rate", color=INK)
    rate.set_xlabel("epoch", color=INK)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if np.isfinite(epochs).any():
        first, last = np.nanmin(epochs), np.nanmax(epochs)
        margin = max(0.5, 0.02 * (last - first))
        rate.set_xlim(first - margin, last + margin)

    title = "Training"
    if best is not None:
        value = 100 * table["mean_iu"][best]
        scores.plot(
            epochs[best],
            value,
            "o",
            markersize=9,
            markerfacecolor="none",
            markeredgewidth=1.8,
            markeredgecolor=VERMILION,
            label="best",
        )
        title = f"Best mean IU on validation: {value:.1f} % at epoch {epochs[best]:g}"
    figure.suptitle(title, color=INK, fontsize=12, fontweight="bold")
    rate.text(
        1.03,
        1,
        _pace(table),
        transform=rate.transAxes,
        va="top",
        color=FAINT,
        fontsize=9,
        linespacing=1.5,
    )
    return figure


def _best(scores):
    return int(np.nanargmax(scores)) if np.isfinite(scores).any() else None


def _pace(table):
    """Length and speed of the training, as far as they are known."""
    count = len(table["epoch"])
    parts = [f"{count} epoch" + "s" * (count != 1)]
    seconds, speed = np.nansum(table["seconds"]), table["images_per_second"]
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 1.5 * size:
            parts.append(f"{seconds / size:.1f} {unit}")
            break
    if np.isfinite(speed).any():
        parts.append(f"{np.nanmedian(speed):.3g} images/s")
    return "\n".join(parts)


def _number_axis(axes, values):
    """Plain numbers on the y axis; logarithmic where the values span more than a decade."""
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
        decades = math.log10(values.max() / values.min())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    # The usual formatter would put a common factor in a corner of its own, over the title.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
