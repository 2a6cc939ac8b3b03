"""Label maps in MATLAB files."""

from pathlib import Path

import numpy as np

from fcn_keras.data.files.images import unreadable
from fcn_keras.errors import LabelError, UserError


def read_matrix(path: Path, key: str | None = None) -> np.ndarray:
    """Reads the only matrix of whole numbers in a MATLAB file.

    Args:
        path: the file.
        key: which of its variables to read where there are several, see `read_variables`.

    Raises:
        UserError: if the file is broken; a `LabelError` if there is none or more than one. Both
            name the file.
    """
    whole = {name: _whole(value) for name, value in read_variables(path, key).items()}
    matrices = {name: matrix for name, matrix in whole.items() if matrix is not None}
    if len(matrices) > 1:  # A number on its own is a matrix of one row and column in MATLAB.
        matrices = {name: matrix for name, matrix in matrices.items() if matrix.size > 1}
    if len(matrices) != 1:
        wanted = "one matrix of whole numbers" if key is None else f"a matrix {key!r}"
        raise LabelError(
            f"{path}: must hold {wanted}, or `mask_key` in dataset.json must name another. "
            f"It holds {', '.join(matrices) or 'none'}."
        )
    return next(iter(matrices.values()))


def read_variable(path: Path, key: str) -> np.ndarray:
    """Reads one variable of a MATLAB file.

    Raises:
        UserError: if the file is broken, or has no such variable; names the file.
    """
    variables = read_variables(path, key)
    if key not in variables:
        raise UserError(f"{path}: has no variable `{key}`.")
    return variables[key]


def read_label(path: Path, key: str, low: int, high: int) -> np.ndarray:
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
    label = read_variable(path, key)
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


def read_variables(path: Path, key: str | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays in a MATLAB file of any version.

    Args:
        path: the file.
        key: the only variable to read; fields of structures stand behind dots:
            "GTcls.Segmentation". All variables if not given.

    Returns:
        What each variable holds, by its name. Empty if there is none of the name that is asked
        for.

    Raises:
        UserError: if the file is broken; names it.
    """
    # Both take their time to import, and few need them.
    import h5py
    import scipy.io

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                wanted = [*file] if key is None else [key]
                items = {name: file.get(name.replace(".", "/")) for name in wanted}
                # Files of version 7.3 hold the columns of a matrix as rows.
                variables = {
                    name: item[()].T
                    for name, item in items.items()
                    if hasattr(item, "dtype") and item.attrs.get("MATLAB_class") != b"char"
                }
        else:
            names = None if key is None else [key.partition(".")[0]]
            # A path without a suffix of its own would be tried with another.
            contents = scipy.io.loadmat(str(path), variable_names=names, appendmat=False)
            variables = contents if key is None else {key: _field(contents, key.split("."))}
    # Both libraries raise errors of many kinds where a file is broken, zlib's and IndexError too.
    except Exception as error:
        raise unreadable(path, "a MATLAB file", error) from error
    return {name: value for name, value in variables.items() if isinstance(value, np.ndarray)}


def _field(variables, names):
    """Goes from a variable into the fields of structures; None if there is none such."""
    value = variables.get(names[0])
    for name in names[1:]:
        fields = getattr(getattr(value, "dtype", None), "names", None) or ()
        value = value[name].flat[0] if name in fields and value.size else None
    return value


def _whole(value):
    """A matrix of whole numbers as one of integers; None for anything else."""
    if value.ndim != 2 or value.dtype.kind not in "biuf":
        return None
    if value.dtype.kind != "f":
        return value
    # What MATLAB takes where nothing else was said.
    whole = np.isfinite(value) & (value == np.trunc(value))
    return value.astype("int64") if whole.all() else None
