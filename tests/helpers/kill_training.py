"""Kills a training again and again, at drawn moments, and compares what it ends with.

    PYTHONPATH=tests python -m helpers.kill_training --kills 20 --seed 1

The same training runs once undisturbed. Scores must be equal and weights equal to the bit.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers.folders import write_folder

ROOT = Path(__file__).parents[2]
SETTINGS = (
    *("--recipe", "small", "--width", "0.03125", "--epochs", "10", "--batch-size", "2"),
    *("--crop-size", "16x24", "--scale-min", "0.8", "--dropout", "0.3", "--learning-rate", "0.01"),
    *("--validate-every", "1", "--backup-steps", "2", "--deterministic"),
    *("--ema", "0.9", "--class-crops", "0.5", "--patience", "9"),
    *("--freeze", "trunk", "--freeze-epochs", "5"),
)


def start(run, settings, program=ROOT / "train.py", **options):
    command = [sys.executable, program, "--run-dir", run, *settings]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env=environment, cwd=ROOT, **options)


def undisturbed(run, settings, **options):
    """Trains without a stop; returns how many seconds it took to start and to train."""
    before = time.perf_counter()
    process = start(run, settings, stdout=subprocess.DEVNULL, **options)
    wait_for_progress(run, process)
    started = time.perf_counter()
    if process.wait():
        raise SystemExit(f"the undisturbed training failed with exit code {process.returncode}")
    return started - before, time.perf_counter() - started


def wait_for_progress(run, process):
    """Waits until a process has written a backup."""
    state = run / "backup" / "checkpoint"
    before = state.stat().st_mtime_ns if state.exists() else 0
    while process.poll() is None:
        try:
            if state.stat().st_mtime_ns != before:
                break
        except FileNotFoundError:  # not yet, or just being replaced
            pass
        time.sleep(0.005)


def kill_and_resume(run, settings, kills, rng, seconds, **options):
    """Trains in as many processes as it takes.

    Args:
        run: the run directory.
        settings: arguments of `train.py`.
        kills: how often to kill it.
        rng: draws the moments, a `random.Random`.
        seconds: how long an undisturbed training takes to start and to train.

    Returns:
        What each process had done when it was killed, a line for each.
    """
    starting, training = seconds
    moments = []
    for _ in range(kills):
        process = start(run, settings, stdout=subprocess.PIPE, text=True, **options)
        if rng.random() < 0.25:
            delay = rng.uniform(0, starting)
        else:
            wait_for_progress(run, process)
            # All together no longer than the training, so that each finds it at work.
            delay = rng.uniform(0, training / kills)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        lines = process.communicate()[0].splitlines()
        if process.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"training failed with exit code {process.returncode}")
        how = "killed" if process.returncode else "ended"
        moments.append(f"{how} after: {(lines or ['starting'])[-1]}")
    if start(run, settings, stdout=subprocess.DEVNULL, **options).wait():
        raise SystemExit("the last training failed")
    return moments


def differences(one, other):
    """Lists in what two runs differ, but for how long they took."""
    import keras
    import numpy as np

    differing = []
    for name in ("last.keras", "best.keras"):
        models = [keras.models.load_model(run / name, compile=False) for run in (one, other)]
        for a, b in zip(*(model.weights for model in models), strict=True):
            if not np.array_equal(a.numpy(), b.numpy()):
                differing.append(f"{name}: {a.path}")
    if (one / "metrics.json").read_text() != (other / "metrics.json").read_text():
        differing.append("metrics.json")
    logs = [[*csv.DictReader((run / "log.csv").read_text().splitlines())] for run in (one, other)]
    times = {"images_per_second", "seconds", "step_seconds", "data_wait", "memory_mb"}
    for a, b in zip(*logs, strict=True):
        differing += [
            f"log.csv: {key} of epoch {a['epoch']}" for key in {*a} - times if a[key] != b[key]
        ]
    return differing


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        settings = ("--dataset", write_folder(Path(folder) / "data", train=9, val=3), *SETTINGS)
        quiet = dict(stderr=subprocess.DEVNULL)
        seconds = undisturbed(whole, settings, **quiet)
        print("undisturbed: {:.1f} s to start, {:.1f} s to train".format(*seconds), flush=True)
        moments = kill_and_resume(killed, settings, args.kills, rng, seconds, **quiet)
        for number, moment in enumerate(moments, 1):
            print(f"{number:3} {moment}")
        differing = differences(whole, killed)
    print("\n".join(differing) or f"equal after {len(moments)} kills, weights to the bit")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
