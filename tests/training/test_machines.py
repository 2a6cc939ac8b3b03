"""Training on several machines, which are processes here, and in processes that are stopped."""

import csv
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.kill_training import SETTINGS, differences, kill_and_resume, start, undisturbed
from PIL import Image

from fcn_keras.cli import app
from fcn_keras.cli.settings import setting_arguments
from fcn_keras.errors import MachineLost, UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system.devices import _resolver
from fcn_keras.training.task import SegmentationTask
from fcn_keras.training.train import train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings(make_folder, tmp_path_factory):
    """Arguments of a small training: five steps an epoch, the last one not full."""
    return ("--dataset", make_folder(tmp_path_factory.mktemp("data"), train=9, val=3), *SETTINGS)


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    """A training in one process, and how many seconds it took to start and to train."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, undisturbed(run, settings)


def weights(run):
    model = keras.models.load_model(run / "last.keras", compile=False)
    return {weight.path: weight.numpy() for weight in model.weights}


def rows(run):
    if not (run / "log.csv").exists():
        return []
    with open(run / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def wait_for_epoch(run, epoch, processes):
    while len(rows(run)) < epoch:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_training_ends_as_if_it_had_not_been(settings, whole, tmp_path):
    run, seconds = whole
    moments = kill_and_resume(tmp_path / "run", settings, 2, random.Random(2), seconds)
    assert moments[0].startswith("killed")
    assert differences(run, tmp_path / "run") == []
    assert not list((tmp_path / "run").rglob(".*"))  # nothing that a killed process had begun


@pytest.mark.slow
def test_a_stopped_training_goes_on_where_it_was(settings, whole, tmp_path):
    """In an epoch, with no other backup than the one that the signal asks for."""
    run = tmp_path / "run"
    settings = (*settings, "--backup-steps", "1000000")
    process = start(run, settings, stderr=subprocess.PIPE, text=True)
    wait_for_epoch(run, 3, [process])
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    assert process.returncode == 130
    assert error.splitlines()[-1] == "stopped; the same command goes on from the last backup"
    assert "stopping after this step, with a backup" in error and "Traceback" not in error
    process = start(run, settings, stdout=subprocess.PIPE, text=True)
    output = process.communicate()[0]
    assert process.returncode == 0 and "going on after epoch" in output
    assert differences(whole[0], run) == []


@pytest.mark.slow
def test_a_full_disk(settings, tmp_path):
    """What was there before is whole, and the training goes on once there is room."""
    run = tmp_path / "run"
    # No file may become as large as a backup: the system refuses it as it does on a full disk.
    limit = 1_000_000
    process = start(
        run,
        (*settings, "--backup-steps", "1000000"),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    error = process.communicate()[1].splitlines()[-1]
    assert process.returncode == 1
    assert error.startswith(f"error: {run / 'backup'}: could not be written: file too large.")
    assert keras.models.load_model(run / "best.keras", compile=False).count_params()
    assert not [*(run / "backup").glob("ckpt-*"), *run.glob(".*")]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk must be mounted, as root")
def test_a_small_disk(settings, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        process = start(disk / "run", settings, stderr=subprocess.PIPE, text=True)
        wait_for_epoch(disk / "run", 3, [process])
        with pytest.raises(OSError), open(disk / "filler", "wb") as filler:
            while True:
                filler.write(bytes(1 << 16))
        error = process.communicate()[1].splitlines()[-1]
        assert process.returncode == 1
        assert "could not be written: no space left on device. What was there" in error
        assert keras.models.load_model(disk / "run/best.keras", compile=False).count_params()
        assert tf.train.latest_checkpoint(disk / "run/backup")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_loss_that_is_no_number_names_the_images(make_folder, tmp_path, monkeypatch):
    """In the second epoch an image spoils its batch: what the first one left is whole."""
    data = make_folder(tmp_path / "data", train=9, val=3)
    Image.fromarray(np.full((20, 28), 2, "uint8")).save(data / "trainannot" / "train_4.png")
    totals = SegmentationTask._totals

    def spoilt(self, outputs, labels):
        found = tf.reduce_any(tf.reduce_all(labels == 2, axis=(1, 2, 3)))
        bad = found & (self.optimizer.iterations >= 5)
        return tf.where(bad, np.nan, totals(self, outputs, labels))

    monkeypatch.setattr(SegmentationTask, "_totals", spoilt)
    options = dict(width=1 / 32, epochs=3, batch_size=2, crop_size=(16, 24), validate_every=1)
    run, settings = tmp_path / "run", resolve("small", dataset=str(data), **options)
    with pytest.raises(UserError, match=r"became nan in epoch 2, step \d, on .*\btrain_4\b"):
        train(settings, run)
    assert len(rows(run)) == 1 and tf.train.latest_checkpoint(run / "backup").endswith("ckpt-1")
    network = keras.models.load_model(run / "best.keras", compile=False)
    assert all(np.isfinite(weight.numpy()).all() for weight in network.weights)


# Several machines


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


class Machines:
    """Two processes that train together."""

    def __init__(self, run, *settings):
        self.run, self.settings = run, settings
        self.cluster = {"worker": [f"localhost:{free_port()}" for _ in range(2)]}
        self.processes = [self.start(index) for index in range(2)]

    def start(self, index):
        config = {"cluster": self.cluster, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CONFIG": json.dumps(config)}
        command = [sys.executable, ROOT / "train.py", "--run-dir", self.run, *self.settings[index]]
        return subprocess.Popen(command, env=environment, cwd=ROOT)

    def kill_and_restart(self, index):
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = self.start(index)

    def wait(self):
        try:
            return [process.wait(240) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()


def assert_same(one, other):
    a, b = weights(one), weights(other)
    # Sums in another order move a weight by 2e-6, a learning rate off by a thousandth by 4e-2.
    assert max(np.abs(a[name] - b[name]).max() for name in a) <= 1e-5
    for old, new in zip(rows(one), rows(other), strict=True):
        for key in ("loss", "val_loss", "mean_iu", "train_mean_iu"):
            assert float(old[key]) == pytest.approx(float(new[key]), rel=1e-6)
    scores = [json.loads((run / "metrics.json").read_text()) for run in (one, other)]
    assert scores[0]["confusion"] == scores[1]["confusion"]


@pytest.fixture(scope="module")
def exact(settings):
    """Without dropout, whose draws belong to a device."""
    return (*settings, "--dropout", "0", "--epochs", "6")


@pytest.fixture(scope="module")
def alone(exact, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "alone"
    assert start(run, exact).wait() == 0
    return run


@pytest.mark.slow
def test_a_machine_is_lost_and_comes_back(exact, alone, tmp_path):
    """Two machines train like one, also where one of them, which writes, starts anew."""
    machines = Machines(tmp_path / "run", exact, exact)
    wait_for_epoch(machines.run, 3, machines.processes)
    machines.kill_and_restart(0)
    assert machines.wait() == [0, 0]
    assert_same(alone, machines.run)
    assert not (machines.run / "backup").exists()


@pytest.mark.slow
def test_machines_must_be_given_the_same(exact, tmp_path):
    """And see the same backups: otherwise they would add up gradients of different weights."""
    machines = Machines(tmp_path / "run", *((*exact, "--seed", seed) for seed in "01"))
    assert 2 in machines.wait()


@pytest.mark.parametrize("fresh", ["--fresh", "--fres", ""])
def test_a_command_that_starts_again_is_the_same(fresh, run_command, monkeypatch):
    """But for --fresh, which would delete what it is to go on from."""
    lists = [*setting_arguments(), "--run-dir", "--devices", "--cluster", "--backup-steps"]
    words = ["fcn-keras", "train", "--freeze", "trunk", "--freeze-epochs=5", "--run-dir", "f"]
    calls = []
    monkeypatch.setattr("fcn_keras.training.train.train", raises(MachineLost("lost.")))
    monkeypatch.setattr(sys, "orig_argv", ["python", *words, *filter(None, [fresh]), *lists])
    monkeypatch.setattr(time, "sleep", calls.append)
    monkeypatch.setattr(os, "execv", lambda program, words: calls.append(words))
    assert "Starting again" in run_command("train")[2]
    assert calls == [1, [sys.executable, *words, *lists]]


def test_a_command_that_starts_again_where_exec_does_not_wait(monkeypatch, capsys):
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(sys, "orig_argv", command)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(app, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(app, "parse", lambda *_: SimpleNamespace(command=Lost, debug=False))
    assert pytest.raises(SystemExit, app.main).value.code == 3
    assert "lost. Starting again" in capsys.readouterr().err


class Lost:
    keeps_memory = tensorflow = False
    run = staticmethod(lambda args: raises(MachineLost("lost."))())


def raises(error):
    def call(*args):
        raise error

    return call


def test_devices_are_not_named_on_several_machines(run_command, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["localhost:1"]}}))
    code, _, error = run_command("train", "--devices", "cpu:2")
    assert code == 2 and "`devices` must be left out on several machines" in error


@pytest.mark.parametrize("config", ["{}", "no JSON", '{"cluster": {"ps": ["localhost:1"]}}'])
def test_a_wrong_description_of_the_machines(config, run_command, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    code, _, error = run_command("train")
    assert code == 2 and error.count("\n") == 1 and "`cluster='tf_config'`" in error


def test_machines_of_slurm(monkeypatch, capsys):
    variables = {
        "SLURM_PROCID": "1",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "PATH": "",  # no GPUs
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    resolver = _resolver("slurm")
    assert resolver.cluster_spec().as_dict() == {"worker": ["n1:8888", "n2:8888"]}
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)
    assert capsys.readouterr().out == "machine worker 1 of n1:8888, n2:8888\n"
    monkeypatch.delenv("SLURM_PROCID")
    with pytest.raises(UserError, match="`cluster='slurm'`: SLURM_PROCID not found"):
        _resolver("slurm")
