"""A run directory: its files, and whether a run may start, go on, or has finished."""

import csv
import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from fcn_keras.data.dataset import Dataset
from fcn_keras.errors import UserError
from fcn_keras.evaluation.scores import SCORES
from fcn_keras.inference.run_folder import read_config
from fcn_keras.system.files import writing, written_whole
from fcn_keras.system.versions import git_commit, versions
from fcn_keras.training.settings import Settings

LOG_COLUMNS = (
    "epoch",
    "loss",
    "val_loss",
    *SCORES,
    "train_mean_iu",
    "learning_rate",
    "images_per_second",
    "seconds",
    "step_seconds",
    "data_wait",
    "memory_mb",
)


class Run:
    """The directory of a training run.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __truediv__(self, name):
        return self.path / name

    @property
    def finished(self) -> bool:
        return (self / "metrics.json").is_file()

    def check(self, settings: Settings, dataset: Dataset):
        """Checks that the directory is free, or holds a run made with the same settings.

        Raises:
            UserError: if it holds a run made with other settings, or other files.
        """
        old = self._existing()
        if old is not None:
            self._compare(old, _config(settings, dataset))

    def _existing(self):
        """The configuration of the run in the directory; None if there is nothing at all."""
        config = read_config(self.path)
        if config is None and (self.path.is_file() or any(self.path.glob("*"))):
            raise UserError(
                f"{self.path}: exists and is no run. Choose another directory with --run-dir."
            )
        return config

    @contextmanager
    def held(self):
        """Keeps other processes from training in the directory meanwhile.

        Raises:
            UserError: if another process does.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        # The directory itself is locked: no file stays behind, however the process ends.
        lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise UserError(
                f"{self.path}: another process is training there. Wait for it, or choose another "
                "directory with --run-dir."
            ) from error
        try:
            yield
        finally:
            os.close(lock)

    def start(self, settings: Settings, dataset: Dataset):
        """Makes the directory with its `config.json`, unless it is there already."""
        file = self / "config.json"
        if file.is_file():
            return
        config = _config(settings, dataset)
        config |= {"versions": versions(), "git_commit": git_commit()}
        with written_whole(file) as aside:
            aside.write_text(json.dumps(config, indent=1) + "\n")

    def _compare(self, old, new):
        # Settings that there were not yet had the effect that they now have by themselves.
        old = {**old, "settings": {**Settings().as_json(), **old["settings"]}}
        differences = [
            f"{name} was {old[part].get(name)!r} and is now {value!r}"
            for part in ("settings", "dataset")
            for name, value in new[part].items()
            if old[part].get(name) != value
        ]
        if differences:
            raise UserError(
                f"{self.path}: holds a run made with other settings: {'; '.join(differences)}. "
                "Choose another directory with --run-dir, or delete that run with --fresh."
            )

    def check_deletable(self):
        """Checks that there is a run to delete, or nothing.

        Raises:
            UserError: if the directory holds something else.
        """
        self._existing()

    def delete(self):
        """Deletes what is in the directory, which stays, and stays held."""
        # What is left when this is stopped must neither count as finished nor as no run.
        (self / "metrics.json").unlink(missing_ok=True)
        (self / "backup" / "checkpoint").unlink(missing_ok=True)
        for path in sorted(self.path.iterdir(), key=lambda path: path.name == "config.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def rows(self) -> list[dict]:
        """Returns the rows of `log.csv`; empty cells are None."""
        if not (self / "log.csv").is_file():
            return []
        with open(self / "log.csv", newline="") as file:
            return [
                {name: float(cell) if cell else None for name, cell in row.items()}
                for row in csv.DictReader(file)
            ]

    def write_rows(self, rows: list[dict]):
        """Writes `log.csv`."""
        with written_whole(self / "log.csv") as aside, open(aside, "w", newline="") as file:
            writer = csv.DictWriter(file, LOG_COLUMNS)
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)

    def scores(self) -> dict:
        """Returns what `metrics.json` holds."""
        return json.loads((self / "metrics.json").read_text())


def _config(settings, dataset):
    return {
        "settings": settings.as_json(),
        "dataset": {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "colors": [list(color) for color in dataset.colors],
            **({"heads": {k: list(v) for k, v in dataset.heads.items()}} if dataset.heads else {}),
            "images": {name: len(split) for name, split in dataset.splits.items()},
        },
    }
