"""How images and masks are laid out in a folder."""

from pathlib import Path
from typing import NamedTuple

from fcn_keras.data.files.images import IMAGE_SUFFIXES
from fcn_keras.data.files.masks import MASK_SUFFIXES
from fcn_keras.data.folders.voc_devkit import find_devkit, split_pairs
from fcn_keras.errors import UserError

# What the splits are called elsewhere -> here.
_SPLITS = {"training": "train", "validation": "val", "testing": "test"}

_IMAGES_AND_MASKS = (("images", "annotations"), ("img_dir", "ann_dir"))


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
    absent: list[Path]


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
    for images, masks in _IMAGES_AND_MASKS:
        if (root / images).is_dir() and (root / masks).is_dir():
            folders = {
                name: (root / images / name, root / masks / name)
                for name in _folders_in(root / images) | _folders_in(root / masks)
            }
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
            f"{root}: no images with masks found. Lay them out as DIR/images/train with "
            "DIR/annotations/train, or DIR/train with DIR/trainannot, and the same with val; or "
            "as a year of PASCAL VOC's devkit; a mask is a PNG of class ids with the name of its "
            "image."
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
        [],
    )


def _by_stem(folder, suffixes):
    files, same = {}, []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes:
            if path.stem in files:
                same.append((path, files[path.stem]))
            files.setdefault(path.stem, path)
    return files, same
