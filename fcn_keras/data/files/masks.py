"""Mask files as arrays of the values that they hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from fcn_keras.data.files.images import open_image
from fcn_keras.data.files.matlab import read_matrix
from fcn_keras.errors import LabelError, UserError

MASK_SUFFIXES = (".png", ".mat", ".tif", ".tiff", ".gif", ".bmp", ".webp")

Color = tuple[int, int, int]

# Pillow's modes of one number for each pixel.
_NUMBERS = ("L", "1", "F", "I", "I;16", "I;16B", "I;16L", "I;16N")

_SHOWN = 5  # colours or entries that a message names


class Mask(NamedTuple):
    """A label map as it is stored, and how it was read.

    Attributes:
        values: uint8 `(H, W)`.
        form: "indexed" where each pixel is an entry of a palette, "grey" where it is a number,
            "picture" where it is a colour.
        by: "color" where colours decided on the values, "value" where the numbers themselves
            did, "either" where both say the same.
        palette: the RGB colours of an indexed file's entries, `(256, 3)`; None for others.
    """

    values: np.ndarray
    form: Literal["indexed", "grey", "picture"]
    by: Literal["color", "value", "either"] = "value"
    palette: np.ndarray | None = None


def read_mask(
    path: str | Path,
    colors: Sequence[Color] = (),
    values: Sequence[int] | None = None,
    key: str | None = None,
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

    Returns:
        A uint8 array `(H, W)`.

    Raises:
        UserError: if the file is broken; a `LabelError` if it holds what stands for no class, or
            can be read in two ways that differ. Both name the file.
    """
    return open_mask(path, colors, values, key).values


def open_mask(
    path: str | Path,
    colors: Sequence[Color] = (),
    values: Sequence[int] | None = None,
    key: str | None = None,
) -> Mask:
    """Reads a label map, and tells how: see `read_mask`."""
    path = Path(path)
    if path.suffix.lower() == ".mat":
        return Mask(_as_bytes(path, read_matrix(path, key)), "grey")
    with open_image(path) as image:
        _check_form(path, image)
        # Pillow stretches grey levels of 2 and 4 bits to 0..255, which the ids are not.
        stretch = {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args if image.tile else None), 1)
        image.load()
        palette = _palette(image) if image.mode == "P" else None
        picture = _opaque(path, image, indexed=palette is not None)
    known = _Colors(path, colors, range(len(colors)) if values is None else values)
    if palette is not None:
        return _indexed(path, picture, palette, known)
    if picture.ndim == 2:
        grey = _as_bytes(path, picture // stretch if stretch > 1 else picture)
        return _grey(path, grey, known)
    return _picture(path, picture, known)


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
    return runs_of(np.flatnonzero(ids >= 0))


def runs_of(numbers: np.ndarray) -> str:
    """Says which whole numbers these are, in ascending order, such as "0..3, 255"."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


class _Colors:
    """What colours stand for, for one file.

    Attributes:
        values: what each colour stands for.
    """

    def __init__(self, path, colors, values):
        self.values = np.asarray(values, "uint8")
        codes = _codes(np.asarray(colors, "int32").reshape(-1, 3))
        self._order = np.argsort(codes)
        self._codes = codes[self._order]
        self._twice = bool((np.diff(self._codes) == 0).any())
        self._path = path

    def __len__(self):
        return len(self._codes)

    def look_up(self, pixels):
        """Returns the values of colours `(..., 3)`, and which of them are known."""
        if self._twice:
            raise LabelError(
                f"{self._path}: holds colours, of which two classes have one: no mask tells."
            )
        codes = _codes(pixels)
        place = np.minimum(np.searchsorted(self._codes, codes), len(self) - 1)
        return self.values[self._order][place], self._codes[place] == codes


def _check_form(path, image):
    """Refuses what Pillow would read as another label map than the one stored, or as a part."""
    if image.mode != "I;16" and ";16" in str(image.tile[0].args if image.tile else ""):
        raise LabelError(f"{path}: has 16 bits in each channel; a mask in colours must have 8.")
    if image.format != "PNG" and getattr(image, "n_frames", 1) > 1:
        raise LabelError(f"{path}: holds {image.n_frames} pictures; a mask must hold one.")


def _palette(image):
    """The RGB colours of all entries; greys of their numbers where the file's palette ends."""
    palette = np.repeat(np.arange(256, dtype="uint8")[:, None], 3, axis=1)
    given = np.frombuffer(bytes(image.getpalette("RGB") or b""), "uint8").reshape(-1, 3)
    palette[: len(given)] = given
    return palette


def _opaque(path, image, indexed):
    """The pixels of an image without its transparency, of which a mask must have none."""
    alpha = image.mode[-1] in "Aa" and image.mode not in ("LAB",)
    if not indexed and (alpha or "transparency" in image.info):
        image = image.convert("RGBA") if image.mode not in ("LA", "RGBA") else image
        pixels = np.asarray(image)
        share = np.mean(pixels[..., -1] < 255)
        if share:
            raise LabelError(
                f"{path}: a mask must not be transparent, and this one is at {share:.1%} of its "
                "pixels, which show no colour of a class. Save it without an alpha channel."
            )
        return pixels[..., 0] if image.mode == "LA" else pixels[..., :3]
    if image.mode not in ("P", "RGB", *_NUMBERS):
        raise LabelError(
            f"{path}: a mask must be indexed, grey or RGB. This one is of mode {image.mode}."
        )
    return np.asarray(image)


def _indexed(path, entries, palette, known):
    if (palette == np.arange(256)[:, None]).all():
        return _grey(path, entries, known)  # numbers that look like themselves
    if not len(known):
        return Mask(entries, "indexed", palette=palette)
    values, found = known.look_up(palette)
    # Entries of which colour and number say the same, as in most files, need no look.
    if (found & (values == np.arange(256)))[entries].all():
        return Mask(entries, "indexed", "either", palette)
    used = np.unique(entries)
    if found[used].all():
        return Mask(values[entries], "indexed", "color", palette)
    if not found[used].any():
        return Mask(entries, "indexed", "value", palette)
    strange, of_class = (
        ", ".join(f"{entry} {tuple(palette[entry].tolist())}" for entry in group[:_SHOWN])
        for group in (used[~found[used]], used[found[used]])
    )
    raise LabelError(
        f"{path}: the palette gives some of its entries colours of classes ({of_class}), and "
        f"others colours of none ({strange}): are classes meant by colour or by number? Save it "
        "in the `colors` of dataset.json, or as a grey image of class ids."
    )


def _grey(path, grey, known, form="grey"):
    """A mask of numbers; or of the greys of classes, where those are no class ids."""
    if not len(known):
        return Mask(grey, form)
    values, found = known.look_up(np.repeat(np.arange(256)[:, None], 3, 1))
    # Where no grey says another number than it is, there is nothing to decide.
    other = np.flatnonzero(found & (values != np.arange(256)))
    if not any((grey == level).any() for level in other):
        return Mask(
            grey, form, "either" if found[grey.flat[:1]].all() and found[grey].all() else "value"
        )
    used = np.unique(grey)
    if not found[used].all():
        return Mask(grey, form)
    if np.isin(used, known.values).all():
        raise LabelError(
            f"{path}: holds the greys {runs_of(used)}, which are colours of classes and class ids "
            'of others. Say which is meant: `values` in dataset.json, such as {"values": {"0": '
            '"background", "255": "object"}}.'
        )
    return Mask(values[grey], form, "color")


def _picture(path, picture, known):
    grey = (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
    if not len(known):
        if grey:
            return _grey(path, picture[..., 0], known, "picture")
        raise LabelError(
            f"{path}: a mask must hold class ids, and this one holds colours (mode RGB); `colors` "
            f"in dataset.json would tell their classes: {_line_of(picture)}."
        )
    values, found = known.look_up(picture)
    if found.all():
        same = grey and (values == picture[..., 0]).all()
        return Mask(values, "picture", "either" if same else "color")
    if grey:
        return Mask(np.ascontiguousarray(picture[..., 0]), "picture")
    colors, counts = np.unique(picture[~found], axis=0, return_counts=True)
    many = ""
    if len(colors) > 20:
        many = (
            f", and {len(colors) - 1} more: JPEG, or resizing with interpolation, mixes colours; "
            "save masks as PNG, and resize them by the nearest pixel"
        )
    y, x = np.argwhere(~found)[0]
    raise LabelError(
        f"{path}: has colours that stand for no class, such as {tuple(picture[y, x].tolist())} "
        f"at row {y}, column {x} ({counts.sum()} such pixels in all){many}."
    )


def _line_of(picture):
    """A line for dataset.json that gives the colours of a picture, if they may be classes'."""
    colors = np.unique(picture.reshape(-1, 3), axis=0).tolist()
    if len(colors) > 20:
        return f"it has {len(colors)} of them, as JPEG or resizing with interpolation makes"
    names = ", ".join(f'"class_{i}"' for i in range(len(colors)))
    return f'{{"classes": [{names}], "colors": {colors}}}'


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


def _codes(colors):
    red, green, blue = np.moveaxis(np.asarray(colors, "int32"), -1, 0)
    return red << 16 | green << 8 | blue
