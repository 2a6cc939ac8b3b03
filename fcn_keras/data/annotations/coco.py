"""COCO's files: one of JSON for many images, drawn by pycocotools (the extra `coco`)."""

from functools import partial
from pathlib import Path

import numpy as np

from fcn_keras.data.annotations.drawing import Drawn, Shape, check_near
from fcn_keras.data.annotations.found import (
    Annotated,
    Images,
    split_of,
    value_of,
    with_background,
)
from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.errors import UserError


def is_coco(content: object) -> bool:
    """Whether the content of a JSON file is COCO's."""
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= {*content}


def read_coco(root: Path, contents: dict[Path, dict]) -> Annotated:
    """Reads COCO's files, of which each may be a split.

    Labels are in the order of the categories. Of two annotations at one place the later one in the
    file is seen. Crowds, in which nobody has told one object from the other, are void.

    Args:
        root: the folder that holds the images too.
        contents: the files with what they hold.

    Raises:
        UserError: if pycocotools is missing, or a file is wrong; names it.
    """
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{next(iter(contents))}: COCO's shapes need pycocotools: pip install "
            "'fcn_keras[coco]'."
        ) from error
    images = Images(root)
    maps: dict[str, list[Drawn]] = {}
    absent: dict[str, list[Path]] = {}
    labels: list[str] = []
    for path, content in contents.items():
        names = _names(path, content)
        found = with_background(names.values())
        if labels and found != labels:
            raise UserError(f"{path}: has other categories than {[*contents][0]}.")
        labels = found
        split = split_of(path.stem, *path.parent.relative_to(root).parts)
        annotations = _by_image(path, content)
        for entry in content["images"]:
            image = images.find(str(entry["file_name"]), split)
            if image is None:
                absent.setdefault(split, []).append(path.parent / str(entry["file_name"]))
                continue
            size = int(entry["height"]), int(entry["width"])
            shapes, fault = _shapes(annotations[entry["id"]], names, labels)
            maps.setdefault(split, []).append(Drawn(path, image, shapes, size, fault=fault))
    return Annotated("COCO's JSON", labels, maps, absent)


def _names(path, content):
    """The names of the categories by their ids."""
    names: dict[object, str] = {}
    for entry in content["categories"]:
        name = str(entry["name"])
        if names.setdefault(entry["id"], name) != name:
            raise UserError(f"{path}: {names[entry['id']]} and {name} have one id, {entry['id']}.")
    return names


def _by_image(path, content):
    """The annotations of each image, by its id."""
    found: dict[object, list] = {}
    for entry in content["images"]:
        if entry["id"] in found:
            raise UserError(f"{path}: two images have the id {entry['id']}.")
        found[entry["id"]] = []
    for annotation in content["annotations"]:
        if annotation["image_id"] not in found:
            raise UserError(
                f"{path}: annotation {annotation.get('id')} is of image "
                f"{annotation['image_id']!r}, which the file does not list."
            )
        found[annotation["image_id"]].append(annotation)
    return found


def _shapes(annotations, names, labels):
    """The shapes of an image, or what is wrong with one."""
    shapes = []
    for annotation in annotations:
        who = f"annotation {annotation.get('id')}"
        category, area = annotation.get("category_id"), annotation.get("segmentation")
        if category not in names:
            return (), f"{who} is of category {category!r}, which the file does not list."
        if not area:
            return (), f"{who} has no polygon or mask."
        value = value_of(names[category], labels)
        value = IGNORE_LABEL if int(annotation.get("iscrowd") or 0) else value
        shapes.append(Shape(value, partial(_covered, area), who))
    return tuple(shapes), ""


def _runs_of(area, height, width):
    """The pixels of an annotation as runs down the columns, of those without and with in turns."""
    from pycocotools import mask

    if isinstance(area, dict):
        if [*area["size"]] != [height, width]:
            raise ValueError(f"a mask of {area['size']} for an image of {[height, width]}")
        counts = area["counts"]
    else:
        for polygon in area:
            if len(polygon) < 6 or len(polygon) % 2:
                raise ValueError(f"a polygon of {len(polygon)} numbers")
        polygons = [[float(number) for number in polygon] for polygon in area]
        for polygon in polygons:
            check_near(polygon)
        counts = mask.merge(mask.frPyObjects(polygons, height, width))["counts"]
    runs = counts if isinstance(counts, list) else unpacked_runs(counts)
    if min(runs) < 0 or sum(runs) != height * width:
        raise ValueError(f"runs of {sum(runs)} pixels for {height} x {width}")
    return runs


def unpacked_runs(counts: str | bytes) -> list[int]:
    """Unpacks the runs that COCO writes as a text.

    A letter holds five bits and whether there are more, the lowest first; from the third run on, a
    number is the difference to the last but one. (pycocotools unpacks them to pixels alone, with a
    warning of NumPy's that threads cannot silence.)

    Example:

    >>> unpacked_runs("52203")
    [5, 2, 2, 2, 5]

    Reference:
        `rleFrString` in maskApi.c of pycocotools.
    """
    letters = counts.encode() if isinstance(counts, str) else counts
    runs: list[int] = []
    number = bits = 0
    for letter in letters:
        part = letter - 48
        number |= (part & 31) << bits
        bits += 5
        if part & 32:
            continue
        if part & 16:  # a negative one
            number -= 1 << bits
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = bits = 0
    return runs


def _covered(area, size):
    height, width = size
    runs = _runs_of(area, height, width)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
