"""What an exported network answers."""

from collections.abc import Callable

import tensorflow as tf

from fcn_keras.exporters.decoding import decode_or_skip, decode_stored_or_skip

# What numbers a PNG can hold, of up to four channels.
PNG = ("uint8", "uint16")


def signatures_of(
    network: Callable,
    label: Callable,
    num_classes: int,
    strict: bool,
    max_pixels: int,
    pixels: tuple[int, str] | None = None,
) -> tuple[tuple[str, Callable, tf.TensorSpec], ...]:
    """Returns a name for each signature, the function that answers, and what it is asked.

    Args:
        network: images `(N, H, W, ...)` to logits float32 `(N, H, W, C)`.
        label: the same images to class ids uint8 `(N, H, W)`.
        num_classes: C.
        strict, max_pixels: see `fcn_keras.exporters.saved_model.export`.
        pixels: channels and dtype of the images, where they are no photographs. Files are answered
            where PNG can hold them.
    """
    channels, dtype = pixels or (3, "uint8")

    def segment(image):
        # Convolutions refuse to see nothing.
        class_ids = tf.cond(
            tf.size(image) > 0,
            lambda: label(image),
            lambda: tf.zeros(tf.shape(image)[:3], tf.uint8),
        )
        return {"class_ids": tf.ensure_shape(class_ids, (None, None, None))}

    def probabilities(image):
        shape = tf.concat([tf.shape(image)[:3], [num_classes]], axis=0)
        logits = tf.cond(tf.size(image) > 0, lambda: network(image), lambda: tf.zeros(shape))
        logits = tf.ensure_shape(logits, (None, None, None, num_classes))
        return {"probabilities": tf.nn.softmax(logits)}

    files = tf.TensorSpec((None,), tf.string, name="image_bytes")
    images = tf.TensorSpec((None, None, None, channels), tf.as_dtype(dtype), name="image")
    answers = []
    if channels <= 4 and dtype in PNG:
        label_files = _label_files(label, num_classes, strict, max_pixels, pixels)
        answers = [("serving_default", label_files, files)]
    return (*answers, ("segment", segment, images), ("probabilities", probabilities, images))


def _label_files(label, num_classes, strict, max_pixels, pixels):
    """The function that answers image files."""
    kinds = "PNG of its channels" if pixels else "JPEG, PNG, BMP or GIF"

    def label_files(image_bytes):
        # One image after the other: their sizes may differ.
        mask_bytes, class_pixels = tf.map_fn(
            label_file,
            (tf.range(tf.size(image_bytes)), image_bytes),
            fn_output_signature=(
                tf.TensorSpec((), tf.string),
                tf.TensorSpec((num_classes,), tf.int32),
            ),
            parallel_iterations=1,  # the memory of one network
        )
        return {"mask_bytes": mask_bytes, "class_pixels": class_pixels}

    def label_file(place_and_bytes):
        place, image_bytes = place_and_bytes
        if pixels:
            image, good = decode_stored_or_skip(image_bytes, *pixels, max_pixels)
        else:
            image, good = decode_or_skip(image_bytes, max_pixels)
        if strict:
            message = tf.strings.format(
                f"image_bytes[{{}}]: is no {kinds}, damaged, or larger than {max_pixels} px.",
                place,
            )
            with tf.control_dependencies([tf.debugging.Assert(good, [message])]):
                return answer(tf.identity(image))
        nothing = tf.constant(b""), tf.fill((num_classes,), -1)
        return tf.cond(good, lambda: answer(image), lambda: nothing)

    def answer(image):
        class_ids = label(image[None])[0]
        pixels = tf.math.bincount(
            tf.cast(class_ids, tf.int32), minlength=num_classes, maxlength=num_classes
        )
        return tf.io.encode_png(class_ids[:, :, None]), pixels

    return label_files
