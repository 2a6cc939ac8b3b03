"""Images beside their truth, prediction and errors."""

import math

import numpy as np
from matplotlib.figure import Figure

from fcn_keras.data.palette import VOID, palette_for
from fcn_keras.figures.label_maps import colorize
from fcn_keras.figures.style import (
    ERROR,
    LINE,
    as_number,
    draw_legend,
    legend_entries,
    place_picture,
    save_figure,
    shortened,
    truth_picture,
    write_words,
)

_MAX_SAMPLES = 8


def plot_samples(samples, classes, colors, path):
    """Writes images next to their truth, prediction and errors to a file.

    Void pixels of the truth are hatched and count as no error. Wrong pixels are red.

    Example:

    >>> plot_samples([(image, label, class_ids, "img_1", 0.71)], classes, colors, "samples.png")

    Args:
        samples: List of `(image, label, class_ids, id, mean_iu)`: uint8 array `(H, W, 3)`, uint8
            arrays `(H, W)` of truth and prediction, string, float (None or NaN: unknown). Sizes
            may differ between samples; the first eight are shown.
        classes: Sequence of strings, the classes' names.
        colors: Sequence of RGB triples 0..255, one per class.
        path: String or `Path`. The file appears whole or not at all.
    """
    save_figure(samples_figure(samples, classes, colors), path)


def samples_figure(samples, classes, colors):
    """The figure that `plot_samples` writes.

    Args:
        samples: As for `plot_samples`.
        classes: As for `plot_samples`.
        colors: As for `plot_samples`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    if not samples:
        raise ValueError("There is no sample to show")
    samples = samples[:_MAX_SAMPLES]
    palette = palette_for(colors)
    # Placed by hand, in inches: images of any shape, nothing to shift or overlap.
    width, gap, margin, head, title = 2.7, 0.12, 0.25, 0.4, 0.3
    heights = [min(1.6 * width, max(0.3, width * len(s[1]) / s[1].shape[1])) for s in samples]
    total_width = 4 * width + 3 * gap + 2 * margin
    seen = set()
    for _, label, class_ids, _, _ in samples:
        seen.update(np.unique(label).tolist(), np.unique(class_ids).tolist())
    legend = legend_entries(seen, classes, total_width - 2 * margin)
    legend_height = LINE * (1 + max(y for _, y, _, _ in legend))
    total_height = (
        head + sum(heights) + len(samples) * (title + gap) + legend_height + 1.75 * margin
    )
    figure = Figure(figsize=(total_width, total_height))

    top = margin / 2
    for column, words in enumerate(("image", "truth", "prediction", "errors")):
        x = margin + column * (width + gap) + width / 2
        write_words(figure, x, top + head / 2, words, ha="center", fontsize=12, fontweight="bold")
    top += head
    for (image, label, class_ids, name, mean_iu), height in zip(samples, heights, strict=True):
        iu = as_number(mean_iu)
        score = f"mean IU {100 * iu:.1f} %" if math.isfinite(iu) else "mean IU unknown"
        write_words(figure, margin, top + title / 2, f"{shortened(name, 90)}   {score}")
        top += title
        # More pixels than the figure has would only cost time and memory.
        step = 1 + max(label.shape) // 1000
        image, label, class_ids = (x[::step, ::step] for x in (image, label, class_ids))
        panels = (
            image,
            truth_picture(label, palette),
            colorize(class_ids, palette),
            _error_picture(image, label, class_ids),
        )
        for column, panel in enumerate(panels):
            left = margin + column * (width + gap)
            place_picture(figure, panel, left, top, width, height)
        top += height + gap
    draw_legend(figure, legend, palette, margin, top + margin / 2)
    return figure


def _error_picture(image, label, class_ids):
    # Pale grey, so that red stands out from it in lightness too.
    grey = 100 + 0.6 * (image @ np.array([0.299, 0.587, 0.114]))
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    picture[(label != class_ids) & (label != VOID)] = ERROR
    return picture
