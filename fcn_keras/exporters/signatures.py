"""What an exported network answers to."""

import tensorflow as tf

from fcn_keras.exporters.decoding import decode_or_skip


def signatures_of(logits, num_classes, strict, max_pixels):
    def class_ids(scores):
        return tf.cast(tf.argmax(scores, axis=-1), tf.uint8)

    def scores(image):
        # Convolutions refuse to see nothing.
        shape = tf.concat([tf.shape(image)[:3], [num_classes]], axis=0)
        scores = tf.cond(tf.size(image) > 0, lambda: logits(image), lambda: tf.zeros(shape))
        return tf.ensure_shape(scores, (None, None, None, num_classes))

    def label(image):
        ids = class_ids(logits(image[None]))[0]
        pixels = tf.math.bincount(
            tf.cast(ids, tf.int32), minlength=num_classes, maxlength=num_classes
        )
        return tf.io.encode_png(ids[:, :, None]), pixels

    def from_bytes(image_bytes):
        def one(place_and_data):
            place, data = place_and_data
            image, good = decode_or_skip(data, max_pixels)
            if strict:
                message = f"is no JPEG, PNG, BMP or GIF, damaged, or larger than {max_pixels} px."
                message = tf.strings.format("image_bytes[{}]: " + message, place)
                with tf.control_dependencies([tf.debugging.Assert(good, [message])]):
                    return label(tf.identity(image))
            nothing = tf.constant(b""), tf.fill((num_classes,), -1)
            return tf.cond(good, lambda: label(image), lambda: nothing)

        # One image after the other: their sizes may differ.
        mask_bytes, class_pixels = tf.map_fn(
            one,
            (tf.range(tf.size(image_bytes)), image_bytes),
            fn_output_signature=(
                tf.TensorSpec((), tf.string),
                tf.TensorSpec((num_classes,), tf.int32),
            ),
            parallel_iterations=1,  # the memory of one network
        )
        return {"mask_bytes": mask_bytes, "class_pixels": class_pixels}

    def segment(image):
        return {"class_ids": class_ids(scores(image))}

    def probabilities(image):
        return {"probabilities": tf.nn.softmax(scores(image))}

    files = tf.TensorSpec((None,), tf.string, name="image_bytes")
    images = tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")
    return (
        ("serving_default", from_bytes, files),
        ("segment", segment, images),
        ("probabilities", probabilities, images),
    )
