"""Which data sets are registered, and what is known of them without opening any.

A data set is a folder in `tfds/builders` with its TFDS builder and a file `names.py`, which is
light: it is read wherever names are offered, as in the help of the command line. Its `NAMES` says
for each name which configuration of the builder is meant, how many classes there are, and where
the data set comes from. The folder is entered nowhere else.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

_BUILDERS = Path(__file__).parent / "tfds" / "builders"


class Entry(NamedTuple):
    """A registered data set.

    Attributes:
        folder: the folder of its builder, in `tfds/builders`.
        config: the configuration of the builder; None if it has a single one.
        classes: how many classes it has; "33+3" where images have two label maps.
        origin: where it comes from.
    """

    folder: str
    config: str | None
    classes: str
    origin: str


_FOLDERS = [path.parent.name for path in _BUILDERS.glob("*/*_dataset_builder.py")]

_ENTRIES = {
    name: Entry(folder, **values)
    for folder in _FOLDERS
    for name, values in import_module(f"fcn_keras.data.tfds.builders.{folder}.names").NAMES.items()
}

# By name; first comes what needs no download, which is also what is trained on if nothing is said.
DATASETS = {name: _ENTRIES[name] for name in ("shapes", *sorted({*_ENTRIES} - {"shapes"}))}


def is_path(name: str | Path) -> bool:
    """Whether a data set is named by the path of a folder: always by a `Path`."""
    return isinstance(name, Path) or not (name in DATASETS or name.startswith("tfds:"))


def list_datasets(data_dir: str | Path | None = None) -> list[tuple[str, str, str, str]]:
    """Lists the registered data sets without opening any.

    Args:
        data_dir: where prepared sets are kept; TFDS's own default if not given.

    Returns:
        For each: its name, how many classes it has, where it comes from, and whether it is
        prepared, in words.
    """
    home = Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    rows = []
    for name, entry in DATASETS.items():
        prepared = sorted(
            home.joinpath(entry.folder, entry.config or "").glob("*/dataset_info.json")
        )
        state = f"prepared, version {prepared[-1].parent.name}" if prepared else "not prepared"
        rows.append((name, entry.classes, entry.origin, state))
    return rows
