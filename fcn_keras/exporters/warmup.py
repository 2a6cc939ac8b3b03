"""The requests that TensorFlow Serving makes when it has loaded a network."""

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from fcn_keras.system.plain_path import plain_path
from fcn_keras.system.protobuf import encoded_field

_SIDE = 64


def write_warmup(path: Path, signatures: Iterable[tuple]) -> None:
    """Writes a request to each signature, in a folder of their own.

    The numbers are those of tensorflow_serving/apis/prediction_log.proto and of what that
    imports. Their Python classes come with tensorflow-serving-api only.

    Args:
        path: the file.
        signatures: see `fcn_keras.exporters.signatures.signatures_of`.
    """
    signatures = [*signatures]
    _, _, images = signatures[-1]
    image = tf.fill((1, _SIDE, _SIDE, images.shape[-1]), tf.constant(127, images.dtype))
    path.parent.mkdir()
    with tf.io.TFRecordWriter(plain_path(path)) as file:
        for signature, _, spec in signatures:
            value = image if spec == images else tf.io.encode_png(image[0])[None]
            tensor = tf.make_tensor_proto(value.numpy()).SerializeToString()
            model_spec = encoded_field(1, encoded_field(3, signature.encode()))
            inputs = encoded_field(
                2, encoded_field(1, spec.name.encode()) + encoded_field(2, tensor)
            )
            # A predict_log, with its request.
            file.write(encoded_field(6, encoded_field(1, model_spec + inputs)))
