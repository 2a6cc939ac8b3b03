"""Label maps for images: files in, pictures out."""

import keras
import tensorflow as tf


def make_segmenter(model: keras.Model):
    """Compiles a network into a function from images to class ids.

    Args:
        model: `(N, H, W, 3)` to logits `(N, H, W, C)`.

    Returns:
        A `tf.function`: uint8 `(N, H, W, 3)`, RGB, to uint8 `(N, H, W)`. It is traced once, for
        images of any size.
    """

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")],
        autograph=False,
    )
    def segment(image):
        return tf.cast(tf.argmax(model(image, training=False), axis=-1), tf.uint8)

    return segment
