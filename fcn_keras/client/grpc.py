"""TensorFlow Serving's protocol by gRPC; needs the extra `client`, and imports TensorFlow."""

import random
import time

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from fcn_keras.client.rest import (
    BACKOFF,
    LONGEST_BACKOFF,
    FileRefused,
    check_refusal,
    one_line,
    spec,
)
from fcn_keras.errors import ServerError, UserError

_NOT_NOW = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)

_REFUSED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)


class Grpc:
    """Asks one model of a server by gRPC.

    Args:
        address: `grpc://HOST:8500`.
        name, version, label, timeout, retries: see `fcn_keras.client.rest.Rest`.

    Attributes:
        where: the address in full.
    """

    def __init__(self, address, name, version, label, timeout, retries):
        self.where = f"{address}/{spec(name, version, label)}"
        chosen = {"version": {"value": int(version)}} if version else {"version_label": label or ""}
        self.model = {"name": name, **chosen}
        self.timeout, self.retries = timeout, retries
        # The masks of a batch may be larger than gRPC's 4 MiB.
        sizes = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self.service = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(address.removeprefix("grpc://"), sizes)
        )

    def describe(self) -> tuple[str, dict[str, tuple[str, list[int]]]]:
        """The model's version, and what `serving_default` takes and gives: type and shape."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self.model, metadata_field=["signature_def"]
        )
        answer = self._ask(self.service.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        signature = signatures.signature_def["serving_default"]
        return str(answer.model_spec.version.value), {
            name: (types_pb2.DataType.Name(info.dtype), [d.size for d in info.tensor_shape.dim])
            for name, info in (*signature.inputs.items(), *signature.outputs.items())
        }

    def predict(self, files) -> list[bytes]:
        """The masks of image files, as PNGs."""
        contents = tf.make_tensor_proto(list(files), tf.string)
        masks = self._predict("serving_default", {"image_bytes": contents}, "mask_bytes")
        return masks.ravel().tolist()

    def score(self, image: np.ndarray) -> np.ndarray:
        """What `probabilities` answers for an image, float32 `(H, W, C)`."""
        pixels = tf.make_tensor_proto(image[None])
        answer = self._predict("probabilities", {"image": pixels}, "probabilities")
        if len(answer) != 1:
            raise ServerError(f"{self.where}: gave a wrong answer: {len(answer)} images for one.")
        return answer[0]

    def _predict(self, signature, inputs, output):
        request = predict_pb2.PredictRequest(
            model_spec=self.model | {"signature_name": signature},
            inputs=inputs,
            output_filter=[output],
        )
        answer = self._ask(self.service.Predict, request)
        if output not in answer.outputs:
            raise ServerError(f"{self.where}: gave a wrong answer: one without {output}.")
        return tf.make_ndarray(answer.outputs[output])

    def _ask(self, method, request):
        for attempt in range(self.retries + 1):
            # Not by gRPC's own retries: they count one deadline over all attempts, so that one
            # that stalls is the last, and end with the fifth.
            try:
                return method(request, timeout=self.timeout)
            except grpc.RpcError as error:
                code, message = error.code(), one_line(error.details() or "")
                full = code is grpc.StatusCode.RESOURCE_EXHAUSTED
                if full and "message larger than max" in message:
                    raise FileRefused from error
                check_refusal(message)
                if code in _NOT_NOW and attempt < self.retries:
                    pause = min(BACKOFF * 2**attempt, LONGEST_BACKOFF)
                else:
                    message = f"{self.where}: answered {code.name}: {message}"
                    raise (UserError if code in _REFUSED else ServerError)(message) from error
            time.sleep(random.uniform(pause / 2, pause))
