"""Anyone's folder of images and masks as a data set."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcn_keras.data.dataset import Dataset, Example
from fcn_keras.data.files.images import IMAGE_SUFFIXES, read_image, read_size
from fcn_keras.data.files.masks import read_mask
from fcn_keras.data.folders.about import (
    classes_of,
    colors_of,
    mask_reader,
    name_of,
    ranges,
    read_about,
)
from fcn_keras.data.folders.layout import list_files
from fcn_keras.errors import UserError


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
