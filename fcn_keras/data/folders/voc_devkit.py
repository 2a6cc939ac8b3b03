"""The layout of PASCAL VOC on disk: lists of ids, photos, label maps as palette PNGs."""

import unicodedata
from pathlib import Path

from fcn_keras.data.files.images import IMAGE_SUFFIXES
from fcn_keras.data.files.listing import entries, files_below, key_of
from fcn_keras.data.files.masks import MASK_SUFFIXES
from fcn_keras.data.files.text import read_text
from fcn_keras.data.folders.layout import ALL, SPLITS
from fcn_keras.data.folders.matching import Files, Pair
from fcn_keras.errors import UserError

_LISTS = "ImageSets/Segmentation"


def find_devkit(root: Path) -> Path | None:
    """Finds a year of VOC.

    Args:
        root: the folder of a year, such as `VOCdevkit/VOC2012`, or the one around it.

    Returns:
        The folder of the year; None if there is none.

    Raises:
        UserError: if there are several.
    """
    if (root / _LISTS).is_dir():
        return root
    years = [path.parents[1] for path in sorted(root.glob(f"VOC20[0-9][0-9]/{_LISTS}"))]
    if len(years) > 1:
        raise UserError(
            f"{root}: holds several years of VOC; name one of {', '.join(map(str, years))}."
        )
    return years[0] if years else None


def read_ids(devkit: Path, split: str) -> list[str]:
    """Reads which images belong to a split, in the order of the list.

    Args:
        devkit: the folder of a year.
        split: "train", "val" or another list of `ImageSets/Segmentation`.

    Raises:
        UserError: if there is no such list; names the file.
    """
    return read_list(devkit / _LISTS / f"{split}.txt")


def read_list(path: Path) -> list[str]:
    """Reads a file of ids, one in a line; they may have spaces in them.

    Raises:
        UserError: if there is no such file, or it is no text; names it.
    """
    if not path.is_file():
        raise UserError(f"{path}: is missing.")
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def photo_and_mask(devkit: Path, id: str) -> tuple[Path, Path]:
    """Returns where a photo and its label map should be."""
    return devkit / "JPEGImages" / f"{id}.jpg", devkit / "SegmentationClass" / f"{id}.png"


def listed_files(devkit: Path) -> dict[str, Files]:
    """Lists the photos and label maps of every split.

    `trainval` is no split of its own, and `test` only one where its label maps are, which are
    not published. Where there are no splits, but one list of all (CVAT's `default.txt`), that is
    `ALL`.

    Raises:
        UserError: if there are no lists, or one of them is no text.
    """
    lists: dict[str, Path] = {}
    for path in entries(devkit / _LISTS):
        split = {**SPLITS, "default": ALL}.get(path.stem.lower())
        if path.suffix.lower() == ".txt" and split is not None:
            if split in lists:
                raise UserError(f"{lists[split]} and {path}: both are the split {split!r}.")
            lists[split] = path
    if len(lists) > 1:
        lists.pop(ALL, None)
    photos, masks = (
        {key_of(path, folder): path for path in files_below(folder) if fits(path)}
        for folder, fits in (
            (devkit / "JPEGImages", lambda path: path.suffix.lower() in IMAGE_SUFFIXES),
            (devkit / "SegmentationClass", lambda path: path.suffix.lower() in MASK_SUFFIXES),
        )
    )
    found = {split: _files(devkit, read_list(path), photos, masks) for split, path in lists.items()}
    if "test" in found and not found["test"].pairs:
        del found["test"]
    if not found:
        raise UserError(f"{devkit / _LISTS}: holds neither train.txt nor val.txt.")
    return found


def _files(devkit, ids, photos, masks):
    pairs, without_mask, absent = [], [], []
    for id in ids:
        photo, mask = photo_and_mask(devkit, id)
        name = unicodedata.normalize("NFC", id)
        if name not in photos and Path(name).suffix.lower() in IMAGE_SUFFIXES:
            name = name.rpartition(".")[0]
        if name not in photos:
            absent.append(photo)
        elif name in masks:
            pairs.append(Pair(name, photos[name], masks[name]))
        else:
            without_mask.append(Pair(name, photos[name], mask))
    return Files(pairs, without_mask, [], [], devkit, absent)
