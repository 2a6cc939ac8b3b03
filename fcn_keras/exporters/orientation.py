"""How a camera was held, by EXIF and XMP data in a graph: as Pillow understands them."""

import numpy as np
import tensorflow as tf

_ORIENTATION = 0x0112

# By an entry's type: how many bytes a value has. Types that are not there have none, and do not
# count.
_UNITS = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 0]
# And what a value is: 1 as Pillow takes it for bytes, a whole number, one by another, one by
# another with signs, a number of 4 bytes, or of 8.
_BYTES, _WHOLE, _RATIONAL, _SIGNED_RATIONAL, _FLOAT, _DOUBLE = range(6)
_KINDS = [_WHOLE] * len(_UNITS)
_KINDS[1] = _KINDS[2] = _KINDS[7] = _BYTES
_KINDS[5], _KINDS[10], _KINDS[11], _KINDS[12] = _RATIONAL, _SIGNED_RATIONAL, _FLOAT, _DOUBLE

_MAX_ENTRIES = 6000

# An entry's 12 bytes times this are its tag, type, count and place.
_LITTLE = np.zeros((12, 4), "int64")
for _column, _rows in enumerate((range(0, 2), range(2, 4), range(4, 8), range(8, 12))):
    _LITTLE[_rows, _column] = 256 ** np.arange(len(_rows))
_BIG = _LITTLE[[1, 0, 3, 2, 7, 6, 5, 4, 11, 10, 9, 8]]

_TIFF = r"(?s)(?:II\*\x00|II\x00\*|MM\x00\*|MM\*\x00|MM\x00\+)\C{4}\C*"
_XMP = r"(?s)\A(?:\C*?tiff:Orientation(?:=\"|>)([0-9])\C*|\C*)\z"

# By orientation: whether it has to be transposed first, and then turned upside down, and mirrored.
_TURNS = np.array(
    [
        *((0, 0, 0), (0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)),
        *((1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)),
    ],
    bool,
)


def orientation_of(exif: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
    """Returns how a camera was held.

    Args:
        exif: EXIF data, behind the "Exif" that begins it; a string scalar, empty if there is none.
        xmp: XMP data, which counts where the EXIF data does not tell; the same.

    Returns:
        A float64 scalar: from 1 to 8 as in EXIF's standard, or something else, which is as 1. No
        number if there is too much in it to tell what Pillow makes of it.
    """
    digit = tf.strings.regex_replace(xmp, _XMP, r"0\1", replace_global=False)
    other = tf.strings.to_number(digit, tf.float64)
    # Pillow passes over a second one.
    tiff = tf.strings.regex_replace(exif, r"\AExif\x00\x00", "", replace_global=False)
    return tf.cond(
        tf.strings.regex_full_match(tiff, _TIFF),
        lambda: _search(tiff, other),
        # Nothing is as good as data without the tag; nonsense is not.
        lambda: tf.where(tiff == b"", other, tf.constant(1.0, tf.float64)),
    )


def _search(tiff, other):
    """The value of the first entry that tells, before any that ends the list for Pillow."""
    big = tf.strings.substr(tiff, 0, 1) == b"M"
    columns = tf.where(big, _BIG, _LITTLE)
    length = tf.cast(tf.strings.length(tiff), tf.int64)
    filled = tiff + bytes(12)

    def entries(at, size):
        octets = tf.io.decode_raw(tf.strings.substr(filled, at, size), tf.uint8)
        return tf.matmul(tf.cast(tf.reshape(octets, (-1, 12)), tf.int64), columns)

    zero, entry = tf.constant(0, tf.int64), tf.constant(12, tf.int64)
    start = tf.minimum(entries(zero, entry)[0, 2], length)
    count = entries(start, entry)[0, 0]
    start += 2
    count = tf.maximum(tf.minimum(count, (length - start) // 12), 0)  # what is cut off is not there
    many = count > _MAX_ENTRIES
    count = tf.where(many, zero, count)
    tags, types, counts, places = tf.unstack(entries(start, entry * count), 4, axis=1)

    types = tf.minimum(types, len(_UNITS) - 1)
    units = tf.gather(tf.constant(_UNITS, tf.int64), types)
    sizes = units * counts
    some = sizes > 0
    # Of two entries the first counts.
    numbers = tf.range(count)
    earlier = (tf.expand_dims(tags, 1) == tags) & some & (numbers < tf.expand_dims(numbers, 1))
    again = tf.reduce_any(earlier, axis=1)
    away = (sizes > 4) & ~again
    # What claims more than the whole file is passed over, what lies behind its end ends the list.
    over = away & (tf.cumsum(tf.where(away, sizes, zero)) > length)
    lost = away & ~over & (places + sizes > length)
    tells = (tags == _ORIENTATION) & some & ~(again | over)
    tells &= tf.cumsum(tf.cast(lost, tf.int32)) == 0
    places = tf.where(away, places, start + 12 * numbers + 8)

    def value():
        found = tf.gather(tf.stack([places, units, types], axis=1), tf.argmax(tells))
        place, unit, kind = tf.unstack(found, 3)
        octets = tf.io.decode_raw(tf.strings.substr(filled, place, unit), tf.uint8)
        return _number(octets, kind, big)

    unclear = many | tf.reduce_any(over) & tf.reduce_any(again)
    value = tf.cond(tf.reduce_any(tells), value, lambda: other)
    return tf.where(unclear, tf.constant(float("nan"), tf.float64), value)


def _number(octets, kind, big):
    """The first value of an entry, as float64."""
    octets = tf.where(big, tf.reverse(octets, [0]), octets)
    octets = tf.concat([octets, tf.zeros(8, tf.uint8)], 0)[:8]
    parts = tf.reshape(octets, (2, 4))
    single, _ = tf.unstack(tf.bitcast(parts, tf.float32))
    parts = tf.where(big, tf.reverse(parts, [0]), parts)
    above, below = tf.unstack(tf.cast(tf.bitcast(parts, tf.uint32), tf.float64))
    signed_above, signed_below = tf.unstack(tf.cast(tf.bitcast(parts, tf.int32), tf.float64))
    values = (
        tf.constant(1.0, tf.float64),
        tf.cast(tf.bitcast(octets, tf.int64), tf.float64),
        above / below,
        signed_above / signed_below,
        tf.cast(single, tf.float64),
        tf.bitcast(octets, tf.float64),
    )
    return tf.gather(tf.stack(values), tf.gather(_KINDS, kind))


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image `(H, W, C)` as `orientation_of` tells."""

    def turned():
        turns = tf.unstack(tf.gather(_TURNS, tf.cast(orientation, tf.int32)), 3)
        across = tf.cond(turns[0], lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        return tf.raw_ops.Reverse(tensor=across, dims=tf.stack([*turns[1:], False]))

    told = tf.reduce_any(orientation == np.arange(2.0, 9.0))
    return tf.cond(told, turned, lambda: image)
