"""What an exported network answers."""

from collections.abc import Callable

import tensorflow as tf

from fcn_keras.cpu.class_ids import class_ids
from fcn_keras.exporters.decoding import decode_or_skip


def signatures_of(
    network: Callable, num_classes: int, strict: bool, max_pixels: int, processor: str
) -> tuple[tuple[str, Callable, tf.TensorSpec], ...]:
    """Returns a name for each signature, the function that answers, and what it is asked.

    Args:
        network: images uint8 `(N, H, W, 3)` to logits float32 `(N, H, W, C)`.
        num_classes: C.
        strict, max_pixels, processor: see `fcn_keras.exporters.saved_model.export`.
    """

    def segment(image):
        return {"class_ids": labels_of(logits_of(image))}

    def labels_of(logits):
        return class_ids(logits, on_gpu=processor == "gpu")

    def probabilities(image):
        return {"probabilities": tf.nn.softmax(logits_of(image))}

    def logits_of(image):
        # Convolutions refuse to see nothing.
        shape = tf.concat([tf.shape(image)[:3], [num_classes]], axis=0)
        logits = tf.cond(tf.size(image) > 0, lambda: network(image), lambda: tf.zeros(shape))
        return tf.ensure_shape(logits, (None, None, None, num_classes))

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
        image, good = decode_or_skip(image_bytes, max_pixels)
        if strict:
            message = tf.strings.format(
                "image_bytes[{}]: is no JPEG, PNG, BMP or GIF, damaged, or larger than "
                f"{max_pixels} px.",
                place,
            )
            with tf.control_dependencies([tf.debugging.Assert(good, [message])]):
                return label(tf.identity(image))
        nothing = tf.constant(b""), tf.fill((num_classes,), -1)
        return tf.cond(good, lambda: label(image), lambda: nothing)

    def label(image):
        labels = labels_of(network(image[None]))[0]
        pixels = tf.math.bincount(
            tf.cast(labels, tf.int32), minlength=num_classes, maxlength=num_classes
        )
        return tf.io.encode_png(labels[:, :, None]), pixels

    files = tf.TensorSpec((None,), tf.string, name="image_bytes")
    images = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    return (
        ("serving_default", label_files, files),
        ("segment", segment, images),
        ("probabilities", probabilities, images),
    )
