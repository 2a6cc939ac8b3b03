"""Bar charts with a row for each class; the one of the classes' IU."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fcn_keras.data.palette import palette_for
from fcn_keras.figures.style import DARK_RIM, FAINT, INK, in_style, shortened


@in_style
def per_class_iu_figure(
    per_class_iu: Mapping[str, float | None],
    colors: Sequence[tuple[int, int, int]],
    mean_iu: float | None,
    columns: Mapping[str, Mapping[str, float | None]] = MappingProxyType({}),
) -> Figure:
    """Draws a bar chart of the classes' IU, the best at the top.

    Args:
        per_class_iu: the IU of each class by its name, a fraction of 1; None for a class that
            occurs neither in the truth nor in the prediction. In the order of the classes.
        colors: the RGB colour of each class.
        mean_iu: the mean IU, a fraction of 1; None if there is none.
        columns: other scores of the classes, fractions of 1, to stand beside the bars, by what they
            are called.

    Example:

    >>> per_class_iu_figure({"cat": 0.7, "dog": None}, [(64, 0, 0), (64, 0, 128)], 0.7)
    """
    names = list(per_class_iu)
    percent = 100 * np.array(list(per_class_iu.values()), float)
    # NaN, of classes that are absent, goes last; equal ones stay in the order of the classes.
    order = np.argsort(-percent, kind="stable")
    figure = Figure(figsize=(8, 1.3 + 0.28 * len(names)), layout="constrained")
    axes = figure.subplots()
    draw_bars(
        axes,
        names=[names[k] for k in order],
        colors=palette_for(colors)[order],
        lengths=percent[order],
        label="{:.1f}".format,
        label_at=np.where(np.isnan(percent), 0.8, percent + 1)[order],
        # On white, so that the line of the mean does not run through the number.
        zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    title = "IU by class"
    mean = math.nan if mean_iu is None else 100 * mean_iu
    if math.isfinite(mean):
        # A pale line below keeps the dashes in sight on dark bars.
        axes.axvline(mean, color="white", alpha=0.7, linewidth=2.6, zorder=3)
        axes.axvline(mean, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=3)
        title += f", mean {mean:.1f} % (dashed)"
    # Room for the number behind a full bar.
    axes.set(xlim=(0, 107 + 16 * len(columns)), xticks=range(0, 101, 20))
    axes.set_xlabel("%" if columns else "IU, %", x=50 / axes.get_xlim()[1])
    for number, (column, values) in enumerate(columns.items()):
        right = 121 + 16 * number
        axes.text(right, -0.75, column, ha="right", va="bottom", fontsize=9)
        for row, k in enumerate(order):
            value = values[names[k]]
            if value is not None:
                axes.text(
                    right, row, f"{100 * value:.1f}", ha="right", va="center_baseline", fontsize=9
                )
    axes.set_title(title, pad=10, loc="left")
    return figure


def draw_bars(
    axes: Axes,
    names: Sequence[str],
    colors: np.ndarray,
    lengths: np.ndarray,
    label: Callable[[float], str],
    label_at: np.ndarray,
    **style: Any,
) -> None:
    """Draws a bar for each class, the first at the top, with its length in numbers behind it.

    Args:
        axes: where to.
        names: the classes' names.
        colors: uint8 `(C, 3)`.
        lengths: floats `(C,)`; NaN for a class that is absent, which gets no bar.
        label: gives a length in numbers.
        label_at: floats `(C,)`, where on the x axis the numbers stand.
        **style: of the numbers, see `matplotlib.text.Text`.
    """
    axes.grid(axis="x")
    text_style: dict[str, Any] = {"va": "center_baseline", "fontsize": 9}
    for row, (color, length, x) in enumerate(zip(colors / 255, lengths, label_at, strict=True)):
        if math.isnan(length):
            axes.text(x, row, "absent", color=FAINT, style="italic", **text_style)
        else:
            axes.barh(row, length, 0.72, color=color, edgecolor=DARK_RIM, linewidth=0.6)
            axes.text(x, row, label(length), **text_style, **style)
    axes.set_yticks(range(len(names)), [shortened(name) for name in names], fontsize=9.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
