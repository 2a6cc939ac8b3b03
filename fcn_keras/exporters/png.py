"""PNG files in a graph: their pixels as 8 bits, and what tells how the camera was held."""

from string import hexdigits

import tensorflow as tf

from fcn_keras.exporters.checks import required

_PROFILE, _XMP = b"Raw profile type exif\x00", b"XML:com.adobe.xmp\x00"
_DIM = 4096
_MAX_CHUNKS = 10_000
_OCTETS = [bytes([octet]) for octet in range(256)]
_DIGITS = [int(chr(octet), 16) if chr(octet) in hexdigits else -1 for octet in range(256)]


def decode_png(data: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG; of 16 bits, the upper 8.

    Args:
        data: the file, a string scalar.

    Returns:
        uint8 `(H, W, 3)`, RGB.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if the file is damaged, or has 16 bits of
            which no more than the lower 12 are used: it would be black or nearly.
    """

    def deep():
        image = tf.io.decode_png(data, 3, tf.uint16)
        brightest = tf.reduce_max(tf.cast(image, tf.int32))
        visible = (brightest == 0) | (brightest >= _DIM)
        with required(visible, "16 bits of which the upper ones are not used."):
            return tf.cast(tf.bitwise.right_shift(image, tf.constant(8, tf.uint16)), tf.uint8)

    is_deep = tf.strings.substr(data, 24, 1) == b"\x10"
    return tf.cond(is_deep, deep, lambda: tf.io.decode_png(data, 3))


def has_metadata(data: tf.Tensor) -> tf.Tensor:
    """Whether a PNG may tell how the camera was held."""
    return tf.strings.regex_full_match(data, r"(?s)\C*(?:eXIf|exif\x00|XML:com\.adobe\.xmp)\C*")


def read_metadata(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the EXIF and the XMP data of a PNG as Pillow keeps it, strings; empty if none.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if they are in there in ways that nobody
            writes, of which Pillow makes something all the same.
    """
    kinds, places, lengths = _chunks(data)
    chosen = tf.reduce_any(kinds[:, None] == [b"eXIf", b"tEXt", b"zTXt", b"iTXt"], axis=1)
    kinds, places, lengths = (tf.boolean_mask(each, chosen) for each in (kinds, places, lengths))
    found = tf.strings.substr(tf.fill(tf.shape(places), data), places + 8, lengths)

    def named(name):
        return (kinds != b"eXIf") & (tf.strings.substr(found, 0, len(name)) == name)

    def last(which):
        """The last chunk of some: its kind and contents, or nothing."""
        ends = (tf.concat([[b""], tf.boolean_mask(each, which)], 0)[-1] for each in (kinds, found))
        return tuple(ends)

    as_text = named(b"exif\x00")
    odd = as_text & (kinds != b"tEXt")
    twice = tf.math.count_nonzero(named(_XMP)) > 1
    with required(~tf.reduce_any(odd) & ~twice, "Metadata that no program writes."):
        kind, contents = last((kinds == b"eXIf") | as_text)
    texts = [last(named(_PROFILE)), last(named(_XMP))]
    profile, xmp = tf.unstack(
        tf.map_fn(
            _text, tuple(map(tf.stack, zip(*texts, strict=True))), fn_output_signature=tf.string
        )
    )
    start = tf.where(kind == b"tEXt", 5, 0)
    exif = b"Exif\x00\x00" + _from(contents, start)
    return tf.where(kind == b"", _from_hex(profile), exif), xmp


def _chunks(data):
    """Kinds, places and lengths of all chunks that Pillow looks at."""
    size = tf.strings.length(data)

    def length_of(head):
        length = tf.io.decode_raw(tf.strings.substr(head, 0, 4), tf.int32, False)
        return tf.where((length >= 0) & (length < size), length, size)[..., 0]

    def look(at, seen):
        head = tf.strings.substr(data, at, 8)
        return at + 12 + length_of(head), seen + head

    _, seen = tf.while_loop(
        lambda at, seen: at + 8 <= size,
        look,
        (tf.constant(8), tf.constant(b"")),
        parallel_iterations=1,
        maximum_iterations=_MAX_CHUNKS,
    )
    count = tf.strings.length(seen) // 8
    with required(count < _MAX_CHUNKS, "A PNG of too many chunks."):
        heads = tf.strings.substr(tf.fill([count], seen), 8 * tf.range(count), tf.fill([count], 8))
    kinds = tf.strings.substr(heads, 4, 4)
    lengths = length_of(heads)
    places = 8 + tf.cumsum(lengths + 12, exclusive=True)
    # Of an animation, Pillow reads up to the second frame.
    pixels = tf.cumsum(tf.cast(kinds == b"IDAT", tf.int32)) > 0
    ends = (kinds == b"IEND") | tf.reduce_any(kinds == b"acTL") & pixels & (kinds == b"fcTL")
    inside = tf.cumsum(tf.cast(ends, tf.int32)) == 0
    return tuple(tf.boolean_mask(each, inside) for each in (kinds, places, lengths))


def _from(text, start):
    return tf.strings.substr(text, tf.minimum(start, tf.strings.length(text)), 1 << 30)


def _text(chunk):
    """The text of a chunk of some kind; nothing of no chunk."""
    kind, contents = chunk
    behind = tf.strings.regex_replace(contents, r"\A[^\x00]*\x00", "", replace_global=False)
    # In iTXt: whether and how it is packed, the language, the keyword in it, and the text.
    local = kind == b"iTXt"
    parts = tf.strings.split([_from(behind, 2)], "\x00", 2).values
    with required(~local | (tf.size(parts) == 3), "A text that lacks parts."):
        text = tf.where(local, tf.concat([parts, [b""] * 3], 0)[2], behind)
    packed = (kind == b"zTXt") | local & (tf.strings.substr(behind, 0, 1) != b"\x00")
    by = tf.strings.substr(_from(behind, tf.where(local, 1, 0)), 0, 1)
    text = tf.where(kind == b"zTXt", _from(behind, 1), text)
    fine = (by == b"\x00") & (tf.strings.length(text) < 1 << 16)
    with required(~packed | fine, "A text packed in an unknown way, or too large."):
        packed = tf.identity(packed)
    return tf.cond(packed, lambda: tf.io.decode_compressed(text, "ZLIB"), lambda: text)


def _from_hex(text):
    """What stands in a profile in hexadecimal, behind three lines; nonsense if it is none."""
    octets = tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int32)
    is_end = octets == ord("\n")
    digits = tf.boolean_mask(octets, ~is_end & (tf.cumsum(tf.cast(is_end, tf.int32)) >= 3))
    blank = tf.reduce_any(digits[:, None] == [9, 11, 12, 13, 32])
    with required(~blank, "A profile with blanks."):
        digits = tf.gather(_DIGITS, digits)
    good = tf.reduce_all(digits >= 0) & (tf.size(digits) % 2 == 0)
    pairs = tf.reshape(digits[: tf.size(digits) // 2 * 2], (-1, 2))
    octets = tf.gather(_OCTETS, tf.maximum(16 * pairs[:, 0] + pairs[:, 1], 0))
    found = tf.strings.reduce_join(octets)
    return tf.where(good, tf.where(text == b"", b"", b"Exif\x00\x00" + found), b"no TIFF")
