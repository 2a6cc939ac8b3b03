"""Splits of TFDS data sets, read by number."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fcn_keras.data.dataset import Example, count_labels, count_values, in_parallel
from fcn_keras.data.files.depth import to_rgb
from fcn_keras.data.files.images import open_image, read_image
from fcn_keras.data.tfds.adapters import Adapter
from fcn_keras.errors import UserError


@dataclass(frozen=True)
class TfdsSplit:
    """A split of a TFDS data set with the features image, label and id, and perhaps hha or
    depth."""

    records: Sequence[dict] = field(repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        record = self.records[index]
        image, id = record["image"], record["id"].decode()
        if isinstance(image, bytes):
            image = read_image(io.BytesIO(image), id)
        if "hha" in record:
            image = np.concatenate([image, record["hha"]], axis=-1)
        if "depth" in record:  # of 16 bits, which all channels have then
            image = np.concatenate([image, record["depth"]], axis=-1)
        return Example(image, record["label"], id)

    def size(self, index: int) -> tuple[int, int]:
        return self.records[index]["label"].shape[:2]

    def scan(self) -> np.ndarray:
        return count_labels(self)


@dataclass(frozen=True)
class AdaptedSplit:
    """A split of a TFDS data set, with images and masks as they were stored.

    Attributes:
        records: what TFDS reads, without decoding images.
        name: what the split is called in messages.
        id: name of the feature that tells what an image is called; empty if there is none.
        adapter: how to read the images and masks.
    """

    records: Sequence[dict] = field(repr=False)
    name: str
    id: str
    adapter: Adapter

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        record = self.records[index]
        contents = record[self.adapter.image]
        with self._open(index, contents) as image:
            pixels = np.asarray(to_rgb(image, io.BytesIO(contents)))
        label = self._label(index, record, pixels.shape[:2])
        id = record[self.id].decode() if self.id else f"{self.name.split()[-1]}-{index:05d}"
        return Example(pixels, label, id)

    def size(self, index: int) -> tuple[int, int]:
        return self._size(index, self.records[index])

    def scan(self) -> np.ndarray:
        """Checks every mask and the size of every image.

        Returns:
            An int64 array `(256,)`: how many pixels each class has, and void at 255.

        Raises:
            UserError: at the first that is wrong.
        """

        def check(index):
            record = self.records[index]
            return count_values(self._label(index, record, self._size(index, record)))

        return sum(in_parallel(check, range(len(self)), "checking"), np.zeros(256, "int64"))

    def values(self) -> set[int]:
        """Returns which values occur in the masks."""
        values = in_parallel(
            lambda index: np.unique(self.read_mask(index, self.records[index])).tolist(),
            range(len(self)),
            "counting classes",
            "mask",
        )
        return set().union(*values)

    def read_mask(self, index: int, record: dict) -> np.ndarray:
        """Returns a mask as it is stored, `(H, W)`."""
        mask = record[self.adapter.mask]
        if isinstance(mask, bytes):
            with self._open(index, mask) as image:
                mask = np.asarray(image)
        mask = mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
        if mask.ndim != 2:
            raise UserError(
                f"{self.name} {index}: `{self.adapter.mask}` must be a map of class ids, "
                f"(height, width). Received: {mask.shape}."
            )
        return mask.astype("int64")

    def _size(self, index, record):
        with self._open(index, record[self.adapter.image]) as image:
            return image.height, image.width

    def _label(self, index, record, size):
        """The class ids in a mask, which must have the size of the image."""
        mask, ids = self.read_mask(index, record), self.adapter.ids
        inside = (mask >= 0) & (mask < len(ids))
        label = np.where(inside, ids[np.where(inside, mask, 0)], -1)
        if (label < 0).any():
            raise UserError(
                f"{self.name} {index}: `{self.adapter.mask}` holds {mask[label < 0][0]}, which "
                f"stands for none of the {len(self.adapter.classes)} classes "
                f"({np.count_nonzero(label < 0)} pixels without a class in all)."
            )
        if label.shape != size:
            raise UserError(
                f"{self.name} {index}: an image and its mask must have one size. Received: "
                f"{size[1]}x{size[0]} and {label.shape[1]}x{label.shape[0]} (width x height)."
            )
        return label.astype("uint8")[..., None]

    def _open(self, index, contents):
        """Opens an image, not upright: TFDS does not turn any, nor were the masks turned."""
        return open_image(io.BytesIO(contents), f"{self.name} {index}")
