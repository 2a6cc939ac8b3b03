"""Label maps in MATLAB files."""

from pathlib import Path

import numpy as np
import scipy.io

from fcn_keras.data.files.images import reason_of
from fcn_keras.errors import LabelError, UserError


def read_matrix(path, key):
    """Reads the label map out of a MATLAB file."""
    # Both take their time to import, and few need them.
    import h5py
    import scipy.io

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                variables = _hdf5_variables(file, key)
        else:
            variables = _variables(scipy.io.loadmat(path), key)
    except Exception as error:  # of many kinds where a file is broken
        raise UserError(f"{path}: cannot be read as a MATLAB file ({reason_of(error)}).") from error
    whole = {name: _whole(value) for name, value in variables.items()}
    found = {name: matrix for name, matrix in whole.items() if matrix is not None}
    if len(found) > 1:  # A number on its own is a matrix of one row and column in MATLAB.
        found = {name: matrix for name, matrix in found.items() if matrix.size > 1}
    if len(found) != 1:
        wanted = "one matrix of whole numbers" if key is None else f"a matrix {key!r}"
        raise LabelError(
            f"{path}: must hold {wanted}, or `mask_key` in dataset.json must name another. "
            f"It holds {', '.join(found) or 'none'}."
        )
    return next(iter(found.values()))


def _variables(variables, key):
    if key is None:
        return variables
    name, *fields = key.split(".")
    value = variables.get(name)
    for field in fields:
        names = getattr(getattr(value, "dtype", None), "names", None) or ()
        value = value[field].flat[0] if field in names and value.size else None
    return {key: value}


def _hdf5_variables(file, key):
    """The same of files of version 7.3, which hold the columns of a matrix as rows."""
    names = [*file] if key is None else [key]
    items = {name: file.get(name.replace(".", "/")) for name in names}
    return {
        name: item[()].T
        for name, item in items.items()
        if hasattr(item, "dtype") and item.attrs.get("MATLAB_class") != b"char"
    }


def _whole(value):
    """A matrix of whole numbers as one of integers; None for anything else."""
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "biuf":
        return None
    if value.dtype.kind != "f":
        return value
    # What MATLAB takes where nothing else was said.
    whole = np.isfinite(value) & (value == np.trunc(value))
    return value.astype("int64") if whole.all() else None


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
