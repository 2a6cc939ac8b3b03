"""Image files of any number of channels and any depth, with their numbers as they are stored.

- TIFF by tifffile: channels in any order of axes, pages as channels, window by window.
- `.npy`: arrays `(H, W, C)`, `(C, H, W)` or `(H, W)`, window by window.
- PNG of 16 bits by TensorFlow, as Pillow keeps 8 of them.
- JPEG, BMP, WebP, TGA and other PNG by Pillow, of 8 bits: grey, grey and alpha, RGB, RGBA; upright,
  but for PNG. Formats that may have more bits, of which Pillow would keep 8, are refused.

Numbers of 8 and 16 bits without a sign stay what they are; all others become float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from fcn_keras.data.files.images import (
    IMAGE_SUFFIXES,
    TooManyPixels,
    open_image,
    unreadable,
    upright,
)
from fcn_keras.data.files.tiff import Tiff
from fcn_keras.errors import UserError
from fcn_keras.system.console import import_tensorflow_silently

RASTER_SUFFIXES = (*IMAGE_SUFFIXES, ".npy")

TIFF_SUFFIXES = (".tif", ".tiff")
_BIT_DEPTH = slice(24, 25)  # of a PNG, in its header
_WHOLE = 1 << 24  # float32 holds all whole numbers up to this

_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "WEBP", "TGA")  # of Pillow, of 8 bits at most
_MODES = ("1", "L", "LA", "RGB", "RGBA")  # of Pillow


class Raster(Protocol):
    """An open image, to be read window by window; see `fcn_keras.data.files.tiff.Tiff`."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def rows_at_once(self) -> int | None:
        """How many rows, from the top on, are decoded together for any window of them; None if a
        window costs no more than what it holds."""

    def read(self, rows: slice | None = None, columns: slice | None = None) -> np.ndarray: ...


class _Array(NamedTuple):
    """An image that is in memory, or in a file that is mapped to it."""

    pixels: np.ndarray

    @property
    def rows_at_once(self) -> int | None:
        return None

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, channels = self.pixels.shape
        return height, width, channels

    @property
    def dtype(self) -> np.dtype:
        return self.pixels.dtype

    def read(self, rows: slice | None = None, columns: slice | None = None) -> np.ndarray:
        return self.pixels[rows or slice(None), columns or slice(None)]


@contextmanager
def open_raster(path: str | Path, channels: int) -> Iterator[Raster]:
    """Opens an image of a number of channels, to be closed at the end of the `with`.

    Args:
        path: the file.
        channels: how many it must have.

    Raises:
        UserError: if it is no image, has other channels, or turns out to be broken within the
            `with`; names it.
    """
    path = Path(path)
    try:
        suffix = path.suffix.lower()
        if suffix in TIFF_SUFFIXES:
            with Tiff(path) as file:
                _check(file.shape, file.dtype, channels)
                yield file
        elif suffix == ".npy":
            yield _Array(_mapped(path, channels))
        else:
            pixels = _png(path) if _is_deep_png(path) else _picture(path)
            _check(pixels.shape, pixels.dtype, channels)
            yield _Array(pixels)
    except UserError as error:
        if isinstance(error, TooManyPixels) or str(error).startswith(str(path)):
            raise
        raise UserError(f"{path}: {error}") from error
    # Decoders raise errors of any kind where a file is broken.
    except Exception as error:
        raise unreadable(path, "an image", error) from error


def read_raster(
    path: str | Path, channels: int, rows: slice | None = None, columns: slice | None = None
) -> np.ndarray:
    """Reads an image of a number of channels, or a window of it.

    Args:
        path: the file.
        channels: how many it must have.
        rows, columns: the window, within the image; all of it if not given.

    Returns:
        An array `(H, W, C)` of uint8, uint16 or float32.

    Raises:
        UserError: if the file is no image, or a broken one, has other channels, or holds what is no
            number; names the file.
    """
    with open_raster(path, channels) as raster:
        return as_numbers(raster.read(rows, columns))


def as_numbers(pixels: np.ndarray) -> np.ndarray:
    """Returns pixels of any numbers as what a network takes: uint8, uint16 or float32.

    Raises:
        ValueError: if there are some that are no numbers, or infinite.
    """
    kind = kind_of(pixels.dtype)
    if kind != "float32":
        return np.ascontiguousarray(pixels, kind)
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2:
        largest = max(abs(int(pixels.min(initial=0))), abs(int(pixels.max(initial=0))))
        if largest > _WHOLE:
            raise ValueError(
                f"it holds whole numbers of up to {largest}, of which 32 bits with a fraction hold "
                f"those up to {_WHOLE} alone: scale them"
            )
    with np.errstate(over="ignore"):  # what does not fit is infinite, and told
        pixels = pixels.astype("float32")
    strange = np.count_nonzero(~np.isfinite(pixels))
    if strange:
        raise ValueError(
            f"{strange} of its numbers are NaN or infinite: put a number in their place, and make "
            "their pixels void in the mask"
        )
    return pixels


def kind_of(dtype: np.dtype) -> str:
    """Says what numbers of a type become, see `as_numbers`."""
    if dtype.kind == "b":
        return "uint8"
    name = dtype.newbyteorder("=").name
    return name if name in ("uint8", "uint16") else "float32"


def _check(shape, dtype, channels):
    if dtype.kind not in "buif":
        raise ValueError(f"it holds {dtype.name}, which are no plain numbers")
    if shape[2] != channels:
        raise UserError(
            f"has {shape[2]} channel{'s' * (shape[2] != 1)} of {dtype.name}, and {channels} "
            f"{'are' if channels != 1 else 'is'} wanted."
        )


def _mapped(path, channels):
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(pixels, np.ndarray):
        raise ValueError("it holds several arrays")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"it holds an array of shape {pixels.shape}; (H, W, C) is wanted")
    if pixels.shape[2] != channels and pixels.shape[0] == channels:
        pixels = np.moveaxis(pixels, 0, 2)
    _check(pixels.shape, pixels.dtype, channels)
    return pixels


def _is_deep_png(path):
    with open(path, "rb") as file:
        head = file.read(_BIT_DEPTH.stop)
    return head.startswith(b"\x89PNG") and head[_BIT_DEPTH] == b"\x10"


def _png(path):
    import_tensorflow_silently()
    import tensorflow as tf

    try:
        with tf.init_scope():  # also where it is asked for while a graph is traced
            return tf.io.decode_png(path.read_bytes(), dtype=tf.uint16).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError("damaged PNG") from error


def _picture(path):
    with open_image(path) as image:
        if image.mode == "P":
            raise ValueError("its numbers are entries of a palette: save it in its colours")
        if image.format not in _FORMATS:
            raise ValueError(
                f"{image.format} may have more bits than 8, which could not be told: save it as "
                "TIFF, PNG or .npy"
            )
        if image.mode not in _MODES:
            raise ValueError(f"it is of mode {image.mode}: save it as TIFF or .npy")
        image.load()
        loaded = image.convert("L") if image.mode == "1" else image
        # Of a PNG served graphs do not look for what tells how a camera was held, either.
        pixels = np.asarray(loaded if image.format == "PNG" else upright(loaded, image))
    return pixels.reshape(*pixels.shape[:2], -1)
