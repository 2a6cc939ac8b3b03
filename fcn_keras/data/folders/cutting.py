"""Large images of a folder as examples of a size that memory holds: their windows.

So an epoch sees all of an image, and nobody decodes more of it than is wanted. At its borders a
network sees of a window what it sees at those of an image.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from threading import Lock
from typing import NamedTuple

import numpy as np

from fcn_keras.data.dataset import Example, count_values, in_parallel
from fcn_keras.data.files.large import LargeImage, find_large
from fcn_keras.data.files.masks import check_sizes
from fcn_keras.data.files.readers import AsStored
from fcn_keras.data.folders.description import Description
from fcn_keras.data.folders.folder_split import FolderSplit
from fcn_keras.data.folders.large_masks import read_window, size_by_windows
from fcn_keras.system.progress import progress_bar

# Height and width of a window, at most.
SIDE = 2048

# Masks that are kept once they had to be decoded as a whole.
_KEPT = 2


def cut(split: FolderSplit, about: Description) -> "FolderSplit | CutSplit":
    """Cuts the large images of a split whose images are read as stored.

    Args:
        split: the split.
        about: what its masks mean.
    """
    return CutSplit(split, about) if isinstance(split.images, AsStored) else split


class Window(NamedTuple):
    """An example of a `CutSplit`.

    Attributes:
        number: that of its image in the split that was cut.
        image: the image, if it is large.
        rows, columns: the window of it.
    """

    number: int
    image: LargeImage | None
    rows: slice = slice(None)
    columns: slice = slice(None)


@dataclass(frozen=True)
class CutSplit:
    """A split of images that are read as stored, the large ones of which are cut into windows.

    All windows of an image are of one size but for the last ones, which may lack some pixels. What
    is not large is an example as it is. The files are looked at when the first is asked for.

    Attributes:
        whole: the split, in which each image is one example.
        about: what its masks mean.
    """

    whole: FolderSplit
    about: Description

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Example:
        number, image, rows, columns = self.windows[index]
        if image is None:
            return self.whole[number]
        label = self._label(number, image, rows, columns)
        name = self.whole.names[number] if self.whole.names else image.path.stem
        name = f"{name}@{rows.start}_{columns.start}"
        return Example(image.read(rows, columns), label[:, :, None], name)

    def size(self, index: int) -> tuple[int, int]:
        number, image, rows, columns = self.windows[index]
        if image is None:
            return self.whole.size(number)
        return rows.stop - rows.start, columns.stop - columns.start

    def scan(self) -> np.ndarray:
        """Does what `FolderSplit.scan` does; large images one by one."""
        whole, large = self.whole, [i for i, image in enumerate(self._large) if image]
        small = [i for i, image in enumerate(self._large) if not image]
        names = [whole.names[i] for i in small] if whole.names else ()
        counts = replace(whole, files=[whole.files[i] for i in small], names=names).scan()
        for index in progress_bar("checking", len(large), "file", iterable=large, delay=2):
            whole.images.look(whole.files[index][0], decode=False)
            for _, image, rows, columns in _cut(index, self._large[index]):
                counts += count_values(self._label(index, image, rows, columns))
        return counts

    @cached_property
    def windows(self) -> list[Window]:
        """All examples, in the order of their images."""
        return [window for i, image in enumerate(self._large) for window in _cut(i, image)]

    @cached_property
    def _large(self):
        """Each image that is large; None for those that are not."""
        paths = [path for path, _ in self.whole.files]
        images = self.whole.images
        return [*in_parallel(lambda path: find_large(path, images), paths, "opening", "file")]

    @cached_property
    def _decoded(self):
        """Gives all values in the mask of an image; one caller at a time, as the next ones mostly
        want the same."""
        lock = Lock()
        read = lru_cache(_KEPT)(lambda index: self.whole.read(self.whole.files[index][1]))

        def decoded(index):
            with lock:
                return read(index)

        return decoded

    def _label(self, index, image, rows, columns):
        _, mask = self.whole.files[index]
        size = size_by_windows(mask, self.about)
        values = None if size else self._decoded(index)
        check_sizes(image.path, image.shape[:2], mask, size or values.shape)
        if size:
            values = read_window(mask, rows, columns)
        else:
            values = values[rows, columns]
        return self.whole.label_of(values, mask)


def _cut(index: int, image: LargeImage | None) -> Iterator[Window]:
    if image is None:
        yield Window(index, None)
        return
    height, width, _ = image.shape
    for rows in _even(height):
        for columns in _even(width):
            yield Window(index, image, rows, columns)


def _even(length):
    """Cuts an axis into as few parts as may be, of one length but for the last."""
    side = -(-length // -(-length // SIDE))
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]
