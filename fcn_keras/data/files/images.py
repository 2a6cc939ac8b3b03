"""Image files as arrays; whatever cannot be read right is refused by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from fcn_keras.errors import UserError, first_line

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")

# Pillow's modes of grey values of 16 bits, of which the upper 8 are what an 8-bit reader would see.
DEEP_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # an EXIF tag, and what it says of a quarter turn


def read_image(path: str | Path | BinaryIO, name: str | None = None) -> np.ndarray:
    """Reads a photo, upright as its EXIF data says.

    Args:
        path: a file in any format that Pillow reads, or one that is open.
        name: what errors call it; the path if not given.

    Returns:
        A uint8 array `(H, W, 3)`, RGB.

    Raises:
        UserError: if the file is no image, or a broken one; names the file.
    """
    with open_image(path, name) as file:
        file.load()
        image = ImageOps.exif_transpose(file)
    if image.mode in DEEP_GREY:
        image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    # Transparency is left out; Pillow would warn that a palette's cannot be kept in RGB.
    image.info.pop("transparency", None)
    return np.asarray(image.convert("RGB"))


def read_size(path: str | Path) -> tuple[int, int]:
    """Reads height and width from a file's header, upright as its EXIF data says.

    Raises:
        UserError: if the file is no image; names the file.
    """
    with open_image(path) as image:
        width, height = image.size
        # Pillow decodes a whole PNG in search of EXIF data, which hardly any has.
        if (image.format != "PNG" or _has_exif(image.fp)) and (
            image.getexif().get(_ORIENTATION) in _TURNED
        ):
            width, height = height, width
        return height, width


def _has_exif(file):
    """Whether a PNG, open at any place, has a chunk that may tell how the camera was held."""
    place = file.tell()
    position = 8
    try:
        while True:
            file.seek(position)
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IEND":
                return False
            if head[4:] == b"eXIf":
                return True
            text = file.read(17) if head[4:] in (b"tEXt", b"zTXt", b"iTXt") else b""
            if text.startswith((b"Raw profile type ", b"XML:com.adobe.xmp")):
                return True
            position += 12 + int.from_bytes(head[:4])
    finally:
        file.seek(place)


@contextmanager
def open_image(
    path: str | Path | BinaryIO, name: str | None = None
) -> Iterator[ImageFile.ImageFile]:
    """Opens an image as it is stored, to be closed at the end of the `with`; see `read_image`.

    Raises:
        UserError: if the file is no image, or turns out to be broken within the `with`; names it.
    """
    try:
        with Image.open(path) as image:
            yield image
    # Pillow's decoders raise SyntaxError and ValueError too where a file is broken.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(name or path, "an image", error) from error


def unreadable(path: str | Path | BinaryIO, kind: str, error: Exception) -> UserError:
    """Returns the error to raise for a file that cannot be read.

    Args:
        path: the file.
        kind: what it should be, such as "an image".
        error: what came up; the first line of its message is the reason.
    """
    reason = getattr(error, "strerror", None) or first_line(error)
    if isinstance(error, UnidentifiedImageError):
        reason = "unknown or damaged format"
    return UserError(f"{path}: cannot be read as {kind} ({reason}).")


def check_end(path: Path) -> None:
    """Decodes an image whose end is not where it should be: it may be truncated.

    Raises:
        UserError: if it is; names the file.
    """
    endings = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
    suffix = path.suffix.lower()
    if suffix not in endings or not path.read_bytes().endswith(endings[suffix]):
        read_image(path)
