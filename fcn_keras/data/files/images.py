"""Image files as arrays; whatever cannot be read right is refused by name."""

import base64
import io
import json
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from fcn_keras.data.files.depth import to_rgb
from fcn_keras.data.files.listing import passed_over
from fcn_keras.errors import UserError, first_line

_HEIF = bool(find_spec("pillow_heif"))

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".jp2", ".j2k", ".ppm", ".pgm", ".pnm", ".tga"),
    *((".avif",) if find_spec("PIL._avif") else ()),
    *((".heic", ".heif") if _HEIF else ()),
)

_LARGE = 1 << 24  # pixels

_ORIENTATION = 0x0112  # an EXIF tag
_TURNED = (5, 6, 7, 8)  # what it says of a quarter turn
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class TooManyPixels(UserError):
    """An image of more pixels than Pillow takes for harmless."""


def read_image(path: str | Path | BinaryIO, name: str | None = None) -> np.ndarray:
    """Reads a photo, upright as its EXIF or XMP data says.

    Of more than 8 bits the upper 8 are kept, or it is refused, see `fcn_keras.data.files.depth`.

    Args:
        path: a file in any format that Pillow reads, or one that is open; or one of LabelMe's,
            with the image inside.
        name: what errors call it; the path if not given.

    Returns:
        A uint8 array `(H, W, 3)`, RGB.

    Raises:
        UserError: if the file is no image, or a broken one; names the file.
    """
    with open_image(path, name) as file:
        return np.asarray(upright(to_rgb(file, path), file))


def upright(image: Image.Image, file: Image.Image) -> Image.Image:
    """Turns an image as the EXIF or XMP data say of the file that it was loaded from."""
    # Once it is loaded: Pillow turns a TIFF as it loads it, and looks behind the pixels of a PNG.
    turn = _UPRIGHT.get(orientation(file))
    return image if turn is None else image.transpose(turn)


def read_size(path: str | Path) -> tuple[int, int]:
    """Reads height and width from a file's header, upright as `read_image` turns it.

    Raises:
        UserError: if the file is no image; names the file.
    """
    with open_image(path) as image:
        width, height = image.size
        # Pillow decodes a whole PNG in search of EXIF data, which hardly any has.
        if image.format == "PNG" and not _has_exif(image.fp):
            return height, width
        # A TIFF's size is told as its own tag turns it, though not yet as its XMP data does.
        turned_already = getattr(image, "tag_v2", {}).get(_ORIENTATION) in _TURNED
        if orientation(image) in _TURNED and not turned_already:
            width, height = height, width
        return height, width


def orientation(image: Image.Image) -> int:
    """How the camera was held, as Pillow finds it; 1 where the data cannot be made sense of."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1


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
            if text.startswith((b"Raw profile type ", b"XML:com.adobe.xmp", b"exif\0")):
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
        with _without_warnings(), _open(path) as image:
            _check_plausible(image)
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name or path, error) from error
    # Decoders raise errors of any kind where a file is broken.
    except Exception as error:
        raise unreadable(name or path, "an image", error) from error


def _open(path):
    if Path(str(path)).suffix.lower() == ".json":
        path = io.BytesIO(image_bytes(path))
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        if not _HEIF or "HEIF" in Image.OPEN:
            raise
        import_module("pillow_heif").register_heif_opener()
        return Image.open(path)


def image_bytes(path: Path) -> bytes:
    """Returns an image as it is stored: in its own file, or within one of LabelMe's.

    Raises:
        UserError: if it is not there; names the file.
    """
    try:
        content = path.read_bytes()
        if path.suffix.lower() != ".json":
            return content
        return base64.b64decode(json.loads(content)["imageData"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(path, "an image", error) from error


def _check_plausible(image):
    """Refuses an image whose header can but be wrong, before memory is taken for it.

    PNG, of one bit, takes a byte for 8256 pixels at the least, GIF and JPEG for fewer. Others have
    no such bound, but neither has anyone large photographs in which there is nothing.
    """
    pixels = image.width * image.height
    if pixels < _LARGE or image.format == "TIFF" or image.fp is None:
        return
    place = image.fp.tell()
    size = image.fp.seek(0, 2)
    image.fp.seek(place)
    if pixels > 10_000 * size:
        raise ValueError(
            f"its header tells of {image.width} x {image.height} pixels, of which {size} bytes "
            "hold nothing"
        )


class _Silence:
    """How many files are being read, and the rule that holds as long: Pillow says nothing of odd
    entries in them, which a user can do nothing about.

    The rule is as `warnings.filterwarnings` makes it. What lies first in the list afterwards need
    not be that: other threads change the list too.
    """

    lock = threading.Lock()
    depth = 0
    module = r"PIL\."
    rule = ("ignore", None, Warning, re.compile(module), 0)


@contextmanager
def _without_warnings():
    # `warnings.catch_warnings` would undo what other threads have changed meanwhile.
    with _Silence.lock:
        _Silence.depth += 1
        # In the list it may be behind another that counts first: of a thread, or of a test's.
        if warnings.filters[:1] != [_Silence.rule]:
            warnings.filterwarnings("ignore", module=_Silence.module)
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.depth -= 1
            if not _Silence.depth:
                with suppress(ValueError):
                    warnings.filters.remove(_Silence.rule)


def _too_large(path, error):
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    # Pillow's message has the product alone.
    size = trace.tb_frame.f_locals.get("size")
    pixels = "{} x {}".format(*size) if size else "too many"
    return TooManyPixels(
        f"{path}: cannot be read as an image (it has {pixels} pixels, and the limit is "
        f"{2 * (Image.MAX_IMAGE_PIXELS or 0)} in all). Cut it into smaller ones."
    )


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
        decoder = passed_over([Path(str(path))], IMAGE_SUFFIXES)
        reason += f": {decoder}" if decoder else ""
    return UserError(f"{path}: cannot be read as {kind} ({reason}).")


def read_whole(path: Path) -> bytes:
    """Returns a file's bytes, if the image in it seems to be whole.

    It does if its end is where it should be, and the checksums are right that a PNG has; images
    of other kinds, and those of which that is not so, are decoded.

    Raises:
        UserError: if it is not; names the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, "an image", error) from error
    jpeg = data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    if not (jpeg or _is_sound_png(data)):
        read_image(path)
    return data


def _is_sound_png(data):
    position, view = 8, memoryview(data)
    while data[:4] == b"\x89PNG" and position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4])
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return False
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position = end + 4
    return False
