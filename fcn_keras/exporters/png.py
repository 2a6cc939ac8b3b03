"""PNG files in a graph: their pixels as 8 bits, and what tells how the camera was held."""

from string import hexdigits

import tensorflow as tf

from fcn_keras.exporters.checks import required

_DIM = 4096
# What a header calls grey, grey and alpha, RGB, RGBA.
_KINDS = {1: b"\x00", 2: b"\x04", 3: b"\x02", 4: b"\x06"}
_MAX_CHUNKS = 10_000
_OCTETS = [bytes([octet]) for octet in range(256)]
_DIGITS = [int(chr(octet), 16) if chr(octet) in hexdigits else 0 for octet in range(256)]

# Chunks that tell, each with its kind before its contents.
_EXIF = r"(?s)(?:eXIf|tEXtexif\x00)\C*"
_ODD_EXIF = r"(?s)(?:zTXt|iTXt)exif\x00\C*"
_PROFILE = r"(?s)(?:tEXt|zTXt|iTXt)Raw profile type exif\x00\C*"
_XMP = r"(?s)(?:tEXt|zTXt|iTXt)XML:com\.adobe\.xmp\x00\C*"

# What is before a text. In iTXt: whether and how it is packed, the language, and the keyword in it.
_PLAIN = r"tEXt[^\x00]*\x00|iTXt[^\x00]*\x00\x00\C[^\x00]*\x00[^\x00]*\x00"
_PACKED = r"zTXt[^\x00]*\x00\x00|iTXt[^\x00]*\x00[^\x00]\x00[^\x00]*\x00[^\x00]*\x00"


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
        with required((brightest == 0) | (brightest >= _DIM)):
            return tf.cast(tf.bitwise.right_shift(image, tf.constant(8, tf.uint16)), tf.uint8)

    is_deep = tf.strings.substr(data, 24, 1) == b"\x10"
    return tf.cond(is_deep, deep, lambda: tf.io.decode_png(data, 3))


def decode_as_stored(data: tf.Tensor, channels: int, dtype: str) -> tf.Tensor:
    """Decodes a PNG of so many channels, of 16 bits where they are uint16.

    Args:
        data: the file, a string scalar.
        channels: from 1 to 4.
        dtype: uint8 or uint16.

    Returns:
        `(H, W, channels)`, of that dtype.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if the file is damaged, or holds others.
    """
    is_deep = tf.strings.substr(data, 24, 1) == b"\x10"
    kind = tf.strings.substr(data, 25, 1)
    with required((is_deep == (dtype == "uint16")) & (kind == _KINDS[channels])):
        # It knows no 2, but finds them by itself.
        return tf.io.decode_png(data, 0 if channels == 2 else channels, dtype)


def has_metadata(data: tf.Tensor) -> tf.Tensor:
    """Whether a PNG may tell how the camera was held."""
    return tf.strings.regex_full_match(data, r"(?s)\C*(?:eXIf|exif\x00|XML:com\.adobe\.xmp)\C*")


def read_metadata(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the EXIF and the XMP data of a PNG as Pillow keeps it, strings; empty if none.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if they are in there in ways that nobody
            writes, of which Pillow makes something all the same.
    """
    chunks = _chunks(data)
    exif, profile, xmp, odd = (
        tf.strings.regex_full_match(chunks, kind) for kind in (_EXIF, _PROFILE, _XMP, _ODD_EXIF)
    )
    twice = tf.reduce_sum(tf.cast(xmp, tf.int32)) > 1
    with required(~(tf.reduce_any(odd) | twice)):
        which = tf.stack([exif, profile, xmp])
    # The last one of each, or nothing.
    last = tf.reduce_max(tf.where(which, tf.range(tf.size(chunks)) + 1, 0), axis=1)
    found = tf.gather(tf.concat([[b""], chunks], 0), tf.maximum(last, 0))
    exif = found[0]
    profile, xmp = tf.unstack(_texts(found[1:]), 2)
    contents = tf.strings.regex_replace(exif, r"\A(?:eXIf|tEXtexif\x00)", "")
    return tf.where(exif == b"", _from_hex(profile), contents), xmp


def _chunks(data):
    """All chunks that Pillow looks at, each with its kind before its contents; strings `(n,)`."""
    size = tf.strings.length(data)

    def look(at, places, lengths):
        number = tf.io.decode_raw(tf.strings.substr(data, at, 4), tf.int32, little_endian=False)
        length = tf.minimum(tf.where(number < 0, size, number), size)
        places, lengths = tf.concat([places, [at]], 0), tf.concat([lengths, length], 0)
        return at + 12 + tf.squeeze(length, 0), places, lengths

    none = tf.constant([], tf.int32)
    _, places, lengths = tf.while_loop(
        lambda at, places, lengths: at + 8 <= size,
        look,
        (tf.constant(8), none, none),
        shape_invariants=tuple(map(tf.TensorShape, ((), (None,), (None,)))),
        parallel_iterations=1,
        maximum_iterations=_MAX_CHUNKS,
    )
    with required(tf.size(places) < _MAX_CHUNKS):
        places += 4
    kinds = tf.strings.substr(data, places, tf.zeros_like(places) + 4)
    # Of an animation, Pillow reads up to the second frame.
    pixels = tf.cumsum(tf.cast(kinds == b"IDAT", tf.int32)) > 0
    ends = (kinds == b"IEND") | tf.reduce_any(kinds == b"acTL") & pixels & (kinds == b"fcTL")
    inside = tf.squeeze(tf.where(tf.cumsum(tf.cast(ends, tf.int32)) == 0), 1)
    return tf.strings.substr(data, tf.gather(places, inside), tf.gather(lengths, inside) + 4)


def _texts(chunks):
    """The texts of chunks of any kind; nothing of no chunk."""
    behind = tf.strings.regex_replace(
        chunks, rf"\A(?:{_PLAIN}|{_PACKED})", "", replace_global=False
    )
    packed = tf.strings.regex_full_match(chunks, rf"(?s)(?:{_PACKED})\C*")
    plain = tf.strings.regex_full_match(chunks, rf"(?s)(?:(?:{_PLAIN})\C*)?")
    small = tf.strings.length(behind) < 1 << 16
    with required(tf.reduce_all(plain | packed & small)):
        unpacked = tf.io.decode_compressed(tf.where(packed, behind, b""), "ZLIB")
    return tf.where(packed, unpacked, behind)


def _from_hex(text):
    """What stands in a profile in hexadecimal, behind three lines; nonsense if it is none."""
    text = tf.strings.regex_replace(
        text, r"(?s)\A(?:\C*?\n\C*?\n\C*?\n|\C*\z)", "", replace_global=False
    )
    text = tf.strings.regex_replace(text, r"\n", "")
    with required(~tf.strings.regex_full_match(text, r"(?s)\C*[\t\v\f\r ]\C*")):
        good = tf.strings.regex_full_match(text, r"(?:[0-9A-Fa-f]{2})*")
    text = tf.where(good, text, b"")
    digits = tf.gather(_DIGITS, tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int32))
    octets = tf.linalg.matvec(tf.reshape(digits, (-1, 2)), [16, 1])
    return tf.where(good, tf.strings.reduce_join(tf.gather(_OCTETS, octets)), b"no TIFF")
