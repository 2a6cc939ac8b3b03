"""Label maps on disk, whatever made them, against the truth."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL, Split, count_values
from fcn_keras.data.files.listing import files_below, key_of
from fcn_keras.data.files.masks import MASK_SUFFIXES, read_mask
from fcn_keras.errors import LabelError, UserError
from fcn_keras.evaluation.metrics import confusion_matrix
from fcn_keras.system.progress import progress_bar


def compare_label_maps(
    predictions: str | Path,
    truth: str | Path | Split,
    colors: Sequence[tuple[int, int, int]],
    progress: bool = True,
) -> np.ndarray:
    """Counts what label maps take each pixel for.

    Args:
        predictions: a folder of label maps, or one: palette or grey PNGs of class ids, or
            pictures in the classes' colours. It may hold more than is asked for.
        truth: a folder with label maps of the same names, or one, or a `Split` whose examples
            are called as the files are.
        colors: the RGB colour of each class. Beside a folder of label maps nobody has said that
            they are the classes' colours: pictures are read by them, and indexed files by number.
        progress: whether to show a progress bar.

    Returns:
        The confusion matrix, int64 `(C, C)`, rows = truth; see
        `fcn_keras.evaluation.scores.scores_of`.

    Raises:
        UserError: if a prediction is missing, has another size than its label map, or holds
            something else than classes (the truth also: void, 255); names the file. Also if there
            is no labelled pixel, or the truth is a folder of label maps that hold 0 and 255 alone,
            where 255 may be a class.

    Example:

    >>> confusion = compare_label_maps("predicted/", "SegmentationClass/", voc_palette(21))
    >>> scores_of(confusion)["mean_iu"]
    """
    predictions = Path(predictions)
    read = partial(read_mask, colors=colors)
    if isinstance(truth, str | Path):
        read = partial(_read_numbers, colors=colors)
        paths = _files_in(Path(truth))
        count = len(paths)
        labels = ((name, path, read(path)) for name, path in paths.items())
    else:
        count = len(truth)
        examples = (truth[index] for index in range(count))
        labels = ((name, f"the label map of {name}", maps[..., 0]) for _, maps, name in examples)
    files = _files_in(predictions)
    alone = count == 1 and predictions.is_file()  # of whatever name

    confusion = np.zeros((len(colors), len(colors)), "int64")
    held, used = np.zeros(256, "int64"), dict[Path, str]()
    bar = progress_bar("comparing", count, disable=not progress)
    for name, where, label in labels:
        # Folders within those of the images need not be in what `predict` wrote.
        last = name.rpartition("/")[2]
        file = predictions if alone else files.get(name, files.get(last))
        if file is None:
            raise UserError(f"{predictions}: has no label map {name}.png, which is to be scored.")
        if used.setdefault(file, name) != name:
            raise UserError(
                f"{file}: could be the label map of {used[file]} or of {name}. Put them into "
                "folders of these names."
            )
        class_ids = read(file)
        _check(file, class_ids, where, label, len(colors))
        counts, _ = confusion_matrix(label, class_ids, len(colors))
        confusion += keras.ops.convert_to_numpy(counts)
        held += count_values(label)
        bar.update()
    bar.close()
    if not confusion.any():
        raise UserError(f"{predictions}: is scored on label maps without a labelled pixel.")
    if isinstance(truth, str | Path) and np.flatnonzero(held).tolist() == [0, IGNORE_LABEL]:
        raise UserError(
            f"{truth}: the label maps hold 0 and 255 alone, and 255 is void. If it is a class, "
            'give --dataset in place of --labels, with {"values": {"0": "background", "255": '
            '"object"}} in its dataset.json.'
        )
    return confusion


def _read_numbers(path, colors):
    """Reads a label map by number, or, where there are none, by colours that nobody has given."""
    try:
        return read_mask(path)
    except LabelError:
        return read_mask(path, colors)


def _files_in(path):
    """The label maps in a folder by what `key_of` calls them; a single file likewise."""
    if path.is_file():
        return {key_of(path, path.parent): path}
    files = {}
    for file in files_below(path) if path.is_dir() else ():
        if file.suffix.lower() in MASK_SUFFIXES:
            other = files.setdefault(key_of(file, path), file)
            if other != file:
                raise UserError(f"{other} and {file}: are two label maps of one name.")
    if not files:
        raise UserError(
            f"{path}: must be a folder of label maps ({', '.join(MASK_SUFFIXES)}), or one of them."
        )
    return files


def _check(file, class_ids, where, label, num_classes):
    if class_ids.shape != label.shape:
        raise UserError(
            "{}: has {}x{} pixels, and {} has {}x{}.".format(
                file, *class_ids.shape[::-1], where, *label.shape[::-1]
            )
        )
    truth = label[label != IGNORE_LABEL]
    for path, ids, void in ((file, class_ids, ""), (where, truth, " or 255")):
        if ids.max(initial=0) >= num_classes:
            raise UserError(
                f"{path}: holds label {ids.max()}, where there are classes 0 to "
                f"{num_classes - 1}{void}."
            )
