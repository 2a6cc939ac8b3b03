"""Splits of TFDS data sets, read by number."""

import io
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from tqdm import tqdm

from fcn_keras.data.dataset import Example, count_labels
from fcn_keras.data.files.images import read_image
from fcn_keras.errors import UserError


class _NamedFile(io.BytesIO):
    """The contents of a file, which error messages call by its name."""

    def __init__(self, contents, name):
        super().__init__(contents)
        self.name = name

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class TfdsSplit:
    """A split of a TFDS data set with the features image, label and id, and perhaps hha."""

    source: object = field(repr=False)

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        example = self.source[index]
        image, id = example["image"], example["id"].decode()
        if isinstance(image, bytes):
            image = read_image(_NamedFile(image, id))
        if "hha" in example:
            image = np.concatenate([image, example["hha"]], axis=-1)
        return Example(image, example["label"], id)

    def size(self, index):
        return self.source[index]["label"].shape[:2]

    def scan(self) -> np.ndarray:
        """Returns how many pixels each class has, int64 `(256,)`, void at 255."""
        return count_labels(self)


@dataclass(frozen=True)
class AdaptedSplit:
    """A split of a TFDS data set, with images and masks as they were stored.

    Attributes:
        source: what TFDS reads, without decoding images.
        name: what the split is called in messages.
        image, mask, id: names of the features; `id` is empty if there is none.
        ids: see `Adapter`.
        num_classes: how many classes there are.
    """

    source: object = field(repr=False)
    name: str
    image: str
    mask: str
    id: str
    ids: np.ndarray | None = field(default=None, repr=False)
    num_classes: int = 0

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        example = self.source[index]
        with self._opened(index, example[self.image]) as image:
            image.info.pop("transparency", None)
            pixels = np.asarray(image.convert("RGB"))
        label = self._label(index, example)
        self._check_sizes(index, pixels.shape[:2], label.shape[:2])
        id = example[self.id].decode() if self.id else f"{self.name.split()[-1]}-{index:05d}"
        return Example(pixels, label, id)

    def size(self, index):
        return self._size(index, self.source[index])

    def scan(self) -> np.ndarray:
        """Checks every mask and the size of every image.

        Returns:
            An int64 array `(256,)`: how many pixels each class has, and void at 255.

        Raises:
            UserError: at the first that is wrong.
        """
        counts = np.zeros(256, "int64")
        for index in tqdm(range(len(self)), "checking", delay=2, unit="image"):
            example = self.source[index]
            label = self._label(index, example)
            self._check_sizes(index, self._size(index, example), label.shape[:2])
            counts += np.bincount(label.ravel(), minlength=256)
        return counts

    def values(self) -> set[int]:
        """Returns which values occur in the masks."""
        found = set()
        for index in tqdm(range(len(self)), "counting classes", delay=2, unit="mask"):
            found.update(np.unique(self.read_mask(index, self.source[index])).tolist())
        return found

    def read_mask(self, index, example):
        """Returns a mask as it is stored, `(H, W)`."""
        mask = example[self.mask]
        if isinstance(mask, bytes):
            with self._opened(index, mask) as image:
                mask = np.asarray(image)
        mask = mask[..., 0] if mask.ndim == 3 and mask.shape[2] == 1 else mask
        if mask.ndim != 2:
            raise UserError(
                f"{self.name} {index}: `{self.mask}` must be a map of class ids, (height, width). "
                f"Received: {mask.shape}."
            )
        return mask.astype("int64")

    def _label(self, index, example):
        mask = self.read_mask(index, example)
        inside = (mask >= 0) & (mask < len(self.ids))
        label = np.where(inside, self.ids[np.where(inside, mask, 0)], -1)
        if (label < 0).any():
            raise UserError(
                f"{self.name} {index}: `{self.mask}` holds {mask[label < 0][0]}, which stands for "
                f"none of the {self.num_classes} classes ({np.count_nonzero(label < 0)} pixels "
                "without a class in all)."
            )
        return label.astype("uint8")[..., None]

    def _size(self, index, example):
        with self._opened(index, example[self.image]) as image:
            return image.height, image.width

    def _check_sizes(self, index, image, mask):
        if tuple(image) != tuple(mask):
            raise UserError(
                f"{self.name} {index}: an image and its mask must have one size. Received: "
                f"{image[1]}x{image[0]} and {mask[1]}x{mask[0]} (width x height)."
            )

    @contextmanager
    def _opened(self, index, contents):
        """Opens an image, not upright: TFDS does not turn any, nor were the masks turned."""
        try:
            with Image.open(io.BytesIO(contents)) as image:
                yield image
        # Pillow's decoders raise SyntaxError and ValueError too where a file is broken.
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{self.name} {index}: cannot be read as an image.") from error
