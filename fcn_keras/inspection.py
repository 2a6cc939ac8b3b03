"""What a data set holds and what is wrong with it, and pictures of it."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL, Dataset, Split
from fcn_keras.data.folder import (
    classes_of,
    colors_of,
    list_files,
    mask_reader,
    name_of,
    ranges,
    read_about,
)
from fcn_keras.data.images import LabelError, read_image
from fcn_keras.errors import UserError
from fcn_keras.names import DATASETS
from fcn_keras.progress import progress_bar

# Data set -> how many classes it has, and where it comes from: the builders know, but they take
# seconds to import.
ABOUT = {
    "shapes": ("5", "drawn by this package"),
    "voc2011": ("21", "host.robots.ox.ac.uk"),
    "voc2012": ("21", "host.robots.ox.ac.uk"),
    "sbd": ("21", "www2.eecs.berkeley.edu"),
    "voc2011_sbd": ("21", "voc2011 and sbd"),
    "voc2012_sbd": ("21", "voc2012 and sbd"),
    "nyudv2": ("40", "dl.caffe.berkeleyvision.org"),
    "nyudv2/hha": ("40", "dl.caffe.berkeleyvision.org"),
    "nyudv2/color_hha": ("40", "dl.caffe.berkeleyvision.org"),
    "siftflow": ("33+3", "www.cs.unc.edu"),
    "pascal_context": ("60", "cs.stanford.edu, with VOC2010"),
}

# What can be wrong, and what it is called in a report.
KINDS = {
    "unreadable": "files that cannot be read",
    "label": "masks with labels out of range",
    "size": "masks of another size than their image",
    "two_splits": "images in two splits",
    "no_mask": "images without a mask",
    "no_image": "masks (or entries of a list) without an image",
    "same_name": "files whose name another has too",
    "empty": "splits without an image",
}


class Fault(NamedTuple):
    """Something that is wrong with a file.

    Attributes:
        kind: one of `KINDS`.
        split: which split the file belongs to.
        file: its path; an image's id where a data set is no folder.
        text: what is wrong.
    """

    kind: str
    split: str
    file: str
    text: str


@dataclass
class Contents:
    """What a split holds.

    Attributes:
        images: how many images it has, those that are wrong included.
        sizes: how many images have each size, `(height, width)`; of those that can be read.
        pixels: for each of the label maps: how many pixels have each class, int64 `(256,)`,
            void at 255.
        occurrences: likewise: in how many images each class occurs.
    """

    images: int = 0
    sizes: Counter = field(default_factory=Counter)
    pixels: list[np.ndarray] = field(default_factory=list)
    occurrences: list[np.ndarray] = field(default_factory=list)


@dataclass
class Inspection:
    """What a data set holds, and what is wrong with it.

    Attributes:
        name: what the data set is called.
        heads: the class names of each of its label maps; that of the only one is called "".
        colors: an RGB colour for each class of the first.
        splits: what each split holds.
        faults: everything that is wrong.
    """

    name: str
    heads: dict[str, Sequence[str]]
    colors: Sequence[tuple[int, int, int]]
    splits: dict[str, Contents]
    faults: list[Fault]

    @property
    def classes(self):
        return next(iter(self.heads.values()))

    def frequencies(self, split: str, head: int = 0) -> np.ndarray:
        """Returns the share of each class in the labelled pixels of a split."""
        classes = [*self.heads.values()][head]
        counts = self.splits[split].pixels[head][: len(classes)]
        return counts / max(1, counts.sum())

    def void(self, split: str, head: int = 0) -> float:
        """Returns the share of void in all pixels of a split."""
        counts = self.splits[split].pixels[head]
        return float(counts[IGNORE_LABEL] / max(1, counts.sum()))

    def as_json(self) -> dict:
        """Returns everything as JSON has it; a set of several label maps has counts by map."""

        def by_head(values):
            named = {
                head: {
                    **{name: int(values[i][k]) for k, name in enumerate(classes)},
                    "void": int(values[i][IGNORE_LABEL]),
                }
                for i, (head, classes) in enumerate(self.heads.items())
            }
            return named.get("", named)

        return {
            "dataset": self.name,
            "classes": self.heads.get("", self.heads),
            "splits": {
                split: {
                    "images": contents.images,
                    "sizes": {f"{w}x{h}": n for (h, w), n in contents.sizes.most_common()},
                    "pixels": by_head(contents.pixels),
                    "images_with": by_head(contents.occurrences),
                }
                for split, contents in self.splits.items()
            },
            "faults": [fault._asdict() for fault in self.faults],
        }

    def __str__(self):
        """A report to read: counts, sizes, frequencies, faults."""
        width = max(5, *map(len, self.splits))
        lines = [f"{self.name}:"]
        for split, contents in self.splits.items():
            lines.append(f"  {split:{width}}  {contents.images:6} images, {_sizes(contents.sizes)}")
        for head in range(len(self.heads)):
            lines += ["", *self._table(head)]
        lines.append("")
        for kind, what in KINDS.items():
            found = [fault for fault in self.faults if fault.kind == kind]
            if found:
                lines.append(f"{what} ({len(found)}):")
                lines += [f"  {fault.file}: {fault.text}" for fault in found]
        total = sum(contents.images for contents in self.splits.values())
        faults = len(self.faults)
        lines.append(f"{faults or 'no'} fault{'s' * (faults != 1)} in {total} images")
        return "\n".join(lines)

    def _table(self, head):
        name, classes = [*self.heads.items()][head]
        width = max(len(name), 5, *map(len, classes), 5)
        yield f"  {name or 'class':{width}}" + "".join(
            f"  {f'% of {split}':>12}  {'images':>6}" for split in self.splits
        )
        shares = {split: 100 * self.frequencies(split, head) for split in self.splits}
        for k, class_name in enumerate(classes):
            yield f"  {class_name:{width}}" + "".join(
                f"  {shares[split][k]:12.4f}  {contents.occurrences[head][k]:6}"
                for split, contents in self.splits.items()
            )
        yield f"  {'void':{width}}" + "".join(
            f"  {100 * self.void(split, head):12.4f}  {contents.occurrences[head][-1]:6}"
            for split, contents in self.splits.items()
        )
        yield "  (a class: of the labelled pixels; void: of all pixels)"


def _sizes(sizes):
    if not sizes:
        return "no size known"
    (height, width), count = sizes.most_common(1)[0]
    if len(sizes) == 1:
        return f"{width}x{height}"
    smallest, largest = (pick(sizes, key=lambda size: (np.prod(size), size)) for pick in (min, max))
    return (
        f"{len(sizes)} sizes from {smallest[1]}x{smallest[0]} to {largest[1]}x{largest[0]}, "
        f"{count} of {width}x{height}"
    )


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
    from fcn_keras.report import plot_contact_sheet

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
    from fcn_keras.report import plot_frequencies

    plot_frequencies(
        {split: inspection.frequencies(split) for split in inspection.splits},
        inspection.classes,
        inspection.colors,
        {split: inspection.void(split) for split in inspection.splits},
        f"{inspection.name}: how frequent the classes are",
        path,
    )


def list_datasets(data_dir: str | Path | None = None) -> list[tuple[str, str, str, str]]:
    """Lists the registered data sets without opening any.

    Args:
        data_dir: where prepared sets are kept; TFDS's own default if not given.

    Returns:
        For each: its name, how many classes it has, where it comes from, and whether it is
        prepared, in words.
    """
    home = Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    rows = []
    for name, (folder, config) in DATASETS.items():
        classes, origin = ABOUT.get(name, ("?", "?"))
        prepared = sorted((home / folder / (config or "")).glob("*/dataset_info.json"))
        state = f"prepared, version {prepared[-1].parent.name}" if prepared else "not prepared"
        rows.append((name, classes, origin, state))
    return rows
