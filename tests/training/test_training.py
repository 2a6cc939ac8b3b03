"""Training end to end on a tiny folder of pictures: files, resuming, replicas."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.folders import write_squares

from fcn_keras import build, load_dataset
from fcn_keras.errors import UserError
from fcn_keras.evaluation.evaluate import evaluate
from fcn_keras.evaluation.scores import named_scores
from fcn_keras.inference.network import load_network
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.training import train as training
from fcn_keras.training.run import Run
from fcn_keras.training.task import SegmentationTask
from fcn_keras.training.train import announce, train

ROOT = Path(__file__).parents[2]

# Five images in batches of two: the last batch of an epoch is not full.
TINY = dict(
    width=1 / 32,
    epochs=3,
    batch_size=2,
    crop_size=(32, 32),
    scale_min=0.8,
    scale_max=1.25,
    dropout=0.3,
    learning_rate=0.01,
    validate_every=1,
    deterministic=True,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """An uninterrupted run in a process of its own."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert start(folder, run).wait() == 0
    return run


def start(folder, run, **settings):
    command = [sys.executable, str(ROOT / "train.py"), "--recipe", "small", "--dataset", folder]
    for name, value in {**TINY, "run_dir": run, **settings}.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            command += [flag]
        else:
            command += [flag, "x".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})


def test_a_run_leaves_what_it_promises(finished):
    files = {path.relative_to(finished).as_posix() for path in finished.rglob("*")}
    assert {
        "config.json",
        "log.csv",
        "best.keras",
        "last.keras",
        "metrics.json",
        "report",
        "report/curves.png",
        "report/per_class_iu.png",
        "report/confusion.png",
        "report/samples.png",
        "report/best.png",
        "report/worst.png",
    } == {name for name in files if not name.startswith("events.")}
    assert any(name.startswith("events.") for name in files)
    config = json.loads((finished / "config.json").read_text())
    assert config["settings"]["width"] == 1 / 32 and config["settings"]["seed"] == 0
    assert config["dataset"]["classes"] == ["ground", "square"]
    assert config["versions"]["keras"] == keras.__version__
    rows = (finished / "log.csv").read_text().splitlines()
    assert len(rows) == 1 + TINY["epochs"]
    assert rows[0].startswith("epoch,loss,val_loss,pixel_accuracy,mean_accuracy,mean_iu,")


def test_metrics_are_those_of_the_best_network(finished, folder):
    metrics = json.loads((finished / "metrics.json").read_text())
    network = load_network(finished)
    confusion = evaluate(network.model, load_dataset(folder).splits["val"], progress=False)
    assert metrics == named_scores(confusion, ["ground", "square"])
    rows = (finished / "log.csv").read_text().splitlines()
    scores = [float(row.split(",")[5]) for row in rows[1:]]
    assert metrics["mean_iu"] == pytest.approx(max(scores), abs=1e-9)


def test_evaluate_batches_as_the_run_did(finished, run_command, monkeypatch):
    """Other batches round sums otherwise, and a pixel may change sides."""
    sizes = []

    def counted(model, split, batch_size, **_):
        sizes.append(batch_size)
        return np.eye(model.output_shape[-1], dtype=int)

    monkeypatch.setattr("fcn_keras.evaluation.evaluate.evaluate", counted)
    for options in ([], ["--batch-size", "3"]):
        assert run_command("evaluate", finished, "--json", *options)[0] == 0
    assert sizes == [TINY["batch_size"], 3]


def test_a_finished_run_is_left_alone(finished, folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    train(resolve("small", dataset=str(folder), **TINY), finished)
    assert "has finished already" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*")}


def test_a_run_that_was_killed_at_its_very_end_is_tidied(finished, folder, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "backup").mkdir()
    (run / "backup" / "checkpoint").write_text("names what nobody goes on from")
    train(resolve("small", dataset=str(folder), **TINY), run)
    assert not (run / "backup").exists() and (run / "best.keras").exists()


def test_a_run_that_another_process_ends_meanwhile_is_left_alone(
    finished, folder, tmp_path, monkeypatch, capsys
):
    held, run = Run.held, tmp_path / "run"

    @contextmanager
    def held_late(self):
        shutil.copytree(finished, self.path)
        with held(self):
            yield

    monkeypatch.setattr(Run, "held", held_late)
    train(resolve("small", dataset=str(folder), **TINY), run)
    assert "has finished already" in capsys.readouterr().out
    assert (run / "log.csv").read_text() == (finished / "log.csv").read_text()


def test_a_run_from_before_a_setting_was_there(finished, folder, tmp_path, capsys):
    """It had the effect that it now has by default."""
    run = shutil.copytree(finished, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    del config["settings"]["remat"]
    (run / "config.json").write_text(json.dumps(config))
    settings = {**TINY, "dataset": str(folder)}
    train(resolve("small", **settings), run)
    assert "has finished already" in capsys.readouterr().out
    with pytest.raises(UserError, match="remat was False and is now True"):
        train(resolve("small", **settings, remat=True), run)


def test_fresh_that_is_stopped_leaves_a_run(finished, tmp_path, monkeypatch):
    """One that has not finished, and that the next start accepts."""
    path = shutil.copytree(finished, tmp_path / "run")
    (path / "backup").mkdir()
    (path / "backup" / "checkpoint").write_text("names what is about to be deleted")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        Run(path).delete()
    assert (path / "config.json").exists() and Run(path).scores() is None
    assert not (path / "backup" / "checkpoint").exists()


def test_weights_that_are_no_numbers_are_not_kept(folder, tmp_path):
    """The loss of an epoch's only step is a number, what its update makes of the weights is not."""
    options = {**TINY, "batch_size": 5, "learning_rate": 1e39, "schedule": "constant"}
    with pytest.raises(UserError, match="a weight became nan in epoch 1, step 1, on "):
        train(resolve("small", dataset=str(folder), **options), tmp_path / "run")
    assert not (tmp_path / "run" / "best.keras").exists()
    assert not list((tmp_path / "run" / "backup").glob("ckpt-*"))


@pytest.mark.parametrize(
    ("precision", "has_it", "told"),
    [
        ("mixed_bfloat16", False, True),
        ("mixed_float16", False, True),
        ("mixed_bfloat16", True, False),
        ("mixed_bfloat16", None, False),
        ("float32", False, False),
    ],
)
def test_half_precision_that_the_processor_lacks(
    tmp_path, monkeypatch, capsys, precision, has_it, told
):
    asked = []
    monkeypatch.setattr(training, "computes_in", lambda half: asked.append(half) or has_it)
    settings = resolve("small", precision=precision)
    announce(Run(tmp_path), settings, tf.distribute.MirroredStrategy(["CPU:0"]))
    line = f"{precision}: this processor has no instructions for {precision[6:]}, and would be"
    assert (line in capsys.readouterr().out) == told
    assert asked == ([] if precision == "float32" else [precision[6:]])


def test_a_backup_of_another_kind(folder, tmp_path):
    run = tmp_path / "run"
    (run / "backup").mkdir(parents=True)
    settings = resolve("small", dataset=str(folder), **TINY)
    Run(run).start(settings, load_dataset(folder))
    tf.train.CheckpointManager(
        tf.train.Checkpoint(epoch=tf.Variable(3)), str(run / "backup"), max_to_keep=2
    ).save()
    with pytest.raises(UserError, match="ckpt-1: cannot be restored.*--fresh"):
        train(settings, run)


def test_other_settings_are_refused(finished, folder):
    settings = resolve("small", dataset=str(folder), **{**TINY, "seed": 1})
    with pytest.raises(UserError, match="seed was 0 and is now 1"):
        train(settings, finished)


def test_fresh_deletes_runs_and_nothing_else(folder, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is no run"):
        train(resolve("small", dataset=str(folder), **TINY), tmp_path, fresh=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_directory_that_another_process_trains_in_is_refused(folder, tmp_path):
    script = (
        "import sys, time; from fcn_keras.training.run import Run\n"
        "with Run(sys.argv[1]).held():\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    run = tmp_path / "run"
    other = subprocess.Popen([sys.executable, "-c", script, run], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process is training there"):
            train(resolve("small", dataset=str(folder), **TINY), run)
        assert not list(run.iterdir())
    finally:
        other.kill()  # nothing is left that would have to be taken back
        other.communicate()
    with Run(run).held():
        pass


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_gradients_are_clipped_to_a_length(clip_norm):
    """A step of plain SGD is as long as the gradient, or as it is cut to."""
    network = build("fcn8s", 3, weights=None, width=1 / 64, geometry="same", dropout=0)
    rng = np.random.RandomState(0)
    for layer in network.layers:
        if layer.name.startswith("score") and layer.weights:
            layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    before = network.get_weights()
    task = SegmentationTask(network, clip_norm=clip_norm)
    task.compile(keras.optimizers.SGD(1.0), jit_compile=False)
    images = rng.randint(0, 256, (2, 32, 32, 3)).astype("uint8")
    task.train_step((images, rng.randint(0, 3, (2, 32, 32, 1)).astype("uint8")))
    steps = [
        np.linalg.norm(new - old) for new, old in zip(network.get_weights(), before, strict=True)
    ]
    assert max(steps) > 0.1 if not clip_norm else max(steps) == pytest.approx(clip_norm, rel=1e-3)


def test_clipping_is_refused_where_the_reference_has_none():
    with pytest.raises(UserError, match="clip_norm"):
        resolve("voc-fcn32s", clip_norm=1.0)


@pytest.mark.parametrize(
    "epochs, steps, expected", [(7, 0, (7, 3)), (7, 2, (1, 2)), (7, 3, (1, 3)), (7, 7, (3, 3))]
)
def test_length_in_epochs_or_steps(epochs, steps, expected):
    settings = resolve("small", epochs=epochs, steps=steps, batch_size=2)
    assert settings.length(5) == expected
