"""What a data set is here: names, colours, and splits of images with their label maps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fcn_keras.data.files.readers import AsStored
from fcn_keras.system.processor import cores
from fcn_keras.system.progress import progress_bar
from fcn_keras.system.threads import ahead

IGNORE_LABEL = 255

Result = TypeVar("Result")

# Calls in threads that are ahead of who takes their results.
_AHEAD = 128


class Example(NamedTuple):
    """An image and the class of each of its pixels.

    Attributes:
        image: uint8 `(H, W, 3)`, RGB; `(H, W, 6)` where an encoding of depth (HHA) comes with it;
            uint16 `(H, W, 4)` where the depth itself does, in millimetres.
        label: uint8 `(H, W, 1)`, class ids, or 255 for void; one channel for each label map.
        id: what the image is called; a file's stem.
    """

    image: np.ndarray
    label: np.ndarray
    id: str


class Split(Protocol):
    """Examples by number, in any order, from any thread."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def size(self, index: int) -> tuple[int, int]:
        """Returns the height and width of an image."""

    def scan(self) -> np.ndarray:
        """Checks all labels, and returns how many pixels have each: int64 `(256,)`."""


def count_values(pixels: np.ndarray) -> np.ndarray:
    """Returns how many pixels have each value from 0 to 255: int64 `(256,)`."""
    # NumPy makes integers of 8 bytes of what it counts, which of large label maps are too many.
    flat, many = pixels.ravel(), 1 << 24
    parts = (flat[first : first + many] for first in range(0, flat.size, many))
    return sum((np.bincount(part, minlength=256) for part in parts), np.zeros(256, "int64"))


def count_labels(split: Split) -> np.ndarray:
    """Returns how many pixels of a split have each label: int64 `(256,)`, void at 255.

    Of several label maps, the first is counted.
    """
    return sum(
        (count_values(split[index].label[..., 0]) for index in range(len(split))),
        np.zeros(256, "int64"),
    )


def in_parallel(
    function: Callable[[Any], Result],
    items: Sequence[Any],
    what: str,
    unit: str = "image",
    progress: bool = True,
) -> Iterator[Result]:
    """Calls a function for each of many items, in threads; yields the results in their order.

    Only a few calls are ahead of the caller, however many items there are.

    Args:
        function: what to call.
        items: what to call it with.
        what: the work, as the progress bar calls it.
        unit: what an item is, in the bar.
        progress: whether to show a bar where it takes more than two seconds.
    """
    with ThreadPool(cores() + 4) as pool:  # some wait for the disk
        yield from progress_bar(
            what,
            len(items),
            unit,
            iterable=ahead(pool, function, items, _AHEAD),
            disable=not progress,
            delay=2,
        )


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        name: what it is called.
        classes: class names; class ids are positions in it.
        colors: an RGB colour for each class.
        splits: `Split`s by name: "train", "val", perhaps "test".
        heads: where images have several label maps, the class names of each, in their order.
            `classes` and `colors` are those of the first.
        stored: how the images are read where they are no photographs, but what files hold.
    """

    name: str
    classes: Sequence[str]
    colors: Sequence[tuple[int, int, int]]
    splits: dict[str, Split]
    heads: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stored: AsStored | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def outputs(self) -> int | dict[str, int]:
        """What a network for this set needs as its `num_classes`."""
        if not self.heads:
            return self.num_classes
        return {name: len(classes) for name, classes in self.heads.items()}


class Remembered:
    """A split that keeps what it has read, as long as it fits into a budget of memory.

    Args:
        split: the `Split` to read from.
        budget: bytes to keep at most.
    """

    def __init__(self, split: Split, budget: int):
        self.split = split
        self.left = budget
        self.kept: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self.split)

    def size(self, index: int) -> tuple[int, int]:
        return self.split.size(index)

    def scan(self) -> np.ndarray:
        return self.split.scan()

    def __getitem__(self, index: int) -> Example:
        example = self.kept.get(index)
        if example is None:
            example = self.split[index]
            size = example.image.nbytes + example.label.nbytes
            if size <= self.left:
                self.left -= size
                self.kept[index] = example
        return example
