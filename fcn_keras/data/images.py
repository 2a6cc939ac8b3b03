"""Image and mask files as arrays; whatever cannot be read right is refused by name."""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fcn_keras.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
MASK_SUFFIXES = (".png",)

# Grey values of 16 bits, of which the upper 8 are what an 8-bit reader would see.
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read_image(path: str | Path) -> np.ndarray:
    """Reads a photo, upright as its EXIF data says.

    Args:
        path: a file in any format that Pillow reads.

    Returns:
        A uint8 array `(H, W, 3)`, RGB.

    Raises:
        UserError: if the file is no image, or a broken one; names the file.
    """
    with _opened(path) as image:
        image.load()
        image = ImageOps.exif_transpose(image)
    if image.mode in _DEEP_MODES:
        image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    # Transparency is left out; Pillow would warn that a palette's cannot be kept in RGB.
    image.info.pop("transparency", None)
    return np.asarray(image.convert("RGB"))


def read_mask(path: str | Path, colors: Sequence[tuple[int, int, int]] = ()) -> np.ndarray:
    """Reads a label map as it is stored: palette indices, grey values, or colours.

    Args:
        path: a palette or grey PNG, or a coloured one if `colors` are given.
        colors: RGB colour of each class, for masks that are pictures.

    Returns:
        A uint8 array `(H, W)`.

    Raises:
        UserError: if the file is broken, or holds colours that stand for no class; names the
            file.
    """
    with _opened(path) as image:
        # Pillow stretches grey levels of 2 and 4 bits to 0..255, which the ids are not.
        stretch = {"L;2": 85, "L;4": 17}.get(image.tile[0].args if image.tile else None, 1)
        image.load()
    if len(colors) and image.mode == "RGB":
        return _classes_of(path, np.asarray(image), colors)
    if image.mode not in ("P", "L", "1", *_DEEP_MODES):
        raise UserError(
            f"{path}: a mask must be a palette or grey PNG of class ids. "
            f"This one holds colours (mode {image.mode})."
        )
    mask = np.asarray(image) // stretch if stretch > 1 else np.asarray(image)
    if mask.max(initial=0) > 255:
        raise UserError(f"{path}: a mask may hold values up to 255. This one holds {mask.max()}.")
    return mask.astype("uint8")


def _classes_of(path, picture, colors):
    """Looks up which class each pixel's colour stands for."""
    codes = np.dot(colors, (1 << 16, 1 << 8, 1))
    order = np.argsort(codes, kind="stable")
    pixels = np.dot(picture.astype("int32"), (1 << 16, 1 << 8, 1))
    places = np.searchsorted(codes[order], pixels)
    class_ids = order[np.minimum(places, len(order) - 1)]
    strange = np.argwhere(codes[class_ids] != pixels)
    if len(strange):
        y, x = strange[0]
        raise UserError(
            f"{path}: has colours that stand for no class, such as {tuple(picture[y, x].tolist())} "
            f"at row {y}, column {x}."
        )
    return class_ids.astype("uint8")


def read_size(path: str | Path) -> tuple[int, int]:
    """Reads height and width from a file's header, upright as its EXIF data says.

    Raises:
        UserError: if the file is no image; names the file.
    """
    with _opened(path) as image:
        width, height = image.size
        if image.getexif().get(0x0112, 1) >= 5:  # turned by a quarter
            width, height = height, width
        return height, width


@contextmanager
def _opened(path):
    try:
        with Image.open(path) as image:
            yield image
    # Pillow's decoders raise SyntaxError and ValueError too where a file is broken.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image ({_reason(error)}).") from error


def _reason(error):
    if isinstance(error, UnidentifiedImageError):
        return "unknown or damaged format"
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
