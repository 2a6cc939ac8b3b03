"""Images of more than 8 bits as 8: by one rule, or refused.

- 16 bits without a sign, grey or colours: the upper 8 of them. Where the brightest value is below
  4096 (12 bits, as many cameras and microscopes store them) little or nothing would be left of the
  picture: refused.
- 12 bits, where the file says so: the upper 8 of the 12.
- Whole numbers of 32 bits or with a sign, and floats, have no range that is known: refused.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile

# Pillow's modes of grey values of 16 bits.
DEEP_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")

_BITS_PER_SAMPLE = 258  # a tag of TIFF
_DIM = 4096
_SCALE = "scale them to 0..255, and save with 8 bits"
# Where the lower bytes are, in the same file.
_LOWER = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGB;16N": "RGB;16B"} | {
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B",
    "LA;16B": "RGBA",  # the grey's upper and lower byte, and the transparency's
}


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Returns how an image that has not been loaded yet is packed, as Pillow calls it."""
    args = image.tile[0].args if image.tile else None
    if isinstance(args, tuple):
        args = args[0] if args else None
    return args if isinstance(args, str) else ""


def to_rgb(image: ImageFile.ImageFile, source: str | Path | BinaryIO) -> Image.Image:
    """Loads an image, and makes it RGB of 8 bits by this module's rule, without transparency.

    Args:
        image: what has been opened, and not been loaded.
        source: what it was opened from.

    Raises:
        ValueError: if there is no telling what 8 bits of it a picture would be.
    """
    packed = raw_mode(image)
    if image.tile and image.tile[0][0] == "ppm" and image.tile[0].args == ("RGB", 65535):
        packed = "RGB;16B"
        image.tile = [image.tile[0]._replace(codec_name="raw", args=packed)]
    image.load()
    loaded: Image.Image = image
    if image.mode == "F" or image.mode == "I" and image.format not in ("PPM", "PNG"):
        kind = "with a fraction" if image.mode == "F" else "of 32 bits or with a sign"
        raise ValueError(f"it holds numbers {kind}: {_SCALE}")
    if image.mode in DEEP_GREY:
        loaded = _deep_grey(image)
    elif packed in _LOWER:
        _check_colors(image, source, packed)
    elif image.mode == "La":
        loaded = image.convert("LA")
    # Pillow would warn that a palette's transparency cannot be kept in RGB.
    loaded.info.pop("transparency", None)
    return loaded if loaded.mode == "RGB" else loaded.convert("RGB")


def _deep_grey(image):
    values = np.asarray(image)
    bits = 16
    if image.format == "TIFF" and image.tag_v2.get(_BITS_PER_SAMPLE) == (12,):
        bits = 12
    else:
        _check_brightest(int(values.max(initial=0)))
    return Image.fromarray((values >> (bits - 8)).astype("uint8"))


def _check_colors(image, source, packed):
    """Looks at colours of 16 bits, of which Pillow has kept the upper 8."""
    upper = int(np.asarray(image)[:, :, :3].max(initial=0))
    if upper >= _DIM >> 8:
        return
    if not upper:
        with Image.open(source) as again:
            [*again.tile] = (_with_raw_mode(tile, _LOWER[packed]) for tile in again.tile)
            channels = slice(1, 2) if packed == "LA;16B" else slice(3)
            lower = int(np.asarray(again)[:, :, channels].max(initial=0))
        _check_brightest(lower)
    else:
        _check_brightest(256 * upper)


def _with_raw_mode(tile, packed):
    args = (packed, *tile.args[1:]) if isinstance(tile.args, tuple) else packed
    return tile._replace(args=args)


def _check_brightest(brightest):
    if 0 < brightest < _DIM:
        raise ValueError(
            f"it has 16 bits, and uses no more than {brightest.bit_length()} of them, so that its "
            f"upper 8 would be black or nearly: scale its values to 0..65535, or {_SCALE[11:]}"
        )
