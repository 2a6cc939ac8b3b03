"""Large images, read window by window: none of them is ever in memory as a whole."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcn_keras.data.files.depth import raw_mode
from fcn_keras.data.files.images import open_image, orientation
from fcn_keras.data.files.rasters import TIFF_SUFFIXES, as_numbers, kind_of, open_raster
from fcn_keras.data.files.readers import AsStored, ImageReader
from fcn_keras.errors import UserError

# An image of more pixels is large.
LARGE = 4096 * 4096

# How Pillow calls 8 bits of each colour that it takes as they are, and what they are stored with.
_PLAIN = {"RGB": 3, "RGBX": 4, "RGBA": 4}
_UPRIGHT = 1

# Rows that are read together where more are wanted.
_ROWS = 256


@dataclass(frozen=True)
class LargeImage:
    """A large image in a file of which windows can be read.

    Attributes:
        path: the file.
        shape: height, width and channels, as it is read.
        dtype: of its numbers, as it is read.
        stored: how many channels the file holds.
        rows_at_once: see `fcn_keras.data.files.rasters.Raster`.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: str
    stored: int
    rows_at_once: int | None

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Reads a window, `(h, w, C)`, as the reader of its kind reads the whole.

        Raises:
            UserError: if the file is broken there; names it.
        """
        # Opened each time, so that threads need not wait for each other.
        with open_raster(self.path, self.stored) as raster:
            window = as_numbers(raster.read(rows, columns))
        return np.ascontiguousarray(window[..., : self.shape[2]])


def find_large(path: Path, images: ImageReader) -> LargeImage | None:
    """Looks whether a file holds a large image of which windows can be read.

    These are TIFF files and `.npy` of images that are read as stored; and of photographs TIFF
    files, upright, in RGB of 8 bits, with or without transparency, which is left out.

    Args:
        path: the file.
        images: how it is to be read.

    Returns:
        The image; None if it is not so large, has to be read as a whole, or cannot be read at all,
        which is told where it is read.
    """
    suffix = path.suffix.lower()
    try:
        if isinstance(images, AsStored) and suffix in (*TIFF_SUFFIXES, ".npy"):
            with images.open(path) as raster:
                return _large(path, raster, images.channels)
        if not isinstance(images, AsStored) and suffix in TIFF_SUFFIXES:
            size, stored = _plain_rgb(path)
            if stored and size[0] * size[1] > LARGE:
                with open_raster(path, stored) as raster:
                    if raster.shape[:2] == size and raster.dtype == np.uint8:
                        return _large(path, raster, 3)
    except UserError:
        pass
    return None


def _large(path, raster, channels):
    height, width, stored = raster.shape
    if height * width <= LARGE:
        return None
    shape = (height, width, channels)
    return LargeImage(path, shape, kind_of(raster.dtype), stored, raster.rows_at_once)


def _plain_rgb(path):
    """Height and width, and how many channels a photograph holds that is taken as it is; or 0."""
    with open_image(path) as image:
        plain = image.format == "TIFF" and orientation(image) == _UPRIGHT
        return (image.height, image.width), _PLAIN.get(raw_mode(image), 0) if plain else 0


class Bands:
    """Windows of a large image that are read row by row of windows, from the top downwards.

    A file in strips is decoded once: whole rows are held, as many as a window is high. Of all
    other files each window is read by itself.

    Args:
        image: the image.

    Attributes:
        shape: height, width and channels.
    """

    def __init__(self, image: LargeImage):
        self.shape = image.shape
        self._image = image
        self._rows = slice(0, 0)  # that are held
        self._held = np.empty((0, *image.shape[1:]), image.dtype)

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Returns a window, `(h, w, C)`, that is right until the next one is read."""
        step = self._image.rows_at_once
        if step is None:
            return self._image.read(rows, columns)
        last = min(-(-rows.stop // step) * step, self.shape[0])
        self._hold(slice(rows.start // step * step, last), step)
        top = self._rows.start
        return self._held[rows.start - top : rows.stop - top, columns]

    def _hold(self, rows, step):
        held = self._rows
        if held.start <= rows.start and rows.stop <= held.stop:
            return
        kept = max(held.stop - rows.start, 0) if rows.start >= held.start else 0
        known = self._held[rows.start - held.start :][:kept]
        if len(self._held) < rows.stop - rows.start:
            self._held = np.empty((rows.stop - rows.start, *self.shape[1:]), self._held.dtype)
        self._held[:kept] = known
        self._rows = slice(0, 0)  # should the file be broken
        many = max(step, _ROWS // step * step)
        for start in range(rows.start + kept, rows.stop, many):
            stop = min(start + many, rows.stop)
            window = self._image.read(slice(start, stop), slice(0, self.shape[1]))
            self._held[start - rows.start : stop - rows.start] = window
        self._rows = rows
