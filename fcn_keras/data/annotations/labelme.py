"""LabelMe's files: one of JSON for each image, with the image beside it or inside it.

Shapes are drawn as `labelme.utils.shapes_to_label` does: the later one on top, lines 10 pixels
wide, points as discs of 5 pixels radius.
"""

import base64
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from fcn_keras.data.annotations.drawing import (
    Draw,
    Drawn,
    Shape,
    drawn,
    drawn_box,
    drawn_ellipse,
    pasted,
)
from fcn_keras.data.annotations.found import (
    Annotated,
    load_json,
    split_of,
    value_of,
    with_background,
)
from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.listing import files_below
from fcn_keras.data.files.text import read_text
from fcn_keras.errors import UserError

# How LabelMe's own examples call what counts for nothing, and the background.
_IGNORED, _BACKGROUND = "__ignore__", "_background_"

_LINE, _POINT = 10, 5

# How many points a shape of a kind has, at least and at most.
_POINTS = {
    "polygon": (3, math.inf),
    "rectangle": (2, 2),
    "oriented_rectangle": (4, 4),
    "circle": (2, 2),
    "line": (2, 2),
    "linestrip": (2, math.inf),
    "point": (1, 1),
    "mask": (2, 2),
}


def is_labelme(content: object) -> bool:
    """Whether the content of a JSON file is LabelMe's."""
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def read_labelme(root: Path) -> Annotated:
    """Reads a folder of LabelMe's files; folders in it may be splits.

    Labels are in order of their names, or as a file `labels.txt` has them.

    Raises:
        UserError: if a file is wrong; names it.
    """
    contents = {
        path: content for path in files_below(root) if (content := _content(path)) is not None
    }
    used = {str(shape["label"]).strip() for c in contents.values() for shape in c["shapes"]}
    listed = root / "labels.txt"
    names = read_text(listed).splitlines() if listed.is_file() else sorted(used)
    labels = with_background(
        name.strip() for name in names if name.strip() not in ("", _IGNORED, _BACKGROUND)
    )
    maps: dict[str, list[Drawn]] = {}
    absent: dict[str, list[Path]] = {}
    for path, content in contents.items():
        split = split_of(*path.parent.relative_to(root).parts)
        image = path.parent / Path(str(content["imagePath"]).replace("\\", "/"))
        if not image.is_file():
            image = path.parent / image.name
        if not image.is_file() and content["imageData"]:
            image = path  # which `read_image` knows
        if not image.is_file():
            absent.setdefault(split, []).append(image)
            continue
        height, width = content.get("imageHeight"), content.get("imageWidth")
        size = (height, width) if type(height) is type(width) is int else None
        shapes, fault = _drawn_shapes(content, labels)
        maps.setdefault(split, []).append(Drawn(path, image, shapes, size, fault=fault))
    return Annotated("LabelMe's JSON", labels, maps, absent)


def _content(path):
    """What a file of LabelMe's says, and whether it holds the image; None for other files."""
    content = load_json(path) if path.suffix.lower() == ".json" else None
    if not is_labelme(content):
        return None
    shapes = content["shapes"]
    if not (isinstance(shapes, list) and all("label" in shape for shape in shapes)):
        raise UserError(f"{path}: `shapes` must be a list of shapes, each with a `label`.")
    # The images together would fill the memory.
    return content | {"imageData": bool(content.get("imageData"))}


def _drawn_shapes(content, labels):
    """The shapes, or what is wrong with one."""
    shapes = []
    for number, shape in enumerate(content["shapes"], 1):
        label = str(shape["label"]).strip()
        try:
            if label == _IGNORED:
                value = IGNORE_LABEL
            else:
                value = 0 if label == _BACKGROUND else value_of(label, labels)
        except ValueError:
            return (), f"shape {number} is labelled {label!r}, which labels.txt does not list."
        try:
            shapes.append(Shape(value, _draw(shape), f"shape {number}, {label!r},"))
        except UserError as error:
            return (), f"shape {number}, {label!r}, {error}"
        except (KeyError, TypeError, ValueError, OSError) as error:
            return (), f"shape {number}, {label!r}, is not as LabelMe writes it ({error})."
    return tuple(shapes), ""


def _draw(shape) -> Draw:
    kind = shape.get("shape_type") or "polygon"
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind not in _POINTS:
        raise UserError(f"is of the kind {kind!r}, of which nobody knows the area.")
    least, most = _POINTS[kind]
    if not least <= len(points) <= most:
        raise UserError(f"is a {kind} of {len(points)} points.")
    if kind == "circle":
        center, (x, y) = points
        radius = math.hypot(center[0] - x, center[1] - y)
        return drawn_ellipse(center, (radius, radius), 0)
    if kind == "rectangle":
        return drawn_box(*points[0], *points[1])
    if kind in ("line", "linestrip"):
        return drawn("line", points, width=_LINE)
    if kind == "point":
        return drawn_ellipse(points[0], (_POINT, _POINT), 0)
    if kind == "mask":
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
            mask = np.asarray(image.convert("L"), bool)
        (left, top), (right, bottom) = np.asarray(points).astype(int).tolist()
        if mask.shape != (bottom - top + 1, right - left + 1):
            raise UserError(f"is a mask of {mask.shape} in a box of other sides.")
        return pasted(mask, left, top)
    return drawn("polygon", points)
