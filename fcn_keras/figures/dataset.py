"""Pictures of a data set: its images, and how frequent its classes are."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from fcn_keras.data.dataset import Dataset, Split
from fcn_keras.data.findings import Inspection
from fcn_keras.data.palette import palette_for
from fcn_keras.figures.style import (
    FAINT,
    INK,
    LINE,
    calm,
    draw_legend,
    legend_entries,
    place_picture,
    plain_text,
    save_figure,
    shortened,
    truth_picture,
    write_words,
)


def plot_contact_sheet(examples, classes, colors, title, path):
    """Writes images of a data set with their label maps and a legend to a file.

    Void pixels are hatched.

    Example:

    >>> plot_contact_sheet([(image, label, "img_1")], classes, colors, "cats, train", "sheet.png")

    Args:
        examples: List of `(image, label, id)`: uint8 arrays `(H, W, 3)` and `(H, W)`, string.
            Sizes may differ.
        classes: Sequence of strings, the classes' names.
        colors: Sequence of RGB triples 0..255, one per class.
        title: String, what is shown.
        path: String or `Path`. The file appears whole or not at all.
    """
    save_figure(contact_sheet_figure(examples, classes, colors, title), path)


def contact_sheet_figure(examples, classes, colors, title):
    """The figure that `plot_contact_sheet` writes.

    Args:
        examples: As for `plot_contact_sheet`.
        classes: As for `plot_contact_sheet`.
        colors: As for `plot_contact_sheet`.
        title: As for `plot_contact_sheet`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    if not examples:
        raise ValueError("There is no example to show")
    palette = palette_for(colors)
    # In inches. An example is a cell of two pictures side by side, below what it is called.
    width, gap, space, margin, head, name_height = 2.2, 0.06, 0.3, 0.25, 0.55, 0.28
    columns = min(3, len(examples))
    cell = 2 * width + gap
    total_width = columns * cell + (columns - 1) * space + 2 * margin
    rows = [examples[i : i + columns] for i in range(0, len(examples), columns)]
    # As high as the highest in it; very high ones are made narrower instead.
    sizes = [[_fitted(label.shape, width, 1.5 * width) for _, label, _ in row] for row in rows]
    row_heights = [max(height for height, _ in row) for row in sizes]
    seen = set().union(*(np.unique(label).tolist() for _, label, _ in examples))
    legend = legend_entries(seen, classes, total_width - 2 * margin)
    total_height = (
        head
        + sum(row_heights)
        + len(rows) * (name_height + space / 2)
        + LINE * (1 + max(y for _, y, _, _ in legend))
        + margin
    )
    figure = Figure(figsize=(total_width, total_height))
    write_words(figure, margin, head / 2, shortened(title, 90), fontsize=12, fontweight="bold")
    top = head
    for row, row_sizes, row_height in zip(rows, sizes, row_heights, strict=True):
        for column, ((image, label, name), (height, shown)) in enumerate(
            zip(row, row_sizes, strict=True)
        ):
            left = margin + column * (cell + space)
            write_words(figure, left, top + name_height / 2, shortened(name, 44), fontsize=9)
            step = 1 + max(label.shape) // 1000
            panels = image[::step, ::step], truth_picture(label[::step, ::step], palette)
            for i, panel in enumerate(panels):
                place_picture(
                    figure, panel, left + i * (shown + gap), top + name_height, shown, height
                )
        top += name_height + row_height + space / 2
    draw_legend(figure, legend, palette, margin, top)
    return figure


def _fitted(shape, width, height):
    """Height and width in inches of a picture that is to fit into a box, at least a line high."""
    scale = min(width / shape[1], height / shape[0])
    return max(0.1, scale * shape[0]), max(0.1, scale * shape[1])


def plot_frequencies(frequencies, classes, colors, void, title, path):
    """Writes a bar chart of how frequent the classes of a data set are to a file.

    Example:

    >>> plot_frequencies({"train": [0.9, 0.1]}, ["wall", "door"], colors, {"train": 0.02}, "", path)

    Args:
        frequencies: Dict from a split's name to the share of each class in its labelled pixels,
            floats from 0 to 1.
        classes: Sequence of strings, the classes' names.
        colors: Sequence of RGB triples 0..255, one per class.
        void: Dict from a split's name to the share of void in all its pixels.
        title: String, what is shown.
        path: String or `Path`. The file appears whole or not at all.
    """
    save_figure(frequencies_figure(frequencies, classes, colors, void, title), path)


def frequencies_figure(frequencies, classes, colors, void, title):
    """The figure that `plot_frequencies` writes.

    Args:
        frequencies: As for `plot_frequencies`.
        classes: As for `plot_frequencies`.
        colors: As for `plot_frequencies`.
        void: As for `plot_frequencies`.
        title: As for `plot_frequencies`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    palette = palette_for(colors)
    splits = list(frequencies)
    figure = Figure(
        figsize=(2 + 4.2 * len(splits), 1.5 + 0.28 * len(classes)), layout="constrained"
    )
    panels = figure.subplots(1, len(splits), sharey=True, squeeze=False)[0]
    # The most frequent of the first split on top; the same order in all, to compare them.
    order = np.argsort(-np.asarray(frequencies[splits[0]]), kind="stable")
    shares = 100 * np.array([frequencies[split] for split in splits])
    lowest = shares[shares > 0].min(initial=1)
    left = 10.0 ** min(-1, math.floor(math.log10(lowest)))
    for axes, split, share in zip(panels, splits, shares, strict=True):
        calm(axes, grid="x")
        # Frequencies differ by orders of magnitude, and the rare classes matter as much.
        axes.set_xscale("log")
        axes.set_xlim(left, 600)
        axes.xaxis.set_major_locator(LogLocator(subs=(1,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for row, class_id in enumerate(order):
            value = share[class_id]
            style = {"va": "center_baseline", "fontsize": 9}
            if value == 0:
                axes.text(1.25 * left, row, "absent", color=FAINT, style="italic", **style)
                continue
            color = palette[class_id] / 255
            axes.barh(row, value, 0.72, color=color, edgecolor="#00000060", linewidth=0.6)
            axes.text(1.15 * value, row, f"{value:#.2g}".rstrip("."), color=INK, **style)
        axes.set_title(f"{split}, void {100 * void[split]:.2g} %", color=INK, fontsize=10)
        axes.set_xlabel("labelled pixels, %", color=INK)
    names = [shortened(classes[class_id]) for class_id in order]
    panels[0].set_yticks(range(len(names)), names, fontsize=9.5)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    plain_text(panels[0].get_yticklabels())
    heading = figure.suptitle(shortened(title, 60), color=INK, fontsize=12, fontweight="bold")
    plain_text([heading])
    return figure


def sample(split: Split, count: int) -> Iterator[int]:
    """Yields the numbers of `count` examples, spread over a split."""
    count = min(count, len(split))
    for i in range(count):
        yield i * len(split) // count


def draw_sheet(dataset: Dataset, split: str, count: int, path: str | Path):
    """Writes photos of a data set beside their masks, with a legend, to a file.

    Args:
        dataset: the data set.
        split: which of its splits.
        count: how many examples to show; they are spread over the split.
        path: the file, which appears whole or not at all. Of several label maps, the first is
            shown.

    Raises:
        UserError: if an image cannot be read; names it.
    """
    from fcn_keras.figures.dataset import plot_contact_sheet

    examples = dataset.splits[split]
    shown = [examples[i] for i in sample(examples, count)]
    title = f"{dataset.name}, {split}: {len(shown)} of {len(examples)} images"
    plot_contact_sheet(
        [(example.image[..., :3], example.label[..., 0], example.id) for example in shown],
        dataset.classes,
        dataset.colors,
        title,
        path,
    )


def draw_frequencies(inspection: Inspection, path: str | Path):
    """Writes a bar chart of the class frequencies to a file, which appears whole or not at all."""
    from fcn_keras.figures.dataset import plot_frequencies

    plot_frequencies(
        {split: inspection.frequencies(split) for split in inspection.splits},
        inspection.classes,
        inspection.colors,
        {split: inspection.void(split) for split in inspection.splits},
        f"{inspection.name}: how frequent the classes are",
        path,
    )
