"""How the pixels of a mask are read: by number, or by the colours that they show."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from fcn_keras.errors import LabelError

Color = tuple[int, int, int]

_SHOWN = 5  # entries that a message names

_NUMBERS = np.arange(256)


class Mask(NamedTuple):
    """A label map as it is stored, and how it was read.

    Attributes:
        values: uint8 `(H, W)`.
        form: "indexed" where each pixel is an entry of a palette, "grey" where it is a number,
            "picture" where it is a colour, "drawn" where shapes tell.
        by: "color" where colours decided on the values, "value" where the numbers themselves
            did, "either" where both say the same.
        palette: the RGB colours of an indexed file's entries, `(256, 3)`; None for others.
    """

    values: np.ndarray
    form: Literal["indexed", "grey", "picture", "drawn"]
    by: Literal["color", "value", "either"] = "value"
    palette: np.ndarray | None = None


class Colors:
    """What colours stand for.

    Attributes:
        values: what each colour stands for.
        ambiguous: whether one colour is given twice, so that it does not tell.
        of_greys: for each grey level what it stands for, and whether it is one of the colours.
        moved: grey levels that stand for another number.
    """

    def __init__(self, colors: Sequence[Color], values: Sequence[int]):
        self.values = np.asarray(values, "uint8")
        codes = _codes(np.asarray(colors, "int32").reshape(-1, 3))
        self._order = np.argsort(codes)
        self._codes = codes[self._order]
        self.ambiguous = bool((np.diff(self._codes) == 0).any())
        if len(self):
            self.of_greys = self.look_up(np.repeat(_NUMBERS[:, None], 3, axis=1))
            meant, found = self.of_greys
            self.moved = np.flatnonzero(found & (meant != _NUMBERS)).tolist()

    def __len__(self) -> int:
        return len(self._codes)

    def look_up(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the values of colours `(..., 3)`, and which of them are known."""
        codes = _codes(pixels)
        place = np.minimum(np.searchsorted(self._codes, codes), len(self) - 1)
        return self.values[self._order][place], self._codes[place] == codes


@lru_cache(maxsize=64)
def colors_of(colors: tuple[Color, ...], values: tuple[int, ...]) -> Colors:
    """Returns `Colors`, made once for all files of a data set."""
    return Colors(colors, values)


def runs_of(numbers: np.ndarray) -> str:
    """Says which whole numbers these are, in ascending order, such as "0..3, 255"."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def read_indexed(
    path: Path, entries: np.ndarray, palette: np.ndarray, known: Colors, void: Sequence[int]
) -> Mask:
    """Reads entries of a palette: see `fcn_keras.data.files.masks.read_mask`."""
    if (palette == np.arange(256)[:, None]).all():
        return read_grey(path, entries, known)  # numbers that look like themselves
    if known.ambiguous or not len(known):
        return Mask(entries, "indexed", palette=palette)
    values, found = known.look_up(palette)
    plain = np.asarray(void)[~found[void]]
    values[plain], found[plain] = plain, True
    # Entries of which colour and number say the same, as in most files, need no look.
    if np.take(found & (values == _NUMBERS), entries).all():
        return Mask(entries, "indexed", "either", palette)
    used = np.unique(entries)
    if found[used].all():
        return Mask(values[entries], "indexed", "color", palette)
    if not found[np.setdiff1d(used, plain)].any():
        return Mask(entries, "indexed", "value", palette)
    strange, of_class = (
        ", ".join(f"{entry} {tuple(palette[entry].tolist())}" for entry in group[:_SHOWN])
        for group in (used[~found[used]], np.setdiff1d(used[found[used]], plain))
    )
    raise LabelError(
        f"{path}: the palette gives some of its entries colours of classes ({of_class}), and "
        f"others colours of none ({strange}): are classes meant by colour or by number? Save it "
        "in the `colors` of dataset.json, or as a grey image of class ids."
    )


def read_grey(
    path: Path, grey: np.ndarray, known: Colors, form: Literal["grey", "picture"] = "grey"
) -> Mask:
    """Reads numbers; or the greys of classes, where those are no class ids."""
    if known.ambiguous or not len(known):
        return Mask(grey, form)
    values, found = known.of_greys
    # Where no grey stands for another number than it is, there is nothing to decide.
    if not any((grey == level).any() for level in known.moved):
        same = found[grey.flat[:1]].all() and found[grey].all()
        return Mask(grey, form, "either" if same else "value")
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


def read_picture(path: Path, picture: np.ndarray, known: Colors) -> Mask:
    """Reads colours; or numbers, where all pixels are grey and not all are colours of classes."""
    grey = (picture[..., 0] == picture[..., 1]).all() and (picture[..., 0] == picture[..., 2]).all()
    if not len(known):
        if grey:
            return Mask(np.ascontiguousarray(picture[..., 0]), "picture")
        raise LabelError(
            f"{path}: a mask must hold class ids, and this one holds colours (mode RGB); `colors` "
            f"in dataset.json would tell their classes: {_line_of(picture)}."
        )
    values, found = known.look_up(picture)
    # Greys that are class ids, and no colours of classes, show that ids are meant.
    if grey and np.isin(picture[~found][:, 0], known.values).any():
        return Mask(np.ascontiguousarray(picture[..., 0]), "picture")
    if known.ambiguous and found.any():
        raise LabelError(f"{path}: holds colours, of which two classes have one: no mask tells.")
    if found.all():
        same = grey and (values == picture[..., 0]).all()
        return Mask(values, "picture", "either" if same else "color")
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


def _codes(colors):
    red, green, blue = np.moveaxis(np.asarray(colors, "int32"), -1, 0)
    return red << 16 | green << 8 | blue
