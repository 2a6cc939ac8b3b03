"""Label Studio's files: one of JSON for all tasks."""

import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from fcn_keras.data.annotations.drawing import Draw, Drawn, Shape, drawn, drawn_ellipse, turned
from fcn_keras.data.annotations.found import Annotated, Images, split_of, value_of, with_background
from fcn_keras.data.files.images import IMAGE_SUFFIXES
from fcn_keras.errors import UserError

_AREAS = ("polygonlabels", "rectanglelabels", "ellipselabels", "brushlabels")

# Areas whose labels stand elsewhere, or that are stored in other ways.
_OTHER_AREAS = (
    *("polygon", "rectangle", "ellipse", "brush", "labels", "bitmask", "bitmasklabels"),
    *("vector", "vectorlabels", "videorectangle", "magicwand"),
)


def is_label_studio(content: object) -> bool:
    """Whether the content of a JSON file is Label Studio's, of its format "JSON"."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(
            isinstance(task, dict) and isinstance(task.get("data"), dict) and "annotations" in task
            for task in content
        )
    )


def read_label_studio(root: Path, contents: dict[Path, list]) -> Annotated:
    """Reads Label Studio's files, of which each may be a split.

    Labels are in order of their names. Of two areas at one place the later one is seen. Images are
    found by their names, with or without the eight letters that Label Studio puts before them.

    Args:
        root: the folder that holds the images too.
        contents: the files with what they hold.

    Raises:
        UserError: if a task was annotated twice, as nothing tells which is meant.
    """
    images = Images(root)
    tasks = [(path, task) for path, content in contents.items() for task in content]
    areas = [(path, task, _areas_of(path, task)) for path, task in tasks]
    made = [(path, task, found) for path, task, found in areas if found is not None]
    labels = with_background(sorted({_label(area) for *_, found in made for area in found} - {""}))
    maps: dict[str, list[Drawn]] = {}
    absent: dict[str, list[Path]] = {}
    for path, task, found in made:
        split = split_of(path.stem, *path.parent.relative_to(root).parts)
        name = _image_name(path, task)
        image = images.find(name, split) or images.find(re.sub("^[0-9a-f]{8}-", "", name), split)
        if image is None:
            absent.setdefault(split, []).append(path.parent / name)
            continue
        sizes = {(area.get("original_height"), area.get("original_width")) for area in found}
        size = sizes.pop() if len(sizes) == 1 else None
        shapes, fault = _shapes(found, labels)
        if found and (size is None or not all(type(side) is int for side in size)):
            shapes, fault = (), "its areas do not tell one size of the image."
        maps.setdefault(split, []).append(Drawn(path, image, shapes, size, fault=fault))
    left = len(areas) - len(made)
    words = f"{left} tasks that nobody has annotated" if left else ""
    return Annotated("Label Studio's JSON", labels, maps, absent, words)


def _areas_of(path, task):
    """What was drawn on an image, in the annotation that counts; None if there is none."""
    made = [a for a in task["annotations"] if not a.get("was_cancelled")]
    if len(made) > 1:
        raise UserError(
            f"{path}: task {task.get('id')} was annotated {len(made)} times; leave one of them."
        )
    if not made:
        return None
    for area in made[0]["result"]:
        if area.get("type") in _OTHER_AREAS:
            raise UserError(
                f"{path}: task {task.get('id')} has a result of the type {area['type']!r}. Known "
                f"are {', '.join(_AREAS)}."
            )
    return [area for area in made[0]["result"] if area.get("type") in _AREAS]


def _image_name(path, task):
    """What a task's image is called, without the folders of the server."""
    names = []
    for value in task["data"].values():
        text = unquote(str(value).partition("?d=")[2] or str(value).partition("?")[0])
        if Path(text).suffix.lower() in IMAGE_SUFFIXES:
            names.append(Path(text.replace("\\", "/")).name)
    if len(names) != 1:
        raise UserError(f"{path}: task {task.get('id')} names {len(names)} images instead of one.")
    return names[0]


def _label(area):
    names = area.get("value", {}).get(area["type"]) or [""]
    return str(names[0])


def _shapes(areas, labels):
    """The areas of an image, or what is wrong with one."""
    shapes = []
    for area in areas:
        who = f"area {area.get('id')!r}"
        try:
            draw, label = _draw(area), _label(area)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            return (), f"{who} is not as Label Studio writes it ({error})."
        if not label:
            return (), f"{who} has no label."
        shapes.append(Shape(value_of(label, labels), draw, who))
    return tuple(shapes), ""


def _draw(area) -> Draw:
    value, kind = area["value"], area["type"]
    width, height = area["original_width"], area["original_height"]

    def pixels(x, y):
        return float(x) * width / 100, float(y) * height / 100

    if kind == "polygonlabels":
        points = [pixels(x, y) for x, y in value["points"]]
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points")
        return drawn("polygon", points)
    if kind == "brushlabels":
        return partial(_brushed, value["rle"])
    left, top = pixels(value["x"], value["y"])
    degrees = float(value.get("rotation") or 0)
    if kind == "ellipselabels":
        return drawn_ellipse((left, top), pixels(value["radiusX"], value["radiusY"]), degrees)
    across, down = pixels(value["width"], value["height"])
    corners = [(left, top), (left + across, top), (left + across, top + down), (left, top + down)]
    # Its upper left corner stays where it is.
    return drawn("polygon", turned(corners, (left, top), degrees))


def _brushed(runs, size):
    """The pixels of a brush: those that it left not wholly transparent, of RGBA."""
    rgba = decode_runs(runs)
    height, width = size
    if rgba.size != 4 * height * width:
        raise ValueError(f"a brush of {rgba.size // 4} pixels for {width} x {height}")
    return rgba.reshape(height, width, 4)[..., 3] > 0


def decode_runs(runs: list[int]) -> np.ndarray:
    """Unpacks what Label Studio's brush is stored as.

    Args:
        runs: bytes of a stream of bits: how many numbers there are (32 bits), how many bits a
            number has, less one (5), and the length of a run, of four kinds, less one (4 each).
            Then for each run: whether it repeats one number (1), its kind (2), its length less one,
            and the number, or each of them.

    Returns:
        The numbers, uint8.

    Reference:
        https://github.com/thi-ng/umbrella, rle-pack; `label_studio_sdk.converter.brush`.
    """
    bits = np.unpackbits(np.asarray(runs, np.uint8))
    place = 0

    def read(count):
        nonlocal place
        place += count
        if place > bits.size:
            raise ValueError("a brush that is cut off")
        return int("".join(map(str, bits[place - count : place])), 2)

    total, word = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    numbers = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        repeated = read(1)
        end = done + 1 + read(lengths[read(2)])
        if repeated:
            numbers[done:end] = read(word)
        else:
            numbers[done:end] = [read(word) for _ in range(end - done)]
        done = end
    return numbers
