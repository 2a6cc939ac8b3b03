"""Anyone's folder of images and masks as a data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fcn_keras.data.dataset import Dataset, Example, count_values, in_parallel
from fcn_keras.data.files.images import IMAGE_SUFFIXES, check_end, read_image, read_size
from fcn_keras.data.files.masks import check_sizes, read_mask, values_with_meaning
from fcn_keras.data.folders.description import read_description
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
    description = read_description(root)
    read = description.mask_reader()
    if not description.classes:
        counts = in_parallel(
            lambda mask: count_values(read(mask)),
            [mask for files in pairs.values() for _, mask in files],
            "counting classes",
            "file",
        )
        description = description.with_numbered_classes(sum(counts, np.zeros(256, "int64")))
    return Dataset(
        name=description.name,
        classes=description.classes,
        colors=description.class_colors,
        splits={
            name: FolderSplit(files, description.class_ids, read) for name, files in pairs.items()
        },
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

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        image_path, mask_path = self.files[index]
        image = read_image(image_path)
        label = self._label(mask_path)
        check_sizes(image_path, image.shape[:2], mask_path, label.shape)
        return Example(image, label[:, :, None], image_path.stem)

    def size(self, index: int) -> tuple[int, int]:
        return read_size(self.files[index][0])

    def _label(self, path):
        mask = self.read(path)
        label = self.ids[mask]
        if label.min(initial=0) < 0:
            raise UserError(
                f"{path}: a mask may hold {values_with_meaning(self.ids)}. "
                f"This one holds {mask[label < 0][0]} "
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
            check_sizes(image_path, read_size(image_path), mask_path, label.shape)
            check_end(image_path)
            return count_values(label)

        return sum(in_parallel(check, self.files, "checking", "file"), np.zeros(256, "int64"))


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
