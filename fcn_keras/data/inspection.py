"""What a data set holds, and what is wrong with it."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL, Dataset, count_values, in_parallel
from fcn_keras.data.files.images import read_image
from fcn_keras.data.files.masks import values_with_meaning
from fcn_keras.data.findings import Contents, Fault, Inspection
from fcn_keras.data.folders.description import read_description
from fcn_keras.data.folders.layout import list_files
from fcn_keras.errors import LabelError, UserError


def inspect(dataset: str | Path | Dataset, progress: bool = True) -> Inspection:
    """Reads every file of a data set, and lists everything that is wrong.

    Args:
        dataset: a folder, in which anything may be wrong but its layout and its `dataset.json`;
            or a `Dataset`.
        progress: whether to show a progress bar.

    Returns:
        An `Inspection`.

    Raises:
        UserError: if the folder has no known layout, or `dataset.json` is wrong.

    Example:

    >>> [fault.file for fault in inspect("photos").faults if fault.kind == "unreadable"]
    """
    if isinstance(dataset, Dataset):
        return _inspect_dataset(dataset, progress)
    return _inspect_folder(Path(dataset), progress)


class _Look(NamedTuple):
    """What an image and its mask turned out to be.

    Attributes:
        split: which split they belong to.
        file: the image's path, or its id.
        id: what it is called.
        mask: the mask's path, or the image's id.
        faults: what is wrong with either of them alone.
        digest: of the image's bytes; None if it cannot be read.
        size: its height and width; None if unknown.
        values: int64 `(256,)` for each label map: how many pixels have each value; empty if
            unknown.
    """

    split: str
    file: str
    id: str
    mask: str
    faults: list[Fault]
    digest: bytes | None
    size: tuple[int, int] | None
    values: list[np.ndarray]


def _inspect_folder(root, progress):
    description = read_description(root)
    listed = list_files(root)
    usual = [name for name in ("train", "val", "test") if name in listed]
    listed = {name: listed[name] for name in [*usual, *sorted({*listed} - {*usual})]}
    read = description.mask_reader()
    jobs = [
        (split, image, mask)
        for split, files in listed.items()
        for image, mask in sorted(files.pairs + [(image, None) for image, _ in files.without_mask])
    ]
    looks = [*in_parallel(lambda job: _look(*job, read), jobs, "checking", progress=progress)]
    faults = [fault for split, files in listed.items() for fault in _missing(split, files)]
    if not description.classes:
        counts = sum((values for look in looks for values in look.values), np.zeros(256, "int64"))
        try:
            description = description.with_numbered_classes(counts)
        except UserError as error:
            if counts.any():
                faults.append(Fault("label", next(iter(listed)), str(root), _text(error, root)))
    inspection = Inspection(
        description.name, {"": description.classes}, description.class_colors, {}, faults
    )
    return _filled(inspection, listed, looks, [description.class_ids])


def _missing(split, files):
    """Lists what the names of the files alone tell."""
    for path, other in files.same_name:
        yield Fault("same_name", split, str(path), f"has the name of {other}")
    for path, mask in files.without_mask:
        yield Fault("no_mask", split, str(path), f"has no mask; {mask} is missing")
    for path in files.without_image:
        yield Fault("no_image", split, str(path), f"has no image in {files.folder}")
    for path in files.absent:
        yield Fault("no_image", split, str(path), "is missing, but the list of the split names it")
    if not (files.pairs or files.without_mask or files.without_image or files.absent):
        yield Fault("empty", split, str(files.folder), "holds no images")


def _look(split, image_path, mask_path, read):
    faults, digest, size, values = [], None, None, []
    try:
        size = read_image(image_path).shape[:2]
        digest = hashlib.blake2b(image_path.read_bytes(), digest_size=16).digest()
    except UserError as error:
        faults.append(Fault("unreadable", split, str(image_path), _text(error, image_path)))
    if mask_path:
        try:
            mask = read(mask_path)
        except UserError as error:
            kind = "label" if isinstance(error, LabelError) else "unreadable"
            faults.append(Fault(kind, split, str(mask_path), _text(error, mask_path)))
        else:
            values.append(count_values(mask))
            if size and mask.shape != size:
                faults.append(_other_size(split, mask_path, mask.shape, image_path, size))
    return _Look(
        split, str(image_path), image_path.stem, str(mask_path), faults, digest, size, values
    )


def _inspect_dataset(dataset, progress):
    heads = dict(dataset.heads) or {"": dataset.classes}
    jobs = [(name, i) for name, split in dataset.splits.items() for i in range(len(split))]

    def look(job):
        split, index = job
        try:
            image, label, id = dataset.splits[split][index]
        except UserError as error:
            name = f"number {index}"
            faults = [Fault("unreadable", split, name, str(error))]
            return _Look(split, name, name, name, faults, None, None, [])
        size, faults = image.shape[:2], []
        if label.shape[:2] != size:
            faults.append(_other_size(split, id, label.shape, "the image", size))
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        values = [count_values(label[..., i]) for i in range(len(heads))]
        return _Look(split, id, id, id, faults, digest, size, values)

    looks = [*in_parallel(look, jobs, "checking", progress=progress)]
    values = np.arange(256)
    tables = [
        np.where((values < len(classes)) | (values == IGNORE_LABEL), values, -1)
        for classes in heads.values()
    ]
    return _filled(
        Inspection(dataset.name, heads, dataset.colors, {}, []), dataset.splits, looks, tables
    )


def _filled(inspection, splits, looks, tables):
    """Enters what was seen in the splits.

    `tables` has the class id for each value of each label map.
    """
    for split in splits:
        pixels, occurrences = np.zeros((2, len(tables), 256), "int64")
        inspection.splits[split] = Contents(pixels=[*pixels], occurrences=[*occurrences])
    faults = inspection.faults
    for look in looks:
        contents = inspection.splits[look.split]
        contents.images += 1
        if look.size:
            contents.sizes[look.size] += 1
        faults += look.faults
        for i, (ids, values) in enumerate(zip(tables, look.values, strict=False)):
            text = _strange(ids, values)
            if text:
                faults.append(Fault("label", look.split, look.mask, text))
            counts = np.zeros(256, "int64")
            known = ids >= 0
            np.add.at(counts, ids[known], values[known])
            contents.pixels[i] += counts
            contents.occurrences[i] += counts > 0
    faults += _in_two_splits(looks)
    # By split and file, as someone would go through them.
    order = {split: i for i, split in enumerate(inspection.splits)}
    faults.sort(key=lambda fault: (order[fault.split], fault.file))
    return inspection


def _strange(ids, values):
    """Says which values of a mask stand for no class."""
    strange = np.flatnonzero((ids < 0) & (values > 0))
    if not len(strange):
        return ""
    first = ", ".join(f"{value} ({values[value]} pixels)" for value in strange[:5])
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
    return f"holds {first}{more}; a mask may hold {values_with_meaning(ids)}"


def _in_two_splits(looks):
    """Images that are in two splits which must not share any, by their names or their bytes."""
    first = {}
    for look in looks:
        same = {}
        for what, key in (("id", look.id), ("bytes", look.digest)):
            if key:
                split, file = first.setdefault((what, key), (look.split, look.file))
                if _apart(look.split, split):
                    same.setdefault((split, file), []).append(what)
        for (split, file), what in same.items():
            text = f"is in {split} too: {file} has the same {' and '.join(what)}"
            yield Fault("two_splits", look.split, look.file, text)


def _apart(split, other):
    """Whether two splits must have no image in common; "trainaug" may have all of "train"."""
    roles = {
        next((role for role in ("train", "val", "test") if name.startswith(role)), name)
        for name in (split, other)
    }
    return len(roles) > 1 and "trainval" not in (split, other)


def _text(error, path):
    return str(error).removeprefix(f"{path}: ").rstrip(".")


def _other_size(split, file, size, what, other):
    text = f"has {size[1]}x{size[0]} pixels, and {what} has {other[1]}x{other[0]}"
    return Fault("size", split, str(file), text)
