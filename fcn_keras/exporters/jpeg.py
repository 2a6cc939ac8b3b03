"""JPEG files in a graph: what stands before the pixels, and the pixels in all forms of colour."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# How far it is from a marker to the next, by its second byte: 1 or 2 bytes, or as a number behind
# it says (-1). 0 ends the head: the first scan, and what no file may have.
_STEPS = [-1] * 256
_STEPS[0x00], _STEPS[0xFF], _STEPS[0xDA] = 2, 1, 0
_STEPS[0x01:0xC0] = [0] * (0xC0 - 0x01)
for _lone in (0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)):
    _STEPS[_lone] = 2
_NO_MARKER = 0xFEFF  # and what is below: one byte further

# A photograph has about ten segments in its head.
_MAX_SEGMENTS = 5000

_PROGRESSIVE, _SCAN, _APP1, _APP14 = 0xFFC2, 0xFFDA, 0xFFE1, 0xFFEE
_FRAMES = [0xFFC0 + n for n in range(16) if n not in (4, 8, 12)]
_TABLES = [0xFFC4, 0xFFCC, 0xFFDB, 0xFFDD]

# A scan that completes coefficients of one component, which is captured: the lowest, the highest.
_LOWEST, _HIGHEST = (
    rf"(?s)\A(?:\x00\x08\x01(\C)\C{which}[\x00\x10\x20\x30\x40\x50\x60\x70]|\C*)\z"
    for which in (r"\x01\C", r"\C\x3f")
)

_EXIF, _XMP = b"Exif\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00"
_ADOBE_CMYK = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


class Head(NamedTuple):
    """The segments of a JPEG before its pixels.

    Attributes:
        data: the file, a string scalar.
        markers, places, lengths: what each segment is, where its marker stands, and how many
            bytes are in it; int32 `(n,)`. The last one begins the first scan.
        whole: whether it does, a bool scalar.
    """

    data: tf.Tensor
    markers: tf.Tensor
    places: tf.Tensor
    lengths: tf.Tensor
    whole: tf.Tensor

    def contents(self, chosen: tf.Tensor, start: int = 4) -> tf.Tensor:
        """Returns what is in some segments, strings `(k,)`, by a bool `(n,)`; from 0 with heads."""
        chosen = tf.squeeze(tf.where(chosen), 1)
        places, lengths = tf.gather(self.places, chosen), tf.gather(self.lengths, chosen)
        return tf.strings.substr(self.data, places + start, lengths + (4 - start))


def read_head(data: tf.Tensor) -> Head:
    """Goes through a JPEG up to its pixels, from marker to marker as Pillow does.

    Args:
        data: the file, a string scalar.
    """
    size = tf.strings.length(data)

    def look(at, before, places, seen):
        here = tf.strings.substr(data, at, 4)
        marker, length = tf.unstack(_numbers(here), 2)
        step = tf.gather([1, *_STEPS], tf.maximum(marker - _NO_MARKER, 0))
        step = tf.where(step < 0, 2 + tf.maximum(length, 2), step)
        return at + step, at, tf.concat([places, [at]], 0), seen + here

    _, _, places, seen = tf.while_loop(
        lambda at, before, places, seen: (at != before) & (at + 4 <= size),
        look,
        (tf.constant(2), tf.constant(0), tf.constant([], tf.int32), tf.constant(b"")),
        shape_invariants=tuple(map(tf.TensorShape, ((), (), (None,), ()))),
        parallel_iterations=1,
        maximum_iterations=_MAX_SEGMENTS,
    )
    markers, lengths = tf.unstack(tf.reshape(_numbers(seen), (-1, 2)), axis=1)
    whole = tf.reduce_any(markers == _SCAN)
    return Head(data, markers, places, tf.maximum(lengths, 2) - 2, whole)


def _numbers(octets):
    return tf.cast(tf.io.decode_raw(octets, tf.uint16, little_endian=False), tf.int32)


def read_metadata(head: Head) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the EXIF and the XMP data of a JPEG as Pillow keeps it, strings; empty if none."""
    found = head.contents(head.markers == _APP1)
    # What is in several segments has its name before each.
    parts = tf.strings.regex_replace(found, r"\AExif\x00\x00", "", replace_global=False)
    exif = tf.strings.reduce_join(tf.where(_begins(found, _EXIF), parts, b""))
    numbers = tf.range(tf.size(found)) + 1
    last = tf.reduce_max(tf.where(_begins(found, _XMP), numbers, 0))
    return exif, tf.gather(tf.concat([[b""], found], 0), tf.maximum(last, 0))


def _begins(texts, start):
    return tf.strings.substr(texts, 0, len(start)) == start


def has_metadata(head: Head) -> tf.Tensor:
    """Whether a JPEG has a segment that may tell how the camera was held."""
    return tf.reduce_any(head.markers == _APP1)


def is_complete(head: Head) -> tf.Tensor:
    """Whether a JPEG, if it is progressive, has scans for all coefficients, to the last bit.

    What lacks some is smoothed, by each version of libjpeg in another way.
    """
    progressive = head.markers == _PROGRESSIVE

    def completed():
        count = (tf.reduce_max(tf.where(progressive, head.lengths, 0)) - 6) // 3
        scans = tf.strings.substr(head.data, tf.reduce_max(head.places), 1 << 30)
        scans = tf.raw_ops.StringSplitV2(input=[scans], sep=b"\xff\xda").values
        scans = tf.strings.substr(scans, 0, 8)

        def all_have(kind):
            names = tf.strings.regex_replace(scans, kind, r"\1", replace_global=False)
            return tf.size(tf.unique(tf.concat([[b""], names], 0)).y) > count

        return all_have(_LOWEST) & all_have(_HIGHEST)

    return tf.cond(tf.reduce_any(progressive), completed, lambda: True)


# The components of which one decoding shows the product: all but black, and black alone.
_SHOWN = np.array([[True, True, True, False], [False, False, False, True]])


def decode_cmyk(head: Head) -> tf.Tensor:
    """Decodes a JPEG of four colours as Pillow does: CMYK or YCCK, inverted in any case.

    TensorFlow gives products of a colour and black, rounded down: with Adobe's marker of the
    colours as they are stored, else of what they lack to 255. Where all coefficients of black are
    multiplied by 0, it is 128 everywhere, and the two products together tell the colour; and the
    other way round.

    Args:
        head: what stands before its pixels.

    Returns:
        uint8 `(H, W, 3)`, RGB.
    """
    adobe = head.contents(head.markers == _APP14)
    transforms = tf.strings.reduce_join(
        tf.strings.regex_replace(adobe, r"(?s)\A(?:Adobe\C{6}(\C)\C*|\C*)\z", r"\1")
    )
    is_cmyk = tf.strings.regex_full_match(transforms, r"(?s)(?:\C*\x00)?")  # the last one's is 0
    products = [
        tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE")
        for file in tf.unstack(tf.reshape(_files_of_products(head), [4]))
    ]
    # One is 128 * x // 255, the other 127 * (255 - x) // 255.
    colors = products[0] + (127 - products[1])
    black = products[2][..., :1] + (127 - products[3][..., :1])
    colors = tf.cond(is_cmyk, lambda: colors, lambda: _from_ycc(colors))
    colors, black = (tf.cast(each, tf.uint16) for each in (colors, black))
    product = (255 - colors) * black + 128
    shifted = tf.bitwise.right_shift(product, tf.constant(8, tf.uint16))
    share = tf.bitwise.right_shift(shifted + product, tf.constant(8, tf.uint16))
    return tf.cast(black - share, tf.uint8)


def _files_of_products(head):
    """Files that show the colours alone, and black alone `(2, 2)`: with Adobe's marker, without."""
    markers = tf.expand_dims(head.markers, 1)
    is_frame, is_table = (tf.reduce_any(markers == k, axis=1) for k in (_FRAMES, _TABLES))
    frame = tf.reduce_max(tf.where(is_frame, head.places, 0))
    parts = tf.strings.substr(head.data, frame + 10, 12)
    tables = tf.strings.regex_replace(
        parts, r"(?s)\A\C\C(\C)\C\C(\C)\C\C(\C)\C\C(\C)\z", r"\1\2\3\4", replace_global=False
    )
    # Of the four tables of multipliers, one that what is shown does not need, to be set to 0.
    same = tf.io.decode_raw(tables, tf.uint8) == np.arange(4, dtype="uint8")[:, None]
    taken = tf.reduce_any(same & _SHOWN[:, None], axis=-1)
    free = tf.gather([b"\0", b"\1", b"\2", b"\3"], tf.argmin(tf.cast(taken, tf.int32), axis=-1))
    for_black, for_colors = tf.unstack(free, 2)
    others = tf.strings.join([r"\1", for_colors, r"\2", for_colors, r"\3", for_colors])
    parts = [
        tf.strings.substr(parts, 0, 11) + for_black,
        tf.strings.regex_replace(
            parts, r"(?s)\A(\C\C)\C(\C\C)\C(\C\C)\C", others, replace_global=False
        ),
    ]
    tables = tf.strings.reduce_join(head.contents(is_table, 0))
    frame = tf.strings.substr(head.data, frame, 10)
    scans = tf.strings.substr(head.data, tf.reduce_max(head.places), 1 << 30)
    zeros = bytes(64)
    files = tf.strings.join([tables, frame, parts, b"\xff\xdb\x00\x43", free, zeros, scans])
    return tf.constant([b"\xff\xd8" + _ADOBE_CMYK, b"\xff\xd8"]) + tf.expand_dims(files, 1)


def _from_ycc(colors):
    """Cyan, magenta and yellow of luminance and chrominance, by libjpeg's formula."""
    luma, blue, red = tf.unstack(tf.cast(colors, tf.int32), axis=-1)
    blue, red = blue - 128, red - 128

    def scaled(value):
        return tf.bitwise.right_shift(value + (1 << 15), 16)

    green = scaled(-22554 * blue - 46802 * red)
    rgb = tf.stack([luma + scaled(91881 * red), luma + green, luma + scaled(116130 * blue)], -1)
    return tf.cast(tf.clip_by_value(255 - rgb, 0, 255), tf.uint8)
