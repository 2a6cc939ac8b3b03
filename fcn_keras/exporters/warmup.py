"""The requests that TensorFlow Serving makes when it has loaded a network."""

from pathlib import Path

import tensorflow as tf

from fcn_keras.system.plain_path import plain_path
from fcn_keras.system.protobuf import encoded_field


def write_warmup(path: Path) -> None:
    """Writes a request to each signature, in a folder of their own.

    The numbers are those of tensorflow_serving/apis/prediction_log.proto and of what that
    imports. Their Python classes come with tensorflow-serving-api only.
    """
    image = tf.fill((64, 64, 3), tf.constant(127, tf.uint8))
    requests = (
        ("serving_default", "image_bytes", tf.io.encode_png(image)[None].numpy()),
        ("segment", "image", image[None].numpy()),
        ("probabilities", "image", image[None].numpy()),
    )
    path.parent.mkdir()
    with tf.io.TFRecordWriter(plain_path(path)) as file:
        for signature, name, value in requests:
            tensor = tf.make_tensor_proto(value).SerializeToString()
            model_spec = encoded_field(1, encoded_field(3, signature.encode()))
            inputs = encoded_field(2, encoded_field(1, name.encode()) + encoded_field(2, tensor))
            # A predict_log, with its request.
            file.write(encoded_field(6, encoded_field(1, model_spec + inputs)))
