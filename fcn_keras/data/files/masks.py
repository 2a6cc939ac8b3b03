"""Mask files as arrays of the values that they hold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcn_keras.data.files.images import DEEP_GREY, open_image
from fcn_keras.data.files.matlab import read_matrix
from fcn_keras.errors import LabelError, UserError

MASK_SUFFIXES = (".png", ".mat")


def read_mask(
    path: str | Path,
    colors: Sequence[tuple[int, int, int]] = (),
    values: Sequence[int] | None = None,
    key: str | None = None,
) -> np.ndarray:
    """Reads a label map as it is stored: palette indices, grey values, colours, or a matrix.

    Args:
        path: a palette or grey PNG, or a coloured one if `colors` are given; or a MATLAB file
            of any version that holds a matrix of whole numbers.
        colors: RGB colours, for masks that are pictures.
        values: what each of the `colors` stands for; 0, 1, 2 ... if not given.
        key: which of a MATLAB file's variables is the mask, fields of structures behind dots:
            "GTcls.Segmentation". Not needed if there is but one matrix of whole numbers.

    Returns:
        A uint8 array `(H, W)`.

    Raises:
        UserError: if the file is broken; a `LabelError` if it holds colours or numbers that
            stand for no class. Both name the file.
    """
    path = Path(path)
    if path.suffix.lower() == ".mat":
        return _as_bytes(path, read_matrix(path, key))
    with open_image(path) as image:
        # Pillow stretches grey levels of 2 and 4 bits to 0..255, which the ids are not.
        stretch = {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args if image.tile else None), 1)
        image.load()
    mask = np.asarray(image)
    if image.mode in ("RGB", "RGBA") and len(colors) and (mask[:, :, 3:] == 255).all():
        return _values_of(path, mask[:, :, :3], colors, values)
    if image.mode not in ("P", "L", "1", *DEEP_GREY):
        advice = "" if len(colors) else "; `colors` in dataset.json would tell their classes"
        raise LabelError(
            f"{path}: a mask must be a palette or grey PNG of class ids. "
            f"This one holds colours (mode {image.mode}){advice}."
        )
    return _as_bytes(path, mask // stretch if stretch > 1 else mask)


def check_sizes(
    image_path: Path, image_size: tuple[int, ...], mask_path: Path, mask_size: tuple[int, ...]
) -> None:
    """Compares an image's height and width with its mask's.

    Raises:
        UserError: if they differ; names both files.
    """
    if image_size != mask_size:
        raise UserError(
            "An image and its mask must have one size. Received: "
            f"{image_path} of {image_size[1]}x{image_size[0]} and "
            f"{mask_path} of {mask_size[1]}x{mask_size[0]} (width x height)."
        )


def values_with_meaning(ids: np.ndarray) -> str:
    """Says which values a mask may hold, such as "0..3, 255".

    Args:
        ids: the class id for each value, `(256,)`; -1 where a value has no meaning.
    """
    values = np.flatnonzero(ids >= 0)
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _as_bytes(path, mask):
    for value in (mask.min(initial=0), mask.max(initial=0)):
        if not 0 <= value <= 255:
            raise LabelError(
                f"{path}: a mask may hold values from 0 up to 255. This one holds {value}."
            )
    return mask.astype("uint8")


def _values_of(path, picture, colors, values):
    codes = _codes(np.asarray(colors))
    if len(np.unique(codes)) < len(codes):
        raise LabelError(f"{path}: holds colours, of which two classes have one: no mask tells.")
    order = np.argsort(codes)
    pixels = _codes(picture)
    nearest = order[np.minimum(np.searchsorted(codes[order], pixels), len(order) - 1)]
    strange = codes[nearest] != pixels
    if strange.any():
        y, x = np.argwhere(strange)[0]
        raise LabelError(
            f"{path}: has colours that stand for no class, such as {tuple(picture[y, x].tolist())} "
            f"at row {y}, column {x}."
        )
    return np.asarray(range(len(codes)) if values is None else values, "uint8")[nearest]


def _codes(colors):
    red, green, blue = np.moveaxis(colors.astype("int32"), -1, 0)
    return red << 16 | green << 8 | blue
