"""Networks in `.keras` files, and in folders as these are unpacked."""

import zipfile
from pathlib import Path

import keras

from fcn_keras.errors import UserError, first_line


def open_model(path: str | Path) -> keras.Model:
    """Opens a network as `keras.models.load_model` does, uncompiled.

    Args:
        path: the file, or a folder of its parts, as Keras' `hf://` has them.

    Raises:
        UserError: if that fails; names the file.
    """
    try:
        return keras.models.load_model(path, compile=False)
    # A file of something else, a damaged archive, layers of other packages.
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: cannot be opened as a Keras model ({first_line(error)})."
        ) from error
