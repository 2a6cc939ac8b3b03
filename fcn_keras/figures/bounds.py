"""What strides allow: the best IU of each class at each of them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fcn_keras.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    PURPLE,
    VERMILION,
    in_style,
    shortened,
    text_width,
)

# Of the coarsest stride and the finer ones. Their forms are told apart in grey too.
_MARKS = ((VERMILION, "s"), (BLUE, "o"), (GREEN, "D"), (PURPLE, "^"))

# Where the first column of numbers ends, and how wide each is; in percent, as the axis is.
_COLUMN, _WIDTH = 112, 10.5


@in_style
def bounds_figure(bounds: Mapping[int, Mapping[str, Any]], title: str) -> Figure:
    """Draws the best IU of each class at each stride, the class that bears it best at the top.

    Numbers stand beside the marks, as these lie on each other where a stride costs nothing. A
    stride of 1 costs nothing at all, and is left out.

    Args:
        bounds: for each stride, four of them at most beside 1, what
            `fcn_keras.evaluation.scores.named_scores` returned. Of several label maps, the first
            is shown.
        title: what the figure is of.

    Example:

    >>> confusions = stride_bounds(dataset, "val")
    >>> bounds = {s: named_scores(confusions[s], dataset.classes) for s in confusions}
    >>> bounds_figure(bounds, "shapes, val")
    """
    strides = sorted({*bounds} - {1}, reverse=True)
    names = [*bounds[strides[0]]["per_class_iu"]]
    percent = 100 * np.array([[*bounds[s]["per_class_iu"].values()] for s in strides], float).T
    # NaN, of classes that are absent, goes last; equal ones stay in the order of the classes.
    order = np.argsort(-percent[:, 0], kind="stable")
    names = [*(shortened(names[k]) for k in order), "mean"]
    means = 100 * np.array([bounds[stride]["mean_iu"] for stride in strides], float)
    percent = np.vstack([percent[order], means])

    label_width = max(text_width(name, 9.5) for name in names)
    figure = Figure(figsize=(label_width + 7.6, 1.7 + 0.28 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="x")
    *rows, last = [*range(len(names) - 1), len(names) - 0.6]  # the mean stands apart
    for row, values in zip(rows, percent, strict=False):
        if math.isnan(values[0]):
            axes.text(
                1, row, "absent", va="center_baseline", color=FAINT, fontsize=9, style="italic"
            )
        else:
            _draw_row(axes, row, values)
    _draw_row(axes, last, percent[-1], fontweight="bold")
    axes.axhline(len(names) - 1.3, color=INK, linewidth=0.8)
    # What the columns of numbers are, and the marks.
    axes.text(_COLUMN - 9, -1, "stride", va="center_baseline", ha="right", fontsize=9)
    for place, stride in enumerate(strides):
        _draw_mark(axes, place, x=_COLUMN + _WIDTH * place - 5.5, row=-1)
        _write(axes, place, f"{stride}", row=-1)
    axes.set_yticks([*rows, last], names, fontsize=9.5)
    axes.tick_params(axis="y", pad=7)
    axes.set(xlim=(0, _COLUMN + _WIDTH * len(strides) - 8), ylim=(len(names), -1.6))
    axes.set(xticks=range(0, 101, 20), xlabel="best IU, %")
    axes.set_title(f"{shortened(title, 50)}: what IU each stride allows", pad=10)
    return figure


def _draw_row(axes, row, values, **style):
    axes.plot(values[[0, -1]], [row, row], color="#c8c8c8", linewidth=2, zorder=2)
    for place, value in enumerate(values):
        _draw_mark(axes, place, value, row)
        _write(axes, place, f"{value:.1f}", row, **style)


def _draw_mark(axes, place, x, row):
    color, mark = _MARKS[place]
    axes.plot(
        x,
        row,
        mark,
        color=color,
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=4 - place / 10,  # the coarser ones above
        clip_on=False,
    )


def _write(axes, place, text, row, **style):
    axes.text(
        _COLUMN + _WIDTH * place,
        row,
        text,
        color=_MARKS[place][0],
        va="center_baseline",
        ha="right",
        fontsize=9,
        **style,
    )
