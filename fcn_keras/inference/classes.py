"""What the classes of a network are called, and their colours, where no network tells them."""

import json
from pathlib import Path

from fcn_keras.data.files.readers import PHOTOGRAPHS, AsStored, ImageReader
from fcn_keras.data.files.text import read_text
from fcn_keras.data.palette import voc_palette
from fcn_keras.errors import UserError


def numbered_classes(num_classes: int) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Returns names and colours for classes that have none: numbers, and PASCAL VOC's colours."""
    names = [f"class_{i}" for i in range(num_classes)]
    return names, [tuple(color) for color in voc_palette(num_classes).tolist()]


def read_classes(path: str | Path) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Reads the names and colours of classes.

    Args:
        path: a run directory; a SavedModel's folder, or the one that holds its versions; or a
            JSON file with `classes` and `colors`, such as a SavedModel's `assets/classes.json` or
            a data set's `dataset.json`.

    Returns:
        A pair: C names, and C RGB triples (those of PASCAL VOC if there are none).

    Raises:
        UserError: if there are none; names the file.
    """
    file = _file_of(Path(path))
    text = read_text(file) if file.is_file() else ""
    try:
        content = json.loads(text)
        dataset = content.get("dataset", content) if file.name == "config.json" else content
        names = [str(name) for name in dataset["classes"]]
        colors = dataset.get("colors") or voc_palette(len(names)).tolist()
        colors = [(int(red), int(green), int(blue)) for red, green, blue in colors]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: must be a run, an exported SavedModel, or a JSON file with `classes` and "
            "`colors`."
        ) from error
    if len(colors) != len(names):
        raise UserError(f"{file}: has {len(names)} classes and {len(colors)} colours.")
    return names, colors


def read_images(folder: Path) -> ImageReader:
    """Returns how the images are read that a SavedModel takes."""
    images = json.loads(read_text(folder / "assets" / "classes.json")).get("images")
    return AsStored(**images) if images else PHOTOGRAPHS


def find_saved_model(path: str | Path) -> Path | None:
    """Returns the folder of a SavedModel: this one, or the newest version in it.

    None if there is none, or if it is a run directory, whose network is in its `best.keras`.
    """
    path = Path(path)
    if (path / "best.keras").is_file():
        return None
    versions = sorted(
        (p for p in path.glob("*") if p.name.isascii() and p.name.isdecimal()),
        key=lambda version: int(version.name),
        reverse=True,
    )
    return next((p for p in (path, *versions) if (p / "saved_model.pb").is_file()), None)


def _file_of(path):
    if not path.is_dir():
        return path
    for folder in filter(None, (path, find_saved_model(path))):
        for name in ("config.json", "assets/classes.json", "dataset.json"):
            if (folder / name).is_file():
                return folder / name
    return path / "config.json"
