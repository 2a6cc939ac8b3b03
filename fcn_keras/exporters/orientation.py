"""How a camera was held, by EXIF and XMP data in a graph: as Pillow understands them."""

import tensorflow as tf

_ORIENTATION = 0x0112

# By an entry's type: how many bytes a value has. Types that are not there have none, and do not
# count.
_UNITS = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8]
_BYTES, _RATIONAL, _SIGNED_RATIONAL, _FLOAT, _DOUBLE = (1, 2, 7), 5, 10, 11, 12

_MAX_ENTRIES = 6000

# To read entries in the other byte order: tag, type, count and place.
_SWAPPED = [1, 0, 3, 2, 7, 6, 5, 4, 11, 10, 9, 8]

_XMP = r"(?s)\A\C*?tiff:Orientation(?:=\"|>)([0-9])\C*\z"


def orientation_of(exif: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
    """Returns how a camera was held.

    Args:
        exif: EXIF data, with or without "Exif" before it; a string scalar, empty if there is none.
        xmp: XMP data, which counts where the EXIF data does not tell; the same.

    Returns:
        A float64 scalar: from 1 to 8 as in EXIF's standard, or something else, which is as 1. No
        number if there is too much in it to tell what Pillow makes of it.
    """
    digit = tf.strings.regex_replace(xmp, _XMP, r"\1", replace_global=False)
    told = tf.strings.regex_full_match(xmp, _XMP)
    other = tf.strings.to_number(tf.where(told, digit, b"1"), tf.float64)

    tiff = tf.strings.regex_replace(exif, r"\A(?:Exif\x00\x00){1,2}", "", replace_global=False)
    order = tf.strings.substr(tiff, 0, 4)
    big = tf.reduce_any(order == [b"MM\0*", b"MM*\0", b"MM\0+"])
    known = (big | tf.reduce_any(order == [b"II*\0", b"II\0*"])) & (tf.strings.length(tiff) >= 8)
    return tf.cond(
        known,
        lambda: _search(tf.io.decode_raw(tiff, tf.uint8), big, other),
        # Nothing is as good as data without the tag; nonsense is not.
        lambda: tf.where(tiff == b"", other, tf.constant(1.0, tf.float64)),
    )


def _search(octets, big, other):
    """The value of the first entry that tells, before any that ends the list for Pillow."""
    length = tf.size(octets, tf.int64)
    start = _little(octets[4:8], big, tf.uint32)
    count = _little(tf.concat([octets[start : start + 2], [0, 0]], 0)[:2], big, tf.uint16)
    start += 2
    count = tf.maximum(tf.minimum(count, (length - start) // 12), 0)  # what is cut off is not there
    many = count > _MAX_ENTRIES
    count = tf.where(many, tf.zeros_like(count), count)
    entries = tf.reshape(octets[start : start + 12 * count], (-1, 12))
    entries = tf.gather(entries, tf.where(big, _SWAPPED, range(12)), axis=1)
    tags, types = tf.unstack(_numbers(tf.reshape(entries[:, :4], (-1, 2, 2)), tf.uint16), axis=1)
    counts, places = tf.unstack(_numbers(tf.reshape(entries[:, 4:], (-1, 2, 4)), tf.uint32), axis=1)

    units = tf.gather(tf.constant(_UNITS, tf.int64), tf.where(types < len(_UNITS), types, 0))
    sizes = units * counts
    # Of two entries the first counts.
    numbers = tf.range(count)
    earlier = (tags[:, None] == tags) & (sizes > 0) & (numbers < numbers[:, None])
    again = tf.reduce_any(earlier, axis=1)
    away = (sizes > 4) & ~again
    # What claims more than the whole file is passed over, what lies behind its end ends the list.
    over = away & (tf.cumsum(tf.where(away, sizes, 0)) > length)
    lost = away & ~over & (places + sizes > length)
    tells = (tags == _ORIENTATION) & (sizes > 0) & ~again & ~over
    tells &= tf.cumsum(tf.cast(lost, tf.int32)) == 0

    def value():
        at = tf.argmax(tells)
        place = tf.where(away[at], places[at], start + 12 * at + 8)
        return _number(octets[place : place + units[at]], types[at], big)

    unclear = many | tf.reduce_any(over) & tf.reduce_any(again)
    value = tf.cond(tf.reduce_any(tells), value, lambda: other)
    return tf.where(unclear, tf.constant(float("nan"), tf.float64), value)


def _numbers(octets, dtype):
    return tf.cast(tf.bitcast(octets, dtype), tf.int64)


def _little(octets, big, dtype):
    """A number of either byte order, as int64."""
    return _numbers(tf.where(big, octets[::-1], octets), dtype)


def _number(octets, kind, big):
    """The first value of an entry, as float64; 1 where Pillow takes it for bytes."""
    octets = tf.where(big, octets[::-1], octets)
    octets = tf.concat([octets, tf.zeros(8, tf.uint8)], 0)[:8]
    single, double = tf.bitcast(octets[:4], tf.float32), tf.bitcast(octets, tf.float64)
    parts = tf.reshape(octets, (2, 4))
    parts = tf.where(big, parts[::-1], parts)
    signed = tf.cast(tf.bitcast(parts, tf.int32), tf.float64)
    unsigned = tf.cast(tf.bitcast(parts, tf.uint32), tf.float64)
    value = tf.cast(tf.bitcast(octets, tf.int64), tf.float64)
    for other, number in (
        (_RATIONAL, unsigned[0] / unsigned[1]),
        (_SIGNED_RATIONAL, signed[0] / signed[1]),
        (_FLOAT, tf.cast(single, tf.float64)),
        (_DOUBLE, double),
    ):
        value = tf.where(kind == other, number, value)
    is_bytes = tf.reduce_any(kind == tf.constant(_BYTES, tf.int64))
    return tf.where(is_bytes, tf.constant(1.0, tf.float64), value)


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image `(H, W, C)` as `orientation_of` tells."""

    def told(*values):
        return tf.reduce_any(orientation == tf.constant(values, tf.float64))

    def turned():
        across = tf.cond(told(5, 6, 7, 8), lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        flips = tf.stack([told(3, 4, 7, 8), told(2, 3, 6, 7), False])
        return tf.raw_ops.Reverse(tensor=across, dims=flips)

    return tf.cond(told(*range(2, 9)), turned, lambda: image)
