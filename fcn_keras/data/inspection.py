"""What a data set holds, and what is wrong with it."""

import hashlib
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL, Dataset, count_values, in_parallel
from fcn_keras.data.files.masks import values_with_meaning
from fcn_keras.data.files.readers import PHOTOGRAPHS, AsStored
from fcn_keras.data.findings import Contents, Fault, Held, Inspection, Look, sharing
from fcn_keras.data.folders.folder import Folder, find_folder
from fcn_keras.data.folders.large_masks import count_mask
from fcn_keras.data.judging import judge_classes, judge_masks, judge_values
from fcn_keras.errors import LabelError, UserError

# From so many values on that stand for no class, a mask has been through JPEG or interpolation.
_MIXED = 16


def inspect(
    dataset: str | Path | Dataset, progress: bool = True, channels: int | None = None
) -> Inspection:
    """Reads every file of a data set, and lists everything that is wrong.

    Args:
        dataset: a folder, in which anything may be wrong but its layout and its `dataset.json`;
            or a `Dataset`.
        progress: whether to show a progress bar.
        channels: see `fcn_keras.data.folders.folder.load_folder`.

    Returns:
        An `Inspection`.

    Raises:
        UserError: if the folder has no known layout, or `dataset.json` is wrong.

    Example:

    >>> [fault.file for fault in inspect("photos").faults if fault.kind == "unreadable"]
    """
    if isinstance(dataset, Dataset):
        return _inspect_dataset(dataset, progress)
    images = AsStored(channels) if channels else None
    return inspect_folder(find_folder(dataset, images=images), progress=progress)[0]


def inspect_folder(
    folder: Folder, images_of: Collection[str] | None = None, progress: bool = True
) -> tuple[Inspection, Folder]:
    """Reads every mask of a folder, looks at its images, and lists everything that is wrong.

    Args:
        folder: the folder, whose files are known by name.
        images_of: None to decode every image. Else the splits whose images are looked at, all if
            there are none, see `fcn_keras.data.files.readers.ImageReader.look`.
        progress: whether to show a progress bar.

    Returns:
        A pair: the `Inspection`; and the folder, whose classes are known now.
    """
    description = folder.description
    usual = [name for name in ("train", "val", "test") if name in folder.splits]
    order = [*usual, *sorted({*folder.splits} - {*usual})]
    splits = {name: folder.splits[name] for name in order}
    jobs = [
        (split, pair, has_mask)
        for split, files in splits.items()
        for pair, has_mask in sorted(
            [(pair, True) for pair in files.pairs] + [(pair, False) for pair in files.without_mask],
            key=lambda job: job[0].image,
        )
    ]

    def look(job):
        split, pair, has_mask = job
        size, digest, note, faults = None, None, "", []
        if not images_of or split in images_of:
            size, digest, note, faults = _image(split, pair.image, folder.images, images_of is None)
        values, reading = [], None
        if has_mask:
            values, reading, more = _mask(split, pair.mask, description, pair.image, size)
            faults += more
        names = (split, pair.image_file, pair.name, str(pair.mask_file) if has_mask else "")
        return Look(*names, faults or (), digest, size, values or (), reading, note)

    looks = [*sharing(in_parallel(look, jobs, "checking", progress=progress))]
    faults = [fault for split, files in splits.items() for fault in _missing(split, files)]
    counts = sum((held.counts() for look in looks for held in look.values), np.zeros(256, "int64"))
    named = bool(description.classes)
    if not named:
        try:
            description = description.with_numbered_classes(counts)
        except UserError as error:
            if counts.any():
                text = str(error).removeprefix(f"{description.root}: ").rstrip(".")
                faults.append(Fault("void", "", str(description.root), text))
    inspection = Inspection(
        description.name, {"": description.classes}, description.class_colors, {}, faults
    )
    _fill(inspection, splits, looks, [description.class_ids])
    if description.classes:
        judge_masks(inspection, looks, description)
        judge_values(inspection, looks, description, counts, named)
        judge_classes(inspection, str(description.root), named)
    inspection.warnings += _told(splits, looks)
    inspection.understood = [
        f"layout: {folder.layout}",
        *([f"images: {folder.images}"] if folder.images != PHOTOGRAPHS else []),
        *_forms(looks, description, inspection),
    ]
    return inspection, replace(folder, description=description)


def _told(splits, looks):
    """What may not be meant of images, and of files that were passed over."""
    notes = [Fault("nodata", look.split, look.file, look.note) for look in looks if look.note]
    return notes + [
        Fault("passed_over", split, str(files.folder), files.passed_over)
        for split, files in splits.items()
        if files.passed_over
    ]


def _forms(looks, description, inspection):
    """Says how masks were read, and what is void in them."""
    words = {"indexed": "indexed", "grey": "grey", "picture": "RGB", "drawn": "drawn"}
    kinds: dict[str, int] = {}
    for look in looks:
        if look.reading:
            by = " by colour" if look.reading.by == "color" else " by number"
            kind = words[look.reading.form] + ("" if look.reading.form == "drawn" else by)
            kinds[kind] = kinds.get(kind, 0) + 1
    if kinds:
        yield "masks: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    void = [value for value in np.flatnonzero(description.class_ids == IGNORE_LABEL)]
    shares = ", ".join(f"{inspection.void(split):.1%} of {split}" for split in inspection.splits)
    yield f"void: {', '.join(map(str, void[:8]))}{', ...' if len(void) > 8 else ''}; {shares}"


def _missing(split, files):
    """Lists what the names of the files alone tell."""
    for path, other in files.same_name:
        yield Fault("same_name", split, str(path), f"has the name of {other}")
    stray = sorted((path.stem.lower(), path) for path in files.without_image)
    meant = set()
    for pair in files.without_mask:
        text = f"has no mask; {pair.mask} is missing"
        place = bisect_left(stray, (pair.mask.stem.lower(),))
        if place < len(stray) and stray[place][0].startswith(pair.mask.stem.lower()):
            meant.add(stray[place][1])
            text += f". Is {stray[place][1].name} meant? Rename it"
        for jpeg in (pair.mask.with_suffix(suffix) for suffix in (".jpg", ".jpeg")):
            if jpeg.is_file():
                text += f". {jpeg.name} is there, but JPEG changes values: save masks as PNG"
        yield Fault("no_mask", split, str(pair.image), text)
    for path in sorted({*files.without_image} - meant):
        yield Fault("no_image", split, str(path), f"has no image in {files.folder}")
    for path in files.absent:
        yield Fault("no_image", split, str(path), "is missing, but the list of the split names it")
    if not (files.pairs or files.without_mask or files.without_image or files.absent):
        yield Fault("empty", split, str(files.folder), "holds no images")


def _image(split, path, reader, decode):
    """Returns an image's size, a digest of its bytes, what may not be meant, and what is wrong."""
    try:
        return *reader.look(path, decode), []
    except UserError as error:
        return None, None, "", [Fault("unreadable", split, str(path), _text(error, path))]


def _mask(split, path, about, image_path, size):
    """Returns how many pixels of a mask have each value, how it was read, and what is wrong."""
    try:
        own_size, counts, reading = count_mask(path, about)
    except UserError as error:
        kind = "label" if isinstance(error, LabelError) else "unreadable"
        return [], None, [Fault(kind, split, str(path), _text(error, path))]
    faults = []
    if size and own_size != size:
        faults.append(_other_size(split, path, own_size, image_path, size))
    return [Held.of(counts)], reading, faults


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
            return Look(split, name, name, name, faults, None, None, [])
        size, faults = image.shape[:2], []
        if label.shape[:2] != size:
            faults.append(_other_size(split, id, label.shape, "the image", size))
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        values = [Held.of(count_values(label[..., i])) for i in range(len(heads))]
        return Look(split, id, id, id, faults, digest, size, values)

    looks = [*sharing(in_parallel(look, jobs, "checking", progress=progress))]
    values = np.arange(256)
    tables = [
        np.where((values < len(classes)) | (values == IGNORE_LABEL), values, -1)
        for classes in heads.values()
    ]
    inspection = Inspection(dataset.name, heads, dataset.colors, {}, [])
    _fill(inspection, dataset.splits, looks, tables)
    judge_classes(inspection, dataset.name, named=True)
    return inspection


def _fill(inspection: Inspection, splits: Iterable[str], looks: Sequence[Look], tables: Sequence):
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
        for i, (ids, held) in enumerate(zip(tables, look.values, strict=False)):
            values = held.counts()
            strange = np.flatnonzero((ids < 0) & (values > 0))
            if len(strange):
                text = _strange(strange, values, ids)
                faults.append(Fault("label", look.split, look.mask, text))
            if len(strange) > _MIXED:
                continue  # what it holds of classes means nothing either
            counts = np.zeros(256, "int64")
            known = ids >= 0
            np.add.at(counts, ids[known], values[known])
            contents.pixels[i] += counts
            contents.occurrences[i] += counts > 0
    _enter_repeats(inspection, looks)
    # By split and file, as someone would go through them; of the whole set first.
    order = {split: i for i, split in enumerate(["", *inspection.splits])}
    faults.sort(key=lambda fault: (order[fault.split], fault.file))


def _strange(strange, values, ids):
    """Says which values of a mask stand for no class."""
    first = ", ".join(f"{value} ({values[value]} pixels)" for value in strange[:5])
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
    why = "; JPEG, or resizing with interpolation, mixes values" if len(strange) > _MIXED else ""
    return f"holds {first}{more}; a mask may hold {values_with_meaning(ids)}{why}"


def _enter_repeats(inspection, looks):
    """Enters images that are in two splits which must not share any, by their bytes or names."""
    first = {"id": {}, "bytes": {}}
    for look in looks:
        same = {}
        for what, key in (("id", look.id), ("bytes", look.digest)):
            if look.digest and key:
                other = first[what].setdefault(key, look)
                if other.split != look.split and _apart(look.split, other.split):
                    same.setdefault((other.split, other.file), []).append(what)
        for (split, file), what in same.items():
            text = f"is in {split} too: {file} has the same {' and '.join(what)}"
            if what == ["id"]:  # as where numbers begin anew in each split
                text = f"has the name of another image in {split}: {file}"
            told = inspection.warnings if what == ["id"] else inspection.faults
            told.append(Fault("two_splits", look.split, look.file, text))


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
