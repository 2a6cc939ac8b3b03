"""What an inspection of a data set tells, as a report."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.readings import Mask


class Kind(NamedTuple):
    """A kind of what can be wrong.

    Attributes:
        what: what it is called in a report.
        todo: what to do about it; "" where each text says it.
    """

    what: str
    todo: str = ""


KINDS = {
    "unreadable": Kind("files that cannot be read", "replace them, or take image and mask away"),
    "label": Kind(
        "masks with labels out of range",
        "correct them, or say in dataset.json what their values or colours mean",
    ),
    "size": Kind(
        "masks of another size than their image",
        "write them anew, or resize them by the nearest pixel",
    ),
    "two_splits": Kind("images in two splits", "take them out of one"),
    "no_mask": Kind("images without a mask", "add the masks, or take the images away"),
    "no_image": Kind(
        "masks (or entries of a list) without an image", "add the images, or take those away"
    ),
    "same_name": Kind("files whose name another has too", "rename one"),
    "empty": Kind("splits without an image", "add some, or take the folder away"),
    "void": Kind("splits without a labelled pixel", "label some, or take the split away"),
    "classes": Kind("classes"),
    "reading": Kind("masks that can be read in two ways"),
    "nodata": Kind(
        "images with pixels that hold nothing",
        "make them void in the masks: neither learned from nor counted in the channels' means",
    ),
    "passed_over": Kind("files that were passed over"),
}

SHOWN = 20  # findings of a kind that are listed


class Fault(NamedTuple):
    """Something that is wrong with a file, or with the data set.

    Attributes:
        kind: one of `KINDS`.
        split: which split the file belongs to; "" for the data set.
        file: its path; an image's id where a data set is no folder.
        text: what is wrong.
    """

    kind: str
    split: str
    file: str
    text: str


class Held(NamedTuple):
    """How many pixels have each value, in as few bytes as may be: there is one for each mask.

    Attributes:
        values: those that occur, uint8, ascending.
        pixels: of each, int64.
    """

    values: bytes
    pixels: bytes

    @classmethod
    def of(cls, counts: np.ndarray) -> "Held":
        """Keeps what `counts` says, int64 `(256,)`."""
        values = np.flatnonzero(counts)
        return cls(values.astype(np.uint8).tobytes(), counts[values].astype("int64").tobytes())

    def counts(self) -> np.ndarray:
        """Returns how many pixels have each value, int64 `(256,)`."""
        counts = np.zeros(256, "int64")
        counts[np.frombuffer(self.values, np.uint8)] = np.frombuffer(self.pixels, "int64")
        return counts


class Look(NamedTuple):
    """What an image and its mask turned out to be.

    Attributes:
        split: which split they belong to.
        file: the image's path, or its id.
        id: what it is called.
        mask: the mask's path, or the image's id.
        faults: what is wrong with either of them alone.
        digest: of the image's bytes; None if it cannot be read.
        size: its height and width; None if unknown.
        values: for each label map: how many pixels have each value; empty if unknown.
        reading: how the mask was read, without its pixels; None if it was not, or is no file.
        note: what may not be meant of the image.
    """

    split: str
    file: str
    id: str
    mask: str
    faults: Sequence[Fault]
    digest: bytes | None
    size: tuple[int, int] | None
    values: Sequence[Held]
    reading: Mask | None = None
    note: str = ""


def sharing(looks: Iterable[Look]) -> Iterator[Look]:
    """Keeps once what many masks have in common: how they were read, their sizes and values."""
    known: dict = {}
    for look in looks:
        reading = look.reading
        if reading:
            palette = None if reading.palette is None else reading.palette.tobytes()
            reading = known.setdefault((reading.form, reading.by, palette), reading)
        size = known.setdefault(look.size, look.size)
        values = tuple(
            held._replace(values=known.setdefault(held.values, held.values)) for held in look.values
        )
        yield look._replace(reading=reading, size=size, values=values)


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
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
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
        faults: everything with which nothing useful can come of it.
        warnings: what may not be meant.
        understood: how the files were read, each a line.
    """

    name: str
    heads: dict[str, Sequence[str]]
    colors: Sequence[tuple[int, int, int]]
    splits: dict[str, Contents]
    faults: list[Fault]
    warnings: list[Fault] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)

    @property
    def classes(self) -> Sequence[str]:
        return next(iter(self.heads.values()))

    def frequencies(self, split: str, head: int = 0) -> np.ndarray:
        """Returns the share of each class in the labelled pixels of a split."""
        counts = self.splits[split].pixels[head][: len([*self.heads.values()][head])]
        return counts / max(1, counts.sum())

    def void(self, split: str, head: int = 0) -> float:
        """Returns the share of void in all pixels of a split."""
        counts = self.splits[split].pixels[head]
        return float(counts[IGNORE_LABEL] / max(1, counts.sum()))

    def to_dict(self) -> dict[str, Any]:
        """Returns everything, to be written as JSON; several label maps have their counts each."""

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
            "understood": self.understood,
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
            "warnings": [fault._asdict() for fault in self.warnings],
        }

    def __str__(self) -> str:
        width = max(5, *map(len, self.splits))
        lines = [f"{self.name}:", *(f"  {line}" for line in self.understood)]
        for split, contents in self.splits.items():
            lines.append(f"  {split:{width}}  {contents.images:6} images, {_sizes(contents.sizes)}")
        for head in range(len(self.heads)):
            lines += ["", *self._table(head)]
        lines.append("")
        if self.warnings:
            lines += [*listed(self.warnings), ""]
        lines += listed(self.faults)
        total = sum(contents.images for contents in self.splits.values())
        warned = f", {_counted(len(self.warnings), 'warning')}" if self.warnings else ""
        lines.append(f"{_counted(len(self.faults), 'fault')}{warned} in {total} images")
        return "\n".join(lines)

    def _table(self, head):
        name, classes = [*self.heads.items()][head]
        width = max(len(name), 5, *map(len, classes))
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


def listed(faults: Sequence[Fault]) -> list[str]:
    """Returns findings as lines, by their kinds; of very many of a kind, the first ones."""
    lines = []
    for kind, (what, todo) in KINDS.items():
        some = [fault for fault in faults if fault.kind == kind]
        if some:
            lines.append(f"{what} ({len(some)})" + (f"; {todo}:" if todo else ":"))
            lines += [f"  {fault.file}: {fault.text}" for fault in some[:SHOWN]]
            if len(some) > SHOWN:
                lines.append(f"  and {len(some) - SHOWN} more (`data check --json` lists all)")
    return lines


def _counted(number, what):
    return f"{number or 'no'} {what}{'s' * (number != 1)}"


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
