"""The client by gRPC, against a service that misbehaves."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from helpers.served import CLASSES, assert_equal

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving")

from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from fcn_keras import UserError  # noqa: E402
from fcn_keras.client import grpc as client_grpc  # noqa: E402
from fcn_keras.client.client import Client  # noqa: E402
from fcn_keras.errors import ServerError  # noqa: E402

Code = grpc.StatusCode


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers as TensorFlow Serving does, but for what `mishaps` holds."""

    def __init__(self, network):
        self.network = network
        self.mishaps, self.asked = [], []
        self.classes = CLASSES
        self.over = threading.Event()

    def GetModelMetadata(self, request, context):
        assert list(request.metadata_field) == ["signature_def"]
        signatures = get_model_metadata_pb2.SignatureDefMap()
        signature = signatures.signature_def["serving_default"]
        for tensors, name, dtype, sides in (
            (signature.inputs, "image_bytes", tf.string, [-1]),
            (signature.outputs, "mask_bytes", tf.string, [-1]),
            (signature.outputs, "class_pixels", tf.int32, [-1, self.classes]),
        ):
            tensors[name].dtype = dtype.as_datatype_enum
            for side in sides:
                tensors[name].tensor_shape.dim.add(size=side)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(signatures)
        return answer

    def Predict(self, request, context):
        self.asked.append(request)
        if self.mishaps:
            self.mishaps.pop(0)(self, context)
        [(name, proto)] = request.inputs.items()
        tensor = tf.constant(tf.make_ndarray(proto), tf.string if name == "image_bytes" else None)
        outputs = self.network[request.model_spec.signature_name](**{name: tensor})
        outputs = {name: tf.make_tensor_proto(outputs[name]) for name in request.output_filter}
        return predict_pb2.PredictResponse(outputs=outputs)


def says(code, message):
    return lambda service, context: context.abort(code, message)


def stall(service, context):
    service.over.wait(20)


@pytest.fixture
def service(network):
    service = Service(network)
    server = grpc.server(ThreadPoolExecutor(8))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    service.url = f"grpc://127.0.0.1:{port}/roads"
    yield service
    service.over.set()
    server.stop(None).wait()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(client_grpc, "BACKOFF", 0.01)


def test_label(service, files, right):
    client = Client(service.url)
    assert client.num_classes == CLASSES
    assert_equal(client.label(files), right)
    assert client.label([]) == []
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(client.label, [files] * 16):
            assert_equal(found, right)


def test_score(service, network):
    image = np.random.default_rng(0).integers(0, 256, (9, 14, 3), "uint8")
    [found] = Client(service.url).score([image])
    right = network["probabilities"](image=tf.constant(image[None]))["probabilities"][0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, right, atol=1e-6)


def test_addresses(service, files):
    for ending in ("", "/versions/3", "/labels/stable"):
        Client(service.url + ending).label(files[:1])
    alone = service.url.removesuffix("/roads")
    Client(alone, "roads/versions/7").label(files[:1])
    specs = [request.model_spec for request in service.asked]
    assert {spec.name for spec in specs} == {"roads"}
    assert [spec.version.value for spec in specs] == [0, 3, 0, 7]
    assert [spec.HasField("version") for spec in specs] == [False, True, False, True]
    assert [spec.version_label for spec in specs] == ["", "", "stable", ""]


@pytest.mark.parametrize(
    "mishaps",
    [
        [says(Code.UNAVAILABLE, "starting")] * 2,
        [says(Code.RESOURCE_EXHAUSTED, "queue full")],
        [stall, stall],
    ],
    ids=["unavailable", "exhausted", "stall"],
)
def test_what_fails_is_tried_again(service, files, right, mishaps):
    service.mishaps += mishaps
    asked = len(mishaps) + 1
    start = time.monotonic()
    assert_equal(Client(service.url, timeout=1).label(files), right)
    assert len(service.asked) == asked
    assert time.monotonic() - start < 10


def test_in_the_end_it_gives_up(service, files):
    client = Client(service.url, timeout=0.5, retries=2)
    client.label(files[:1])
    start = time.monotonic()
    for mishap, attempts, words in (
        (says(Code.UNAVAILABLE, "going\ndown"), 3, "answered UNAVAILABLE: going down"),
        (stall, 3, "answered DEADLINE_EXCEEDED"),
        (says(Code.INTERNAL, "broken"), 1, "answered INTERNAL: broken"),
    ):
        service.asked.clear()
        service.mishaps[:] = [mishap] * 10
        with pytest.raises(ServerError) as caught:
            client.label(files)
        assert service.url in str(caught.value) and words in str(caught.value)
        assert len(service.asked) == attempts
    assert time.monotonic() - start < 10


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(ServerError, match="answered UNAVAILABLE: .*refused"):
        Client(f"grpc://127.0.0.1:{port}/roads", timeout=2, retries=2).label([b"x"])
    assert time.monotonic() - start < 10


def test_what_the_server_refuses_is_said_in_its_words(service, files):
    for code, message in (
        (Code.NOT_FOUND, "Servable not found for request: Latest(roads)"),
        (Code.INVALID_ARGUMENT, "input must be a vector"),
    ):
        service.mishaps[:] = [says(code, message)]
        with pytest.raises(UserError, match="answered") as caught:
            Client(service.url).label(files)
        assert str(caught.value) == f"{service.url}: answered {code.name}: {message}"
        assert not service.mishaps


def test_a_request_that_is_refused_for_a_file_is_asked_in_halves(
    service,
    files,
    right,
):
    refused = (
        says(Code.INVALID_ARGUMENT, "assertion failed: [image_bytes[3]: is no JPEG, PNG, ...]"),
        says(Code.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 5)"),
    )
    for mishap in refused:
        service.mishaps[:] = [mishap, mishap]
        assert_equal(Client(service.url).label(files), right)
        assert Client(service.url).label(files[:1])[0] is not None
        service.mishaps[:] = [mishap]
        assert Client(service.url).label(files[:1]) == [None]


def test_a_server_of_something_else(service, files):
    service.classes = -1
    with pytest.raises(UserError, match="is no network that `fcn-keras export` wrote"):
        Client(service.url).label(files)
    service.classes = 1
    with pytest.raises(ServerError, match=r"gave a wrong answer: class \d, of 1 classes"):
        Client(service.url).label(files)
