"""Anyone's folder of images and masks as a data set."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from fcn_keras.data.dataset import IGNORE_LABEL, Dataset, Example
from fcn_keras.data.images import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    read_image,
    read_mask,
    read_size,
)
from fcn_keras.data.voc_devkit import find_devkit, split_pairs
from fcn_keras.errors import UserError
from fcn_keras.names import VOC_CLASSES
from fcn_keras.palette import voc_palette

LAYOUTS = (
    "DIR/images/train with DIR/annotations/train, or DIR/train with DIR/trainannot, and the same "
    "with val; or as a year of PASCAL VOC's devkit"
)

# What the splits are called elsewhere -> here.
_SPLITS = {"training": "train", "validation": "val", "testing": "test"}
_IMAGES_AND_MASKS = (("images", "annotations"), ("img_dir", "ann_dir"))


def load_folder(root: str | Path) -> Dataset:
    """Opens a folder of images and masks.

    Two layouts are known: `images/<split>` with `annotations/<split>` (ADE20K; or `img_dir` with
    `ann_dir`, MMSegmentation), and `<split>` with `<split>annot` (SegNet's CamVid). Splits are
    train, val, test, or training, validation, testing. An image and its mask have the same stem.
    Masks are palette or grey PNGs of class ids, 255 (or the `ignore_label`) being void, PNGs in
    the classes' colours, or MATLAB files with a matrix of class ids.

    PASCAL VOC's layout is known too: `JPEGImages`, `SegmentationClass`, and the ids of a split in
    `ImageSets/Segmentation/<split>.txt`. `root` is a year there, or `VOCdevkit` with a single one.

    An optional `dataset.json` in the folder gives `name`, `classes` (names in order of their
    ids), `colors` (RGB), `ignore_label`, `ignore_color` (RGB), `reduce_zero_label` (0 is void, and
    the class ids are all one less) and `mask_key` (the variable in MATLAB files). Ids count up
    from 0 and skip the ignore label. Without it, the classes are VOC's in VOC's layout, and else
    counted in the masks.

    Args:
        root: the folder.

    Returns:
        A `Dataset`. Its splits know the files; nothing else has been read yet, except the
        masks where there is no `dataset.json`.

    Raises:
        UserError: if the folder has no known layout, an image has no mask, or `dataset.json`
            is wrong.
    """
    root = Path(root)
    pairs = {
        name: _pairs_of(files)
        for name, files in list_files(root).items()
        if files.folder.is_dir()  # masks alone are passed over
    }
    about = read_about(root)
    read = mask_reader(about)
    counts = None
    if "classes" not in about:
        counts = np.sum([_count_values(files, read) for files in pairs.values()], axis=0)
    classes, ids = classes_of(root, about, counts)
    return Dataset(
        name=name_of(root, about),
        classes=classes,
        colors=colors_of(about, len(classes)),
        splits={name: FolderSplit(files, ids, read) for name, files in pairs.items()},
    )


@dataclass(frozen=True)
class FolderSplit:
    """Pairs of an image file and a mask file.

    Attributes:
        files: pairs of paths.
        ids: int16 `(256,)`: the class id (or 255) for each value in a mask; -1 where a value
            has no meaning.
        read: gives the values in a mask file.
    """

    files: Sequence[tuple[Path, Path]]
    ids: np.ndarray = field(repr=False)
    read: Callable[[Path], np.ndarray] = field(default=read_mask, repr=False)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        image_path, mask_path = self.files[index]
        image = read_image(image_path)
        label = self._label(mask_path)
        _check_sizes(image_path, image.shape[:2], mask_path, label.shape)
        return Example(image, label[:, :, None], image_path.stem)

    def size(self, index):
        return read_size(self.files[index][0])

    def _label(self, path):
        mask = self.read(path)
        label = self.ids[mask]
        if label.min(initial=0) < 0:
            value = mask[label < 0][0]
            known = (self.ids >= 0).nonzero()[0]
            raise UserError(
                f"{path}: a mask may hold {ranges(known)}. This one holds {value} "
                f"({np.count_nonzero(label < 0)} pixels without a class in all)."
            )
        return label.astype("uint8")

    def scan(self) -> np.ndarray:
        """Checks every mask and the size of every image before work starts.

        Returns:
            An int64 array `(256,)`: how many pixels each class has, and void at 255.

        Raises:
            UserError: at the first file that is wrong; names it.
        """

        def check(pair):
            image_path, mask_path = pair
            label = self._label(mask_path)
            _check_sizes(image_path, read_size(image_path), mask_path, label.shape)
            _check_end(image_path)
            return np.bincount(label.ravel(), minlength=256)

        return sum(_in_parallel(check, self.files, "checking"))


class Files(NamedTuple):
    """The files of a split, whatever is wrong with them.

    Attributes:
        pairs: an image and its mask each.
        without_mask: an image and where its mask should be, each.
        without_image: masks.
        same_name: two files each, of which one name cannot tell which one is meant.
        folder: where the images lie.
        absent: images that a list names, but that are not there.
    """

    pairs: list[tuple[Path, Path]]
    without_mask: list[tuple[Path, Path]]
    without_image: list[Path]
    same_name: list[tuple[Path, Path]]
    folder: Path
    absent: Sequence[Path] = ()


def list_files(root: Path) -> dict[str, Files]:
    """Lists the files of a data set, by split.

    Raises:
        UserError: if the folder has no known layout.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder.")
    devkit = find_devkit(root)
    if devkit:
        return {name: _masked(devkit, pairs) for name, pairs in split_pairs(devkit).items()}
    return {name: _match(*pair) for name, pair in _find_folders(root).items()}


def _masked(devkit, pairs):
    """The files of a split of VOC, whose lists name the images."""
    present = [pair for pair in pairs if pair[0].is_file()]
    return Files(
        [pair for pair in present if pair[1].is_file()],
        [pair for pair in present if not pair[1].is_file()],
        [],
        [],
        devkit,
        [photo for photo, _ in pairs if not photo.is_file()],
    )


def _find_folders(root):
    """The folders of the images and of the masks of each split."""
    for images, masks in _IMAGES_AND_MASKS:
        if (root / images).is_dir() and (root / masks).is_dir():
            names = _folders_in(root / images) | _folders_in(root / masks)
            folders = {name: (root / images / name, root / masks / name) for name in names}
            break
    else:
        inside = _folders_in(root)
        masks = {name.removesuffix("annot") for name in inside if name.endswith("annot")}
        # A folder of images without one of masks is a split only beside another that has one.
        known = {"train", "val", "test", *_SPLITS} if masks & inside else set()
        names = inside & masks | known & (inside | masks)
        folders = {name: (root / name, root / f"{name}annot") for name in names}
    splits = {}
    for name, pair in sorted(folders.items()):
        split = _SPLITS.get(name, name)
        if split in splits:
            raise UserError(f"{splits[split][0]} and {pair[0]}: both are the split {split!r}.")
        # The masks of a test set are often kept back.
        if split != "test" or pair[1].is_dir():
            splits[split] = pair
    if not {"train", "val", "test"} & {*splits}:
        raise UserError(
            f"{root}: no images with masks found. Lay them out as {LAYOUTS}; a mask is a PNG of "
            "class ids with the name of its image."
        )
    return splits


def _folders_in(folder):
    return {path.name for path in folder.iterdir() if path.is_dir()}


def _match(image_folder, mask_folder):
    images, same_images = _by_stem(image_folder, IMAGE_SUFFIXES)
    masks, same_masks = _by_stem(mask_folder, MASK_SUFFIXES)
    return Files(
        [(path, masks[stem]) for stem, path in images.items() if stem in masks],
        [(path, mask_folder / f"{stem}.png") for stem, path in images.items() if stem not in masks],
        [path for stem, path in masks.items() if stem not in images],
        same_masks + same_images,
        image_folder,
    )


def _by_stem(folder, suffixes):
    if not folder.is_dir():
        return {}, []
    files, same = {}, []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in files:
                same.append((path, files[path.stem]))
            files.setdefault(path.stem, path)
    return files, same


def _pairs_of(files):
    """The pairs of a split in which nothing is amiss."""
    for path, other in files.same_name:
        raise UserError(f"{path} and {other}: two files of one name.")
    for path in files.absent:
        raise UserError(f"{path}: is missing, but the list of the split names it.")
    for path, mask in files.without_mask:
        more = len(files.without_mask) - 1
        raise UserError(
            f"{path}: has no mask; {mask} is missing"
            + (f", and so are {more} more." if more else ".")
        )
    if not files.pairs:
        raise UserError(f"{files.folder}: holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return files.pairs


def read_about(root: Path) -> dict:
    """Reads a folder's `dataset.json`; what VOC's layout says, or nothing, if there is none.

    Raises:
        UserError: if it is wrong.
    """
    devkit = find_devkit(root)
    path = (devkit or root) / "dataset.json"
    known = {"name": devkit.resolve().name, "classes": list(VOC_CLASSES)} if devkit else {}
    if not path.exists():
        return known
    try:
        about = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({error}).") from error
    wrong = _fault_in(about)
    if wrong:
        raise UserError(f"{path}: {wrong}")
    return known | about


def _fault_in(about):
    """Says what is wrong with the contents of a `dataset.json`, if anything."""
    known = (
        *("classes", "colors", "ignore_label", "name"),
        *("ignore_color", "reduce_zero_label", "mask_key"),
    )
    if not isinstance(about, dict) or set(about) - set(known):
        return f"may have the keys {', '.join(known)} and no others."
    classes = about.get("classes", ["unnamed"])
    if not (_are(classes, str) and 1 <= len(classes) <= 255 and len(set(classes)) == len(classes)):
        return "`classes` must name 1 to 255 classes, each by another string."
    colors = about.get("colors", [])
    if "colors" in about and not (
        isinstance(colors, list)
        and all(_is_color(color) for color in colors)
        and len(colors) == len(about.get("classes", ()))
    ):
        return "`colors` must give an RGB triple of 0..255 for every one of the `classes`."
    color = about.get("ignore_color")
    if "ignore_color" in about and not ("colors" in about and _is_color(color)):
        return f"`ignore_color` must be an RGB triple of 0..255, beside `colors`, not {color!r}."
    if color in colors:
        return f"`ignore_color` must be another than those in `colors`, not {color!r}."
    ignore_label = about.get("ignore_label", IGNORE_LABEL)
    if not (type(ignore_label) is int and 0 <= ignore_label <= 255):
        return f"`ignore_label` must be a whole number from 0 to 255, not {ignore_label!r}."
    reduce = about.get("reduce_zero_label", False)
    if type(reduce) is not bool:
        return f"`reduce_zero_label` must be true or false, not {reduce!r}."
    if reduce and ignore_label not in (0, IGNORE_LABEL):
        return f"`reduce_zero_label` makes 0 void, and `ignore_label` {ignore_label}: give one."
    if len(classes) == 255 and ignore_label_of(about) != IGNORE_LABEL:
        return "`classes` must be 254 at most where another label than 255 is void too."
    for name in ("name", "mask_key"):
        if not (isinstance(about.get(name, "-"), str) and about.get(name, "-")):
            return f"`{name}` must be a string, not {about[name]!r}."
    return None


def _are(values, kind):
    # True and False would pass for whole numbers.
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _is_color(color):
    return _are(color, int) and len(color) == 3 and 0 <= min(color) <= max(color) <= 255


def name_of(root: Path, about: dict) -> str:
    return about.get("name", root.resolve().name)


def ignore_label_of(about: dict) -> int:
    """Which value in a mask is void, besides 255."""
    # Without the value 0, the others count up from 1: each class id is one less.
    return 0 if about.get("reduce_zero_label") else about.get("ignore_label", IGNORE_LABEL)


def mask_reader(about: dict) -> Callable[[Path], np.ndarray]:
    """Makes a function that gives the values in a mask file; a colour gives its class's value."""
    colors = list(about.get("colors", ()))
    ids = _id_table(len(colors), ignore_label_of(about))
    values = [int(np.argmax(ids == class_id)) for class_id in range(len(colors))]
    if "ignore_color" in about:
        colors, values = [*colors, about["ignore_color"]], [*values, IGNORE_LABEL]
    return partial(read_mask, colors=colors, values=values, key=about.get("mask_key"))


def classes_of(root: Path, about: dict, counts: np.ndarray | None) -> tuple[tuple, np.ndarray]:
    """Returns the names of the classes, and the class id for each value in a mask.

    Args:
        root: the folder, for the message.
        about: from `read_about`.
        counts: where that names no classes: how many pixels have each value, int64 `(256,)`.

    Raises:
        UserError: if there are no classes.
    """
    ignore_label = ignore_label_of(about)
    classes = about.get("classes")
    if classes is None:
        counts = np.array(counts)
        counts[[ignore_label, IGNORE_LABEL]] = 0
        if not counts.any():
            raise UserError(f"{root}: no mask has a labelled pixel.")
        highest = int(counts.nonzero()[0].max())
        classes = [f"class_{i}" for i in range(highest + 1 - (ignore_label < highest))]
    return tuple(classes), _id_table(len(classes), ignore_label)


def colors_of(about: dict, num_classes: int) -> tuple[tuple[int, int, int], ...]:
    colors = about.get("colors") or voc_palette(num_classes).tolist()
    return tuple(tuple(color) for color in colors)


def _id_table(num_classes, ignore_label):
    """The class id for each value in a mask: values count up, the ignore label is skipped."""
    ids = np.full(256, -1, "int16")
    values = [value for value in range(num_classes + 1) if value != ignore_label]
    ids[values[:num_classes]] = np.arange(num_classes)
    ids[[ignore_label, IGNORE_LABEL]] = IGNORE_LABEL
    return ids


def _check_sizes(image_path, image_size, mask_path, mask_size):
    if tuple(image_size) != tuple(mask_size):
        raise UserError(
            "An image and its mask must have one size. Received: "
            f"{image_path} of {image_size[1]}x{image_size[0]} and "
            f"{mask_path} of {mask_size[1]}x{mask_size[0]} (width x height)."
        )


def _check_end(path):
    """Decodes an image whose end is not where it should be: it may be truncated."""
    endings = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
    ending = endings.get(path.suffix.lower())
    if ending is None or not path.read_bytes().endswith(ending):
        read_image(path)


def _count_values(files, read):
    def count(pair):
        return np.bincount(read(pair[1]).ravel(), minlength=256)

    return sum(_in_parallel(count, files, "counting classes"))


def _in_parallel(function, items, what):
    with ThreadPoolExecutor() as pool:
        # A bar appears only where there is something to wait for.
        yield from tqdm(pool.map(function, items), what, len(items), delay=2, unit="file")


def ranges(values: np.ndarray) -> str:
    """[0, 1, 2, 3, 255] as "0..3, 255"."""
    breaks = np.flatnonzero(np.diff(values) > 1) + 1
    runs = np.split(values, breaks)
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs)
