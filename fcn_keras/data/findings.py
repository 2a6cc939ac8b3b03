"""What an inspection of a data set tells, as a report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL

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
        faults: everything that is wrong.
    """

    name: str
    heads: dict[str, Sequence[str]]
    colors: Sequence[tuple[int, int, int]]
    splits: dict[str, Contents]
    faults: list[Fault]

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

    def __str__(self) -> str:
        width = max(5, *map(len, self.splits))
        lines = [f"{self.name}:"]
        for split, contents in self.splits.items():
            lines.append(f"  {split:{width}}  {contents.images:6} images, {_sizes(contents.sizes)}")
        for head in range(len(self.heads)):
            lines += ["", *self._table(head)]
        lines.append("")
        for kind, what in KINDS.items():
            faults = [fault for fault in self.faults if fault.kind == kind]
            if faults:
                lines.append(f"{what} ({len(faults)}):")
                lines += [f"  {fault.file}: {fault.text}" for fault in faults]
        count = len(self.faults)
        total = sum(contents.images for contents in self.splits.values())
        lines.append(f"{count or 'no'} fault{'s' * (count != 1)} in {total} images")
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
