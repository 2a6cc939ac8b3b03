"""Folders of versions: complete or absent, whatever happens to the processes that make them."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from helpers.exported import CLASSES, COLORS, tiny_network, tree

import fcn_keras
from fcn_keras import UserError
from fcn_keras.exporters.saved_model import export
from fcn_keras.exporters.version_folder import check_target


def test_check_target(tmp_path):
    output = tmp_path / "not" / "yet"
    assert check_target(output) == check_target(output, None) == output / "1"
    assert check_target(output, 7) == output / "7"
    assert not output.parent.exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is not a folder"):
        check_target(tmp_path / "file")


@pytest.mark.parametrize("output", ["new", "."])
@pytest.mark.parametrize("at", ["model", "classes"])
def test_a_failed_export_leaves_nothing(monkeypatch, tmp_path, at, output):
    def write_out(self, path, **_):
        # The server must not take up what is not complete.
        assert not Path(path).name.isdigit()
        (Path(path) / "variables").mkdir(parents=True)
        (Path(path) / "saved_model.pb").write_bytes(b"half a mo")
        if at == "model":
            raise OSError("the disk is full")

    backend_archive = type(keras.export.ExportArchive())
    monkeypatch.setattr(backend_archive, "write_out", write_out)
    classes = [object()] * 5 if at == "classes" else CLASSES  # JSON cannot hold an object
    with pytest.raises((OSError, TypeError)):
        export(tiny_network(), tmp_path / output, classes, COLORS)
    assert set(tree(tmp_path)) <= {"new"}


EXPORTERS = """
import os, sys, keras
from fcn_keras import export
parent = os.getpid()
for _ in range(3):
    if os.fork() == 0:
        image = keras.Input((None, None, 3))
        network = keras.Model(image, keras.layers.Conv2D(1, 1)(image))
        while os.getppid() == parent:
            made = export(network, sys.argv[1], ["a"], [(0, 0, 0)], version=None)
            os.write(1, f"{os.getpid()} {made}\\n".encode())
        sys.exit()
for _ in range(3):
    if os.wait()[1] != 9:
        sys.exit("an export failed")
"""

PARTS = {
    "saved_model.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets/classes.json",
    "assets.extra/tf_serving_warmup_requests",
}


@pytest.mark.slow
def test_killed_exports(tmp_path):
    """Three processes export into one folder, and are killed one after the other."""
    output = tmp_path / "out"
    command = [sys.executable, "-c", EXPORTERS, str(output)]
    root = Path(fcn_keras.__file__).parents[1]
    options = dict(cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    parent = subprocess.Popen(command, **options)
    seen, made = set(), {}

    def look():
        """Checks versions when they first appear, as TensorFlow Serving would load them."""
        names = {path.name for path in output.iterdir() if path.name.isdecimal()}
        for name in names - seen:
            assert PARTS <= {*tree(output / name)}
        seen.update(names)

    alive = set()
    try:
        while len(made) < 3:
            pid, _, path = parent.stdout.readline().partition(" ")
            made.setdefault(int(pid), path)
            alive.add(int(pid))
        assert len({*made.values()}) == 3  # none took another's number
        draw = random.Random(0)
        for pid in made:
            end = time.monotonic() + draw.uniform(0.1, 1.5)
            while time.monotonic() < end:
                look()
            os.kill(pid, signal.SIGKILL)
            alive.remove(pid)
        assert parent.wait(timeout=60) == 0
    finally:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
        parent.kill()
        parent.communicate()
    look()
    assert {int(name) for name in seen} == {*range(1, len(seen) + 1)}
    left = [path for path in output.iterdir() if not path.name.isdecimal()]
    assert len(left) <= 3
    (output / ".export-0123456789ab" / "variables").mkdir(parents=True)
    last = export(tiny_network(), output, CLASSES, COLORS, version=None)
    assert int(last.name) == len(seen) + 1
    assert {path.name for path in output.iterdir()} == {*seen, last.name}
    tf.saved_model.load(output / str(len(seen)))
