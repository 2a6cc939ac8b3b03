"""The best scores that a stride allows: of the truth itself, brought down to it and up again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL, Dataset, count_values, in_parallel
from fcn_keras.errors import UserError
from fcn_keras.system.spelling import shown_name

# Of FCN-32s', 16s' and 8s' scores, of finer ones, and of the image.
STRIDES = (32, 16, 8, 4, 1)

# Rows of cells that are worked on at a time, so that large images need little memory.
_CELLS = 16


def stride_bounds(
    dataset: Dataset, split: str, strides: Sequence[int] = STRIDES, progress: bool = True
) -> dict[int, Any]:
    """Counts what the pixels of a split become when its label maps go down to a stride and up.

    See `down_and_up` for what is computed. It is a bound in the paper's sense, "ground truth down
    and up": what scores reach that say how much of their cells is of which class. It is no theorem:
    other scores of the same stride can lie closer to the truth, as averages are not the ones whose
    interpolation fits best.

    Args:
        dataset: the data set.
        split: which of its splits.
        strides: distances between two scores in pixels.
        progress: whether to show a progress bar.

    Returns:
        For each stride the confusion matrix, int64 `(C, C)`, rows = truth, void left out; with
        several label maps a dictionary of them. `fcn_keras.evaluation.scores.named_scores` takes
        either.

    Raises:
        UserError: if a label map cannot be read, holds a label that is neither a class nor void,
            255, or there is no labelled pixel.

    Example:

    >>> confusion = stride_bounds(load_dataset("shapes"), "val")[32]
    >>> scores_of(confusion)["mean_iu"]

    Reference:
        arXiv 1411.4038, appendix A, whose way of resampling is not told.
    """
    heads = dict(dataset.heads) or {"": dataset.classes}
    examples = dataset.splits[split]

    def count(index):
        _, maps, name = examples[index]
        labels = {head: maps[..., number] for number, head in enumerate(heads)}
        for head, label in labels.items():
            _check(label, len(heads[head]), name)
        return {
            (stride, head): _confusion(label, stride, len(heads[head]))
            for stride in strides
            for head, label in labels.items()
        }

    totals = {
        (stride, head): np.zeros((len(names), len(names)), "int64")
        for stride in strides
        for head, names in heads.items()
    }
    for counts in in_parallel(count, range(len(examples)), "scoring", progress=progress):
        for key, confusion in counts.items():
            totals[key] += confusion
    if not all(confusion.any() for confusion in totals.values()):
        raise UserError(f"{dataset.name}, {split}: has no labelled pixel, and so no scores.")
    if not dataset.heads:
        return {stride: totals[stride, ""] for stride in strides}
    return {stride: {head: totals[stride, head] for head in heads} for stride in strides}


def down_and_up(label: np.ndarray, stride: int) -> np.ndarray:
    """Brings a label map down to a stride and up again.

    Cells of `stride` x `stride` pixels, the first in the upper left corner, hold the share that
    each class has in their labelled pixels; at the lower and the right border they hold what
    pixels there are, and a cell without a labelled pixel holds nothing. Shares are brought up as
    a head does it: by the bilinear kernel of size `2 * stride`, cropped so that the centre of a
    cell comes to lie where it was. Each pixel becomes the class of the largest one, of equal ones
    the first. They are compared as whole numbers, so that rounding decides nothing.

    Args:
        label: uint8 `(H, W)`, class ids, or 255 for void; of any size.
        stride: 1, or an even number up to 32.

    Returns:
        A uint8 array `(H, W)` of class ids; 0 where nothing labelled is near.

    Raises:
        UserError: if the stride is another number.

    Example:

    >>> down_and_up(np.array([[0, 0, 1, 0], [0, 0, 1, 1]], "uint8"), stride=2)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1]], dtype=uint8)

    Reference:
        arXiv 1411.4038, appendix A; of the kernel, section 3.3.
    """
    if stride == 1:
        return np.where(label == IGNORE_LABEL, 0, label).astype("uint8")
    if stride not in range(2, 33, 2):
        raise UserError(f"`stride` must be 1, or an even number up to 32. Received: {stride}.")
    result = np.empty(label.shape, "uint8")
    height = _CELLS * stride
    for top in range(0, len(label), height):
        # A pixel is decided by its own cell and the ones beside it.
        first = max(0, top - stride)
        strip = _strip_down_and_up(label[first : top + height + stride], stride)
        result[top : top + height] = strip[top - first :][:height]
    return result


def _strip_down_and_up(label, stride):
    """`down_and_up` of a few rows.

    The pixels between the centres of four cells are a block; these four alone decide it. A share
    is a number of pixels n over the labelled ones N of its cell. Times the N of all four, and
    with the kernel times (2 * stride)^2, all is whole, and below 2^53 up to a stride of 32: exact
    as floats, in whatever order a product adds them up.
    """
    class_ids, counts = _count_in_cells(label, stride)
    labelled = _corners(counts.sum(0))
    labelled = np.maximum(labelled, 1)  # of nothing, any part is nothing
    others = np.prod(labelled, axis=-1, keepdims=True) // labelled
    right = 2 * np.arange(stride) + 1
    line = np.stack([2 * stride - right, right])
    kernel = np.einsum("ai,bj->abij", line, line).reshape(4, stride * stride).astype("float64")

    rows, columns = labelled.shape[:2]
    best = np.zeros((rows, columns, stride * stride))
    result = np.zeros(best.shape, "uint8")
    held = _corners(counts > 0).any(-1)
    result[:] = class_ids[held.argmax(0)][..., None]  # of most blocks there is only one
    contested = held.sum(0) > 1
    for class_id, count, blocks in zip(class_ids, counts, held & contested, strict=True):
        score, so_far = (_corners(count)[blocks] * others[blocks]) @ kernel, best[blocks]
        result[blocks] = np.where(score > so_far, class_id, result[blocks])
        best[blocks] = np.maximum(score, so_far)
    canvas = result.reshape(rows, columns, stride, stride).swapaxes(1, 2)
    canvas = canvas.reshape(rows * stride, columns * stride)
    offset = stride // 2
    return canvas[offset:, offset:][: label.shape[0], : label.shape[1]]


def _count_in_cells(label, stride):
    """Counts the pixels of each class in each cell, around which there is a rim of empty cells.

    Returns the ids of 0 and of the classes that occur, and for each of them the numbers, int64
    `(classes, rows + 2, columns + 2)`.
    """
    occurs = count_values(label)[:IGNORE_LABEL] > 0
    occurs[0] = True  # what pixels become that nothing labelled is near
    class_ids = np.flatnonzero(occurs)
    ranks = np.full(256, len(class_ids))  # of void, which is dropped
    ranks[class_ids] = np.arange(len(class_ids))
    row, column = (np.arange(size) // stride + 1 for size in label.shape)
    shape = (len(class_ids) + 1, row[-1] + 2, column[-1] + 2)
    places = np.ravel_multi_index((ranks[label], row[:, None], column), shape)
    counts = np.bincount(places.ravel(), minlength=np.prod(shape)).reshape(shape)
    return class_ids, counts[:-1]


def _corners(cells):
    """The four cells around each block, the upper ones first: `(..., rows + 1, columns + 1, 4)`."""
    upper, lower = cells[..., :-1, :], cells[..., 1:, :]
    four = [upper[..., :-1], upper[..., 1:], lower[..., :-1], lower[..., 1:]]
    return np.stack(four, axis=-1)


def _confusion(label, stride, num_classes):
    predicted = down_and_up(label, stride)
    valid = label != IGNORE_LABEL
    pairs = label[valid].astype("int64") * num_classes + predicted[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _check(label, num_classes, name):
    highest = label[label != IGNORE_LABEL].max(initial=0)
    if highest >= num_classes:
        raise UserError(
            f"{name}: holds label {highest}, where there are classes 0 to {num_classes - 1}, and "
            f"{IGNORE_LABEL} for void."
        )


def bounds_table(bounds: Mapping[int, Mapping[str, Any]], title: str = "class") -> str:
    """Returns the IU of each class and their mean as lines for a reader, strides side by side.

    Args:
        bounds: for each stride what `fcn_keras.evaluation.scores.named_scores` returned; of several
            label maps there is a table each.
        title: what stands above the classes.
    """
    first = next(iter(bounds.values()))
    if "heads" in first:
        by_head = {
            head: {stride: scores["heads"][head] for stride, scores in bounds.items()}
            for head in first["heads"]
        }
        return "\n\n".join(bounds_table(of_head, head) for head, of_head in by_head.items())
    rows = [
        (name, [scores["per_class_iu"][name] for scores in bounds.values()])
        for name in first["per_class_iu"]
    ]
    rows.append(("mean IU", [scores["mean_iu"] for scores in bounds.values()]))
    # The longest names stick out: they would push the numbers of all others off the screen.
    width = min(40, max(len(name) for name, _ in [(title, []), *rows]))

    def line(name, cells):
        return f"  {shown_name(name):{width}}" + "".join(f"  {cell:>9}" for cell in cells)

    lines = [line(title, [f"stride {stride}" for stride in bounds])]
    for name, values in rows:
        lines.append(line(name, ["absent" if iu is None else f"{iu:.5f}" for iu in values]))
    return "\n".join(lines)
