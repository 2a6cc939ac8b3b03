"""Chainer's `.npz` files, as wkentaro/fcn publishes them."""

import warnings
import zipfile
from pathlib import Path

import numpy as np

from fcn_keras.errors import UserError, first_line


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an archive, without running code that it may hold.

    Args:
        path: what `chainer.serializers.save_npz` or `numpy.savez` wrote.

    Returns:
        Name -> float32 array.

    Raises:
        UserError: if the file is damaged or holds anything but numbers; names it.
    """
    try:
        # What is no archive NumPy would take for a pickle.
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        # NumPy leaves a damaged file open if it opens it itself.
        with open(path, "rb") as file, warnings.catch_warnings():
            # It warns of headers that Python 2 wrote, and reads them.
            warnings.simplefilter("ignore")
            arrays = np.load(file, allow_pickle=False)
            return {name: _numbers(name, arrays[name]) for name in arrays.files}
    # Damaged files fail in any way that zip archives, zlib and NumPy know.
    except Exception as error:
        raise UserError(
            f"{path}: cannot be read as an .npz of numbers ({first_line(error)}). "
            "Download or copy it again."
        ) from error


def _numbers(name, array):
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise ValueError(f"{name} holds no floating-point numbers")
    return array.astype(np.float32, copy=False)
