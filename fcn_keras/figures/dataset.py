"""Pictures of a data set: its images, and how frequent its classes are."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from fcn_keras.data.dataset import Dataset, Example
from fcn_keras.data.findings import Inspection
from fcn_keras.data.palette import palette_for
from fcn_keras.figures.class_bars import draw_bars
from fcn_keras.figures.pages import Legend, colorize_truth, place_picture, thinned, write_text
from fcn_keras.figures.pictures import as_picture
from fcn_keras.figures.style import in_style, shortened


@in_style
def contact_sheet_figure(
    dataset: Dataset, split: str, count: int, crops: Sequence[Example] = ()
) -> Figure:
    """Draws images of a data set beside their label maps, with a legend.

    Void pixels are hatched. Of several label maps, the first is shown.

    Args:
        dataset: the data set.
        split: which of its splits.
        count: how many images to show; they are spread over the split.
        crops: what to show instead: training crops made of it.

    Raises:
        UserError: if an image cannot be read; names it.
    """
    total = len(dataset.splits[split])
    count = len(crops) or min(count, total)
    examples = crops or [dataset.splits[split][i * total // count] for i in range(count)]
    palette = palette_for(dataset.colors)
    label_maps = [example.label[..., 0] for example in examples]
    # In inches. An example is a cell of two pictures side by side, below what it is called.
    width, gap, space, margin, head, name_height = 2.2, 0.06, 0.3, 0.25, 0.55, 0.28
    columns = min(3, count)
    cell = 2 * width + gap
    total_width = columns * cell + (columns - 1) * space + 2 * margin
    # Very high pictures are made narrower instead, and very flat ones are a line high.
    sizes = [
        np.maximum(0.1, min(width / w, 1.5 * width / h) * np.array([h, w]))
        for h, w in (label.shape for label in label_maps)
    ]
    row_heights = [
        max(height for height, _ in sizes[i : i + columns]) for i in range(0, count, columns)
    ]
    legend = Legend(label_maps, dataset.classes, palette, total_width - 2 * margin)
    total_height = (
        head
        + sum(row_heights)
        + len(row_heights) * (name_height + space / 2)
        + legend.height
        + margin
    )
    figure = Figure(figsize=(total_width, total_height))
    title = f"{dataset.name}, {split}: {count} of {total} images"
    if crops:
        title += ", as training sees them"
    write_text(figure, margin, head / 2, shortened(title, 90), fontsize=12, fontweight="bold")
    top = head
    for i, (example, (height, shown)) in enumerate(zip(examples, sizes, strict=True)):
        row, column = divmod(i, columns)
        left = margin + column * (cell + space)
        write_text(figure, left, top + name_height / 2, shortened(example.id, 44), fontsize=9)
        image, label = thinned(as_picture(example.image), label_maps[i])
        for side, panel in enumerate((image, colorize_truth(label, palette))):
            place_picture(
                figure, panel, left + side * (shown + gap), top + name_height, shown, height
            )
        if column == columns - 1 or i == count - 1:
            top += name_height + row_heights[row] + space / 2
    legend.draw(figure, margin, top)
    return figure


@in_style
def frequencies_figure(inspection: Inspection) -> Figure:
    """Draws a bar chart of how frequent the classes of a data set are, a panel for each split.

    Args:
        inspection: what was counted in the data set. Of several label maps, the first is shown.
    """
    panel_count, rows = len(inspection.splits), len(inspection.classes)
    figure = Figure(figsize=(2 + 4.2 * panel_count, 1.5 + 0.28 * rows), layout="constrained")
    panels = figure.subplots(1, panel_count, sharey=True, squeeze=False)[0]
    shares = 100 * np.array([inspection.frequencies(split) for split in inspection.splits])
    # The most frequent of the first split on top; the same order in all, to compare them.
    order = np.argsort(-shares[0], kind="stable")
    shares[shares == 0] = np.nan
    left = 10.0 ** min(-1, math.floor(math.log10(np.nanmin(shares, initial=1))))
    for axes, split, share in zip(panels, inspection.splits, shares, strict=True):
        # Frequencies differ by orders of magnitude, and the rare classes matter as much.
        axes.set(xscale="log", xlim=(left, 600), xlabel="labelled pixels, %")
        axes.xaxis.set(
            major_locator=LogLocator(subs=(1,)),
            minor_locator=NullLocator(),
            major_formatter=FuncFormatter(lambda value, _: f"{value:g}"),
        )
        draw_bars(
            axes,
            names=[inspection.classes[k] for k in order],
            colors=palette_for(inspection.colors)[order],
            lengths=share[order],
            label=lambda length: f"{length:#.2g}".rstrip("."),
            label_at=np.where(np.isnan(share), 1.25 * left, 1.15 * share)[order],
        )
        title = f"{split}, void {100 * inspection.void(split):.2g} %"
        axes.set_title(title, fontsize=10, fontweight="normal")
    figure.suptitle(shortened(f"{inspection.name}: how frequent the classes are", 60))
    return figure
