"""Image and mask files as arrays; whatever cannot be read right is refused by name."""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fcn_keras.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
MASK_SUFFIXES = (".png", ".mat")

# Grey values of 16 bits, of which the upper 8 are what an 8-bit reader would see.
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # an EXIF tag, and what it says of a quarter turn


class LabelError(UserError):
    """A mask that can be read, but holds something that stands for no class."""


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
        return _as_bytes(path, _read_matrix(path, key))
    with _opened(path) as image:
        # Pillow stretches grey levels of 2 and 4 bits to 0..255, which the ids are not.
        stretch = {"L;2": 85, "L;4": 17}.get(image.tile[0].args if image.tile else None, 1)
        image.load()
    mask = np.asarray(image)
    if image.mode in ("RGB", "RGBA") and len(colors) and (mask[:, :, 3:] == 255).all():
        return _values_of(path, mask[:, :, :3], colors, values)
    if image.mode not in ("P", "L", "1", *_DEEP_MODES):
        advice = "" if len(colors) else "; `colors` in dataset.json would tell their classes"
        raise LabelError(
            f"{path}: a mask must be a palette or grey PNG of class ids. "
            f"This one holds colours (mode {image.mode}){advice}."
        )
    return _as_bytes(path, mask // stretch if stretch > 1 else mask)


def _as_bytes(path, mask):
    for value in (mask.min(initial=0), mask.max(initial=0)):
        if not 0 <= value <= 255:
            raise LabelError(
                f"{path}: a mask may hold values from 0 up to 255. This one holds {value}."
            )
    return mask.astype("uint8")


def _values_of(path, picture, colors, values):
    """Looks up what each pixel's colour stands for."""
    codes = _codes(np.asarray(colors))
    if len(np.unique(codes)) < len(codes):
        raise LabelError(f"{path}: holds colours, of which two classes have one: no mask tells.")
    order = np.argsort(codes)
    pixels = _codes(picture)
    places = np.searchsorted(codes[order], pixels)
    found = order[np.minimum(places, len(order) - 1)]
    strange = codes[found] != pixels
    if strange.any():
        y, x = np.argwhere(strange)[0]
        raise LabelError(
            f"{path}: has colours that stand for no class, such as {tuple(picture[y, x].tolist())} "
            f"at row {y}, column {x}."
        )
    return np.asarray(range(len(codes)) if values is None else values, "uint8")[found]


def _codes(colors):
    red, green, blue = np.moveaxis(colors.astype("int32"), -1, 0)
    return red << 16 | green << 8 | blue


def _read_matrix(path, key):
    """Reads the label map out of a MATLAB file."""
    # Both take their time to import, and few need them.
    import h5py
    import scipy.io

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                variables = _hdf5_variables(file, key)
        else:
            variables = _variables(scipy.io.loadmat(path), key)
    except Exception as error:  # of many kinds where a file is broken
        raise UserError(f"{path}: cannot be read as a MATLAB file ({_reason(error)}).") from error
    whole = {name: _whole(value) for name, value in variables.items()}
    found = {name: matrix for name, matrix in whole.items() if matrix is not None}
    if len(found) > 1:  # A number on its own is a matrix of one row and column in MATLAB.
        found = {name: matrix for name, matrix in found.items() if matrix.size > 1}
    if len(found) != 1:
        wanted = "one matrix of whole numbers" if key is None else f"a matrix {key!r}"
        raise LabelError(
            f"{path}: must hold {wanted}, or `mask_key` in dataset.json must name another. "
            f"It holds {', '.join(found) or 'none'}."
        )
    return next(iter(found.values()))


def _variables(variables, key):
    if key is None:
        return variables
    name, *fields = key.split(".")
    value = variables.get(name)
    for field in fields:
        names = getattr(getattr(value, "dtype", None), "names", None) or ()
        value = value[field].flat[0] if field in names and value.size else None
    return {key: value}


def _hdf5_variables(file, key):
    """The same of files of version 7.3, which hold the columns of a matrix as rows."""
    names = [*file] if key is None else [key]
    items = {name: file.get(name.replace(".", "/")) for name in names}
    return {
        name: item[()].T
        for name, item in items.items()
        if hasattr(item, "dtype") and item.attrs.get("MATLAB_class") != b"char"
    }


def _whole(value):
    """A matrix of whole numbers as one of integers; None for anything else."""
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "biuf":
        return None
    if value.dtype.kind != "f":
        return value
    # What MATLAB takes where nothing else was said.
    whole = np.isfinite(value) & (value == np.trunc(value))
    return value.astype("int64") if whole.all() else None


def read_size(path: str | Path) -> tuple[int, int]:
    """Reads height and width from a file's header, upright as its EXIF data says.

    Raises:
        UserError: if the file is no image; names the file.
    """
    with _opened(path) as image:
        width, height = image.size
        # Pillow decodes a whole PNG in search of EXIF data, which hardly any has.
        if image.format != "PNG" or _has_exif(image.fp):
            if image.getexif().get(_ORIENTATION) in _TURNED:
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
            if head[4:] in (b"tEXt", b"zTXt", b"iTXt"):
                if file.read(17).startswith((b"Raw profile type ", b"XML:com.adobe.xmp")):
                    return True
            position += 12 + int.from_bytes(head[:4])
    finally:
        file.seek(place)


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
    lines = str(error).splitlines() or [type(error).__name__]
    return getattr(error, "strerror", None) or lines[0]
