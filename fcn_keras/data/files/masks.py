"""Mask files as arrays of the values that they hold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.data.files.depth import DEEP_GREY, raw_mode
from fcn_keras.data.files.images import open_image
from fcn_keras.data.files.matlab import read_matrix
from fcn_keras.data.files.readings import (
    Color,
    Mask,
    colors_of,
    read_grey,
    read_indexed,
    read_picture,
    runs_of,
)
from fcn_keras.errors import LabelError, UserError

MASK_SUFFIXES = (".png", ".mat", ".tif", ".tiff", ".gif", ".bmp", ".webp")

# Pillow's modes of one number for each pixel.
_NUMBERS = ("L", "1", "F", *DEEP_GREY)


def read_mask(
    path: str | Path,
    colors: Sequence[Color] = (),
    values: Sequence[int] | None = None,
    key: str | None = None,
    void: Sequence[int] = (IGNORE_LABEL,),
) -> np.ndarray:
    """Reads a label map: class ids, indexed colours, colours, or a matrix.

    Args:
        path: an image file (no JPEG, which changes values), or a MATLAB file of any version that
            holds a matrix of whole numbers.
        colors: RGB colours, for masks that show their classes in colours. An indexed file is
            read by the colours of its entries where all that it uses are of these, whatever
            their order, and by the entries' numbers where none is.
        values: what each of the `colors` stands for; 0, 1, 2 ... if not given.
        key: which of a MATLAB file's variables is the mask, fields of structures behind dots:
            "GTcls.Segmentation". Not needed if there is but one matrix of whole numbers.
        void: values that are no class. An entry of such a number says nothing of how others are
            meant, unless it has the colour of a class.

    Returns:
        A uint8 array `(H, W)`.

    Raises:
        UserError: if the file is broken; a `LabelError` if it holds what stands for no class, or
            can be read in two ways that differ. Both name the file.
    """
    return open_mask(path, colors, values, key, void).values


def open_mask(
    path: str | Path,
    colors: Sequence[Color] = (),
    values: Sequence[int] | None = None,
    key: str | None = None,
    void: Sequence[int] = (IGNORE_LABEL,),
) -> Mask:
    """Reads a label map, and tells how: see `read_mask`."""
    path = Path(path)
    if path.suffix.lower() == ".mat":
        return Mask(_as_bytes(path, read_matrix(path, key)), "grey")
    with open_image(path) as image:
        _check_form(path, image)
        # Pillow stretches grey levels of 2 and 4 bits to 0..255, which the ids are not.
        stretch = {"L;2": 85, "L;4": 17}.get(raw_mode(image), 1)
        image.load()
        palette = _palette(image) if image.mode == "P" else None
        picture = _opaque(path, image)
    known = colors_of(
        tuple(map(tuple, colors)), tuple(range(len(colors)) if values is None else values)
    )
    if palette is not None:
        return read_indexed(path, picture, palette, known, void)
    if picture.ndim == 2:
        grey = _as_bytes(path, picture // stretch if stretch > 1 else picture)
        return read_grey(path, grey, known)
    return read_picture(path, picture, known)


def check_sizes(
    image_path: Path, image_size: tuple[int, ...], mask_path: object, mask_size: tuple[int, ...]
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
    return runs_of(np.flatnonzero(ids >= 0))


def _check_form(path, image):
    """Refuses what Pillow would read as another label map than the one stored, or as a part."""
    if image.mode not in _NUMBERS and ";16" in raw_mode(image):
        raise LabelError(f"{path}: has 16 bits in each channel; a mask in colours must have 8.")
    if image.format != "PNG" and getattr(image, "n_frames", 1) > 1:
        raise LabelError(f"{path}: holds {image.n_frames} pictures; a mask must hold one.")


def _palette(image):
    """The RGB colours of all entries; greys of their numbers where the file's palette ends."""
    palette = np.repeat(np.arange(256, dtype="uint8")[:, None], 3, axis=1)
    given = np.frombuffer(bytes(image.getpalette("RGB") or b""), "uint8").reshape(-1, 3)
    palette[: len(given)] = given
    return palette


def _opaque(path, image):
    """The pixels of an image without its transparency, of which a mask must have none."""
    # Entries of a palette are numbers, whatever they look like.
    if image.has_transparency_data and image.mode != "P":
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if (alpha < 255).any():
            raise LabelError(
                f"{path}: a mask must not be transparent, and this one is at "
                f"{np.mean(alpha < 255):.1%} of its pixels, which show no colour of a class. Save "
                "it without an alpha channel."
            )
    if image.mode in ("LA", "RGBA"):
        pixels = np.asarray(image)
        return pixels[..., 0] if image.mode == "LA" else pixels[..., :3]
    if image.mode not in ("P", "RGB", *_NUMBERS):
        raise LabelError(
            f"{path}: a mask must be indexed, grey or RGB. This one is of mode {image.mode}."
        )
    return np.asarray(image)


def _as_bytes(path, mask):
    if mask.dtype.kind == "f":
        whole = mask.astype("int64", casting="unsafe") if np.isfinite(mask).all() else None
        if whole is None or (whole != mask).any():
            raise LabelError(f"{path}: a mask may hold whole numbers only.")
        mask = whole
    for value in (mask.min(initial=0), mask.max(initial=0)):
        if not 0 <= value <= 255:
            raise LabelError(
                f"{path}: a mask may hold values from 0 up to 255. This one holds {value}."
            )
    return mask.astype("uint8")
