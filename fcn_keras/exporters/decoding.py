"""Image files as arrays within a TensorFlow graph: what a server decodes, where no Python runs."""

import tensorflow as tf

from fcn_keras.exporters.formats import MAX_PIXELS

_JPEG, _PNG, _BMP, _GIF = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8"


def decode_image(image_bytes: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes the bytes of a JPEG, PNG, BMP or GIF file, in a graph.

    Args:
        image_bytes: string scalar.
        max_pixels: an image of more pixels is refused by what the file's header says, before
            anything is decoded.

    Returns:
        uint8 `(H, W, 3)`, RGB; the first frame of an animation. All come out to the bit as
        Pillow reads them, upright as their EXIF data says.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if the file is broken, of another kind, or
            too large.
    """
    data = tf.convert_to_tensor(image_bytes)

    def starts_with(start):
        return tf.strings.substr(data, 0, len(start)) == start

    image = tf.case(
        [
            (starts_with(_JPEG), lambda: _upright(_decode_jpeg(data, max_pixels), data)),
            (starts_with(_PNG), lambda: _upright(_decode_png(data, max_pixels), data)),
            (starts_with(_GIF), lambda: _decode_gif(data, max_pixels)),
        ],
        # What is none of these fails as a BMP.
        default=lambda: _decode_bmp(data, max_pixels),
    )
    return tf.ensure_shape(image, (None, None, 3))


def decode_or_skip(image_bytes: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a file as `decode_image` does, if that is possible.

    Args:
        image_bytes: string scalar.
        max_pixels: see `decode_image`.

    Returns:
        A pair: the image, uint8 `(H, W, 3)`; and whether it could be decoded, a bool scalar. If
        not, the image is one black pixel.
    """
    # A graph cannot catch what an operation raises; a data set of one element can lose it.
    images = tf.data.Dataset.from_tensors(image_bytes)
    images = images.map(lambda data: (decode_image(data, max_pixels), True)).ignore_errors()
    black = tf.zeros((1, 1, 3), tf.uint8)
    first = images.concatenate(tf.data.Dataset.from_tensors((black, False))).take(1)
    options = tf.data.Options()
    # They rewrite the data set's graph each time, which takes longer than a small image.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return first.with_options(options).get_single_element()


def _check_size(height, width, max_pixels):
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    message = f"An image must have from 1 to {max_pixels} pixels. Received: "
    return tf.control_dependencies(
        [tf.debugging.Assert((pixels > 0) & (pixels <= max_pixels), [message, height, width])]
    )


def _numbers(data, at, count, dtype=tf.int32, little_endian=True):
    """Whole numbers that follow one another in a file, as int32."""
    numbers = tf.io.decode_raw(
        tf.strings.substr(data, at, count * dtype.size), dtype, little_endian
    )
    return tf.unstack(tf.cast(numbers, tf.int32), count)


def _decode_jpeg(data, max_pixels):
    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(data), 3)
    with _check_size(height, width, max_pixels):
        # TensorFlow's default is a faster and coarser transform than all others use.
        return tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")


def _decode_png(data, max_pixels):
    # The first chunk has to be the header; a decoder might pass over another to find it.
    first = tf.debugging.Assert(
        tf.strings.substr(data, 8, 8) == b"\x00\x00\x00\rIHDR", ["A PNG begins with its header."]
    )
    with tf.control_dependencies([first]):
        width, height = _numbers(data, 16, 2, little_endian=False)
    with _check_size(height, width, max_pixels):
        return tf.io.decode_png(data, 3)


# EXIF data in the head of a JPEG or PNG: TIFF of either byte order, whose entries have 12 bytes
# each. The orientation's is captured, if there is one.
_ORIENTATION = (
    r"(?s)\A(?:\C*?(?:Exif\x00\x00|eXIf)(?:"
    r"II\*\x00\x08\x00\x00\x00\C\C(?:\C{12}){0,80}?\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])|"
    r"MM\x00\*\x00\x00\x00\x08\C\C(?:\C{12}){0,80}?\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08])"
    r"))?\C*\z"
)


def _upright(image, data):
    """Turns a photograph as its EXIF data says, if there is any."""
    captured = tf.strings.regex_replace(
        tf.strings.substr(data, 0, 1 << 16), _ORIENTATION, r"\1\2", replace_global=False
    )
    orientation = tf.io.decode_raw(captured + b"\x01", tf.uint8)[0]
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    for axis, mirrored in ((0, (3, 4, 7, 8)), (1, (2, 3, 6, 7))):
        flip = tf.reduce_any(orientation == tf.constant(mirrored, tf.uint8))
        image = tf.cond(flip, lambda i=image, a=axis: tf.reverse(i, [a]), lambda i=image: i)
    return image


# How TensorFlow takes the words of 32 bits: what lies where in them, red, green and blue.
_BMP_MASKS = b"\x00\x00\xff\x00\x00\xff\x00\x00\xff\x00\x00\x00"


def _decode_bmp(data, max_pixels):
    packing = tf.strings.substr(data, 30, 4)
    words = (packing == b"\x03\x00\x00\x00") & (tf.strings.substr(data, 54, 12) == _BMP_MASKS)
    plain = tf.debugging.Assert(
        (tf.strings.substr(data, 0, 2) == _BMP) & (words | (packing == b"\x00\x00\x00\x00")),
        ["Neither JPEG, PNG, GIF, nor plain BMP."],
    )
    with tf.control_dependencies([plain]):
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
        known = tf.debugging.Assert(octets[at] == 0x21, ["A GIF must hold a frame."])
        with tf.control_dependencies([known]):
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
