"""What stands in `serving/` to be copied."""

import http.server
import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

FOLDER = Path(__file__).parents[2] / "serving"


def message(name, **fields):
    """A protobuf message class, given types by name; its fields have the numbers 1, 2, ..."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    kinds = descriptor_pb2.FieldDescriptorProto
    described = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        entry = described.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
        if kind.startswith("."):
            entry.type, entry.type_name = kinds.TYPE_MESSAGE, kind
            if not kind.startswith(".google"):
                file.dependency.append(f"{kind[1:]}.proto")
        else:
            entry.type = getattr(kinds, f"TYPE_{kind}")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def read(name, message_class):
    return text_format.Parse((FOLDER / "config" / name).read_text(), message_class())


def test_models():
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    [model] = read("models.config", config.ModelServerConfig).model_config_list.config
    assert model.name == "roads" and model.base_path == "/models/roads"
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}


def test_batching():
    # tensorflow_serving/servables/tensorflow/session_bundle_config.proto, which the package
    # tensorflow-serving-api leaves out.
    number = ".google.protobuf.Int64Value"
    parameters = message(
        "BatchingParameters",
        max_batch_size=number,
        batch_timeout_micros=number,
        max_enqueued_batches=number,
        num_batch_threads=number,
    )
    found = read("batching.conf", parameters)
    values = [getattr(found, field.name) for field in parameters.DESCRIPTOR.fields]
    assert all(found.HasField(field.name) for field in parameters.DESCRIPTOR.fields)
    assert [value.value for value in values] == [32, 0, 64, 1]


def test_monitoring():
    # tensorflow_serving/config/monitoring_config.proto
    message("PrometheusConfig", enable="BOOL", path="STRING")
    config = message("MonitoringConfig", prometheus_config=".PrometheusConfig")
    assert read("monitoring.conf", config).prometheus_config.enable


def compose():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["serving"]


def test_compose():
    service = compose()
    name, tag = service["image"].split(":")
    assert name == "tensorflow/serving" and tag[0].isdigit()
    mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    for flag in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        folder, _, file = flags[flag].rpartition("/")
        [here] = [there for there, mount in mounts.items() if mount == folder]
        assert (FOLDER / here / file).is_file()
    assert {port.rpartition(":")[2] for port in service["ports"]} == {"8500", "8501"}
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("state, healthy", [("AVAILABLE", True), ("LOADING", False)])
def test_health_check(state, healthy):
    """The command that runs in the container, against a server that has the model or not yet."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status = {"model_version_status": [{"version": "1", "state": state}]}
            content = json.dumps(status if self.path == "/v1/models/roads" else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", len(content))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    kind, *command = compose()["healthcheck"]["test"]
    assert kind == "CMD" and "8501" in command[-1]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        command[-1] = command[-1].replace("8501", str(server.server_port))
        code = subprocess.run(command, capture_output=True, timeout=20).returncode
        server.shutdown()
        thread.join()
    assert (code == 0) is healthy
    nobody = subprocess.run(command, capture_output=True, timeout=20)
    assert nobody.returncode != 0
