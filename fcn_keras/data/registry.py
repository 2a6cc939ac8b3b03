"""Data sets by name, or by folder."""

from pathlib import Path

from fcn_keras.data.catalog import DATASETS, is_path
from fcn_keras.data.dataset import Dataset
from fcn_keras.data.folders.folder import load_folder
from fcn_keras.errors import UserError
from fcn_keras.system.spelling import spelled_as_found


def load_dataset(
    name: str | Path,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    channels: int | None = None,
) -> Dataset:
    """Opens a data set.

    Args:
        name: a registered name (`fcn_keras.data.catalog.DATASETS`); "tfds:" and the name of a set
            of TFDS, see `fcn_keras.data.tfds.public.load_public`; or the path of a folder, see
            `fcn_keras.data.folders.folder.load_folder`.
        data_dir: where prepared sets are kept; TFDS's own default if not given
            (`~/tensorflow_datasets`, or what the environment's `TFDS_DATA_DIR` says).
        manual_dir: where files lie that were fetched by hand; `downloads/manual` in `data_dir`
            if not given.
        channels: see `fcn_keras.data.folders.folder.load_folder`; for folders alone.

    Returns:
        A `Dataset`.

    Raises:
        UserError: if there is no such data set, or its files are wrong.

    Example:

    >>> shapes = load_dataset("shapes")
    >>> shapes.splits["train"][0].image.shape
    (96, 96, 3)
    """
    if channels and not is_path(name):
        raise UserError(f"`channels`: is for a folder, not for {name}.")
    if str(name) in DATASETS and not is_path(name):
        # TFDS is heavy, and folders do without it.
        from fcn_keras.data.tfds.own import load_own

        return load_own(str(name), data_dir, manual_dir)
    if not is_path(name):
        from fcn_keras.data.tfds.public import load_public

        return load_public(str(name), data_dir, manual_dir)
    path = spelled_as_found(str(name))
    if not Path(path).is_dir():
        raise UserError(
            f"`dataset` must be one of {', '.join(DATASETS)}, tfds:NAME, or the path of a folder. "
            f"Received: {str(name)!r}, which is neither."
        )
    return load_folder(path, channels=channels)
