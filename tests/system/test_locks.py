"""Folders that one process at a time works in."""

import subprocess
import sys

import filelock
import pytest
from helpers.folders import ROOT

from fcn_keras.system.locks import locked

HOLD = """
import sys, time, filelock
filelock.has_fcntl = sys.argv[2] == "folder"
from fcn_keras.system.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600 if len(sys.argv) == 3 else float(sys.argv[3]))
"""


needs_fcntl = pytest.mark.skipif(not filelock.has_fcntl, reason="no folder can be locked here")


@pytest.fixture(params=[pytest.param("folder", marks=needs_fcntl), "file beside"])
def way(request, monkeypatch):
    monkeypatch.setattr(filelock, "has_fcntl", request.param == "folder")
    return request.param


def holder(folder, way, *seconds):
    command = [sys.executable, "-c", HOLD, folder, way, *map(str, seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout.readline() == b"held\n"
    return process


def test_another_process_is_kept_out(tmp_path, way):
    folder = tmp_path / "folder"
    folder.mkdir()
    other = holder(folder, way)
    try:
        with pytest.raises(BlockingIOError, match="is locked"), locked(folder, wait=False):
            pass
        with locked(tmp_path, wait=False):  # each folder is its own
            pass
    finally:
        other.kill()
        other.communicate()
    with locked(folder, wait=False):
        assert not [*folder.iterdir()]


def test_it_is_waited_for(tmp_path, way):
    folder = tmp_path / "folder"
    folder.mkdir()
    other = holder(folder, way, 0.3)
    with locked(folder):
        assert other.wait(10) == 0
    other.communicate()


def test_a_lock_goes_with_what_fails(tmp_path, way):
    with pytest.raises(BlockingIOError, match="my own"), locked(tmp_path):
        raise BlockingIOError("my own")
    with locked(tmp_path, wait=False):
        pass
