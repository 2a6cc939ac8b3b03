"""`fcn-keras serve` as a process of its own, and the protocol that it speaks."""

import base64
import gzip
import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import urllib3
from helpers.exported import CLASSES, COLORS, encoded, network_to_export, photo
from helpers.served import assert_equal

from fcn_keras import UserError
from fcn_keras.client.client import Client
from fcn_keras.client.rest import FileRefused, check_refusal
from fcn_keras.exporters.saved_model import export
from fcn_keras.inference.classes import find_saved_model
from fcn_keras.serving.rest_model import RestModel

needs_kserve = pytest.mark.skipif(
    importlib.util.find_spec("kserve") is None, reason="needs KServe (the extra serve)"
)


@pytest.fixture(scope="module")
def network():
    return network_to_export()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    output = tmp_path_factory.mktemp("exported") / "roads"
    export(network, output, CLASSES, COLORS, version=7)
    return output


@pytest.fixture(scope="module")
def signatures(folder):
    loaded = tf.saved_model.load(folder / "7")
    yield loaded.signatures


@pytest.fixture(scope="module")
def model(folder):
    return RestModel(folder / "7", "roads", 7)


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def masks_of(signatures, files):
    """What the exported network gives for files, in this process."""
    return signatures["serving_default"](image_bytes=tf.constant(files, tf.string))


def test_instances_and_inputs(model, signatures):
    files = [encoded(photo(20, 31), "PNG"), b"no image", encoded(photo(9, 9, 1), "JPEG")]
    answer = masks_of(signatures, files)
    masks = [b64(mask) for mask in answer["mask_bytes"].numpy()]
    pixels = answer["class_pixels"].numpy().tolist()
    rows = [{"class_pixels": p, "mask_bytes": m} for p, m in zip(pixels, masks, strict=True)]
    assert masks[1] == {"b64": ""} and pixels[1] == [-1] * 5
    contents = [b64(file) for file in files]
    for body in (
        {"instances": [{"image_bytes": content} for content in contents]},
        {"instances": contents},
        {"instances": contents, "signature_name": "serving_default"},
    ):
        assert model.predict(body) == {"predictions": rows}
        assert model.predict(json.dumps(body).encode()) == {"predictions": rows}
    for inputs in (contents, {"image_bytes": contents}):
        columns = {"class_pixels": pixels, "mask_bytes": masks}
        assert model.predict({"inputs": inputs}) == {"outputs": columns}
    assert model.predict({"inputs": []}) == {"outputs": {"class_pixels": [], "mask_bytes": []}}
    body = {"instances": contents, "signature_name": ""}
    assert model.predict(body) == {"predictions": rows}


def test_other_signatures(model, signatures):
    images = np.stack([photo(5, 4), photo(5, 4, 1)])
    body = {"signature_name": "segment", "instances": images.tolist()}
    class_ids = signatures["segment"](image=tf.constant(images))["class_ids"].numpy()
    assert model.predict(body) == {"predictions": class_ids.tolist()}
    body = {"signature_name": "probabilities", "inputs": {"image": images.tolist()}}
    found = np.array(model.predict(body)["outputs"])
    [expected] = signatures["probabilities"](image=tf.constant(images)).values()
    np.testing.assert_allclose(found, expected, atol=1e-6)


PIXEL = [[[1, 2, 3]]]

# A body, and what is said about it.
WRONG = [
    (b"", "The body is no JSON"),
    (b"{", "The body is no JSON"),
    (b"\xff\x00", "The body is no JSON"),
    (b"[" * 100_000, "The body is no JSON"),
    (b"3", "either `instances` or `inputs`"),
    (b"{}", "either `instances` or `inputs`"),
    ({"instances": [], "inputs": []}, "either `instances` or `inputs`"),
    ({"instances": 3}, "`instances` must be a list of at least one. Received: 3."),
    ({"instances": [3]}, 'image_bytes[0] must be like {"b64": BASE64}. Received: 3.'),
    ({"instances": [b64(b"a"), {"image": b64(b"a")}]}, "image_bytes[1] must be no object"),
    ({"instances": [{"b64": 3}]}, "image_bytes[0] must be like"),
    ({"instances": [{"b64": "?"}]}, "image_bytes[0] is no base64"),
    ({"instances": [{"b64": "abcde"}]}, "image_bytes[0] is no base64"),
    ({"inputs": {"image": []}}, "`inputs` must have image_bytes. Received: image."),
    ({"instances": [], "signature_name": "serve"}, "`signature_name` must be one of prob"),
    ({"instances": [], "signature_name": []}, "`signature_name` must be a text"),
    ({"instances": ["a"], "signature_name": "segment"}, "image must be whole numbers"),
    ({"inputs": [], "signature_name": "segment"}, "image must be whole numbers"),
    ({"instances": [[[1, 2, 3]]], "signature_name": "segment"}, "image must be whole numbers"),
    ({"instances": [[[[1, 2]]]], "signature_name": "segment"}, "image must be whole numbers"),
    ({"instances": [[[[1, 2, 0.5]]]], "signature_name": "segment"}, "image must be whole numbers"),
    ({"instances": [PIXEL, [*PIXEL, *PIXEL]], "signature_name": "segment"}, "all images of one"),
    ({"instances": [[[[1, 2, 256]]]], "signature_name": "segment"}, "must be from 0 to 255"),
    ({"instances": [[[[1, 2, -1]]]], "signature_name": "segment"}, "must be from 0 to 255"),
]


@pytest.mark.parametrize("body, words", WRONG)
def test_wrong_requests(model, body, words):
    with pytest.raises(UserError) as caught:
        model.predict(body)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_strict_network_names_the_file(network, tmp_path):
    model = RestModel(export(network, tmp_path, CLASSES, COLORS, strict=True), "roads", 1)
    with pytest.raises(UserError) as caught:
        model.predict({"instances": [b64(encoded(photo(5, 5), "PNG")), b64(b"no image")]})
    assert "image_bytes[1]: is no JPEG" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileRefused):
        check_refusal(str(caught.value))


def test_metadata(model):
    """In the shape that TensorFlow Serving documents, of the form that the client reads."""
    answer = json.loads(json.dumps(model.metadata()))
    assert answer["model_spec"] == {"name": "roads", "signature_name": "", "version": "7"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "segment", "probabilities"}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
    pixels = signatures["serving_default"]["outputs"]["class_pixels"]
    assert pixels["dtype"] == "DT_INT32"
    assert [dim["size"] for dim in pixels["tensor_shape"]["dim"]] == ["-1", "5"]
    [status] = model.status()["model_version_status"]
    assert (status["version"], status["state"]) == ("7", "AVAILABLE")


def test_what_is_no_export(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(UserError, match="has no signature"):
        RestModel(tmp_path / "1", "other", 1)


def test_find_saved_model(tmp_path):
    assert find_saved_model(tmp_path / "absent") is None
    for name in ("2", "10", "11", "x"):
        (tmp_path / name).mkdir()
    assert find_saved_model(tmp_path) is None
    for name in ("2", "10", "x"):
        (tmp_path / name / "saved_model.pb").touch()
    assert find_saved_model(tmp_path) == tmp_path / "10"
    assert find_saved_model(tmp_path / "2") == tmp_path / "2"


class Server:
    """`fcn-keras serve` on a free port.

    Attributes:
        url: of its model.
        line: what it has printed.
    """

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "fcn_keras", "serve", *map(str, arguments)]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*command, "--http-port", "0"], stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.line = self.process.stdout.readline()
        assert "http://" in self.line, self.stop(signal.SIGKILL)
        self.url = self.line.split()[-1]

    def memory(self):
        """Resident, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def stop(self, number=signal.SIGTERM):
        """Returns the exit code, and what was printed as errors."""
        self.process.send_signal(number)
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
            self.process.stdout.close()
        with self.errors:
            self.errors.seek(0)
            return code, self.errors.read()


@pytest.fixture(scope="module")
def server(folder):
    server = Server(folder)
    yield server
    code, printed = server.stop()
    assert code == 0 and "Traceback" not in printed


@needs_kserve
def test_answers_over_http(server, model):
    assert server.line.startswith("roads, version 7, on http://127.0.0.1:")
    body = {"instances": [b64(encoded(photo(20, 31), "PNG"))]}
    with urllib3.PoolManager() as pool:
        for start in (server.url, f"{server.url}/versions/7"):
            assert pool.request("GET", start).json() == model.status()
            assert pool.request("GET", f"{start}/metadata").json() == model.metadata()
            # curl's default names a form.
            for kind in ("application/json", "application/x-www-form-urlencoded"):
                answer = pool.request(
                    "POST",
                    f"{start}:predict",
                    body=json.dumps(body).encode(),
                    headers={"Content-Type": kind},
                )
                assert answer.status == 200 and answer.json() == model.predict(body)
            packed = gzip.compress(json.dumps(body).encode())
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
            answer = pool.request("POST", f"{start}:predict", body=packed, headers=headers)
            assert answer.status == 200 and answer.json() == model.predict(body)
            answer = pool.request("POST", f"{start}:predict", body=packed[:-9], headers=headers)
            assert answer.status == 400 and "packed by gzip" in answer.json()["error"]
        for path in ("/versions/8:predict", "x:predict"):
            assert pool.request("POST", server.url + path, json=body).status == 404
        # KServe's own interface.
        start = server.url.partition("/v1")[0] + "/v2"
        for path in ("repository/models/roads/unload", "models/roads/infer"):
            tensors = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["x"]}]}
            assert pool.request("POST", f"{start}/{path}", json=tensors).status == 400
        assert pool.request("GET", server.url).status == 200


@needs_kserve
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_wrong_requests_over_http(server, kind):
    with urllib3.PoolManager() as pool:
        for body, _ in WRONG:
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = pool.request(
                "POST", f"{server.url}:predict", body=body, headers={"Content-Type": kind}
            )
            assert answer.status == 400
            error = answer.json()["error"]
            assert error and "\n" not in error and "Traceback" not in error


@needs_kserve
def test_the_client(server, signatures):
    files = [encoded(photo(h, w, h), "PNG") for h, w in ((1, 1), (40, 31), (7, 90))]
    files.insert(1, b"no image")
    masks = masks_of(signatures, files)["mask_bytes"].numpy()
    expected = [tf.io.decode_png(mask)[:, :, 0].numpy() if mask else None for mask in masks]
    client = Client(server.url)
    assert client.num_classes == 5
    assert_equal(client.label(files), expected)
    assert_equal(Client(f"{server.url}/versions/7").label(files), expected)
    for ending in ("/versions/8", "2"):
        with pytest.raises(UserError, match="Not Found. What is served is /v1/models/roads:"):
            Client(server.url + ending).label(files)


def requests(number, files):
    """Draws a request: its body, and the places of its files, or None if it has to be refused."""
    rng = np.random.default_rng(number)
    count = rng.choice([1, 1, 1, 3])
    places = rng.integers(0, len(files), count).tolist()
    body = {"instances": [{"image_bytes": b64(files[place])} for place in places]}
    if rng.random() >= 0.05:
        return json.dumps(body).encode(), places
    body = WRONG[rng.integers(len(WRONG))][0]
    return body if isinstance(body, bytes) else json.dumps(body).encode(), None


@needs_kserve
@pytest.mark.slow
def test_a_thousand_requests(folder, signatures):
    rng = np.random.default_rng(0)
    files = []
    for i, (height, width) in enumerate(rng.integers(1, 200, (200, 2)).tolist()):
        data = encoded(photo(height, width, i), ("JPEG", "PNG", "BMP")[i % 3])
        # One in twenty is broken, and as many requests are garbage.
        files.append(data[: len(data) // 2] if i % 20 == 7 else data)
    answer = masks_of(signatures, files)
    masks = answer["mask_bytes"].numpy().tolist()
    pixels = answer["class_pixels"].numpy().tolist()
    assert sum(not mask for mask in masks) == 10

    server = Server(folder)
    pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=60)
    memory, lock = [], threading.Lock()

    def ask(number):
        body, places = requests(number, files)
        answer = pool.request("POST", f"{server.url}:predict", body=body)
        with lock:
            memory.append(server.memory())
        if places is None:
            return answer.status == 400 and "\n" not in answer.json()["error"]
        expected = [{"class_pixels": pixels[i], "mask_bytes": b64(masks[i])} for i in places]
        return answer.status == 200 and answer.json() == {"predictions": expected}

    with pool, ThreadPoolExecutor(8) as threads:
        right = list(threads.map(ask, range(1000)))
    code, printed = server.stop()
    assert right == [True] * 1000
    assert memory[-1] < 1.1 * memory[99]
    assert code == 0 and "Traceback" not in printed and "fault" not in printed


@needs_kserve
def test_a_run_is_exported_and_served(network, signatures, tmp_path):
    network.save(tmp_path / "best.keras")
    before = set(Path(tempfile.gettempdir()).glob("fcn-keras-serve-*"))
    server = Server(tmp_path, "--name", "streets")
    assert server.line.startswith("streets, version ")
    file = encoded(photo(30, 20), "PNG")
    [mask] = masks_of(signatures, [file])["mask_bytes"].numpy()
    assert_equal(Client(server.url).label([file]), [tf.io.decode_png(mask)[:, :, 0].numpy()])
    assert server.stop(signal.SIGINT) == (130, "stopped\n")
    assert set(Path(tempfile.gettempdir()).glob("fcn-keras-serve-*")) <= before


@needs_kserve
def test_mistakes(folder, tmp_path, run_command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, printed = run_command("serve", folder, "--http-port", port)
    assert code == 2 and printed.count("\n") == 1
    assert f"127.0.0.1:{port} cannot be listened at: Address already in use." in printed
    for arguments, words in (
        ([tmp_path], "must be a run directory with a best.keras in it"),
        ([folder, "--name", "a/b"], "--name: must be a word"),
        ([folder, "--http-port", "70000"], "must be a number up to 65535"),
        ([folder, "--host", "nobody.invalid"], "cannot be listened at"),
    ):
        code, _, printed = run_command("serve", "--http-port", 0, *arguments)
        assert code == 2 and words in printed and printed.count("\n") == 1


def test_without_kserve(run_command, monkeypatch):
    monkeypatch.setitem(sys.modules, "kserve", None)
    monkeypatch.delitem(sys.modules, "fcn_keras.serving.server", raising=False)
    code, _, printed = run_command("serve", "anything")
    assert code == 2
    assert printed.startswith('error: serve: needs KServe: pip install "fcn_keras[serve]". (')
