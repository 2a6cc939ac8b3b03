"""Folders whose masks are drawn from an annotation program's shapes."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcn_keras.data.annotations.finding import find_annotated
from fcn_keras.data.annotations.found import BACKGROUND, Annotated
from fcn_keras.data.folders.description import Description, read_description
from fcn_keras.data.folders.layout import ALL, Layout, find_layout, holds_masks
from fcn_keras.data.folders.matching import Files, Pair
from fcn_keras.errors import UserError


def layout_if_any(root: Path) -> Layout | None:
    """Returns what `find_layout` does, and None where that finds nothing, or several."""
    try:
        return find_layout(root)
    except UserError:
        return None


def annotated_below(root: Path, layout: Layout | None) -> Annotated | None:
    """Returns what an annotation program has written into a folder; None where there are masks.

    Args:
        root: the folder.
        layout: its layout, if it has any.

    Raises:
        UserError: as `find_annotated` does.
    """
    if layout and any(holds_masks(masks) for _, masks in layout.folders.values()):
        return None
    return find_annotated(root)


def drawn_files(root: Path, annotated: Annotated) -> tuple[Description, dict[str, Files]]:
    """Returns what is known of label maps that are drawn from shapes, and the files of each split.

    Args:
        root: the folder.
        annotated: what an annotation program has written into it.

    Raises:
        UserError: if `dataset.json` is wrong, an image is annotated twice, or some images are of
            splits and others of none.
    """
    if len(annotated.labels) > 255:
        raise UserError(f"{root}: has {len(annotated.labels) - 1} labels; 254 are the most.")
    about = read_description(root, {}, annotated.labels)
    if not about.colors and {*about.classes} - {BACKGROUND} <= annotated.colors.keys():
        colors = {BACKGROUND: (0, 0, 0), **annotated.colors}
        about = replace(about, colors=tuple(colors[name] for name in about.classes))
    images = [drawn.image for drawns in annotated.label_maps.values() for drawn in drawns]
    splits = {}
    for split in {**annotated.label_maps, **annotated.absent}:
        drawns = annotated.label_maps.get(split, ())
        names = _names_below(root, [drawn.image for drawn in drawns], images)
        pairs = [Pair(name, drawn.image, drawn) for name, drawn in zip(names, drawns, strict=True)]
        absent = [*annotated.absent.get(split, ())]
        splits[split] = Files(pairs, [], [], [], root, absent, annotated.passed_over)
    _check_once(root, splits)
    return about, splits


def _names_below(root, images, all_images):
    """What images are called: their paths in the folder, or in one that holds all of them."""
    root = os.path.abspath(root)
    paths = [os.path.abspath(image) for image in images]
    if any(os.path.commonpath([root, os.path.abspath(path)]) != root for path in all_images):
        root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in all_images])
    return [Path(os.path.relpath(path, root)).with_suffix("").as_posix() for path in paths]


def _check_once(root, splits):
    """Looks whether each image is annotated once, and all or none are of a split."""
    if not any(files.pairs or files.absent for files in splits.values()):
        raise UserError(f"{root}: its annotations list no images.")
    if ALL in splits and len(splits) > 1:
        odd = (splits[ALL].pairs or splits[ALL].absent)[0]
        others = ", ".join(split for split in splits if split != ALL)
        raise UserError(
            f"{getattr(odd, 'image', odd)}: is of no split, where others are of {others}."
        )
    seen: dict[str, Any] = {}
    for pair in (pair for files in splits.values() for pair in files.pairs):
        other = seen.setdefault(os.path.abspath(pair.image), pair)
        if other is not pair:
            raise UserError(f"{pair.image}: is annotated twice, in {other.mask} and {pair.mask}.")
