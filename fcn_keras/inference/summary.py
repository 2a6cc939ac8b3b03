"""How much of each image each class covers, as a table for people."""

import csv
import filecmp
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL.PngImagePlugin import PngInfo

from fcn_keras.data.dataset import IGNORE_LABEL, count_values
from fcn_keras.data.files.images import open_image
from fcn_keras.inference.regions import count_regions
from fcn_keras.system.files import written_whole
from fcn_keras.system.spelling import valid_text

SUMMARY = "summary.csv"
COLUMNS = ("image", "class_id", "class", "pixels", "share", "regions")

# Under this name a label map holds its part of the table.
_NOTE = "fcn_keras_summary"


def note_summary(note: PngInfo, class_ids: np.ndarray) -> None:
    """Adds what the table is to say of a label map to what is kept beside its pixels."""
    note.add_text(_NOTE, json.dumps(_counted(class_ids)))


def _counted(class_ids):
    """Label -> its pixels and its regions, of those that occur."""
    pixels, regions = count_values(class_ids), count_regions(class_ids)
    return {
        str(label): [int(pixels[label]), int(regions[label])]
        for label in np.flatnonzero(pixels).tolist()
    }


def write_summary(
    images: Sequence[Path], label_maps: Iterable[Path], output: Path, classes: Sequence[str]
) -> None:
    """Writes `summary.csv`: for each image and class its pixels, its share of them, its regions.

    A region is pixels of a class that are joined by their sides. Void has rows too, after the
    classes; classes that do not occur in an image have one with zeros.

    Args:
        images: the photographs' files.
        label_maps: the label map of each.
        output: the folder to write to.
        classes: names of the classes.
    """
    names = {**dict(enumerate(map(valid_text, classes))), IGNORE_LABEL: "void"}
    # Of very many images the table has rows beyond what is to be held in memory.
    file = output / SUMMARY
    with suppress(_NothingNewError), written_whole(file) as aside:
        with open(aside, "w", encoding="utf-8", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(COLUMNS)
            for image, label_map in zip(images, label_maps, strict=True):
                writer.writerows(_rows(image, label_map, names))
        if file.is_file() and filecmp.cmp(aside, file, shallow=False):
            raise _NothingNewError


class _NothingNewError(Exception):
    """What has been written is there already, and is left as it is."""


def _rows(image, label_map, names):
    """The rows of an image."""
    with open_image(label_map) as picture:
        text = picture.info.get(_NOTE)
        counted = json.loads(text) if text else _counted(np.asarray(picture))
        whole = picture.width * picture.height
    for label, name in names.items():
        pixels, regions = counted.get(str(label), (0, 0))
        if pixels or label != IGNORE_LABEL:
            share = f"{pixels / whole:.6f}"
            yield valid_text(image.name), label, name, pixels, share, regions


def write_if_new(path: Path, text: str) -> None:
    """Writes a file, but for one that holds this text already, which is left as it is."""
    content = text.encode()
    if not path.is_file() or path.read_bytes() != content:
        with written_whole(path) as aside:
            aside.write_bytes(content)
