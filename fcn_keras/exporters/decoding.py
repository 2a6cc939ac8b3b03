"""Image files as arrays within a TensorFlow graph: what a server decodes, where no Python runs."""

import tensorflow as tf

from fcn_keras.exporters import jpeg, png
from fcn_keras.exporters.checks import required
from fcn_keras.exporters.formats import MAX_PIXELS
from fcn_keras.exporters.orientation import orientation_of, upright

_JPEG, _PNG, _BMP, _GIF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8"


@tf.autograph.experimental.do_not_convert
def decode_image(image_bytes: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes the bytes of a JPEG, PNG, BMP or GIF file, in a graph.

    Args:
        image_bytes: string scalar.
        max_pixels: an image of more pixels is refused by what the file's header says, before
            anything is decoded.

    Returns:
        uint8 `(H, W, 3)`, RGB; the first frame of an animation. All come out to the bit as
        `fcn_keras.data.files.images.read_image` reads them, upright as their EXIF or XMP data
        says, and with the upper 8 bits of 16.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if the file is broken, of another kind, too
            large, or of a form that could come out differently.
    """
    data = tf.convert_to_tensor(image_bytes)
    image, exif, xmp = tf.cond(
        _is_jpeg(data),
        lambda: _decode_jpeg(data, max_pixels),
        lambda: _decode_other(data, max_pixels),
    )
    image, clear = _upright(image, exif, xmp)
    with required(clear, "EXIF data without sense."):
        return tf.identity(image)


def decode_or_skip(image_bytes: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a file as `decode_image` does, if that is possible.

    Args:
        image_bytes: string scalar.
        max_pixels: see `decode_image`.

    Returns:
        A pair: the image, uint8 `(H, W, 3)`; and whether it could be decoded, a bool scalar. If
        not, the image is one black pixel.
    """
    data = tf.convert_to_tensor(image_bytes)

    def attempt(decode):
        # A graph cannot catch what an operation raises; a data set of one element can lose it.
        images = tf.data.Dataset.from_tensors(data)
        images = images.map(lambda data: (*decode(data, max_pixels), True)).ignore_errors()
        nothing = (tf.zeros((1, 1, 3), tf.uint8), b"", b"", False)
        first = images.concatenate(tf.data.Dataset.from_tensors(nothing)).take(1)
        options = tf.data.Options()
        # They rewrite the data set's graph each time, which takes longer than a small image.
        options.experimental_optimization.apply_default_optimizations = False
        options.autotune.enabled = False
        return first.with_options(options).get_single_element()

    # Each time the graph is made ready, too: what few files need has its own.
    is_jpeg = _is_jpeg(data)
    found = tf.cond(is_jpeg, lambda: attempt(_decode_colors), lambda: attempt(_decode_other))
    image, exif, xmp, good = tf.cond(
        is_jpeg & ~found[-1], lambda: attempt(_decode_cmyk), lambda: found
    )
    image, clear = _upright(image, exif, xmp)
    black = tf.zeros((1, 1, 3), tf.uint8)
    image = tf.cond(clear, lambda: image, lambda: black)
    return tf.ensure_shape(image, (None, None, 3)), good & clear


def _upright(image, exif, xmp):
    """Turns an image as its metadata says, and tells whether it is clear what that says."""

    def turned():
        orientation = orientation_of(exif, xmp)
        return upright(image, orientation), ~tf.math.is_nan(orientation)

    image, clear = tf.cond(exif + xmp != b"", turned, lambda: (image, True))
    return tf.ensure_shape(image, (None, None, 3)), clear


# What decodes gives the image, and its EXIF and XMP data, empty if there is none.


def _is_jpeg(data):
    return tf.strings.substr(data, 0, len(_JPEG)) == _JPEG


def _decode_other(data, max_pixels):
    def starts_with(start):
        return tf.strings.substr(data, 0, len(start)) == start

    return tf.case(
        [
            (starts_with(_PNG), lambda: _decode_png(data, max_pixels)),
            (starts_with(_GIF), lambda: (_decode_gif(data, max_pixels), b"", b"")),
        ],
        # What is none of these fails as a BMP.
        default=lambda: (_decode_bmp(data, max_pixels), b"", b""),
    )


def _check_size(height, width, max_pixels):
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    message = f"An image must have from 1 to {max_pixels} pixels. Received: "
    return required((pixels > 0) & (pixels <= max_pixels), message, height, width)


def _numbers(data, at, count, dtype=tf.int32, little_endian=True):
    """Whole numbers that follow one another in a file, as int32."""
    numbers = tf.io.decode_raw(
        tf.strings.substr(data, at, count * dtype.size), dtype, little_endian
    )
    return tf.unstack(tf.cast(numbers, tf.int32), count)


def _decode_jpeg(data, max_pixels):
    return tf.cond(
        tf.io.extract_jpeg_shape(data)[2] == 4,
        lambda: _decode_cmyk(data, max_pixels),
        lambda: _decode_colors(data, max_pixels),
    )


def _decode_colors(data, max_pixels):
    """Decodes a JPEG, of up to three colours."""
    with _checked_jpeg(data, lambda channels: channels < 4, max_pixels):
        # TensorFlow's default is a faster and coarser transform than all others use.
        image = tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")
        return image, *_jpeg_metadata(jpeg.read_head(data))


def _decode_cmyk(data, max_pixels):
    with _checked_jpeg(data, lambda channels: channels == 4, max_pixels):
        head = jpeg.read_head(data)
        return jpeg.decode_cmyk(data, head), *_jpeg_metadata(head)


def _checked_jpeg(data, right, max_pixels):
    height, width, channels = tf.unstack(tf.io.extract_jpeg_shape(data), 3)
    with required(right(channels), "A JPEG of another number of colours."):
        return _check_size(tf.identity(height), width, max_pixels)


def _jpeg_metadata(head):
    told = jpeg.has_metadata(head)
    return tf.cond(told, lambda: jpeg.read_metadata(head), lambda: (b"", b""))


def _decode_png(data, max_pixels):
    # The first chunk has to be the header; a decoder might pass over another to find it.
    first = tf.strings.substr(data, 8, 8) == b"\x00\x00\x00\rIHDR"
    with required(first, "A PNG begins with its header."):
        width, height = _numbers(data, 16, 2, little_endian=False)
    with _check_size(height, width, max_pixels):
        image = png.decode_png(data)
    told = png.has_metadata(data)
    return image, *tf.cond(told, lambda: png.read_metadata(data), lambda: (b"", b""))


# How TensorFlow takes the words of 32 bits: what lies where in them, red, green and blue.
_BMP_MASKS = b"\x00\x00\xff\x00\x00\xff\x00\x00\xff\x00\x00\x00"


def _decode_bmp(data, max_pixels):
    packing = tf.strings.substr(data, 30, 4)
    words = (packing == b"\x03\x00\x00\x00") & (tf.strings.substr(data, 54, 12) == _BMP_MASKS)
    plain = (tf.strings.substr(data, 0, 2) == _BMP) & (words | (packing == bytes(4)))
    with required(plain, "Neither JPEG, PNG, GIF, nor plain BMP."):
        width, height = _numbers(data, 18, 2)
        (bits,) = _numbers(data, 28, 1, tf.uint16)
    with _check_size(tf.abs(height), width, max_pixels):
        start, header = _numbers(data, 10, 2)
        # TensorFlow refuses what some programs fill files up with.
        row = 4 * ((bits * width + 31) // 32)
        pixels = tf.io.decode_bmp(tf.strings.substr(data, 0, start + row * tf.abs(height)))

    def colors():
        # TensorFlow takes the places in the palette for grey values.
        palette = tf.strings.substr(data, 14 + header, start - 14 - header)
        palette = tf.reshape(tf.io.decode_raw(palette, tf.uint8), (-1, 4))[:, 2::-1]  # BGR0
        return tf.gather(palette, tf.cast(pixels[:, :, 0], tf.int32))

    return tf.cond(bits == 8, colors, lambda: pixels[:, :, :3])


def _decode_gif(data, max_pixels):
    """Decodes the first frame alone, and lays it on the screen that the animation has.

    TensorFlow would decode all frames, however many and large, and gives them the largest one's
    size.
    """
    octets = tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int32)
    head = 13 + _palette_size(octets[10])

    def skip_extension(at, transparent):
        with required(octets[at] == 0x21, "A GIF must hold a frame."):
            clear = (octets[at + 1] == 0xF9) & (octets[at + 3] & 1 == 1)
        transparent = tf.where(clear, octets[at + 6], transparent)
        return _behind_blocks(octets, at + 2), transparent

    frame, transparent = tf.while_loop(
        lambda at, transparent: octets[at] != 0x2C, skip_extension, [head, tf.constant(0)]
    )
    left, top, width, height = _numbers(data, frame + 1, 4, tf.uint16)
    own_palette = _palette_size(octets[frame + 9])
    full_width, full_height = _numbers(data, 6, 2, tf.uint16)
    full_width = tf.maximum(full_width, left + width)
    full_height = tf.maximum(full_height, top + height)
    with _check_size(full_height, full_width, max_pixels):
        end = _behind_blocks(octets, frame + 11 + own_palette)
        # At no distance from the corner, and without the extensions, which would blacken what is
        # transparent.
        lone = tf.strings.substr(data, 0, head) + b"\x2c\x00\x00\x00\x00"
        lone += tf.strings.substr(data, frame + 5, end - frame - 5) + b"\x3b"
        image = tf.io.decode_gif(lone)[0]

        # What the frame leaves free is in the transparent colour, or in the first.
        palette = tf.where(own_palette > 0, frame + 10, 13)
        last = tf.where(own_palette > 0, own_palette, head - 13) - 3
        color = tf.cast(octets[palette + tf.minimum(3 * transparent, last) :][:3], tf.uint8)
        pads = [[top, full_height - top - height], [left, full_width - left - width], [0, 0]]
        covered = tf.pad(tf.ones((height, width, 1), tf.bool), pads)
        return tf.where(covered, tf.pad(image, pads), color)


def _palette_size(flags):
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)


def _behind_blocks(octets, at):
    """The place behind a chain of blocks, each of which begins with its length."""
    [end] = tf.while_loop(
        lambda at: octets[at] > 0,
        lambda at: (at + 1 + octets[at],),
        [at],
        parallel_iterations=1,
    )
    return end + 1
