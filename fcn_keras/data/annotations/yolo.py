"""YOLO's segmentation data sets: `data.yaml`, and a text file of polygons for each image."""

from pathlib import Path

from fcn_keras.data.annotations.drawing import Drawn, Shape, check_near, drawn
from fcn_keras.data.annotations.found import Annotated, value_of, with_background
from fcn_keras.data.files.images import IMAGE_SUFFIXES, read_size
from fcn_keras.data.files.listing import files_below
from fcn_keras.data.files.text import read_text
from fcn_keras.errors import UserError

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


def read_yolo(path: Path) -> Annotated:
    """Reads a YOLO data set for segmentation.

    The labels of `images/train/a.jpg` are in `labels/train/a.txt`, as Ultralytics has it; an image
    without that file is background. Polygons are drawn by Pillow, the smaller ones on top; what
    lies beyond the image is cut off.

    Args:
        path: its `data.yaml`.

    Raises:
        UserError: if PyYAML is missing, or the file is wrong.
    """
    about = _load(path)
    names = _names(path, about["names"])
    labels = with_background(names.values())
    values = {number: value_of(name, labels) for number, name in names.items()}
    base = path.parent / str(about.get("path") or "")
    if not base.is_dir():  # where it was made, or where it is unpacked
        base = path.parent
    maps = {
        split: [
            _label_map(image, values)
            for place in _listed(about.get(split))
            for image in _images(path, base, place)
        ]
        for split in ("train", "val", "test")
        if about.get(split)
    }
    if not maps:
        raise UserError(f"{path}: must say where `train` and `val` are.")
    for split, found in maps.items():
        if found and not any(label_map.file.is_file() for label_map in found):
            raise UserError(f"{path}: no image of {split} has labels; {found[0].file} is missing.")
    return Annotated(f"YOLO's {path.name}", labels, maps)


def _names(path, names):
    """The names of the classes by their numbers."""
    try:
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        found = {int(number): name for number, name in pairs}
    except (TypeError, ValueError):
        found = {}
    right = found and all(isinstance(name, str) and name.strip() for name in found.values())
    if not right or len({*found.values()}) < len(names):
        raise UserError(f"{path}: `names` must name the classes, each by another string.")
    return dict(sorted(found.items()))


def _load(path):
    try:
        import yaml
    except ImportError as error:
        raise UserError(
            f"{path}: YOLO's data sets need PyYAML: pip install 'fcn_keras[yolo]'."
        ) from error
    try:
        about = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not valid YAML ({' '.join(str(error).split())}).") from error
    if not (isinstance(about, dict) and isinstance(about.get("names"), list | dict)):
        raise UserError(f"{path}: must have the `names` of the classes.")
    return about


def _listed(places):
    return places if isinstance(places, list) else [places]


def _images(yaml, base, place):
    """The images of a folder, or of a list."""
    place = str(place)
    found = next((p for p in (base / place, yaml.parent / place) if p.exists()), None)
    if found is None:  # Roboflow writes ../train/images, from nowhere
        found = base / place.removeprefix("../")
    if found.is_dir():
        return sorted(p for p in files_below(found) if p.suffix.lower() in IMAGE_SUFFIXES)
    if found.is_file():
        lines = [line.strip() for line in read_text(found).splitlines()]
        return [base / line.removeprefix("./") for line in lines if line]
    raise UserError(f"{yaml}: {place} is neither a folder of images nor a list of them.")


def _label_map(image, values):
    """The label map of an image, by the text file that has its name."""
    parts = [*image.parts]
    place = len(parts) - 1 - next((i for i, p in enumerate(parts[::-1]) if p == "images"), 0)
    if parts[place] == "images":
        parts[place] = "labels"
    file = Path(*parts).with_suffix(".txt")
    if not image.is_file():
        return Drawn(file, image, fault=f"{image} is missing.")
    if not file.is_file():
        return Drawn(file, image)
    lines = [line.split() for line in read_text(file).splitlines()]
    rows = [(number, row) for number, row in enumerate(lines, 1) if row]
    height, width = read_size(image) if rows else (1, 1)
    shapes = []
    for number, row in rows:
        try:
            kind, numbers = int(row[0]), [float(n) for n in row[1:]]
            check_near(numbers)
        except ValueError:
            return Drawn(file, image, fault=f"line {number} holds what is no number.")
        if kind not in values:
            return Drawn(file, image, fault=f"line {number} is of class {kind}, which has no name.")
        if len(numbers) < 6 or len(numbers) % 2:
            what = "a box" if len(numbers) == 4 else f"{len(numbers)} numbers"
            return Drawn(file, image, fault=f"line {number} has {what} instead of a polygon.")
        numbers = [min(max(number, 0.0), 1.0) for number in numbers]
        points = [(x * width, y * height) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
        shapes.append(Shape(values[kind], drawn("polygon", points), f"line {number}"))
    return Drawn(file, image, tuple(shapes), small_on_top=True)
