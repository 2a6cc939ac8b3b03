"""Anyone's folder of images and masks as a data set."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fcn_keras.data.dataset import Dataset, in_parallel
from fcn_keras.data.files.readers import PHOTOGRAPHS, AsStored, ImageReader
from fcn_keras.data.folders.cutting import cut
from fcn_keras.data.folders.description import Description, read_description
from fcn_keras.data.folders.drawn import annotated_below, drawn_files, layout_if_any
from fcn_keras.data.folders.folder_split import FolderSplit
from fcn_keras.data.folders.image_reading import reader_for, told_reader
from fcn_keras.data.folders.known import known_of
from fcn_keras.data.folders.large_masks import count_mask
from fcn_keras.data.folders.layout import ALL, find_layout
from fcn_keras.data.folders.matching import Files, Pair, PairedFiles, match
from fcn_keras.data.folders.splitting import validated
from fcn_keras.data.folders.voc_devkit import find_devkit, listed_files
from fcn_keras.errors import UserError
from fcn_keras.system.spelling import spelled_as_found


@dataclass(frozen=True)
class Folder:
    """A folder of images and masks, of which the names of the files are known.

    Attributes:
        description: what its masks mean.
        layout: how it is laid out, for people.
        splits: the files of each split, whatever is wrong with them.
        images: how the images are read.
    """

    description: Description
    layout: str
    splits: dict[str, Files]
    images: ImageReader = PHOTOGRAPHS

    def dataset(self) -> Dataset:
        """Returns the data set, of files with which nothing is amiss by their names.

        Raises:
            UserError: at the first with which something is.
        """
        about = self.description
        return Dataset(
            name=about.name,
            classes=about.classes,
            colors=about.class_colors,
            splits={
                name: cut(
                    FolderSplit(
                        PairedFiles(pairs),
                        about.class_ids,
                        about.read_values,
                        [pair.name for pair in pairs],
                        self.images,
                    ),
                    about,
                )
                for name, pairs in self.pairs().items()
            },
            stored=self.images if isinstance(self.images, AsStored) else None,
        )

    def pairs(self) -> dict[str, list[Pair]]:
        """Returns the images and masks of each split; raises as `dataset` does."""
        # Masks alone are passed over.
        suffixes = self.images.suffixes
        return {
            name: _pairs_of(files, suffixes)
            for name, files in self.splits.items()
            if files.folder.is_dir()
        }


def find_folder(
    root: str | Path, val_share: float | None = None, images: ImageReader | None = None
) -> Folder:
    """Finds out how a folder is laid out, and what `dataset.json` says; reads no image.

    Of images that are read as stored, the first one is looked at: all must hold what it does.

    Args:
        root: the folder.
        val_share: see `load_folder`.
        images: how the images are to be read; as `dataset.json` says if not given.

    Raises:
        UserError: if the folder has no known layout, or `dataset.json` is wrong, or says that
            images are to be read otherwise.
    """
    root = Path(spelled_as_found(str(root)))
    if not root.is_dir():
        raise UserError(f"{root}: no such folder.")
    devkit = find_devkit(root)
    layout = None if devkit else layout_if_any(root)
    if not devkit and (annotated := annotated_below(root, layout)):
        about, splits = drawn_files(root, annotated)
        about = replace(about, root=root, val_share=val_share or about.val_share)
        splits, words = _with_validation(root, splits, about, val_share)
        return Folder(about, annotated.words + words, splits, reader_for(images, about, splits))
    whose, known = known_of(devkit or root, devkit)
    about = read_description(devkit or root, known)
    about = replace(about, root=root, val_share=val_share or about.val_share)
    if devkit:
        words, splits = "PASCAL VOC's devkit", listed_files(devkit)
    else:
        layout = layout or find_layout(root)  # which tells why there is none
        suffixes = (images or told_reader(about)).suffixes
        splits, suffix = match(layout.folders, about.image_suffix, about.mask_suffix, suffixes)
        words = layout.words + (f", masks called NAME{suffix}" if suffix else "")
    splits, more = _with_validation(root, splits, about, val_share)
    words += more
    if whose and about.classes == tuple(known["classes"]):
        words += f"; classes: {whose}"
    return Folder(about, words, splits, reader_for(images, about, splits))


def _with_validation(root, splits, about, val_share):
    """The splits, one of which is set aside to validate on where there are none; and words."""
    if ALL in splits:
        words = f": {about.val_share:.0%} to validate on, by the hash of the names"
        return _divided(splits[ALL], about), words
    if val_share is not None:
        raise UserError(
            f"`val_share`: {root} has the splits {', '.join(splits)}, which stay as they are."
        )
    return splits, ""


def load_folder(
    root: str | Path, val_share: float | None = None, channels: int | None = None
) -> Dataset:
    """Opens a folder of images and masks.

    Known layouts, where SPLIT is train, val or test (or training, validation, valid, testing):
    `images/SPLIT` with `annotations/SPLIT` (ADE20K), `SPLIT` with `SPLITannot` (SegNet's CamVid),
    `SPLIT/images` with `SPLIT/masks`; `images` with `masks` without splits, a share of which is
    then validated on, chosen by the hash of the names; Cityscapes as it is unpacked. For `images`
    and `masks` there are other names (`img_dir`, `imgs`, ...; `annotations`, `labels`, ...). They
    may have folders in them. An image and its mask have the same name, or the masks' go on with
    one suffix, such as `_mask`.

    PASCAL VOC's layout is known too: `JPEGImages`, `SegmentationClass`, and the ids of a split in
    `ImageSets/Segmentation/<split>.txt`; `default.txt` and `labelmap.txt` as CVAT writes them.
    `root` is a year there, or `VOCdevkit` with a single one.

    Masks are images of class ids, indexed, grey or as grey pictures, 255 (or the `ignore_label`)
    being void; images in the classes' colours; or MATLAB files with a matrix of class ids.

    Where there are no masks, what an annotation program has written is looked for: LabelMe, COCO,
    YOLO, CVAT or Label Studio, see `fcn_keras.data.annotations`. Shapes are drawn each time that a
    mask is read; what lies under none is class 0, `background`.

    An optional `dataset.json` in the folder gives `name`, `classes` (names in order of their
    ids), `colors` (RGB), `ignore_label`, `ignore_color` (RGB), `reduce_zero_label` (0 is void, and
    the class ids are all one less), `values` (the class, or "void", of each value in a mask),
    `mask_key` (the variable in MATLAB files), `mask_suffix`, `image_suffix`, `channels` (see
    below), `val_share` (0.2) and `val_group` (a regular expression: images for whose names it finds
    the same are in one split).
    Ids count up from 0 and skip the ignore label. Without it, the classes are those that the
    layout is known for, and else counted in the masks.

    Args:
        root: the folder.
        val_share: which share of the images to validate on where there are no splits; as
            `dataset.json` says if not given.
        channels: how many channels the images have, whose numbers are to be taken as stored (TIFF,
            `.npy`, PNG), see `fcn_keras.data.files.rasters`. If neither this nor `dataset.json`
            says so, they are photographs: RGB of 8 bits.

    Large images that are read as stored are cut into windows, see
    `fcn_keras.data.folders.cutting`.

    Returns:
        A `Dataset`. Its splits know the files; nothing else has been read yet, except the
        masks where no classes are known.

    Raises:
        UserError: if the folder has no known layout, an image has no mask, or `dataset.json`
            is wrong.
    """
    folder = find_folder(root, val_share, AsStored(channels) if channels else None)
    if not folder.description.classes:
        counts = in_parallel(
            lambda mask: count_mask(mask, folder.description)[1],
            [pair.mask for pairs in folder.pairs().values() for pair in pairs],
            "counting classes",
            "file",
        )
        description = folder.description.with_numbered_classes(sum(counts, np.zeros(256, "int64")))
        folder = replace(folder, description=description)
    return folder.dataset()


def _divided(files, about):
    """The files of a folder without splits, as two splits."""
    names = [pair.name for pair in files.pairs + files.without_mask]
    chosen = validated(names, about.val_share, about.val_group)
    train, val = (
        files._replace(
            pairs=[pair for pair in files.pairs if (pair.name in chosen) == in_val],
            without_mask=[pair for pair in files.without_mask if (pair.name in chosen) == in_val],
        )
        for in_val in (False, True)
    )
    # What belongs to no image is told once.
    val = val._replace(without_image=[], same_name=[], absent=[], passed_over="")
    return {"train": train, "val": val}


def _pairs_of(files, suffixes):
    """The pairs of a split in which nothing is amiss."""
    for path, other in files.same_name:
        raise UserError(f"{path} and {other}: two files of one name.")
    for path in files.absent:
        raise UserError(f"{path}: is missing, but the list of the split names it.")
    for pair in files.without_mask:
        more = len(files.without_mask) - 1
        raise UserError(
            f"{pair.image}: has no mask; {pair.mask} is missing"
            + (f", and so are {more} more." if more else ".")
        )
    if not files.pairs:
        raise UserError(f"{files.folder}: holds no images ({', '.join(suffixes)}).")
    return files.pairs
