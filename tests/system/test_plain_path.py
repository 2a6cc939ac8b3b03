import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from helpers.names import NAMES

from fcn_keras.system.plain_path import NO_PRIVILEGE, plain_path


@pytest.mark.parametrize("path", ["run 1/{a},#%41$'", "stra\u00dfe/u\u0308", "/a/b", "-x", "~"])
def test_a_name_that_tensorflow_takes_stays(path):
    assert plain_path(path) == plain_path(Path(path)) == path


@pytest.mark.parametrize("name", ["[1]", "*", "?", "a\\b", "\udcff", "a [1]/b [2]"])
def test_any_other_leads_to_the_same_place(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    folder.mkdir(parents=True)
    for path in (folder, name):
        plain = plain_path(path)
        assert os.path.samefile(plain, folder) and plain.isascii() and not {*plain} & {*"[]*?\\"}
        assert plain_path(path) == plain
    below = plain_path(folder / "b" / "c.txt")  # what is not there yet, too
    os.makedirs(os.path.dirname(below))
    Path(below).write_text("here")
    assert (folder / "b" / "c.txt").read_text() == "here"


def test_what_cannot_be_linked(tmp_path, monkeypatch):
    """Windows lets few make links, and says so by a number of its own."""
    error = OSError("no link")

    def refuse(*_):
        raise error

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OSError, match="no link"):
        plain_path(tmp_path / "a [1]")
    error.winerror = NO_PRIVILEGE
    assert plain_path(tmp_path / "a [1]") == str(tmp_path / "a [1]")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_checkpoints_and_events(tmp_path, name):
    """Of `x*` TensorFlow would read those of `x1`."""
    folder, variable = tmp_path / name, tf.Variable(0.0)
    for place, value in ((folder, 1.0), (tmp_path / "x1", 2.0), (tmp_path / "x*", 3.0)):
        place.mkdir()
        variable.assign(value)
        checkpoint = tf.train.Checkpoint(variable=variable)
        manager = tf.train.CheckpointManager(checkpoint, plain_path(place), max_to_keep=1)
        manager.save()
        manager.save()
        with tf.summary.create_file_writer(plain_path(place)).as_default(1):
            tf.summary.scalar("loss", value)
    for place, value in ((folder, 1.0), (tmp_path / "x1", 2.0), (tmp_path / "x*", 3.0)):
        manager = tf.train.CheckpointManager(checkpoint, plain_path(place), max_to_keep=1)
        checkpoint.restore(manager.latest_checkpoint).assert_consumed()
        assert variable.numpy() == value
        assert sum("tfevents" in file for file in os.listdir(place)) == 1
        assert sum(file.endswith(".index") for file in os.listdir(place)) == 1  # the last alone


def test_links_go_with_the_process(tmp_path):
    code = "from fcn_keras.system.plain_path import plain_path; print(plain_path('a [1]'))"
    temporary = tmp_path / "job[7]"  # as PBS calls the temporary folders of its array jobs
    temporary.mkdir()
    for folder in (tmp_path, temporary):
        link = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "TMPDIR": str(folder)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        assert "[" not in link and not os.path.lexists(os.path.dirname(link))
