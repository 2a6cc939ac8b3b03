"""The package on a system that lacks what only Linux and macOS have, as Windows does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import ROOT, write_squares
from PIL import Image

TESTS = Path(__file__).parent

IMPORT_ALL = """
import importlib, pkgutil, sys
import fcn_keras
failed = {}
for module in pkgutil.walk_packages(fcn_keras.__path__, "fcn_keras."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except (ImportError, fcn_keras.UserError) as error:
            missing = error if isinstance(error, ImportError) else error.__cause__
            failed[module.name] = missing.name
print(json.dumps(failed))
"""

RUN_COMMANDS = """
import sys
from fcn_keras import cli
for words in json.loads(sys.argv[1]):
    sys.argv = ["fcn-keras", *words]
    code = cli.main()
    print(words[0], code, flush=True)
assert "fcntl" not in sys.modules and "resource" not in sys.modules
"""

# Ctrl-C comes in the second of three steps; it is heeded after the next one.
STOPPING = """
import signal
import keras

class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            signal.raise_signal(signal.SIGINT)

def stop():
    return [Stop()]
"""


def run_elsewhere(code, *args):
    """Runs a program as on another system; returns what it printed."""
    preamble = "import json, sys\nfrom helpers.windows import pretend\npretend()\n"
    path = os.pathsep.join([str(ROOT), str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", preamble + code, *map(str, args)],
        env=os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr)  # for a test that fails
    return done.stdout


def test_all_can_be_imported():
    failed = json.loads(run_elsewhere(IMPORT_ALL).splitlines()[-1])
    extras = {"ai_edge_litert", "gradio", "jax", "kserve", "nncf", "onnx", "onnxruntime"}
    extras |= {"openvino", "ray", "starlette", "tf2onnx", "torch", "grpc", "tensorflow_serving"}
    extras |= {"segmentation_models_pytorch"}
    assert {name.partition(".")[0] for name in failed.values()} <= extras, failed


def test_one_process_at_a_time(tmp_path):
    code = """
import os
from fcn_keras import UserError
from fcn_keras.training.run import Run
with Run(sys.argv[1]).held():
    try:
        with Run(sys.argv[1]).held():
            print("both")
    except UserError as error:
        print(error, os.listdir(os.path.dirname(sys.argv[1])), flush=True)
    if len(sys.argv) > 2:
        os._exit(0)
"""
    run = tmp_path / "run"
    for more in ((), ("as if killed",), ()):  # what that leaves behind locks nothing
        said = run_elsewhere(code, run, *more)
        assert "another process is training there" in said and "run.lock" in said
    assert [*tmp_path.iterdir()] == [run] and not [*run.iterdir()]


def test_no_links_and_no_kernel_to_ask(tmp_path):
    code = """
from fcn_keras.system import memory, plain_path, processor
assert plain_path.plain_path("a [1]/b") == "a [1]/b"
now, peak = memory.process_memory()
assert 10e6 < now <= peak < 10e9, (now, peak)
assert memory.free_memory() == float("inf") and processor.cores() >= 1
assert not processor.flags()
"""
    run_elsewhere(code)


@pytest.mark.slow
def test_a_training_and_its_network(tmp_path):
    data, run, photos = write_squares(tmp_path / "data"), tmp_path / "run", tmp_path / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted((data / "val").glob("*.png"))):
        with Image.open(path) as image:
            image.save(photos / f"{number}.png")
    (tmp_path / "stopping.py").write_text(STOPPING, "utf-8")
    train = f"train --dataset {data} --recipe small --width 0.03125 --epochs 2 --batch-size 2"
    train += f" --crop-size 32x32 --validate-every 1 --run-dir {run}"
    predict = f"predict {{}} {photos} --output-formats probabilities"
    commands = [
        f"{train} --callbacks stopping:stop",
        train,
        f"evaluate {run}",
        f"{predict.format(run)} --output {tmp_path / 'by_run'}",
        f"export {run} {tmp_path / 'exported'}",
        f"{predict.format(tmp_path / 'exported')} --output {tmp_path / 'by_export'}",
    ]
    code = f"sys.path.insert(0, {str(tmp_path)!r})" + RUN_COMMANDS
    said = run_elsewhere(code, json.dumps([words.split() for words in commands]))
    assert "train 130" in said and "going on after epoch 0 of 2, step 3 of 3" in said
    codes = [f"{words.split()[0]} 0" for words in commands[1:]]
    assert [line for line in said.splitlines() if line in codes] == codes
    assert not [*tmp_path.glob("*.lock"), *tmp_path.glob("exported/.*"), *run.glob(".*")]

    # Here the C library runs the same graph.
    here = tmp_path / "here"
    command = [sys.executable, "-m", "fcn_keras", *commands[-1].split()[:-1], here]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    for name in ("0.npz", "1.npz", "2.npz"):
        by_run, by_export, by_library = (
            np.load(tmp_path / folder / name)["probabilities"].astype(float)
            for folder in ("by_run", "by_export", "here")
        )
        np.testing.assert_array_equal(by_export, by_library)
        np.testing.assert_allclose(by_run, by_export, atol=2e-3)
        assert np.ptp(by_run) > 0.01
