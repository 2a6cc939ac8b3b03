"""Large masks: TIFF files of class ids are read in windows, all others as a whole."""

from pathlib import Path

import numpy as np

from fcn_keras.data.annotations.drawing import Drawn
from fcn_keras.data.dataset import count_values
from fcn_keras.data.files import large
from fcn_keras.data.files.rasters import TIFF_SUFFIXES, open_raster
from fcn_keras.data.files.readings import Mask
from fcn_keras.data.files.tiff import Tiff
from fcn_keras.data.folders.description import Description
from fcn_keras.errors import UserError

# Pixels of a large mask that are counted together.
_BAND = 1 << 24

_NONE = np.empty((0, 0), "uint8")


def size_by_windows(path: Path | Drawn, about: Description) -> tuple[int, int] | None:
    """Returns height and width of a mask whose windows can be read by `read_window`.

    It is one grey picture of 8 bits in a TIFF file, and no grey is to be read as a colour: what is
    beside a window has no say in what its pixels mean.

    Args:
        path: its file.
        about: what the folder's masks mean.

    Returns:
        None if it has to be read as a whole, or cannot be read, which is told where it is.
    """
    if isinstance(path, Drawn) or path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    if not about.takes_numbers:
        return None
    try:
        with Tiff(path) as file:
            return file.shape[:2] if file.is_grey else None
    except UserError:
        return None
    # Decoders raise errors of any kind where a file is broken; the whole is not read either.
    except Exception:
        return None


def read_window(path: Path, rows: slice, columns: slice) -> np.ndarray:
    """Reads a window of a mask that has a `size_by_windows`: its values, uint8 `(h, w)`.

    Raises:
        UserError: if the file is broken there; names it.
    """
    with open_raster(path, 1) as raster:
        return raster.read(rows, columns)[..., 0]


def count_mask(path: Path | Drawn, about: Description) -> tuple[tuple[int, ...], np.ndarray, Mask]:
    """Reads a mask to the end, a large one in bands where that is possible.

    Args:
        path: its file, or shapes.
        about: what the folder's masks mean.

    Returns:
        Its height and width; how many pixels have each value, int64 `(256,)`; and how it was read,
        without the values.

    Raises:
        UserError: see `fcn_keras.data.files.masks.read_mask`.
    """
    size = size_by_windows(path, about)
    if size is None or size[0] * size[1] <= large.LARGE or isinstance(path, Drawn):
        mask = about.read(path)
        return mask.values.shape, count_values(mask.values), mask._replace(values=_NONE)
    height, width = size
    rows = max(1, _BAND // width)
    counts = sum(
        (
            count_values(read_window(path, slice(top, min(top + rows, height)), slice(0, width)))
            for top in range(0, height, rows)
        ),
        np.zeros(256, "int64"),
    )
    used = np.flatnonzero(counts).astype("uint8")
    return size, counts, about.read_greys(path, used)._replace(values=_NONE)
