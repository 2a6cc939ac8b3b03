"""A run and what it was made of, called anything, by any spelling of their paths."""

import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.folders import write_squares
from helpers.names import NAMES

from fcn_keras.data.registry import load_dataset
from fcn_keras.errors import UserError
from fcn_keras.inference.run_folder import dataset_of, read_config
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system.spelling import file_name
from fcn_keras.training.backup import Backup, Position
from fcn_keras.training.run import Run, default_path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a data set in `data`, and a link to it."""
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path / "data", train=1, val=1)
    (tmp_path / "link").symlink_to("data")
    return tmp_path


def start(**settings):
    settings = resolve("small", **{"dataset": "data"} | settings)
    Run("run").start(settings, load_dataset(settings.dataset))
    return Run("run")


def check(run, **settings):
    settings = resolve("small", **{"dataset": "data"} | settings)
    run.check(settings, load_dataset(settings.dataset))


def before(run):
    """Makes the run one of a version that did not keep where paths lead."""
    config = read_config(run.path)
    del config["paths"]
    (run.path / "config.json").write_text(json.dumps(config))


def job(run):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD()
    optimizer.build(network.trainable_variables)
    norm = keras.metrics.Mean()
    task = SimpleNamespace(network=network, optimizer=optimizer, averages=None)
    task.norm_metric, task.metrics = norm, [keras.metrics.Sum(), norm]
    return SimpleNamespace(run=run, task=task, chief=True, strategy=tf.distribute.get_strategy())


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_backups_are_found_again(tmp_path, name):
    run = Run(tmp_path / name)
    run.path.mkdir()
    backup = Backup(job(run))
    weights = [np.full((2, 1), 0.5, "float32"), np.full((1,), 7, "float32")]
    backup.job.task.network.set_weights(weights)
    for step in range(4):
        backup.save(Position(2, step, 1.5, 0.5), backup.measured())
    files = sorted(path.name for path in (run.path / "backup").iterdir())
    assert [file for file in files if file.endswith(".index")] == ["ckpt-3.index", "ckpt-4.index"]
    run.path.rename(tmp_path / "moved [2]")
    again = Backup(job(Run(tmp_path / "moved [2]")))
    assert again.restore() == Position(2, 3, 1.5, 0.5)
    for weight, right in zip(again.job.task.network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, right)


def test_a_backup_that_cannot_be_read_is_kept(tmp_path):
    run = Run(tmp_path / "run [1]")
    run.path.mkdir()
    Backup(job(run)).save(Position(1), [np.float32(0)] * 3)
    [data] = (run.path / "backup").glob("*.data*")
    damaged = data.read_bytes()[:-8]
    data.write_bytes(damaged)
    with pytest.raises(UserError, match=r"run \[1\]/backup/ckpt-1: .* --fresh would delete the"):
        Backup(job(run)).restore()
    assert data.read_bytes() == damaged


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("same", ["data/", "./data", "link", "HERE/data", "data/../data"])
def test_the_same_data_set_by_another_path(here, same, older):
    run = start()
    if older:
        before(run)
    check(run, dataset=same.replace("HERE", str(here)))


def test_another_data_set_is_refused(here, monkeypatch):
    shutil.copytree("data", "other/data")
    run = start()
    with pytest.raises(UserError, match="dataset was 'data' and is now 'other/data'"):
        check(run, dataset="other/data")
    # By what was given alone it would be the same.
    monkeypatch.chdir("other")
    with pytest.raises(UserError, match="dataset was 'data' and is now './data'"):
        check(Run(here / "run"), dataset="./data")


def test_from_another_folder(here, monkeypatch):
    run = Run(start().path.absolute())
    (here / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    check(run, dataset="../data")
    assert dataset_of(run.config()) == str(here / "data")


def test_a_run_that_has_moved_with_its_data(here, monkeypatch):
    start()
    (here / "project").mkdir()
    for name in ("run", "data"):
        (here / name).rename(here / "project" / name)
    monkeypatch.chdir("project")
    assert dataset_of(Run("run").config()) == "data"
    check(Run("run"))
    (here / "project" / "data").rename(here / "project" / "gone")
    with pytest.raises(UserError, match=f"^{here}/data: .* not there any more. Say with --dataset"):
        dataset_of(Run("run").config())


def test_a_folder_that_is_called_as_a_registered_data_set(here):
    (here / "data").rename(here / "shapes")
    run = start(dataset="./shapes")
    assert dataset_of(run.config()) == str(here / "shapes")
    with pytest.raises(UserError, match="dataset was './shapes' and is now 'shapes'"):
        run.check(resolve("small", dataset="shapes"), load_dataset("./shapes"))
    assert dataset_of({"settings": {"dataset": "shapes"}}) == "shapes"
    assert dataset_of({"settings": {"dataset": "tfds:oxford_iiit_pet"}}) == "tfds:oxford_iiit_pet"
    assert dataset_of({}) is None


@pytest.mark.parametrize("setting", ["weights", "init_from"])
def test_weights_and_runs_to_start_from(here, setting):
    for name in ("a,b.keras", "c.keras"):
        (here / name).touch()
    run = start(**{setting: "a,b.keras"})
    check(run, **{setting: "./a,b.keras"})
    check(run, **{setting: str(here / "a,b.keras")})
    for other in ("c.keras", "none", "a"):
        with pytest.raises(UserError, match=f"{setting} was 'a,b.keras' and is now '{other}'"):
            check(run, **{setting: other})


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_data_sets_called_anything(here, name):
    (here / "data").rename(here / name)
    run = start(dataset=name)
    check(run, dataset=f"./{name}/")
    assert (here / "run" / "config.json").read_bytes().isascii()
    assert dataset_of(run.config()) == str(here / name)


def test_a_run_directory_has_room_for_its_name():
    name = default_path("\U0001f600" * 300 + "/\0", "fcn8s").name
    assert name.endswith("-fcn8s") and len(name.encode()) < 255
    assert str(default_path("nyudv2/hha", "fcn8s")) == "runs/nyudv2-hha-fcn8s"
    assert file_name('set/"a|b":1.0.0\n', windows=True) == "set--a-b--1.0.0-"
    assert file_name("set/a:1.0.0", windows=False) == "set-a:1.0.0"
