import json
import statistics
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from fcn_keras.bench.input import bench_input
from fcn_keras.bench.steps import COMPARED, Step
from fcn_keras.cpu.counting import count_pairs
from fcn_keras.data.dataset import Dataset, Example
from fcn_keras.evaluation import evaluate
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system import memory


class Split:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        image = np.full((20, 30, 3), index, "uint8")
        return Example(image, np.zeros((20, 30, 1), "uint8"), str(index))


def test_every_part_is_measured():
    settings = resolve("small", crop_size=(16, 16), batch_size=2)
    rates = bench_input(Dataset("x", ["a"], [(0, 0, 0)], {"train": Split()}), settings, seconds=0.3)
    assert list(rates) == ["decode", "augment", "pipeline", "pipeline_cached"]
    assert all(np.isfinite(rate) and rate > 0 for rate in rates.values())
    assert json.loads(json.dumps(rates)) == rates


TINY = ("--width", "0.03125", "--size", "32x40")
CONDITIONS = {"machine", "versions", "command"}


@pytest.mark.slow
def test_training_step_beside_another_setting(run_command):
    """Both are measured, each in a process of its own."""
    options = ("--rounds", 1, "--steps", 2, "--accumulate", 2, "--remat", "--no-elide")
    code, out, err = run_command("bench", "train", *TINY, *options, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert set(found) == {*CONDITIONS, "rows"}
    assert {"cpu", "cores", "memory_bytes", "bfloat16_instructions"} < set(found["machine"])
    assert {"fcn_keras", "python", "tensorflow", "keras", "numpy"} < set(found["versions"])
    assert found["command"].startswith("python -m fcn_keras bench train --width 0.03125")
    plain, other = found["rows"]
    assert plain["name"] == "float32, batch 1"
    assert other["name"] == "float32, 2 batches of 1, remat, no elision"
    changes = {"accumulate": 2, "remat": True, "elide_padding": False}
    assert other["step"] == plain["step"] | changes
    assert other["images"] == 2
    for name in COMPARED:
        assert plain["ratios"][name] == 1
        assert other["ratios"][name] == other[name] / plain[name] > 0
    for row in (plain, other):
        measured = row["measured"]
        assert row["seconds"] == statistics.median(measured["seconds"])
        assert row["seconds_per_image"] == row["seconds"] / row["images"]
        assert [len(figures) for figures in measured.values()] == [2, 2, 1, 1, 1]
        # Building the network, with Adam's variables, takes memory too.
        assert row["process_bytes"] > row["step_bytes"] > 0
        assert row["process_bytes"] > row["tensor_bytes"] > 0
    assert "2/2" in err


@pytest.fixture
def fake_processes(monkeypatch):
    """Answers for the processes that would measure; returns the steps that were asked for."""
    asked = []

    def run(command, input, **options):
        step = json.loads(input)["step"]
        asked.append(step)
        if step["precision"] == "mixed_float16":
            return subprocess.CompletedProcess(command, 1, "", "Traceback\nNo kernel for half\n")
        if step["batch_size"] * step["remat"] > 1 or step["size"] == [999, 999]:
            return subprocess.CompletedProcess(command, -9, "", "")
        # A slow step in every process, which the median leaves out.
        seconds = [10.0 * step["batch_size"], 2.0 + len(asked) * 1e-9, 90.0]
        found = {"seconds": seconds, "cpu_seconds": seconds, "tensor_bytes": []}
        found |= {"process_bytes": [4 << 20], "step_bytes": [1 << (19 if step["remat"] else 20)]}
        return subprocess.CompletedProcess(command, 0, f"noise\n{json.dumps(found)}\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_table_of_settings(run_command, fake_processes):
    code, out, err = run_command("bench", "train", "--rounds", 3)
    assert code == 0, err
    lines = {line[:28].strip(): line[28:].split() for line in out.splitlines()}
    times = ["10.000", "1.00x"]
    memory = ["4", "1.00x", "1", "1.00x"]
    assert lines["float32, batch 1"] == ["10.000", *times, *times, *memory]
    assert lines["float32, batch 1, no elision"] == ["10.000", *times, *times, *memory]
    # By image: four of them in the time of one.
    assert lines["float32, 4 batches of 1"][:3] == ["10.000", "2.500", "0.25x"]
    assert lines["float32, batch 4"][:3] == ["40.000", "10.000", "1.00x"]
    assert lines["float32, batch 1, remat"][-4:] == ["4", "1.00x", "0", "0.50x"]
    assert " ".join(lines["mixed_float16, batch 1"]) == "not measured: No kernel for half"
    assert "killed by signal 9" in " ".join(lines["float32, batch 4, remat"])
    # In turns, and what has failed not again.
    order = [str(Step(**step)) for step in fake_processes]
    assert len(set(order)) == 8
    failed = ("mixed_float16, batch 1", "float32, batch 4, remat")
    assert order[8:14] == order[14:] == [name for name in order[:8] if name not in failed]


def test_settings_do_not_add_up_over_the_table(run_command, fake_processes):
    """Each row differs from the first in one thing, or from the larger batch."""
    code, out, _ = run_command("bench", "train", "--batch-size", 2, "--rounds", 1, "--json")
    assert code == 0
    plain, *others = [row["step"] for row in json.loads(out)["rows"]]
    changes = [{k: v for k, v in step.items() if v != plain[k]} for step in others]
    assert changes == [
        {"elide_padding": False},
        {"precision": "mixed_bfloat16"},
        {"precision": "mixed_float16"},
        {"remat": True},
        {"accumulate": 4},
        {"batch_size": 8},
        {"batch_size": 8, "remat": True},
    ]


def test_frozen_layers_of_a_classifier(run_command, fake_processes):
    network = ("bench", "train", "--backbone", "mobilenet_v2", "--json")
    code, out, _ = run_command(*network, "--freeze", "Conv1..block_2_add", "--rounds", 1)
    rows = json.loads(out)["rows"]
    assert [row["name"] for row in rows] == [
        "float32, batch 1",
        "float32, batch 1, frozen Conv1..block_2_add",
    ]
    assert code == 0 and {row["step"]["backbone"] for row in rows} == {"mobilenet_v2"}
    code, out, _ = run_command(*network, "--rounds", 1)
    assert "no elision" not in out and len(json.loads(out)["rows"]) == 7
    code, _, err = run_command("bench", "train", "--backbone", "resnet50", "--peers")
    assert code == 2 and "have vgg16 and mobilenet_v2 alone" in err
    code, _, err = run_command(*network, "--peers", "--width", 0.5)
    assert code == 2 and "--width: must be 1" in err


def test_others_on_a_light_classifier(run_command, fake_processes):
    command = ("bench", "train", "--backbone", "mobilenet_v2", "--peers", "--rounds", 1, "--json")
    code, out, err = run_command(*command)
    assert code == 0, err
    assert [row["name"] for row in json.loads(out)["rows"]] == [
        "float32, batch 1",
        "smp's FPN, float32, batch 1",
        "smp's FPN, channels last, float32, batch 1",
        "smp's DeepLabV3Plus, float32, batch 1",
        "smp's DeepLabV3Plus, channels last, float32, batch 1",
    ]


def test_what_all_is_compared_with_must_work(run_command, fake_processes):
    code, out, err = run_command("bench", "train", "--size", 999)
    assert (code, out, len(fake_processes)) == (2, "", 1)
    assert err.splitlines()[-1] == (
        "error: float32, batch 1 cannot be measured: killed by signal 9, as the system does where "
        "memory has run out"
    )


@pytest.mark.slow
def test_scores_beside_a_step(run_command, monkeypatch):
    counted = []

    def count(*args):
        counted.append(args[2])
        return count_pairs(*args)

    monkeypatch.setattr(evaluate, "count_pairs", count)
    options = (*TINY, "--num-classes", 4, "--rounds", 2)
    code, out, err = run_command("bench", "metrics", *options, "--json")
    assert code == 0, err
    found = json.loads(out)
    figures = {"update", "result", "step", "step_without", "difference", "share"}
    assert set(found) == CONDITIONS | figures
    assert found["share"] == (found["update"] + found["result"]) / found["step"]
    assert all(found[name] > 0 for name in figures - {"difference"})
    # Compiled twice: alone and in the one step, but not in the other.
    assert counted == [4, 4]


def test_scores_for_people(run_command, monkeypatch):
    found = {"update": 1.5, "result": 0.25, "step": 500.0, "share": 0.0035}
    monkeypatch.setattr("fcn_keras.bench.metrics.bench_metrics", lambda step, rounds: found)
    code, out, _ = run_command("bench", "metrics", "--size", "40x50")
    assert code == 0
    head, about, update, *_, share = out.splitlines()
    assert "TensorFlow" in head
    assert about == "fcn8s, width 1, 40x50, 21 classes"
    assert update.split() == ["update", "1.500", "ms"]
    assert share.split()[:3] == ["share", "0.350", "%"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["train", "--size", "none"], "must be like 256 or 256x320"),
        (["train", "--size", "0x5"], "must be like 256 or 256x320"),
        (["train", "--width", "0"], "`width` must be above 0"),
        (["train", "--width", "nan"], "`width` must be a finite number"),
        (["train", "--precision", "half"], "invalid choice"),
        (["train", "--accumulate", "0"], "must be a number from 1 up"),
        (["train", "--variant", "fcn4s"], "invalid choice"),
        (["metrics", "--num-classes", "0"], "must be a number from 1 up"),
        (["metrics", "--remat"], "unrecognized arguments"),
        (["everything"], "invalid choice"),
        ([], "required"),
    ],
)
def test_wrong_options(words, message, run_command):
    code, out, err = run_command("bench", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err
    assert err.count("\n") == 1


def test_tensors_are_counted():
    before = memory.tensors_in_use()
    if before is None:
        pytest.skip("TensorFlow counts none here")
    tensor = tf.random.uniform((1024, 1024))
    # A free piece of memory is not divided if it is less than twice as large.
    assert 4 << 20 <= memory.tensors_in_use().now - before.now < 8 << 20
    del tensor
    assert memory.tensors_in_use().peak - before.now >= 4 << 20
    memory.forget_peak()
    now, peak = memory.tensors_in_use()
    assert peak == now
