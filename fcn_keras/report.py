"""The figures of a training run, and of a data set.

Each figure comes as a pair: `*_figure` builds it, `plot_*` writes it to a file. Matplotlib is used
through its objects alone, so that drawing needs no display and leaves a caller's own plots alone.
"""

import math
import warnings

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from fcn_keras.files import written_whole
from fcn_keras.palette import VOID, colorize, label_name, palette_for

_DPI = 120
_INK, _FAINT, _GRID = "#333333", "#777777", "#e4e4e4"
# Okabe and Ito's colours, told apart by readers of any colour vision.
_BLUE, _VERMILION, _GREEN, _PURPLE = "#0072b2", "#d55e00", "#009e73", "#b0609a"
_ERROR = (220, 30, 30)
_MAX_SAMPLES = 8


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
    _save(curves_figure(rows), path)


def curves_figure(rows):
    """The figure that `plot_curves` writes.

    Args:
        rows: As for `plot_curves`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    table = {
        key: np.array([_number(row.get(key)) for row in rows])
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
        _calm(panel)
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
                labelcolor=_INK,
                borderaxespad=0,
                handlelength=2.4,
            )

    curves(
        loss,
        1,
        ("loss", "training", _BLUE, "-", 1.8),
        ("val_loss", "validation", _VERMILION, "-", 1.8),
    )
    curves(
        scores,
        100,
        ("mean_iu", "mean IU", _VERMILION, "-", 2.4),
        ("train_mean_iu", "mean IU (training)", _BLUE, "-", 1.4),
        ("frequency_weighted_iu", "frequency weighted IU", _GREEN, "--", 1.4),
        ("mean_accuracy", "mean accuracy", _PURPLE, "-.", 1.4),
        ("pixel_accuracy", "pixel accuracy", _INK, ":", 1.6),
    )
    curves(rate, 1, ("learning_rate", None, _INK, "-", 1.6))

    _number_axis(loss, np.concatenate([table["loss"], table["val_loss"]]))
    _number_axis(rate, table["learning_rate"])
    if rate.get_yscale() == "linear":
        # A constant rate, the usual case, is then read off the axis as it was given.
        largest = np.nanmax(table["learning_rate"], initial=0)
        rate.set_ylim(bottom=0)
        rate.set_yticks([0, largest], ["0", f"{largest:.4g}"])
    loss.set_ylabel("loss", color=_INK)
    scores.set_ylabel("validation score, %", color=_INK)
    scores.set_ylim(0, 100)
    rate.set_ylabel("learning rate", color=_INK)
    rate.set_xlabel("epoch", color=_INK)
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
            markeredgecolor=_VERMILION,
            label="best",
        )
        title = f"Best mean IU on validation: {value:.1f} % at epoch {epochs[best]:g}"
    figure.suptitle(title, color=_INK, fontsize=12, fontweight="bold")
    rate.text(
        1.03,
        1,
        _pace(table),
        transform=rate.transAxes,
        va="top",
        color=_FAINT,
        fontsize=9,
        linespacing=1.5,
    )
    return figure


def plot_per_class_iu(per_class_iu, colors, mean_iu, path):
    """Writes a bar chart of the classes' IU, the best at the top, to a file.

    Example:

    >>> plot_per_class_iu({"cat": 0.7, "dog": None}, [(64, 0, 0), (64, 0, 128)], 0.7, "iu.png")

    Args:
        per_class_iu: Dict from class name to IU as a fraction, or None for a class that occurs
            neither in truth nor in prediction; in the order of the classes.
        colors: Sequence of RGB triples 0..255, one per class, in the same order.
        mean_iu: Float, the mean IU as a fraction.
        path: String or `Path`. The file appears whole or not at all.
    """
    _save(per_class_iu_figure(per_class_iu, colors, mean_iu), path)


def per_class_iu_figure(per_class_iu, colors, mean_iu):
    """The figure that `plot_per_class_iu` writes.

    Args:
        per_class_iu: As for `plot_per_class_iu`.
        colors: As for `plot_per_class_iu`.
        mean_iu: As for `plot_per_class_iu`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    palette = palette_for(colors)
    bars = [(name, _number(iu), palette[k]) for k, (name, iu) in enumerate(per_class_iu.items())]
    # Absent classes go last; the sort is stable, so ties stay in the order of the classes.
    bars.sort(key=lambda bar: -1 if math.isnan(bar[1]) else bar[1], reverse=True)

    figure = Figure(figsize=(8, 1.3 + 0.28 * len(bars)), layout="constrained")
    axes = figure.subplots()
    _calm(axes, grid="x")
    mean_iu = _number(mean_iu)
    title = "IU by class"
    if math.isfinite(mean_iu):
        # A pale line below keeps the dashes in sight on dark bars.
        axes.axvline(100 * mean_iu, color="white", alpha=0.7, linewidth=2.6, zorder=3)
        axes.axvline(100 * mean_iu, color=_INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=3)
        title += f", mean {100 * mean_iu:.1f} % (dashed)"
    for row, (_, iu, color) in enumerate(bars):
        if math.isnan(iu):
            axes.text(
                0.8, row, "absent", va="center_baseline", color=_FAINT, fontsize=9, style="italic"
            )
            continue
        axes.barh(row, 100 * iu, 0.72, color=color / 255, edgecolor="#00000060", linewidth=0.6)
        # On white, so that the line of the mean does not run through the number.
        axes.text(
            100 * iu + 1,
            row,
            f"{100 * iu:.1f}",
            va="center_baseline",
            color=_INK,
            fontsize=9,
            zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.set_yticks(range(len(bars)), [_short(name) for name, _, _ in bars], fontsize=9.5)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    # Room for the number behind a full bar.
    axes.set_xlim(0, 107)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("IU, %", color=_INK)
    axes.set_title(title, color=_INK, fontsize=12, fontweight="bold", pad=10)
    _plain_text(axes.get_yticklabels())
    return figure


def plot_confusion(confusion, classes, path):
    """Writes a heat map of a confusion matrix, in percent of the true pixels, to a file.

    Example:

    >>> plot_confusion([[90, 10], [5, 45]], ["background", "cat"], "confusion.png")

    Args:
        confusion: Integer array `(C, C)` of pixel counts, rows = truth, columns = prediction.
        classes: Sequence of `C` strings.
        path: String or `Path`. The file appears whole or not at all.
    """
    _save(confusion_figure(confusion, classes), path)


def confusion_figure(confusion, classes):
    """The figure that `plot_confusion` writes.

    Args:
        confusion: As for `plot_confusion`.
        classes: As for `plot_confusion`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    confusion = np.asarray(confusion)
    count = len(classes)
    if confusion.shape != (count, count):
        raise ValueError(f"A {confusion.shape} confusion matrix does not fit {count} classes")
    totals = confusion.sum(axis=1)
    percent = np.full(confusion.shape, np.nan)
    np.divide(100.0 * confusion, totals[:, None], out=percent, where=totals[:, None] > 0)

    cell = min(0.62, max(0.15, 11 / count))
    font = min(9.5, 45 * cell)
    names = [_short(name) for name in classes]
    label_width = max(_text_width(name, font) for name in names)
    side = max(count * cell, 1.6)
    figure = Figure(
        figsize=(side + label_width + 2.6, side + 0.75 * label_width + 1.5), layout="constrained"
    )
    axes = figure.subplots()
    heat = colormaps["Blues"].with_extremes(bad="#f0f0f0")
    # The root shows confusions of a few percent, which a linear scale leaves next to white.
    scale = PowerNorm(0.5, vmin=0, vmax=100)
    picture = axes.imshow(percent, cmap=heat, norm=scale, interpolation="nearest")
    if count <= 25:
        for row, column in np.argwhere(percent >= 0.5):
            value = percent[row, column]
            axes.text(
                column,
                row,
                f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=font,
                color="white" if value > 35 else _INK,
            )
    for row in np.flatnonzero(totals == 0):
        axes.text(
            (count - 1) / 2,
            row,
            "not in the truth",
            ha="center",
            va="center",
            fontsize=font,
            color=_FAINT,
            style="italic",
        )

    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    # White lines between the cells, thin enough not to eat them.
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=min(1.5, 3 * cell))
    axes.set_xlabel("prediction", color=_INK)
    axes.set_ylabel("truth", color=_INK)
    pixels = axes.secondary_yaxis("right")
    pixels.set_yticks(range(count), [_count(total) for total in totals])
    pixels.set_ylabel("pixels in truth", color=_INK, labelpad=8)
    for side_axes in (axes, pixels):
        side_axes.tick_params(which="both", length=0, labelsize=font, labelcolor=_INK)
        side_axes.spines[:].set_visible(False)
    _plain_text([*axes.get_xticklabels(), *axes.get_yticklabels()])
    bar = figure.colorbar(
        picture,
        ax=axes,
        shrink=min(1, 3.5 / side),
        aspect=18,
        pad=0.03,
        ticks=(0, 1, 5, 20, 50, 100),
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9, labelcolor=_INK)
    bar.set_label("% of the pixels in truth", color=_INK)
    axes.set_title("Confusion", color=_INK, fontsize=12, fontweight="bold", pad=12)
    return figure


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
    _save(samples_figure(samples, classes, colors), path)


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
    legend = _legend(seen, classes, total_width - 2 * margin)
    legend_height = _LINE * (1 + max(y for _, y, _, _ in legend))
    total_height = (
        head + sum(heights) + len(samples) * (title + gap) + legend_height + 1.75 * margin
    )
    figure = Figure(figsize=(total_width, total_height))

    top = margin / 2
    for column, words in enumerate(("image", "truth", "prediction", "errors")):
        x = margin + column * (width + gap) + width / 2
        _write(figure, x, top + head / 2, words, ha="center", fontsize=12, fontweight="bold")
    top += head
    for (image, label, class_ids, name, mean_iu), height in zip(samples, heights, strict=True):
        iu = _number(mean_iu)
        score = f"mean IU {100 * iu:.1f} %" if math.isfinite(iu) else "mean IU unknown"
        _write(figure, margin, top + title / 2, f"{_short(name, 90)}   {score}")
        top += title
        # More pixels than the figure has would only cost time and memory.
        step = 1 + max(label.shape) // 1000
        image, label, class_ids = (x[::step, ::step] for x in (image, label, class_ids))
        panels = (
            image,
            _truth_picture(label, palette),
            colorize(class_ids, palette),
            _error_picture(image, label, class_ids),
        )
        for column, panel in enumerate(panels):
            left = margin + column * (width + gap)
            _picture(figure, panel, left, top, width, height)
        top += height + gap
    _draw_legend(figure, legend, palette, margin, top + margin / 2)
    return figure


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
    _save(contact_sheet_figure(examples, classes, colors, title), path)


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
    legend = _legend(seen, classes, total_width - 2 * margin)
    total_height = (
        head
        + sum(row_heights)
        + len(rows) * (name_height + space / 2)
        + _LINE * (1 + max(y for _, y, _, _ in legend))
        + margin
    )
    figure = Figure(figsize=(total_width, total_height))
    _write(figure, margin, head / 2, _short(title, 90), fontsize=12, fontweight="bold")
    top = head
    for row, row_sizes, row_height in zip(rows, sizes, row_heights, strict=True):
        for column, ((image, label, name), (height, shown)) in enumerate(
            zip(row, row_sizes, strict=True)
        ):
            left = margin + column * (cell + space)
            _write(figure, left, top + name_height / 2, _short(name, 44), fontsize=9)
            step = 1 + max(label.shape) // 1000
            panels = image[::step, ::step], _truth_picture(label[::step, ::step], palette)
            for i, panel in enumerate(panels):
                _picture(figure, panel, left + i * (shown + gap), top + name_height, shown, height)
        top += name_height + row_height + space / 2
    _draw_legend(figure, legend, palette, margin, top)
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
    _save(frequencies_figure(frequencies, classes, colors, void, title), path)


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
        _calm(axes, grid="x")
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
                axes.text(1.25 * left, row, "absent", color=_FAINT, style="italic", **style)
                continue
            color = palette[class_id] / 255
            axes.barh(row, value, 0.72, color=color, edgecolor="#00000060", linewidth=0.6)
            axes.text(1.15 * value, row, f"{value:#.2g}".rstrip("."), color=_INK, **style)
        axes.set_title(f"{split}, void {100 * void[split]:.2g} %", color=_INK, fontsize=10)
        axes.set_xlabel("labelled pixels, %", color=_INK)
    names = [_short(classes[class_id]) for class_id in order]
    panels[0].set_yticks(range(len(names)), names, fontsize=9.5)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    _plain_text(panels[0].get_yticklabels())
    heading = figure.suptitle(_short(title, 60), color=_INK, fontsize=12, fontweight="bold")
    _plain_text([heading])
    return figure


_LINE = 0.26  # inches from one row of a legend to the next


def _write(figure, x, y, words, **style):
    """Text at a place in inches from the upper left corner."""
    width, height = figure.get_size_inches()
    style = {"fontsize": 10, "color": _INK, "va": "center", "parse_math": False, **style}
    figure.text(x / width, 1 - y / height, words, **style)


def _picture(figure, pixels, left, top, width, height):
    """A picture at a place in inches from the upper left corner."""
    total_width, total_height = figure.get_size_inches()
    axes = figure.add_axes(
        (
            left / total_width,
            1 - (top + height) / total_height,
            width / total_width,
            height / total_height,
        )
    )
    axes.imshow(pixels)
    axes.set_xticks([])
    axes.set_yticks([])
    # A rim, for images as white as the page.
    axes.spines[:].set(color="#bbbbbb", linewidth=0.6)


def _draw_legend(figure, legend, palette, left, top):
    total_width, total_height = figure.get_size_inches()
    for x, y, name, label in legend:
        chip = Rectangle(
            ((left + x) / total_width, 1 - (top + y * _LINE + 0.2) / total_height),
            0.15 / total_width,
            0.15 / total_height,
            transform=figure.transFigure,
            facecolor="white" if label == VOID else palette[label] / 255,
            hatch="//////" if label == VOID else None,
            edgecolor="#bbbbbb" if label == VOID else "#00000060",
            linewidth=0.6,
        )
        figure.add_artist(chip)
        _write(figure, left + x + 0.22, top + y * _LINE + 0.125, name)


def _legend(labels, classes, width):
    """`(x in inches, row, name, label)` for each label."""
    names = {k: _short(label_name(k, classes)) for k in sorted(labels)}
    column = max(_text_width(name, 10) for name in names.values()) + 0.45
    columns = max(1, int(width // column))
    rows = -(-len(names) // columns)
    return [(i // rows * column, i % rows, name, k) for i, (k, name) in enumerate(names.items())]


def _truth_picture(label, palette):
    picture = colorize(label, palette)
    rows, columns = np.indices(label.shape)
    stripe = max(1, max(label.shape) // 90)
    hatch = np.where((rows + columns) // stripe % 3 == 0, 190, 255).astype(np.uint8)
    void = label == VOID
    picture[void] = hatch[void, None]
    return picture


def _error_picture(image, label, class_ids):
    # Pale grey, so that red stands out from it in lightness too.
    grey = 100 + 0.6 * (image @ np.array([0.299, 0.587, 0.114]))
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    picture[(label != class_ids) & (label != VOID)] = _ERROR
    return picture


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


def _number(value):
    """A float; NaN for what is missing or not finite, which matplotlib then leaves out."""
    value = math.nan if value is None else float(value)
    return value if math.isfinite(value) else math.nan


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


def _calm(axes, grid="both"):
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#bbbbbb")
    axes.tick_params(length=0, labelsize=9, labelcolor=_INK)


def _plain_text(texts):
    # A dollar in a class name is no formula.
    for text in texts:
        text.set_parse_math(False)


def _short(name, limit=32):
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _text_width(words, size):
    """Width in inches."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        font = FontProperties(size=size)
        return text_to_path.get_text_width_height_descent(words, font, ismath=False)[0] / 72


def _count(pixels):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if pixels >= 0.9995 * size:
            return f"{pixels / size:.3g} {unit}"
    return f"{pixels:.0f}"


def _save(figure, path):
    with written_whole(path) as aside, warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; no reason to bother the user.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(aside, dpi=_DPI, facecolor="white")
