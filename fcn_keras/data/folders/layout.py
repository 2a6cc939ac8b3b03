"""How images and masks are laid out in a folder."""

import os
from pathlib import Path
from typing import NamedTuple

from fcn_keras.data.files.listing import files_below, is_foreign
from fcn_keras.data.files.masks import MASK_SUFFIXES
from fcn_keras.errors import UserError

# What the splits are called elsewhere -> here.
SPLITS = {
    **{name: name for name in ("train", "val", "test")},
    **{"training": "train", "validation": "val", "valid": "val", "testing": "test"},
}

# Where there are no splits: images and masks of all that there is.
ALL = ""

_IMAGES = ("images", "img_dir", "image", "imgs", "img", "leftimg8bit", "jpegimages")
_MASKS = (
    *("annotations", "ann_dir", "annotation", "masks", "mask", "labels", "label"),
    *("gtfine", "segmentationclass"),
)


class Layout(NamedTuple):
    """Where the images and masks of a data set lie.

    Attributes:
        words: the layout, for people.
        folders: of each split, the folder of its images and that of its masks; of `ALL` where
            there are no splits.
    """

    words: str
    folders: dict[str, tuple[Path, Path]]


def find_layout(root: Path) -> Layout:
    """Finds the folders of images and of masks.

    Raises:
        UserError: if the folder has no known layout; or several.
    """
    return _images_and_masks(root) or _annotated(root) or _within_splits(root) or _unknown(root)


def _images_and_masks(root):
    pair = _pair_in(root)
    if pair is None:
        return None
    images, masks = pair
    names = _folders_in(images) | _folders_in(masks)
    if not any(name.lower() in SPLITS for name in names):
        return Layout(f"{images.name}, {masks.name}, without splits", {ALL: pair})
    folders = {name: (images / name, masks / name) for name in names}
    return Layout(f"{images.name}/SPLIT, {masks.name}/SPLIT", _splits(root, folders))


def _annotated(root):
    inside = _folders_in(root)
    masks = {name.removesuffix("annot") for name in inside if name.endswith("annot")}
    # A folder of images without one of masks is a split only beside another that has one.
    known = {*SPLITS} if masks & inside else set()
    names = inside & masks | known & (inside | masks)
    folders = {name: (root / name, root / f"{name}annot") for name in names}
    if not {"train", "val", "test"} & {SPLITS.get(name.lower(), name) for name in folders}:
        return None
    return Layout("SPLIT, SPLITannot", _splits(root, folders))


def _within_splits(root):
    pairs = {name: _pair_in(root / name) for name in _folders_in(root) if name.lower() in SPLITS}
    folders = {name: pair for name, pair in pairs.items() if pair}
    if not folders:
        return None
    images, masks = next(iter(folders.values()))
    return Layout(f"SPLIT/{images.name}, SPLIT/{masks.name}", _splits(root, folders))


def _unknown(root):
    raise UserError(
        f"{root}: no images with masks found. Lay them out as DIR/images/train with "
        "DIR/annotations/train, or DIR/train with DIR/trainannot, and the same with val; or as "
        "DIR/images with DIR/masks, from which a part is set aside to validate on; or as a year of "
        "PASCAL VOC's devkit; a mask is a PNG of class ids with the name of its image."
    )


def _pair_in(root):
    """The folder of images and that of masks in a folder, if there are both."""
    images = [path for path in _paths_in(root) if path.name.lower() in _IMAGES]
    masks = [path for path in _paths_in(root) if path.name.lower() in _MASKS]
    if not (images and masks):
        return None
    # Others than masks are called annotations and labels too.
    holding = [path for path in masks if holds_masks(path)] or masks[:1]
    for paths, what in ((images, "images"), (holding, "masks")):
        if len(paths) > 1:
            raise UserError(
                f"{root}: holds {what} in {' and '.join(path.name for path in paths)}; which are "
                "meant? Move the others away."
            )
    return images[0], holding[0]


def holds_masks(folder: Path) -> bool:
    """Whether there is a file in a folder, or below, that may be a mask."""
    return any(path.suffix.lower() in MASK_SUFFIXES for path in files_below(folder))


def _splits(root, folders):
    splits = {}
    for name, pair in sorted(folders.items()):
        split = SPLITS.get(name.lower(), name)
        if split in splits:
            raise UserError(f"{splits[split][0]} and {pair[0]}: both are the split {split!r}.")
        # The masks of a test set are often kept back.
        if split != "test" or pair[1].is_dir():
            splits[split] = pair
    if not {"train", "val", "test"} & {*splits}:
        _unknown(root)
    return splits


def _folders_in(folder):
    return {path.name for path in _paths_in(folder)}


def _paths_in(folder):
    # Of very many files none is looked at by itself.
    with os.scandir(folder) as inside:
        names = [found.name for found in inside if _is_dir(found) and not is_foreign(found.name)]
    return sorted(folder / name for name in names)


def _is_dir(found):
    try:
        return found.is_dir()
    except OSError:  # a link that leads to itself
        return False
