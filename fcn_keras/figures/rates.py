"""The loss of a short training in which the learning rate rises."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from fcn_keras.figures.style import BLUE, FAINT, VERMILION, in_style


@in_style
def rates_figure(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggested: float | None,
) -> Figure:
    """Draws losses against the learning rates that they were found at.

    Args:
        rates: the learning rate of each step, rising.
        losses: the loss of each step; one that is no number is left out.
        smoothed: the losses with less noise.
        suggested: the rate to mark, if any.

    Example:

    >>> rates_figure([1e-5, 1e-4, 1e-3], [2.3, 1.9, 2.8], [2.3, 2.1, 2.4], 1e-5)
    """
    figure = Figure(figsize=(8, 4.5), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.1))
    panel = figure.subplots()
    panel.grid()
    panel.set_xscale("log")
    # The usual formatter writes powers as formulas, which are not set as such here.
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.plot(rates, losses, ".", color=FAINT, markersize=4, label="of each step")
    panel.plot(rates, smoothed, color=BLUE, linewidth=2, label="smoothed")
    known = [loss for loss in smoothed if np.isfinite(loss)]
    if known:
        # A loss that explodes would press all others together.
        panel.set_ylim(0, 1.3 * max(known[0], np.median(known)))
    if suggested is not None:
        panel.axvline(
            suggested, color=VERMILION, linewidth=1.6, linestyle="--", label=f"{suggested:g}"
        )
    panel.set_xlabel("learning rate")
    panel.set_ylabel("loss")
    panel.legend(loc="lower left", frameon=False, fontsize=9)
    figure.suptitle(
        "No learning rate brings the loss down"
        if suggested is None
        else f"Suggested learning rate: {suggested:g}"
    )
    return figure
