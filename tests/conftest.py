"""What several test files use: real data that lies beside the repository, small data sets."""

import signal
import sys

import pytest
from helpers.folders import SHARED, write_folder

from fcn_keras import cli
from fcn_keras.system.processor import use_onednn

use_onednn()  # as all commands do, whose numbers are compared with those of tests

# What a shell runs in the background ignores Ctrl-C, and so would the commands that tests stop.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def keras_home(tmp_path_factory):
    """A folder that commands keep graphs in, instead of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("keras")
        patch.setenv("KERAS_HOME", str(home))
        yield home


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Calls a command in this process; returns its exit code and what it printed."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # `main` sets it; this takes it back

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["fcn-keras", *map(str, args)])
        try:
            code = cli.main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def _shared(folder):
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f"needs the files of ../shared/{folder}")
    return path


@pytest.fixture(scope="session")
def camvid():
    """CamVid as a folder data set: 367 images to train on, 101 to validate."""
    return _shared("data/camvid")


@pytest.fixture(scope="session")
def voc():
    """A part of PASCAL VOC 2012 in its original layout."""
    return _shared("data/VOCdevkit/VOC2012")


@pytest.fixture(scope="session")
def make_folder():
    """A function that writes a small data set of random images and masks."""
    return write_folder
