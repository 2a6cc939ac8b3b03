"""What a data set holds, and what is wrong with it."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL, Dataset
from fcn_keras.data.files.images import read_image
from fcn_keras.data.findings import Contents, Fault, Inspection
from fcn_keras.data.folders.about import (
    classes_of,
    colors_of,
    mask_reader,
    name_of,
    ranges,
    read_about,
)
from fcn_keras.data.folders.layout import list_files
from fcn_keras.errors import LabelError, UserError
from fcn_keras.system.progress import progress_bar


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


class _Seen(NamedTuple):
    """What an image and its mask turned out to be.

    Attributes:
        file: the image's path, or its id.
        id: what it is called.
        digest: of its bytes; None if it cannot be read.
        size: height and width; None if unknown.
        mask: the mask's path, or the image's id.
        values: int64 `(256,)` for each label map: how many pixels have each value; empty if
            unknown.
        faults: pairs of a kind and a `file: text` line.
    """

    file: str
    id: str
    digest: bytes | None
    size: tuple[int, int] | None
    mask: str
    values: list[np.ndarray]
    faults: list[tuple[str, str, str]]


def _inspect_folder(root, progress):
    about = read_about(root)
    listed = list_files(root)
    listed = {name: listed[name] for name in sorted(listed, key=_rank)}
    read = mask_reader(about)
    jobs = [
        (split, image, mask)
        for split, files in listed.items()
        for image, mask in sorted(files.pairs + [(image, None) for image, _ in files.without_mask])
    ]
    seen = {split: [] for split in listed}
    found = _in_parallel(lambda job: _look(*job[1:], read), jobs, progress)
    for (split, *_), one in zip(jobs, found, strict=True):
        seen[split].append(one)

    faults = []
    for split, files in listed.items():
        faults += [
            Fault("same_name", split, str(path), f"has the name of {other}")
            for path, other in files.same_name
        ]
        faults += [
            Fault("no_mask", split, str(image), f"has no mask; {mask} is missing")
            for image, mask in files.without_mask
        ]
        faults += [
            Fault("no_image", split, str(mask), f"has no image in {files.folder}")
            for mask in files.without_image
        ]
        faults += [
            Fault("no_image", split, str(image), "is missing, but the list of the split names it")
            for image in files.absent
        ]
        if not (seen[split] or files.without_image or files.absent):
            faults.append(Fault("empty", split, str(files.folder), "holds no images"))
    values = sum((one.values[0] for ones in seen.values() for one in ones if one.values), _none())
    try:
        classes, ids = classes_of(root, about, values)
    except UserError as error:
        classes, ids = (), np.full(256, IGNORE_LABEL, "int16")
        if values.any():
            faults.append(Fault("label", next(iter(listed)), str(root), _text(error, root)))
    return _summary(
        name_of(root, about), {"": classes}, colors_of(about, len(classes)), seen, [ids], faults
    )


def _rank(split):
    order = ("train", "val", "test")
    return order.index(split) if split in order else len(order), split


def _look(image_path, mask_path, read):
    """Reads an image and its mask, if it has one."""
    faults, digest, size, values = [], None, None, []
    try:
        size = read_image(image_path).shape[:2]
        digest = _digest(image_path.read_bytes())
    except UserError as error:
        faults.append(("unreadable", str(image_path), _text(error, image_path)))
    if mask_path:
        try:
            mask = read(mask_path)
        except UserError as error:
            kind = "label" if isinstance(error, LabelError) else "unreadable"
            faults.append((kind, str(mask_path), _text(error, mask_path)))
        else:
            values.append(_count(mask))
            if size and mask.shape != size:
                faults.append(("size", str(mask_path), _other_size(mask.shape, image_path, size)))
    return _Seen(str(image_path), image_path.stem, digest, size, str(mask_path), values, faults)


def _inspect_dataset(dataset, progress):
    heads = dict(dataset.heads) or {"": dataset.classes}
    jobs = [(name, i) for name, split in dataset.splits.items() for i in range(len(split))]

    def look(job):
        split, index = dataset.splits[job[0]], job[1]
        try:
            image, label, id = split[index]
        except UserError as error:
            name = f"number {index}"
            return _Seen(name, name, None, None, name, [], [("unreadable", name, str(error))])
        size, faults = image.shape[:2], []
        if label.shape[:2] != size:
            faults.append(("size", id, _other_size(label.shape, "the image", size)))
        digest = _digest(np.ascontiguousarray(image).data)
        values = [_count(label[..., i]) for i in range(len(heads))]
        return _Seen(id, id, digest, size, id, values, faults)

    seen = {name: [] for name in dataset.splits}
    found = _in_parallel(look, jobs, progress)
    for (split, _), one in zip(jobs, found, strict=True):
        seen[split].append(one)
    tables = []
    for classes in heads.values():
        ids = np.full(256, -1, "int16")
        ids[: len(classes)] = np.arange(len(classes))
        ids[IGNORE_LABEL] = IGNORE_LABEL
        tables.append(ids)
    return _summary(dataset.name, heads, dataset.colors, seen, tables, [])


def _summary(name, heads, colors, seen, tables, faults):
    splits = {}
    for split, ones in seen.items():
        contents = splits[split] = Contents(
            images=len(ones),
            sizes=Counter(one.size for one in ones if one.size),
            pixels=[_none() for _ in tables],
            occurrences=[_none() for _ in tables],
        )
        for one in ones:
            faults += [Fault(kind, split, file, text) for kind, file, text in one.faults]
            for i, (ids, values) in enumerate(zip(tables, one.values, strict=False)):
                text = _strange(ids, values)
                if text:
                    faults.append(Fault("label", split, one.mask, text))
                counts = _none()
                known = ids >= 0
                np.add.at(counts, ids[known], values[known])
                contents.pixels[i] += counts
                contents.occurrences[i] += counts > 0
    faults += _in_two_splits(seen)
    # By split and file, as someone would go through them.
    order = {split: i for i, split in enumerate(seen)}
    faults.sort(key=lambda fault: (order[fault.split], fault.file))
    return Inspection(name, heads, colors, splits, faults)


def _strange(ids, values):
    """Says which values of a mask stand for no class."""
    strange = np.flatnonzero((ids < 0) & (values > 0))
    if not len(strange):
        return ""
    found = ", ".join(f"{value} ({values[value]} pixels)" for value in strange[:5])
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
    return f"holds {found}{more}; a mask may hold {ranges(np.flatnonzero(ids >= 0))}"


def _in_two_splits(seen):
    """Images that are in two splits which must not share any, by their names or their bytes."""
    first = {}
    for split, ones in seen.items():
        for one in ones:
            same = {}
            for what, key in (("id", one.id), ("bytes", one.digest)):
                other = first.setdefault((what, key), (split, one.file)) if key else None
                if other and _apart(split, other[0]):
                    same.setdefault(other, []).append(what)
            for (other, file), what in same.items():
                text = f"is in {other} too: {file} has the same {' and '.join(what)}"
                yield Fault("two_splits", split, one.file, text)


def _apart(split, other):
    """Whether two splits must have no image in common; "trainaug" may have all of "train"."""
    roles = []
    for name in (split, other):
        roles.append(next((r for r in ("train", "val", "test") if name.startswith(r)), name))
    return roles[0] != roles[1] and "trainval" not in (split, other)


def _in_parallel(function, jobs, progress):
    with ThreadPoolExecutor() as pool:
        yield from progress_bar(
            "checking",
            len(jobs),
            iterable=pool.map(function, jobs),
            disable=not progress,
            delay=2,
        )


def _none():
    return np.zeros(256, "int64")


def _count(mask):
    return np.bincount(mask.ravel(), minlength=256)


def _digest(data):
    return hashlib.blake2b(data, digest_size=16).digest()


def _text(error, path):
    return str(error).removeprefix(f"{path}: ").rstrip(".")


def _other_size(size, what, other):
    return f"has {size[1]}x{size[0]} pixels, and {what} has {other[1]}x{other[0]}"
