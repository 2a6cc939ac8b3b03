"""The images and masks of a folder as examples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fcn_keras.data.annotations.drawing import Drawn
from fcn_keras.data.dataset import Example, count_values, in_parallel
from fcn_keras.data.files.masks import check_sizes, read_mask, values_with_meaning
from fcn_keras.data.files.readers import PHOTOGRAPHS, ImageReader
from fcn_keras.errors import LabelError


@dataclass(frozen=True)
class FolderSplit:
    """Pairs of an image file and a mask file.

    Attributes:
        files: pairs of an image's path and its mask's, or the shapes that it is drawn from.
        ids: int16 `(256,)`: the class id (or 255) for each value in a mask; -1 where a value
            has no meaning.
        read: gives the values in a mask file.
        names: what the images are called; their files' stems if not given.
        images: how the images are read.
    """

    files: Sequence[tuple[Path, Path | Drawn]]
    ids: np.ndarray = field(repr=False)
    read: Callable[[Any], np.ndarray] = field(default=read_mask, repr=False)
    names: Sequence[str] = field(default=(), repr=False)
    images: ImageReader = PHOTOGRAPHS

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        image_path, mask_path = self.files[index]
        image = self.images.read(image_path)
        label = self.label_of(self.read(mask_path), mask_path)
        check_sizes(image_path, image.shape[:2], mask_path, label.shape)
        name = self.names[index] if self.names else image_path.stem
        return Example(image, label[:, :, None], name)

    def size(self, index: int) -> tuple[int, int]:
        return self.images.size(self.files[index][0])

    def label_of(self, values: np.ndarray, path: Path | Drawn) -> np.ndarray:
        """Returns the class ids, or 255, for the values in a mask.

        Args:
            values: uint8 `(H, W)`.
            path: the mask's file, for messages.

        Raises:
            LabelError: if there is a value without a meaning.
        """
        label = np.take(self.ids, values)
        if label.min(initial=0) < 0:
            strange = values[label < 0]
            raise LabelError(
                f"{path}: a mask may hold {values_with_meaning(self.ids)}. This one holds "
                f"{strange[0]} ({len(strange)} pixels without a class in all)."
            )
        return label.astype("uint8")

    def scan(self) -> np.ndarray:
        """Checks every mask and the size of every image before work starts.

        Returns:
            An int64 array `(256,)`: how many pixels each class has, and void at 255.

        Raises:
            UserError: at the first file that is wrong; names it.
        """

        def check(pair):
            image_path, mask_path = pair
            label = self.label_of(self.read(mask_path), mask_path)
            size, _, _ = self.images.look(image_path, decode=False)
            check_sizes(image_path, size, mask_path, label.shape)
            return count_values(label)

        return sum(in_parallel(check, self.files, "checking", "file"), np.zeros(256, "int64"))
