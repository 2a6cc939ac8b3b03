"""Image files as arrays within a TensorFlow graph: what a server decodes, where no Python runs."""

from functools import cache

import tensorflow as tf

from fcn_keras.exporters import jpeg, png
from fcn_keras.exporters.checks import required
from fcn_keras.exporters.formats import MAX_PIXELS
from fcn_keras.exporters.orientation import orientation_of, upright

_JPEG, _PNG, _BMP, _GIF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8"


@tf.autograph.experimental.do_not_convert
def decode_or_skip(image_bytes: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes the bytes of a JPEG, PNG, BMP or GIF file in a graph, if that is possible.

    All come out to the bit as `fcn_keras.data.files.images.read_image` reads them: the first frame
    of an animation, upright as EXIF or XMP data says, and with the upper 8 bits of 16. What could
    come out differently is skipped, as is what is broken or of another kind.

    Args:
        image_bytes: string scalar.
        max_pixels: an image of more pixels is skipped by what the file's header says, before
            anything is decoded.

    Returns:
        A pair: the image, uint8 `(H, W, 3)`, RGB; and whether it could be decoded, a bool scalar.
        If not, the image is one black pixel.
    """
    return _decoder(max_pixels)(image_bytes)


def decode_stored_or_skip(
    image_bytes: tf.Tensor, channels: int, dtype: str, max_pixels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes the bytes of a PNG file, with its numbers as stored, in a graph.

    Args:
        image_bytes: string scalar.
        channels: how many it must have, from 1 to 4.
        dtype: of its numbers, uint8 or uint16.
        max_pixels: see `decode_or_skip`.

    Returns:
        A pair as of `decode_or_skip`: the image is `(H, W, channels)`, of that dtype.
    """
    nothing = tf.zeros((1, 1, channels), dtype)

    def decode():
        with required(_starts_with(image_bytes, _PNG)), _checked_png(image_bytes, max_pixels):
            return (png.decode_as_stored(image_bytes, channels, dtype),)

    image, good = _attempt(decode, nothing)
    return tf.ensure_shape(image, (None, None, channels)), good


def decode_image(image_bytes: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes a file as `decode_or_skip` does, or fails; for a graph of one's own.

    Args:
        image_bytes: string scalar.
        max_pixels: see `decode_or_skip`.

    Returns:
        uint8 `(H, W, 3)`, RGB.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if the file would be skipped.

    Example:

    >>> images = tf.data.Dataset.list_files("photos/*").map(tf.io.read_file).map(decode_image)
    """
    image, good = decode_or_skip(image_bytes, max_pixels)
    message = f"An image must be a whole JPEG, PNG, BMP or GIF of at most {max_pixels} pixels."
    with tf.control_dependencies([tf.debugging.Assert(good, [message])]):
        return tf.identity(image)


@cache
def _decoder(max_pixels):
    """The graph, which takes a second to make: once, where saving a network asks for it twice."""
    with tf.init_scope():  # it is no part of the one that asks first
        return tf.function(
            lambda data: _decode(data, max_pixels),
            input_signature=[tf.TensorSpec((), tf.string)],
            autograph=False,
        ).get_concrete_function()


def _decode(data, max_pixels):
    image, good, exif, xmp = tf.cond(
        _starts_with(data, _JPEG),
        lambda: _from_jpeg(data, max_pixels),
        lambda: _from_other(data, max_pixels),
    )

    def turned():
        orientation = orientation_of(exif, xmp)
        return upright(image, orientation), good & ~tf.math.is_nan(orientation)

    image, good = tf.cond(exif + xmp != b"", turned, lambda: (image, good))
    image = tf.cond(good, lambda: image, lambda: tf.zeros((1, 1, 3), tf.uint8))
    return tf.ensure_shape(image, (None, None, 3)), good


def _attempt(decode, *otherwise):
    """What `decode` gives, and whether it raised nothing; if it did, `otherwise`."""
    # A graph cannot catch what an operation raises; a data set of one element can lose it. Its
    # own graph is made ready each time, which takes longer the more is in it.
    results = tf.data.Dataset.from_tensors(0).map(lambda _: (*decode(), True)).ignore_errors()
    nothing = tf.data.Dataset.from_tensors((*otherwise, False))
    options = tf.data.Options()
    # They rewrite that graph, which takes longer than a small image.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    first = results.concatenate(nothing).take(1).with_options(options)
    return first.get_single_element()


def _attempt_image(decode):
    return _attempt(lambda: (decode(),), tf.zeros((1, 1, 3), tf.uint8))


def _from_jpeg(data, max_pixels):
    """An image, whether it is good, and its EXIF and XMP data, empty if there is none."""
    head = jpeg.read_head(data)
    image, good = _attempt_image(lambda: _decode_colors(data, max_pixels))
    image, good = tf.cond(
        good, lambda: (image, good), lambda: _attempt_image(lambda: _decode_cmyk(head, max_pixels))
    )
    told = jpeg.has_metadata(head)
    exif, xmp = tf.cond(told, lambda: jpeg.read_metadata(head), lambda: (b"", b""))
    return image, good & head.whole & jpeg.is_complete(head), exif, xmp


def _from_other(data, max_pixels):
    """The same of a file of another kind."""
    image, good = _attempt_image(lambda: _decode_other(data, max_pixels))
    told = good & _starts_with(data, _PNG) & png.has_metadata(data)
    exif, xmp, clear = tf.cond(
        told,
        lambda: _attempt(lambda: png.read_metadata(data), b"", b""),
        lambda: (b"", b"", True),
    )
    return image, good & clear, exif, xmp


def _starts_with(data, start):
    return tf.strings.substr(data, 0, len(start)) == start


# What decodes raises an error at what it cannot.


def _decode_other(data, max_pixels):
    return tf.case(
        [
            (_starts_with(data, _PNG), lambda: _decode_png(data, max_pixels)),
            (_starts_with(data, _GIF), lambda: _decode_gif(data, max_pixels)),
        ],
        # What is none of these fails as a BMP.
        default=lambda: _decode_bmp(data, max_pixels),
    )


def _check_size(height, width, max_pixels):
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return required((pixels > 0) & (pixels <= max_pixels))


def _numbers(data, at, count, dtype=tf.int32, little_endian=True):
    """Whole numbers that follow one another in a file, as int32."""
    numbers = tf.io.decode_raw(
        tf.strings.substr(data, at, count * dtype.size), dtype, little_endian
    )
    return tf.unstack(tf.cast(numbers, tf.int32), count)


def _decode_colors(data, max_pixels):
    """Decodes a JPEG, of up to three colours."""
    with _checked_jpeg(data, lambda channels: channels < 4, max_pixels):
        # TensorFlow's default is a faster and coarser transform than all others use.
        return tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")


def _decode_cmyk(head, max_pixels):
    with _checked_jpeg(head.data, lambda channels: channels == 4, max_pixels):
        return jpeg.decode_cmyk(head)


def _checked_jpeg(data, right, max_pixels):
    height, width, channels = tf.unstack(tf.io.extract_jpeg_shape(data), 3)
    with required(right(channels)):
        return _check_size(tf.identity(height), width, max_pixels)


def _decode_png(data, max_pixels):
    with _checked_png(data, max_pixels):
        return png.decode_png(data)


def _checked_png(data, max_pixels):
    # The first chunk has to be the header; a decoder might pass over another to find it.
    with required(tf.strings.substr(data, 8, 8) == b"\x00\x00\x00\rIHDR"):
        width, height = _numbers(data, 16, 2, little_endian=False)
    return _check_size(height, width, max_pixels)


# How TensorFlow takes the words of 32 bits: what lies where in them, red, green and blue.
_BMP_MASKS = b"\x00\x00\xff\x00\x00\xff\x00\x00\xff\x00\x00\x00"


def _decode_bmp(data, max_pixels):
    packing = tf.strings.substr(data, 30, 4)
    words = (packing == b"\x03\x00\x00\x00") & (tf.strings.substr(data, 54, 12) == _BMP_MASKS)
    plain = (tf.strings.substr(data, 0, 2) == _BMP) & (words | (packing == bytes(4)))
    with required(plain):
        width, height = _numbers(data, 18, 2)
        (bits,) = _numbers(data, 28, 1, tf.uint16)
    with _check_size(tf.abs(height), width, max_pixels):
        start, header = _numbers(data, 10, 2)
    # TensorFlow takes shorter headers for long ones, and pixels from within a header.
    with required((header >= 40) & (start >= 14 + header)):
        # TensorFlow refuses what some programs fill files up with.
        row = 4 * ((bits * width + 31) // 32)
        pixels = tf.io.decode_bmp(tf.strings.substr(data, 0, start + row * tf.abs(height)))

    def colors():
        # TensorFlow takes the places in the palette for grey values.
        (used,) = _numbers(data, 46, 1)
        used = tf.where(used == 0, 256, used)
        with required((used > 0) & (used <= (start - 14 - header) // 4)):
            palette = tf.strings.substr(data, 14 + header, 4 * used)
        palette = tf.reshape(tf.io.decode_raw(palette, tf.uint8), (-1, 4))[:, 2::-1]  # BGR0
        return tf.gather(palette, tf.cast(pixels[:, :, 0], tf.int32))

    return tf.cond(bits == 8, colors, lambda: pixels[:, :, :3])


def _decode_gif(data, max_pixels):
    """Decodes the first frame alone, and lays it on the screen that the animation has.

    TensorFlow would decode all frames, however many and large, and gives them the largest one's
    size.
    """
    octets = tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int32)

    def octet(at):
        return tf.gather(octets, at)  # of fewer operations than a slice

    head = 13 + _palette_size(octet(10))

    def skip_extension(at, transparent):
        # An extension; before the first frame, there is nothing else.
        with required(octet(at) == 0x21):
            clear = (octet(at + 1) == 0xF9) & (octet(at + 3) & 1 == 1)
        transparent = tf.where(clear, octet(at + 6), transparent)
        return _behind_blocks(octet, at + 2), transparent

    frame, transparent = tf.while_loop(
        lambda at, transparent: octet(at) != 0x2C, skip_extension, [head, tf.constant(0)]
    )
    left, top, width, height = _numbers(data, frame + 1, 4, tf.uint16)
    own_palette = _palette_size(octet(frame + 9))
    full_width, full_height = _numbers(data, 6, 2, tf.uint16)
    full_width = tf.maximum(full_width, left + width)
    full_height = tf.maximum(full_height, top + height)
    with _check_size(full_height, full_width, max_pixels):
        end = _behind_blocks(octet, frame + 11 + own_palette)
        # At no distance from the corner, and without the extensions, which would blacken what is
        # transparent.
        lone = tf.strings.substr(data, 0, head) + b"\x2c\x00\x00\x00\x00"
        lone += tf.strings.substr(data, frame + 5, end - frame - 5) + b"\x3b"
        image = tf.io.decode_gif(lone)[0]

        # What the frame leaves free is in the transparent colour, or in the first.
        palette = tf.where(own_palette > 0, frame + 10, 13)
        last = tf.where(own_palette > 0, own_palette, head - 13) - 3
        color = octet(palette + tf.minimum(3 * transparent, last) + tf.range(3))
        pads = [[top, full_height - top - height], [left, full_width - left - width], [0, 0]]
        covered = tf.pad(tf.ones((height, width, 1), tf.bool), pads)
        return tf.where(covered, tf.pad(image, pads), tf.cast(color, tf.uint8))


def _palette_size(flags):
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)


def _behind_blocks(octet, at):
    """The place behind a chain of blocks, each of which begins with its length."""
    [end] = tf.while_loop(
        lambda at: octet(at) > 0,
        lambda at: (at + 1 + octet(at),),
        [at],
        parallel_iterations=1,
    )
    return end + 1
