"""Anyone's folder of images and masks as a data set."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

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
from fcn_keras.errors import UserError
from fcn_keras.palette import voc_palette

LAYOUTS = (
    "DIR/images/train with DIR/annotations/train, or DIR/train with DIR/trainannot, and the same "
    "with val"
)


def load_folder(root: str | Path) -> Dataset:
    """Opens a folder of images and masks.

    Two layouts are known: `images/<split>` with `annotations/<split>`, and `<split>` with
    `<split>annot`. An image and its mask have the same stem. Masks are palette or grey PNGs of
    class ids, 255 (or the `ignore_label`) being void.

    An optional `dataset.json` in the folder gives `name`, `classes` (names in order of their
    ids), `colors` (RGB) and `ignore_label`. Ids count up from 0 and skip the ignore label.
    Without it, the classes are counted in the masks.

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
    pairs = _find_pairs(root)
    about = _read_about(root)
    ignore_label = about.get("ignore_label", IGNORE_LABEL)
    classes = about.get("classes")
    if classes is None:
        scans = [_count_labels(files) for files in pairs.values()]
        counts = np.sum(scans, axis=0)
        counts[[ignore_label, IGNORE_LABEL]] = 0
        if not counts.any():
            raise UserError(f"{root}: no mask has a labelled pixel.")
        highest = int(counts.nonzero()[0].max())
        classes = [f"class_{i}" for i in range(highest + 1 - (ignore_label < highest))]
    colors = about.get("colors") or [tuple(color) for color in voc_palette(len(classes)).tolist()]
    ids = _id_table(len(classes), ignore_label)
    return Dataset(
        name=about.get("name", root.resolve().name),
        classes=tuple(classes),
        colors=tuple(tuple(color) for color in colors),
        splits={name: FolderSplit(files, ids) for name, files in pairs.items()},
    )


@dataclass(frozen=True)
class FolderSplit:
    """Pairs of an image file and a mask file.

    Attributes:
        files: pairs of paths.
        ids: int16 `(256,)`: the class id (or 255) for each value in a mask; -1 where a value
            has no meaning.
    """

    files: list[tuple[Path, Path]]
    ids: np.ndarray = field(repr=False)

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
        mask = read_mask(path)
        label = self.ids[mask]
        if label.min(initial=0) < 0:
            value = mask[label < 0][0]
            known = (self.ids >= 0).nonzero()[0]
            raise UserError(
                f"{path}: a mask may hold {_ranges(known)}. This one holds {value} "
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


def _find_pairs(root):
    if not root.is_dir():
        raise UserError(f"{root}: no such folder.")
    if (root / "images").is_dir() and (root / "annotations").is_dir():
        folders = {
            images.name: (images, root / "annotations" / images.name)
            for images in sorted((root / "images").iterdir())
            if images.is_dir()
        }
    else:
        folders = {
            images.name: (images, root / f"{images.name}annot")
            for images in sorted(root.iterdir())
            if images.is_dir() and (root / f"{images.name}annot").is_dir()
        }
    if "train" not in folders and "val" not in folders and "test" not in folders:
        raise UserError(
            f"{root}: no images with masks found. Lay them out as {LAYOUTS}; a mask is a PNG of "
            "class ids with the name of its image."
        )
    return {name: _pair_files(*pair) for name, pair in folders.items()}


def _pair_files(image_folder, mask_folder):
    masks = _by_stem(mask_folder, MASK_SUFFIXES)
    images = _by_stem(image_folder, IMAGE_SUFFIXES)
    if not images:
        raise UserError(f"{image_folder}: holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    missing = [path for stem, path in images.items() if stem not in masks]
    if missing:
        raise UserError(
            f"{missing[0]}: has no mask; {mask_folder / missing[0].stem}.png is missing"
            + (f", and so are {len(missing) - 1} more." if len(missing) > 1 else ".")
        )
    return [(path, masks[stem]) for stem, path in images.items()]


def _by_stem(folder, suffixes):
    if not folder.is_dir():
        return {}
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in files:
                raise UserError(f"{path} and {files[path.stem]}: two files of one name.")
            files[path.stem] = path
    return files


def _read_about(root):
    path = root / "dataset.json"
    if not path.exists():
        return {}
    try:
        about = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: is not valid JSON ({error}).") from error
    wrong = _fault_in(about)
    if wrong:
        raise UserError(f"{path}: {wrong}")
    return about


def _fault_in(about):
    """Says what is wrong with the contents of a `dataset.json`, if anything."""
    known = ("classes", "colors", "ignore_label", "name")
    if not isinstance(about, dict) or set(about) - set(known):
        return f"may have the keys {', '.join(known)} and no others."
    classes = about.get("classes", ["unnamed"])
    if not (_are(classes, str) and 1 <= len(classes) <= 255 and len(set(classes)) == len(classes)):
        return "`classes` must name 1 to 255 classes, each by another string."
    colors = about.get("colors", [])
    if "colors" in about and not (
        isinstance(colors, list)
        and all(_are(c, int) and len(c) == 3 and 0 <= min(c) <= max(c) <= 255 for c in colors)
        and len(colors) == len(about.get("classes", ()))
    ):
        return "`colors` must give an RGB triple of 0..255 for every one of the `classes`."
    ignore_label = about.get("ignore_label", IGNORE_LABEL)
    if not (isinstance(ignore_label, int) and 0 <= ignore_label <= 255):
        return f"`ignore_label` must be a whole number from 0 to 255, not {ignore_label!r}."
    if not isinstance(about.get("name", ""), str):
        return f"`name` must be a string, not {about['name']!r}."
    return None


def _are(values, kind):
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


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


def _count_labels(files):
    def count(pair):
        return np.bincount(read_mask(pair[1]).ravel(), minlength=256)

    return sum(_in_parallel(count, files, "counting classes"))


def _in_parallel(function, items, what):
    with ThreadPoolExecutor() as pool:
        # A bar appears only where there is something to wait for.
        yield from tqdm(pool.map(function, items), what, len(items), delay=2, unit="file")


def _ranges(values):
    """[0, 1, 2, 3, 255] as "0..3, 255"."""
    breaks = np.flatnonzero(np.diff(values) > 1) + 1
    runs = np.split(values, breaks)
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in runs)
