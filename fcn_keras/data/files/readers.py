"""How the image files of a data set are read: as photographs, or with the numbers they hold."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from fcn_keras.data.files.images import (
    IMAGE_SUFFIXES,
    TooManyPixels,
    read_image,
    read_size,
    read_whole,
)
from fcn_keras.data.files.rasters import (
    RASTER_SUFFIXES,
    Raster,
    as_numbers,
    kind_of,
    open_raster,
)
from fcn_keras.errors import UserError

# Pixels of a large image that are looked at together.
_BAND = 1 << 24


class ImageReader(Protocol):
    """How image files are read.

    Attributes:
        channels, dtype: see `AsStored`.
    """

    @property
    def channels(self) -> int: ...

    @property
    def dtype(self) -> str | None: ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """How the names of the files end."""

    def read(self, path: Path) -> np.ndarray:
        """Reads an image, `(H, W, C)`; raises a `UserError` that names the file."""

    def size(self, path: Path) -> tuple[int, int]:
        """Reads height and width."""

    def look(self, path: Path, decode: bool = True) -> tuple[tuple[int, int], bytes, str]:
        """Reads an image, or if not `decode`, what tells that it is whole.

        Returns:
            Its height and width, a digest of its bytes, and what may not be meant, in words.
        """


@dataclass(frozen=True)
class Photographs:
    """RGB of 8 bits, upright, see `fcn_keras.data.files.images`."""

    channels, dtype = 3, "uint8"

    suffixes = IMAGE_SUFFIXES

    def read(self, path: Path) -> np.ndarray:
        return read_image(path)

    def size(self, path: Path) -> tuple[int, int]:
        return read_size(path)

    def look(self, path: Path, decode: bool = True) -> tuple[tuple[int, int], bytes, str]:
        height, width = read_image(path).shape[:2] if decode else read_size(path)
        return (height, width), _digest(path.read_bytes() if decode else read_whole(path)), ""


@dataclass(frozen=True)
class AsStored:
    """Images of a number of channels, all of one kind of numbers.

    See `fcn_keras.data.files.rasters`.

    Attributes:
        channels: how many.
        dtype: of their numbers, uint8, uint16 or float32; None for any.
    """

    channels: int
    dtype: str | None = None

    suffixes = RASTER_SUFFIXES

    def __str__(self):
        return f"{self.channels} channel{'s' * (self.channels != 1)} of {self.dtype or 'any kind'}"

    def like(self, path: Path) -> "AsStored":
        """Returns a reader of images that hold the same kind of numbers as a file."""
        with open_raster(path, self.channels) as raster:
            return replace(self, dtype=kind_of(raster.dtype))

    @contextmanager
    def open(self, path: Path) -> Iterator[Raster]:
        """Opens an image, see `fcn_keras.data.files.rasters.open_raster`; its numbers are looked
        at as to their kind alone."""
        with open_raster(path, self.channels) as raster:
            self._check(path, raster)
            yield raster

    def read(self, path: Path) -> np.ndarray:
        with self.open(path) as raster:
            height, width, _ = raster.shape
            # As Pillow does it with photographs.
            if Image.MAX_IMAGE_PIXELS and height * width > 2 * Image.MAX_IMAGE_PIXELS:
                raise TooManyPixels(f"{path}: has {width} x {height} pixels, too many at once.")
            return as_numbers(raster.read())

    def size(self, path: Path) -> tuple[int, int]:
        with open_raster(path, self.channels) as raster:
            height, width, _ = raster.shape
            return height, width

    def look(self, path: Path, decode: bool = True) -> tuple[tuple[int, int], bytes, str]:
        """Decodes it in any case: how else could it be known that its numbers are some."""
        with self.open(path) as raster:
            height, width, _ = raster.shape
            rows, nodata, nothing = max(1, _BAND // width), getattr(raster, "nodata", None), 0
            for top in range(0, height, rows):
                window = raster.read(slice(top, min(top + rows, height)), slice(0, width))
                as_numbers(window)
                if nodata is not None:
                    nothing += int(np.count_nonzero((window == nodata).all(axis=-1)))
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        note = f"{nothing} pixels hold {nodata:g}, which it calls nodata" if nothing else ""
        return (height, width), digest.digest(), note

    def _check(self, path, raster):
        kind = kind_of(raster.dtype)
        if self.dtype not in (None, kind):
            raise UserError(
                f"{path}: holds {kind}, and {self.dtype} is wanted: numbers of another kind have "
                "another scale. Save all images with the same."
            )


PHOTOGRAPHS = Photographs()


def _digest(data):
    return hashlib.blake2b(data, digest_size=16).digest()
