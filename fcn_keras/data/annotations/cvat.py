"""CVAT's own files, "CVAT for images": one of XML for all images."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from fcn_keras.data.annotations.drawing import (
    Draw,
    Drawn,
    Shape,
    drawn,
    drawn_box,
    drawn_ellipse,
    pasted,
    turned,
)
from fcn_keras.data.annotations.found import (
    Annotated,
    Images,
    split_of,
    value_of,
    with_background,
)
from fcn_keras.errors import UserError

_AREAS = ("polygon", "box", "ellipse", "mask")

_NO_AREAS = ("polyline", "points", "skeleton", "cuboid", "tag")


def is_cvat(path: Path) -> bool:
    """Whether an XML file is CVAT's, by its beginning."""
    try:
        _, root = next(ElementTree.iterparse(path, events=("start",)))
    except (ElementTree.ParseError, OSError, StopIteration):
        return False
    return root.tag == "annotations"


def read_cvat(path: Path) -> Annotated:
    """Reads CVAT's file; the images lie in its folder, or below.

    Labels are in the order of the task. A shape of a higher `z_order` is on top, of two of one the
    later in the file. Lines and points have no area, and are passed over.

    Args:
        path: the file, usually `annotations.xml`.

    Raises:
        UserError: if it is wrong.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: is not valid XML ({error}).") from error
    if root.find("track") is not None:
        raise UserError(f"{path}: is CVAT's for videos. Export the task as CVAT for images.")
    known = {
        named.text or "": _color(label.findtext("color", ""))
        for label in root.iterfind("meta//labels/label")
        if (named := label.find("name")) is not None
    }
    used = {shape.get("label", "") for kind in _AREAS for shape in root.iterfind(f"image/{kind}")}
    labels = with_background(known or sorted(used))
    images = Images(path.parent)
    maps: dict[str, list[Drawn]] = {}
    absent: dict[str, list[Path]] = {}
    passed_over: dict[str, int] = {}
    for entry in root.iterfind("image"):
        name, size = entry.attrib["name"], (int(entry.attrib["height"]), int(entry.attrib["width"]))
        split = split_of(entry.get("subset", ""), *Path(name).parent.parts)
        image = images.find(name)
        if image is None:
            absent.setdefault(split, []).append(path.parent / name)
            continue
        for shape in entry:
            if shape.tag in _NO_AREAS:
                passed_over[shape.tag] = passed_over.get(shape.tag, 0) + 1
        shapes, fault = _shapes(entry, labels)
        maps.setdefault(split, []).append(Drawn(path, image, shapes, size, fault=fault))
    if not (maps or absent):
        raise UserError(f"{path}: lists no images.")
    colors = {label: color for label, color in known.items() if color}
    told = len({*colors.values()}) == len(colors)
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(passed_over.items()))
    return Annotated(
        "CVAT's XML",
        labels,
        maps,
        absent,
        f"{words} (no areas)" if words else "",
        colors if told else {},
    )


def _color(text):
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue


def _shapes(entry, labels):
    """The shapes of an image, the lowest first, or what is wrong with one."""
    shapes = []
    for shape in (shape for shape in entry if shape.tag in _AREAS):
        label = shape.get("label", "")
        who = f"a {shape.tag} of {label!r}"
        try:
            value = value_of(label, labels)
        except ValueError:
            return (), f"{who}: the file does not list that label."
        try:
            order = int(shape.get("z_order", "0"))
            shapes.append((order, Shape(value, _draw(shape), who)))
        except (KeyError, ValueError) as error:
            return (), f"{who} is not as CVAT writes it ({error})."
    return tuple(shape for _, shape in sorted(shapes, key=lambda pair: pair[0])), ""


def _draw(shape) -> Draw:
    def number(name):
        return float(shape.attrib[name])

    degrees = float(shape.get("rotation", "0"))
    if shape.tag == "polygon":
        pairs = shape.attrib["points"].split(";")
        points = [(float(x), float(y)) for x, y in (pair.split(",") for pair in pairs)]
        if len(points) < 3:
            raise ValueError(f"{len(points)} points")
        return drawn("polygon", points)
    if shape.tag == "box":
        left, top, right, bottom = map(number, ("xtl", "ytl", "xbr", "ybr"))
        if not degrees:
            return drawn_box(left, top, right, bottom)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return drawn("polygon", turned(corners, ((left + right) / 2, (top + bottom) / 2), degrees))
    if shape.tag == "ellipse":
        center, radii = (number("cx"), number("cy")), (number("rx"), number("ry"))
        return drawn_ellipse(center, radii, degrees)
    left, top, width, height = (int(number(name)) for name in ("left", "top", "width", "height"))
    runs = [int(run) for run in shape.attrib["rle"].split(",")]
    if min(runs) < 0 or sum(runs) != width * height:
        raise ValueError(f"runs of {sum(runs)} pixels for {width} x {height}")
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return pasted(mask.reshape(height, width), left, top)
