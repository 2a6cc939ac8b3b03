"""Label maps in MATLAB files."""

from pathlib import Path

import numpy as np
import scipy.io

from fcn_keras.errors import UserError


def read_mat(path: str | Path, key: str) -> np.ndarray:
    """Reads an array from a MATLAB file of version 5, as label maps come.

    Args:
        path: the file.
        key: name of the variable.

    Returns:
        What the variable holds.

    Raises:
        UserError: if the file is broken, or has no such variable; names the file.
    """
    try:
        # A path without a suffix of its own would be tried with another.
        contents = scipy.io.loadmat(str(path), variable_names=[key], appendmat=False)
    except Exception as error:  # of many kinds where a file is broken
        reason = getattr(error, "strerror", None) or [*str(error).splitlines(), type(error)][0]
        raise UserError(f"{path}: cannot be read as a MATLAB file ({reason}).") from error
    if key not in contents:
        raise UserError(f"{path}: has no variable `{key}`.")
    return contents[key]


def read_label(path: str | Path, key: str, low: int, high: int) -> np.ndarray:
    """Reads a label map from a MATLAB file, and checks its values.

    Args:
        path: the file.
        key: name of the variable.
        low, high: the least and the greatest value that have a meaning.

    Returns:
        An int64 array `(H, W)`.

    Raises:
        UserError: if the file is broken, or holds other values; names the file.
    """
    label = read_mat(path, key)
    if label.ndim != 2 or label.dtype.kind not in "uif" or label.size == 0:
        raise UserError(
            f"{path}: `{key}` must be a map of labels. "
            f"Received: {label.dtype} of shape {label.shape}."
        )
    if label.min() < low or label.max() > high:
        raise UserError(
            f"{path}: labels must be from {low} to {high}. This map has {label.min()} "
            f"to {label.max()}."
        )
    return label.astype("int64")
