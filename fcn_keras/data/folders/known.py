"""What the layout of a well-known data set tells of its masks, where no `dataset.json` does."""

import re
from pathlib import Path
from typing import Any

from fcn_keras.data.files.listing import files_below
from fcn_keras.data.files.text import read_text
from fcn_keras.data.known_classes import CITYSCAPES, VOC_CLASSES
from fcn_keras.errors import UserError


def known_of(root: Path, devkit: Path | None) -> tuple[str, dict[str, Any]]:
    """Returns what is known of a folder's masks.

    Args:
        root: the folder.
        devkit: the year of PASCAL VOC in it, if that is its layout.

    Returns:
        A pair: whose classes they are, for people; and all that is known, under the keys of
        `dataset.json`. Both are empty if nothing is.

    Raises:
        UserError: if a file that names the classes is wrong; names it.
    """
    if (root / "labelmap.txt").is_file():
        return "those of CVAT's labelmap.txt", _cvat(root / "labelmap.txt")
    if devkit:
        return "PASCAL VOC's", {"classes": VOC_CLASSES}
    if (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir():
        words = "the 19 of Cityscapes that are evaluated (prepared by TFDS: tfds:cityscapes)"
        return words, _cityscapes(root / "gtFine")
    if (root / "objectInfo150.txt").is_file():
        words = "those of ADE20K's objectInfo150.txt; 0 is void"
        return words, _ade20k(root / "objectInfo150.txt")
    return "", {}


def _cvat(path):
    """Names and colours as CVAT writes them: `name:r,g,b:parts:actions` in a line."""
    lines = [line for line in read_text(path).splitlines() if line.strip() and line[0] != "#"]
    found = [re.match(r"(.+?):(\d+),(\d+),(\d+)(:|$)", line) for line in lines]
    if not found or None in found:
        raise UserError(f"{path}: must have lines such as road:128,64,128:: and no others.")
    return {
        "classes": [match[1] for match in found],
        "colors": [[int(match[i]) for i in (2, 3, 4)] for match in found],
    }


def _cityscapes(masks):
    """The 19 classes that are evaluated, in files of all ids or of those of the 19 alone."""
    classes = [name for name, _ in CITYSCAPES.values()]
    colors = [list(color) for _, color in CITYSCAPES.values()]
    about = {"classes": classes, "colors": colors, "image_suffix": "_leftImg8bit"}
    names = [path.stem for path in files_below(masks)]
    if not any(name.endswith("_gtFine_labelIds") for name in names):
        return about | {"mask_suffix": "_gtFine_labelTrainIds"}
    values = {
        str(value): CITYSCAPES[value][0] if value in CITYSCAPES else "void" for value in range(34)
    }
    return about | {"mask_suffix": "_gtFine_labelIds", "values": values}


def _ade20k(path):
    """The 150 classes of the scene parsing benchmark; 0 is what has none."""
    rows = [line.split("\t") for line in read_text(path).splitlines()]
    names = [row[-1].strip() for row in rows if row[0].strip().isdecimal()]
    if len(names) != 150 or len({*names}) != 150:
        raise UserError(f"{path}: must list 150 classes, each by another name.")
    return {"classes": names, "reduce_zero_label": True}
