"""Networks in `.keras` files."""

import zipfile
from pathlib import Path

import keras

from fcn_keras.errors import UserError, first_line


def open_model(path: str | Path) -> keras.Model:
    """Opens a `.keras` file as `keras.models.load_model` does, uncompiled.

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
