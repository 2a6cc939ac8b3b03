"""JPEG files in a graph: what stands before the pixels, and the pixels in all forms of colour."""

from typing import NamedTuple

import tensorflow as tf

from fcn_keras.exporters.checks import required

# How far it is from a marker to the next: 1 or 2 bytes, or as a number behind it says (-1). 0
# ends the head: the first scan, and what no file may have.
_STEPS = [-1] * 256
_STEPS[0x00], _STEPS[0xFF], _STEPS[0xDA] = 2, 1, 0
_STEPS[0x01:0xC0] = [0] * (0xC0 - 0x01)
for _lone in (0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)):
    _STEPS[_lone] = 2

# A photograph has about ten segments in its head.
_MAX_SEGMENTS = 5000

_SCAN, _APP1, _APP14 = 0xFFDA, 0xFFE1, 0xFFEE
_FRAMES = [0xFFC0 + n for n in range(16) if n not in (4, 8, 12)]

_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_ADOBE_CMYK = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


class Head(NamedTuple):
    """The segments of a JPEG before its pixels.

    Attributes:
        data: the head alone, a string scalar.
        markers, places, lengths: what each segment is, where its marker stands, and how many
            bytes are in it; int32 `(n,)`. The last one begins the first scan.
    """

    data: tf.Tensor
    markers: tf.Tensor
    places: tf.Tensor
    lengths: tf.Tensor

    def contents(self, chosen: tf.Tensor) -> tf.Tensor:
        """Returns the contents of some segments, strings `(k,)`, by a bool `(n,)`."""
        places = tf.boolean_mask(self.places, chosen) + 4
        lengths = tf.boolean_mask(self.lengths, chosen)
        return tf.strings.substr(tf.fill(tf.shape(places), self.data), places, lengths)


def read_head(data: tf.Tensor) -> Head:
    """Goes through a JPEG up to its pixels, from marker to marker as Pillow does.

    Args:
        data: the file, a string scalar.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if there are no pixels.
    """

    def look(at, seen):
        here = tf.strings.substr(data, at, 4)
        return at, _step(tf.io.decode_raw(here, tf.int32, False)[0]), seen + here

    _, _, seen = tf.while_loop(
        lambda at, step, seen: step > 0,
        lambda at, step, seen: look(at + step, seen),
        look(tf.constant(2), tf.constant(b"")),
        parallel_iterations=1,
        maximum_iterations=_MAX_SEGMENTS,
    )
    words = tf.io.decode_raw(seen, tf.int32, False)
    markers = tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, 16), 0xFFFF)
    places = 2 + tf.cumsum(_step(words), exclusive=True)
    with required(markers[-1] == _SCAN, "A JPEG must have pixels."):
        lengths = tf.maximum(tf.bitwise.bitwise_and(words, 0xFFFF), 2) - 2
        return Head(tf.strings.substr(data, 0, places[-1]), markers, places, lengths)


def _step(word):
    """How many bytes it is to the next marker from where four bytes stand, as int32."""
    first, second, low = (
        tf.bitwise.bitwise_and(tf.bitwise.right_shift(word, shift), mask)
        for shift, mask in ((24, 255), (16, 255), (0, 0xFFFF))
    )
    step = tf.gather(_STEPS, second)
    step = tf.where(step < 0, 2 + tf.maximum(low, 2), step)
    return tf.where(first == 255, step, 1)


def read_metadata(head: Head) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the EXIF and the XMP data of a JPEG as Pillow keeps it, strings; empty if none."""
    found = head.contents(head.markers == _APP1)
    exif = tf.boolean_mask(found, tf.strings.substr(found, 0, 6) == b"Exif\x00\x00")
    exif = tf.strings.reduce_join(
        tf.where(tf.range(tf.size(exif)) > 0, tf.strings.substr(exif, 6, 1 << 16), exif)
    )
    is_xmp = tf.strings.substr(found, 0, len(_XMP)) == _XMP
    xmp = tf.concat([[b""], tf.boolean_mask(found, is_xmp)], axis=0)[-1]
    return exif, tf.strings.regex_replace(xmp, r"\A[^\x00]*\x00", "", replace_global=False)


def has_metadata(head: Head) -> tf.Tensor:
    """Whether a JPEG has a segment that may tell how the camera was held."""
    return tf.reduce_any(head.markers == _APP1)


def decode_cmyk(data: tf.Tensor, head: Head) -> tf.Tensor:
    """Decodes a JPEG of four colours as Pillow does: CMYK or YCCK, inverted in any case.

    TensorFlow gives products of a colour and black, rounded down: with Adobe's marker of the
    colours as they are stored, else of what they lack to 255. Where all coefficients of black are
    multiplied by 0, it is 128 everywhere, and the two products together tell the colour; and the
    other way round.

    Args:
        data: the file, a string scalar.
        head: what stands before its pixels.

    Returns:
        uint8 `(H, W, 3)`, RGB.
    """
    adobe = head.contents(head.markers == _APP14)
    is_adobe = (tf.strings.substr(adobe, 0, 5) == b"Adobe") & (tf.strings.length(adobe) >= 12)
    transforms = tf.strings.substr(tf.boolean_mask(adobe, is_adobe), 11, 1)
    transform = tf.concat([[b"\x00"], transforms], axis=0)[-1]

    is_frame = tf.reduce_any(head.markers[:, None] == _FRAMES, axis=1)
    frame = tf.boolean_mask(head.places, is_frame)[-1]
    plain = tf.strings.regex_replace(head.data, "Adobe", "adobe")
    rest = tf.strings.substr(data, head.places[-1], 1 << 30)

    def stored(kept):
        """The components `kept`, and 128 in place of others."""
        parts = tf.reshape(tf.strings.bytes_split(tf.strings.substr(plain, frame + 10, 12)), (4, 3))
        tables = parts[:, 2]
        used = tf.boolean_mask(tables, kept)
        names = tf.constant([b"\0", b"\1", b"\2", b"\3"])
        free = tf.boolean_mask(names, ~tf.reduce_any(names[:, None] == used, axis=1))[0]
        tables = tf.where(kept, tables, free)
        parts = tf.concat([parts[:, :2], tables[:, None]], axis=1)
        changed = tf.strings.substr(plain, 2, frame + 8) + tf.strings.reduce_join(parts)
        changed += tf.strings.substr(plain, frame + 22, 1 << 30)
        changed += b"\xff\xdb\x00\x43" + free + bytes(64) + rest
        product, other = (
            tf.io.decode_jpeg(start + changed, 3, dct_method="INTEGER_ACCURATE")
            for start in (b"\xff\xd8" + _ADOBE_CMYK, b"\xff\xd8")
        )
        # product is 128 * x // 255, and other is 127 * (255 - x) // 255.
        return product + (127 - other)

    colors, black = tf.unstack(
        tf.map_fn(
            stored,
            tf.constant([[True, True, True, False], [False, False, False, True]]),
            fn_output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
            parallel_iterations=1,
        )
    )
    black = black[..., :1]
    colors = tf.cond(transform == b"\x00", lambda: colors, lambda: _from_ycc(colors))
    colors, black = (tf.cast(each, tf.uint16) for each in (colors, black))
    product = (255 - colors) * black + 128
    shifted = tf.bitwise.right_shift(product, tf.constant(8, tf.uint16))
    share = tf.bitwise.right_shift(shifted + product, tf.constant(8, tf.uint16))
    return tf.cast(black - share, tf.uint8)


def _from_ycc(colors):
    """Cyan, magenta and yellow of luminance and chrominance, by libjpeg's formula."""
    luma, blue, red = tf.unstack(tf.cast(colors, tf.int32), axis=-1)
    blue, red = blue - 128, red - 128

    def scaled(value):
        return tf.bitwise.right_shift(value + (1 << 15), 16)

    green = scaled(-22554 * blue - 46802 * red)
    rgb = tf.stack([luma + scaled(91881 * red), luma + green, luma + scaled(116130 * blue)], -1)
    return tf.cast(tf.clip_by_value(255 - rgb, 0, 255), tf.uint8)
