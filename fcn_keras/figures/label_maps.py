"""Label maps as pictures: palette PNGs, overlays, image and colours side by side."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fcn_keras.data.dataset import IGNORE_LABEL
from fcn_keras.system.spelling import shown_name

_PAPER, _INK, _RIM = (255, 255, 255), (45, 45, 45), (150, 150, 150)


def label_image(class_ids: np.ndarray, palette: np.ndarray) -> Image.Image:
    """Makes a palette image of a label map: its pixels are the labels themselves.

    Args:
        class_ids: uint8 `(H, W)`.
        palette: uint8 `(up to 256, 3)`.

    Returns:
        An image of mode "P".

    Example:

    >>> label_image(class_ids, voc_palette()).save("labels.png")
    """
    # A wider type would wrap round here without a word.
    if class_ids.dtype != np.uint8 or class_ids.ndim != 2:
        raise ValueError(
            f"Expected uint8 labels (H, W), got {class_ids.dtype} of shape {class_ids.shape}"
        )
    picture = Image.fromarray(class_ids)
    picture.putpalette(np.asarray(palette, np.uint8).tobytes())
    return picture


def colorize(class_ids: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Returns a label map in colours, uint8 `(H, W, 3)`.

    Args:
        class_ids: integers `(H, W)`.
        palette: uint8 `(256, 3)`.

    Example:

    >>> colorize(np.array([[0, 1]]), voc_palette()).tolist()
    [[[0, 0, 0], [128, 0, 0]]]
    """
    # By index it takes four times as long.
    return np.take(np.asarray(palette, np.uint8), class_ids, axis=0)


def overlay(
    image: np.ndarray, class_ids: np.ndarray, palette: np.ndarray, opacity: float = 0.5
) -> np.ndarray:
    """Tints a photo with the colours of its label map.

    Along the edges of a region the tint is laid on twice, which draws an outline. Void pixels
    (255) show the photo as it is.

    Args:
        image: uint8 `(H, W, 3)`.
        class_ids: integers `(H, W)`.
        palette: uint8 `(256, 3)`.
        opacity: from 0, the photo alone, to 1, the colours alone.

    Returns:
        uint8 `(H, W, 3)`.

    Example:

    >>> Image.fromarray(overlay(image, class_ids, voc_palette())).save("overlay.png")
    """
    _check_pair(image, class_ids)
    class_ids, palette = np.asarray(class_ids), np.asarray(palette, np.uint8)
    colors = colorize(class_ids, palette)
    mixed = _mixed(image, colors, opacity)
    for where, strength in (
        (edges(class_ids), 1 - (1 - opacity) ** 2),
        (class_ids == IGNORE_LABEL, 0.0),
    ):
        places = where.nonzero()
        mixed[places] = _mixed(image[places], colors[places], strength)
    return mixed


def _mixed(image, colors, strength):
    """Brings colours, uint8, nearer to others by a share of the difference, to even numbers from
    amid two."""
    if strength == 0.5:
        # The same without floats, which take five times as long: what both have, and half of what
        # one of them has; and if that is amid an odd number and the next, the next.
        differing, mixed = image ^ colors, image & colors
        amid = differing & 1
        differing >>= 1
        mixed += differing
        amid &= mixed
        mixed += amid
        return mixed
    mixed = colors.astype(np.float32)
    mixed -= image
    mixed *= np.float32(strength)
    mixed += image
    return np.rint(mixed, out=mixed).astype(np.uint8)


def side_by_side(
    image: np.ndarray,
    class_ids: np.ndarray,
    palette: np.ndarray,
    classes: Sequence[str],
    opacity: float = 0.5,
) -> np.ndarray:
    """Shows photo, colour map and overlay in one picture, with a legend of the classes in it.

    The legend names each class that occurs, the largest first, and its share of the pixels.
    Images too small to see are enlarged by a whole number, each pixel becoming a square.

    Args:
        image: uint8 `(H, W, 3)`.
        class_ids: integers `(H, W)`.
        palette: uint8 `(256, 3)`.
        classes: the classes' names.
        opacity: see `overlay`.

    Returns:
        uint8 `(H', W', 3)`.

    Example:

    >>> write_png("cat.png", side_by_side(image, class_ids, voc_palette(), ["background", "cat"]))
    """
    _check_pair(image, class_ids)
    shares = np.bincount(class_ids.ravel(), minlength=256) / class_ids.size

    # Enlarged before the overlay is drawn, so that its outlines stay thin.
    scale = max(1, 320 // max(class_ids.shape))
    if scale > 1:
        image, class_ids = (x.repeat(scale, 0).repeat(scale, 1) for x in (image, class_ids))
    panels = [image, colorize(class_ids, palette), overlay(image, class_ids, palette, opacity)]

    height, width = class_ids.shape
    gap = max(8, width // 50)
    total_width = max(3 * width + 4 * gap, 480)
    legend = np.asarray(_legend(shares, palette, classes, total_width - 2 * gap))
    page = np.full((height + len(legend) + 3 * gap, total_width, 3), _PAPER[0], np.uint8)
    for i, panel in enumerate(panels):
        left = gap + i * (width + gap)
        page[gap : gap + height, left : left + width] = panel
    page[height + 2 * gap :, gap : total_width - gap][: len(legend)] = legend
    return page


def _check_pair(image, class_ids):
    if image.dtype != np.uint8 or image.shape != (*class_ids.shape, 3) or class_ids.ndim != 2:
        raise ValueError(
            "Expected a uint8 image (H, W, 3) and its labels (H, W), got "
            f"{image.dtype} of shape {image.shape} and labels of shape {class_ids.shape}"
        )


def edges(class_ids: np.ndarray) -> np.ndarray:
    """Returns where `overlay` draws an outline, bool `(H, W)`, for integers `(H, W)`."""
    # Thicker on large photos, which are looked at from further away.
    reach = 1 + max(class_ids.shape) // 1000
    outline = np.zeros(class_ids.shape, bool)
    outline[:, :-reach] |= class_ids[:, :-reach] != class_ids[:, reach:]
    outline[:-reach] |= class_ids[:-reach] != class_ids[reach:]
    return outline


def _legend(shares, palette, classes, width):
    size = max(15, width // 75)
    font = ImageFont.load_default(size=size)
    labels = [int(k) for k in np.argsort(-shares, kind="stable") if shares[k] > 0]
    percents = ["<0.1 %" if shares[k] < 0.0005 else f"{100 * shares[k]:.1f} %" for k in labels]
    percent_width = max(font.getlength(percent) for percent in percents)
    line, space = 2 * size, size // 2
    # An entry: a square of its colour, space, name, space, share; then a wider space.
    fixed = size + 2 * space + percent_width
    names = [_shorten(label_name(k, classes), font, width - fixed) for k in labels]
    name_width = max(font.getlength(name) for name in names)
    column = fixed + name_width + 3 * space
    columns = max(1, int((width + 3 * space) // column))
    rows = -(-len(labels) // columns)

    legend = Image.new("RGB", (width, rows * line), _PAPER)
    draw = ImageDraw.Draw(legend)
    for i, (label, name, percent) in enumerate(zip(labels, names, percents, strict=True)):
        x, y = (i // rows) * column, (i % rows) * line + line / 2
        draw.rectangle(
            (x, y - size / 2, x + size, y + size / 2),
            fill=tuple(palette[label].tolist()),
            outline=_RIM,
            width=max(1, size // 15),
        )
        draw.text((x + size + space, y), name, _INK, font, anchor="lm")
        draw.text((x + fixed + name_width, y), percent, _INK, font, anchor="rm")
    return legend


def label_name(label: int, classes: Sequence[str]) -> str:
    """Returns the name of a label: its class, "void", or a number where there is no such class."""
    if label < len(classes):
        return shown_name(classes[label])
    return "void" if label == IGNORE_LABEL else f"label {label}"


def _shorten(name, font, width):
    if font.getlength(name) <= width:
        return name
    fits = bisect_right(range(len(name)), width, key=lambda n: font.getlength(name[:n] + "..."))
    return name[: max(0, fits - 1)] + "..."
