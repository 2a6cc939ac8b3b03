"""The client against a server that misbehaves. What is right, the exported SavedModel says."""

import base64
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tensorflow as tf
from helpers.served import CLASSES, assert_equal, encoded
from PIL import Image

from fcn_keras import UserError
from fcn_keras.client import rest as client_rest
from fcn_keras.client.client import Client
from fcn_keras.errors import ServerError
from fcn_keras.inference.outputs import Outputs
from fcn_keras.inference.predict import predict


def tensor(dtype, *sides):
    """A tensor in the answer to `/metadata`, as TensorFlow Serving writes it."""
    dims = [{"size": str(side), "name": ""} for side in sides]
    shape = {"dim": dims, "unknown_rank": False}
    return {"dtype": dtype, "tensor_shape": shape, "name": "StatefulPartitionedCall:0"}


def metadata(**changed):
    tensors = {
        "image_bytes": tensor("DT_STRING", -1),
        "mask_bytes": tensor("DT_STRING", -1),
        "class_pixels": tensor("DT_INT32", -1, CLASSES),
    } | changed
    signature = {
        "inputs": {"image_bytes": tensors.pop("image_bytes")},
        "outputs": tensors,
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": "roads", "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    }


class Stub(ThreadingHTTPServer):
    """A server that answers as TensorFlow Serving does, but for what `mishaps` holds.

    Attributes:
        mishaps: what is done instead of answering, one after the other; each takes the handler.
        metadata: the answer to `/metadata`.
        asked: address and body of all requests for predictions.
    """

    daemon_threads = True

    def __init__(self, network):
        super().__init__(("127.0.0.1", 0), Handler)
        self.network = network
        self.mishaps, self.asked, self.metadata = [], [], metadata()
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1/models/roads"

    def handle_error(self, request, client_address):
        pass  # connections that the client has left


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, content, **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", len(content))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.answer(200, self.server.metadata)

    def do_POST(self):
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.body))
        if self.server.mishaps:
            self.server.mishaps.pop(0)(self)
        else:
            self.answer(200, {"predictions": self.predictions()})

    def predictions(self):
        if self.body.get("signature_name") == "probabilities":
            images = tf.constant(self.body["instances"], tf.uint8)
            answer = self.server.network["probabilities"](image=images)
            return answer["probabilities"].numpy().tolist()
        files = [base64.b64decode(i["image_bytes"]["b64"]) for i in self.body["instances"]]
        answer = self.server.network["serving_default"](image_bytes=tf.constant(files))
        return [
            {"class_pixels": pixels, "mask_bytes": {"b64": base64.b64encode(mask).decode()}}
            for mask, pixels in zip(
                answer["mask_bytes"].numpy(), answer["class_pixels"].numpy().tolist(), strict=True
            )
        ]


def stall(handler):
    handler.server.over.wait(20)
    handler.close_connection = True


def reset(handler):
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True


def cut(handler):
    """Closes the connection amid the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"predictions": [')
    handler.close_connection = True


def says(status, content, **headers):
    return lambda handler: handler.answer(status, content, **headers)


def predicts(*masks):
    masks = [{"mask_bytes": {"b64": base64.b64encode(mask).decode()}} for mask in masks]
    return says(200, {"predictions": masks})


@pytest.fixture
def server(network):
    stub = Stub(network)
    thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield stub
    stub.over.set()
    stub.shutdown()
    thread.join()
    stub.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(client_rest, "BACKOFF", 0.01)


@pytest.fixture
def in_time():
    """A function that tells how long the test has taken."""
    start = time.monotonic()
    return lambda: time.monotonic() - start


def test_label(server, files, right):
    client = Client(server.url)
    assert client.num_classes == CLASSES
    assert_equal(client.label(files), right)
    assert [len(body["instances"]) for _, body in server.asked] == [len(files)]
    assert client.label([]) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("ending", ["", "/versions/3", "/labels/stable"])
def test_addresses(server, files, right, ending):
    alone = server.url.partition("/v1")[0]
    for client in (
        Client(server.url + ending),
        Client(server.url + ending + "/"),
        Client(alone, f"roads{ending}"),
    ):
        assert_equal(client.label(files[:1]), right[:1])
    assert {path for path, _ in server.asked} == {f"/v1/models/roads{ending}:predict"}


@pytest.mark.parametrize(
    "address, model",
    [
        ("localhost:8501", "roads"),
        ("http://localhost:8501", None),
        ("http://localhost:8501/v1/models/", None),
        ("http://localhost:8501/v1/models/roads:predict", None),
        ("http://localhost:8501/v1/models/roads/versions/last", None),
        ("http://localhost:8501/v1/models/roads", "roads"),
        ("grpc://localhost:8500", None),
        ("ftp://localhost/v1/models/roads", None),
        ("http:///v1/models/roads", None),
        ("", None),
    ],
)
def test_wrong_addresses(address, model):
    with pytest.raises(UserError, match="--server: must be like http://HOST:8501/v1/models/NAME"):
        Client(address, model)


def test_wrong_options():
    for options in ({"timeout": 0}, {"retries": -1}):
        with pytest.raises(UserError, match="must be"):
            Client("http://localhost:8501/v1/models/roads", **options)


@pytest.mark.parametrize(
    "mishaps",
    [
        [says(503, {"error": "not now"})] * 2,
        [says(429, b""), says(502, b"<html>"), says(504, b"")],
        [reset, reset],
        [cut, cut],
        [stall],
    ],
    ids=["503", "429-502-504", "reset", "cut", "stall"],
)
def test_what_fails_is_tried_again(server, files, right, in_time, mishaps):
    server.mishaps += mishaps
    asked = len(mishaps) + 1
    assert_equal(Client(server.url, timeout=2).label(files), right)
    assert len(server.asked) == asked
    assert in_time() < 10


def test_the_pause_that_the_server_asks_for(server, files, monkeypatch):
    def seconds(retry_after):
        server.mishaps.append(says(503, b"", Retry_After=retry_after))
        start = time.monotonic()
        Client(server.url).label(files[:1])
        return time.monotonic() - start

    assert 1 <= seconds("1") < 5
    monkeypatch.setattr(client_rest, "LONGEST_BACKOFF", 0.1)
    assert seconds("3600") < 5


def test_in_the_end_it_gives_up(server, files, in_time):
    client = Client(server.url, timeout=0.5, retries=2)
    for mishap, words in (
        (says(503, {"error": "The queue is full"}), "answered 503: The queue is full"),
        (says(502, b"<html>Bad gateway</html>"), "answered 502: Bad Gateway"),
        (says(500, {"error": "out of\nmemory"}), "answered 500: out of memory"),
        (says(302, b"", Location="/elsewhere"), "answered 302"),
        (stall, "no answer within 0.5 s"),
        (reset, "Connection reset by peer"),
        (cut, "IncompleteRead"),
    ):
        server.asked.clear()
        server.mishaps[:] = [mishap] * 10
        with pytest.raises(ServerError) as caught:
            client.label(files)
        assert server.url in str(caught.value) and words in str(caught.value)
        assert "\n" not in str(caught.value)
        repeated = not words.startswith(("answered 500", "answered 302"))
        assert len(server.asked) == (3 if repeated else 1)
    assert in_time() < 30


def test_nobody_there(in_time):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1/models/roads"
    with pytest.raises(ServerError, match="Connection refused"):
        Client(url, retries=2).label([b"x"])
    with pytest.raises(ServerError, match="roads: "):
        Client("http://nobody.invalid/v1/models/roads", retries=2).label([b"x"])
    assert in_time() < 30


def test_a_connection_that_is_not_taken(in_time):
    """A server whose queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            url = f"http://127.0.0.1:{address[1]}/v1/models/roads"
            with pytest.raises(ServerError, match="roads: no (connection in time|answer within)"):
                Client(url, timeout=0.3, retries=1).label([b"x"])
    assert in_time() < 10


def test_what_the_server_refuses_is_said_in_its_words(server, files):
    client = Client(server.url)
    long = "Expects arg[0] to be string but uint8 is provided\n\t [[{{node x}}]]"
    for status, content, words in (
        (404, {"error": "Servable not found for request: Latest(roads)"}, "Latest(roads)"),
        (404, {"detail": "Not Found"}, "answered 404: Not Found"),
        (400, {"error": long}, "string but uint8 is provided [[{{node x}}]]"),
        (400, {"error": "x" * 5000}, "xxx..."),
        (401, b"<!doctype html>", "answered 401: Unauthorized"),
    ):
        server.mishaps[:] = [says(status, content)]
        with pytest.raises(UserError) as caught:
            client.label(files)
        message = str(caught.value)
        assert message.startswith(f"{server.url}: answered {status}: ") and words in message
        assert "\n" not in message and len(message) < 500
        assert not server.mishaps


def test_a_strict_network_refuses_one_file_alone(server, files, right):
    """What `export(strict=True)` answers through TensorFlow Serving."""

    def strict(handler):
        predictions = handler.predictions()
        empty = [i for i, answer in enumerate(predictions) if not answer["mask_bytes"]["b64"]]
        if empty:
            error = f"assertion failed: [image_bytes[{empty[0]}]: is no JPEG, PNG, BMP or GIF, "
            handler.answer(400, {"error": error + "damaged, or larger than 9 px.]\n\t [[{{n}}]]"})
        else:
            handler.answer(200, {"predictions": predictions})

    server.mishaps += [strict] * 20
    assert_equal(Client(server.url).label(files), right)


def test_a_request_that_is_too_large_is_asked_in_halves(server, files, right):
    largest = sorted(map(len, files))[-2]

    def small(handler):
        contents = [i["image_bytes"]["b64"] for i in handler.body["instances"]]
        if sum(map(len, contents)) > 4 / 3 * largest + 4:
            handler.answer(413, b"<html>too large</html>")
        else:
            handler.answer(200, {"predictions": handler.predictions()})

    server.mishaps += [small] * 20
    expected = [None if len(f) > largest else m for f, m in zip(files, right, strict=True)]
    assert sum(m is None for m in expected) == 2
    assert_equal(Client(server.url).label(files), expected)


def test_more_files_than_the_server_takes_at_once(server, files, right):
    """What TensorFlow Serving answers beyond `max_batch_size`."""

    def two_at_most(handler):
        size = len(handler.body["instances"])
        if size > 2:
            error = f"Task size {size} is larger than maximum input batch size 2"
            handler.answer(400, {"error": error})
        else:
            handler.answer(200, {"predictions": handler.predictions()})

    server.mishaps += [two_at_most] * 20
    assert_equal(Client(server.url).label(files), right)


def test_score(server, network):
    images = [some_image(9, 14), some_image(1, 1)]
    found = Client(server.url).score(images)
    for image, answer in zip(images, found, strict=True):
        right = network["probabilities"](image=tf.constant(image[None]))["probabilities"][0]
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, right, atol=1e-6)
    assert len(server.asked) == 2


def test_an_image_that_is_too_large_to_score(server):
    server.mishaps.append(says(413, b"too large"))
    assert Client(server.url).score([some_image(4, 5)]) == [None]


def test_files_of_what_a_server_scores(server, network, tmp_path):
    """Are those of the network itself."""
    Image.fromarray(some_image(30, 40)).save(tmp_path / "photo.png")
    outputs = Outputs(("confidence", "probabilities"), min_confidence=0.99)
    about = (list("abcde"), [(i, 0, 0) for i in range(CLASSES)])
    predict(server.url, [tmp_path / "photo.png"], tmp_path / "out", *about, outputs=outputs)
    image = tf.constant(some_image(30, 40)[None])
    right = network["probabilities"](image=image)["probabilities"][0].numpy()
    with np.load(tmp_path / "out" / "photo.npz") as file:
        np.testing.assert_allclose(file["probabilities"], right, atol=1e-3)
    confidence = np.array(Image.open(tmp_path / "out" / "photo_confidence.png"), int)
    assert np.abs(confidence - 255 * right.max(axis=-1)).max() <= 1
    class_ids = np.array(Image.open(tmp_path / "out" / "photo.png"))
    sure = right.max(axis=-1) >= 0.99
    assert 0 < sure.mean() < 1
    np.testing.assert_array_equal(class_ids, np.where(sure, right.argmax(axis=-1), 255))


@pytest.mark.parametrize(
    "answer, words",
    [
        ({"predictions": [[[[0.2] * 5]]] * 2}, "without predictions of prob"),
        ({"outputs": [[[0.2] * 5]]}, "without predictions of prob"),
        ({"predictions": [[[0.2] * 5]]}, r"shape (1, 5) instead of (1, 1, 5)"),
        ({"predictions": [[[[0.25] * 4]]]}, r"shape (1, 1, 4) instead of (1, 1, 5)"),
        ({"predictions": [[[["a"] * 5]]]}, "without predictions of prob"),
        ({"predictions": [[[[0.2] * 4 + [0.3]]]]}, "do not add up to 1"),
        ({"predictions": [[[[0.6] * 2 + [0.2, 0, -0.4]]]]}, "do not add up to 1"),
    ],
)
def test_wrong_probabilities(server, answer, words):
    server.mishaps.append(says(200, answer))
    with pytest.raises(ServerError, match="gave a wrong answer") as caught:
        Client(server.url).score([some_image(1, 1)])
    assert words in str(caught.value)


def some_image(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), "uint8")


GREY = encoded(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(
    "mishap, words",
    [
        (says(200, b"{'predictions'"), "no JSON"),
        (says(200, b"\xff\xfe\x00"), "no JSON"),
        (says(200, []), "without predictions"),
        (says(200, {"predictions": [{"class_pixels": [1]}]}), "without predictions"),
        (says(200, {"predictions": [{"mask_bytes": {"b64": "*"}}]}), "without predictions"),
        (says(200, {"predictions": [[[0]]]}), "without predictions"),
        (predicts(), "0 masks for 1 files"),
        (predicts(GREY, GREY), "2 masks for 1 files"),
        (predicts(b"no image"), "no PNG"),
        (predicts(GREY[:-30]), "no PNG"),
        (predicts(encoded(np.zeros((2, 3), np.uint8), "BMP")), "no PNG"),
        (predicts(encoded(np.zeros((2, 3, 3), np.uint8))), "mode RGB"),
        (predicts(encoded(np.zeros((2, 3), np.uint16))), "mode I;16"),
        (predicts(encoded(np.full((2, 3), CLASSES, np.uint8))), "class 5, of 5 classes"),
    ],
)
def test_wrong_answers(server, mishap, words):
    server.mishaps.append(mishap)
    with pytest.raises(ServerError) as caught:
        Client(server.url).label([b"file"])
    message = str(caught.value)
    assert message.startswith(f"{server.url}: gave a wrong answer: ") and words in message


def test_a_server_of_something_else(server):
    for about in (
        metadata(mask_bytes=tensor("DT_FLOAT", -1, 10)),
        metadata(class_pixels=tensor("DT_INT32", -1, -1)),
        metadata(class_pixels=tensor("DT_INT32", -1, 300)),
        metadata(image_bytes=tensor("DT_UINT8", -1, -1, -1, 3)),
        {"metadata": {"signature_def": {"signature_def": {}}}},
    ):
        server.metadata = about
        with pytest.raises(UserError, match="is no network that `fcn-keras export` wrote"):
            Client(server.url).label([b"file"])
    for about in (b"<html>", [], {"metadata": {}}):
        server.metadata = about
        with pytest.raises(ServerError, match="roads"):
            Client(server.url).num_classes  # noqa: B018
    assert not server.asked


def test_threads_share_a_client(server, files, right):
    client = Client(server.url)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(client.label, [files] * 32):
            assert_equal(found, right)


def test_no_tensorflow_for_rest():
    code = (
        "import sys; from fcn_keras.client import Client; Client('http://localhost', 'roads'); "
        "assert not {'tensorflow', 'keras', 'grpc'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_exit_code(server, tmp_path, run_command):
    """A server that fails is not the caller's mistake."""
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    command = ["predict", tmp_path / "a.png", "--output", tmp_path / "out", "--server"]
    server.mishaps.append(says(500, {"error": "no memory"}))
    code, _, printed = run_command(*command, server.url)
    assert code == 1 and f"error: {server.url}: answered 500: no memory\n" in printed
    server.mishaps.append(says(404, {"error": "no such model"}))
    code, _, printed = run_command(*command, server.url)
    assert code == 2 and "answered 404: no such model" in printed
