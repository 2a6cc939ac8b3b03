"""Seconds and memory by size, beside the lines that they should be."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter

from fcn_keras.figures.style import BLUE, FAINT, GREEN, INK, PURPLE, VERMILION, in_style

_COLORS = (BLUE, VERMILION, GREEN, PURPLE, INK)


@in_style
def growth_figure(curves: Sequence[Mapping[str, Any]], unit: str) -> Figure:
    """Draws curves with their lines, both axes by powers of ten.

    Args:
        curves: with `title` and `points`, whose `size`, `seconds`, `seconds_line`, `peak_bytes` and
            `bytes_line` are drawn; a point without them is left out.
        unit: what sizes are of.

    Example:

    >>> results = fcn_keras.bench.growth.growth.results(asked, measured)
    >>> growth_figure(results["curves"], results["unit"])
    """
    figure = Figure(figsize=(10, 4.8), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.1))
    panels = figure.subplots(1, 2)
    for panel, label, name, line, factor in zip(
        panels,
        ("seconds", "MiB at the most"),
        ("seconds", "peak_bytes"),
        ("seconds_line", "bytes_line"),
        (1, 2**-20),
        strict=True,
    ):
        panel.grid()
        panel.set_xscale("log")
        panel.set_yscale("log")
        for axis in (panel.xaxis, panel.yaxis):
            # The usual formatter writes powers as formulas, which are not set as such here.
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        for number, curve in enumerate(curves):
            points = [point for point in curve["points"] if line in point]
            sizes = [point["size"] for point in points]
            color = _COLORS[number % len(_COLORS)]
            measured, on_line = (
                [factor * point[which] for point in points] for which in (name, line)
            )
            panel.plot(sizes, on_line, "--", color=FAINT, linewidth=1.2)
            panel.plot(
                sizes,
                measured,
                "o-",
                color=color,
                linewidth=1.8,
                markersize=5,
                label=curve["title"],
            )
        panel.set_xlabel(unit)
        panel.set_title(label)
    panels[0].plot([], [], "--", color=FAINT, linewidth=1.2, label="its line")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    return figure
