"""Images beside their truth, prediction and errors."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.palette import palette_for
from fcn_keras.figures.label_maps import colorize
from fcn_keras.figures.pages import Legend, colorize_truth, place_picture, thinned, write_text
from fcn_keras.figures.pictures import as_picture
from fcn_keras.figures.style import in_style, shortened


class Sample(NamedTuple):
    """An image, and what a network takes its pixels for.

    Attributes:
        image: `(H, W, C)`, see `fcn_keras.figures.pictures.as_picture`.
        label: uint8 `(H, W)`, the truth; 255 for void.
        class_ids: uint8 `(H, W)`, the prediction.
        name: what the image is called.
        mean_iu: the mean IU of the prediction, a fraction of 1; None or NaN if unknown.
    """

    image: np.ndarray
    label: np.ndarray
    class_ids: np.ndarray
    name: str
    mean_iu: float | None


@in_style
def samples_figure(
    samples: Sequence[Sample], classes: Sequence[str], colors: Sequence[tuple[int, int, int]]
) -> Figure:
    """Draws images next to their truth, prediction and errors.

    Void pixels of the truth are hatched and count as no error. Wrong pixels are red.

    Args:
        samples: the images, of any sizes; the first eight are shown.
        classes: the classes' names.
        colors: the RGB colour of each class.
    """
    if not samples:
        raise ValueError("There is no sample to show")
    samples = samples[:8]
    palette = palette_for(colors)
    # In inches.
    width, gap, margin, head, title = 2.7, 0.12, 0.25, 0.4, 0.3
    heights = [
        min(1.6 * width, max(0.3, width * sample.label.shape[0] / sample.label.shape[1]))
        for sample in samples
    ]
    total_width = 4 * width + 3 * gap + 2 * margin
    label_maps = [labels for sample in samples for labels in (sample.label, sample.class_ids)]
    legend = Legend(label_maps, classes, palette, total_width - 2 * margin)
    total_height = (
        head + sum(heights) + len(samples) * (title + gap) + legend.height + 1.75 * margin
    )
    figure = Figure(figsize=(total_width, total_height))

    top = margin / 2
    lefts = [margin + column * (width + gap) for column in range(4)]
    for left, text in zip(lefts, ("image", "truth", "prediction", "errors"), strict=True):
        write_text(
            figure, left + width / 2, top + head / 2, text, 12, ha="center", fontweight="bold"
        )
    top += head
    for sample, height in zip(samples, heights, strict=True):
        iu = math.nan if sample.mean_iu is None else sample.mean_iu
        score = f"mean IU {100 * iu:.1f} %" if math.isfinite(iu) else "mean IU unknown"
        write_text(figure, margin, top + title / 2, f"{shortened(sample.name, 90)}   {score}")
        top += title
        image, label, class_ids = thinned(as_picture(sample.image), sample.label, sample.class_ids)
        panels = (
            image,
            colorize_truth(label, palette),
            colorize(class_ids, palette),
            _errors(image, label, class_ids),
        )
        for left, panel in zip(lefts, panels, strict=True):
            place_picture(figure, panel, left, top, width, height)
        top += height + gap
    legend.draw(figure, margin, top + margin / 2)
    return figure


def _errors(image, label, class_ids):
    # Pale grey, so that red stands out from it in lightness too.
    grey = 100 + 0.6 * (image @ np.array([0.299, 0.587, 0.114]))
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    picture[(label != class_ids) & (label != IGNORE_LABEL)] = (220, 30, 30)
    return picture
