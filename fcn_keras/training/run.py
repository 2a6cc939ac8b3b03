"""A run directory: its files, and whether a run may start, go on, or has finished."""

import csv
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from fcn_keras.data.dataset import Dataset
from fcn_keras.data.statistics import ChannelStatistics
from fcn_keras.errors import UserError
from fcn_keras.evaluation.scores import SCORES
from fcn_keras.inference.run_folder import leads_to_same, places_of, read_config
from fcn_keras.system.files import writing, written_whole
from fcn_keras.system.locks import locked
from fcn_keras.system.spelling import file_name
from fcn_keras.system.versions import git_commit, versions
from fcn_keras.training.setting_checks import idle
from fcn_keras.training.settings import Settings

LOG_COLUMNS = (
    "epoch",
    "loss",
    "val_loss",
    *SCORES,
    "train_mean_iu",
    "gradient_norm",
    "learning_rate",
    "images_per_second",
    "seconds",
    "step_seconds",
    "data_wait",
    "memory_mb",
)


def default_path(dataset: str, variant: str) -> Path:
    """Returns where a network is trained on a data set if nothing else is said."""
    name = file_name(dataset)
    while len(os.fsencode(name)) > 200:
        name = name[:-1]
    return Path("runs") / f"{name}-{variant}"


class Run:
    """The directory of a training run.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def check(self, settings: Settings, dataset: Dataset) -> None:
        """Checks that the directory is free, or holds a run made with the same settings.

        Raises:
            UserError: if it holds a run made with other settings, or other files.
        """
        old, new = self.config(), _config(settings, dataset)
        if old is None:
            return
        old = {**old, "settings": Settings.completed(old["settings"])}
        unused = idle(settings)  # given once, and refused since
        names = [("settings", name) for name in new["settings"] if name not in unused]
        names += [("dataset", name) for name in {**new["dataset"], **old["dataset"]}]
        differences = [
            f"{name} was {old[part].get(name)!r} and is now {new[part].get(name)!r}"
            for part, name in names
            if not _is_same(old, new, part, name)
        ]
        if differences:
            raise UserError(
                f"{self.path}: holds a run made with other settings: {'; '.join(differences)}. "
                "Choose another directory with --run-dir, or delete that run with --fresh."
            )

    def config(self) -> dict | None:
        """Returns what the run's `config.json` says; None if there is nothing in the directory.

        Raises:
            UserError: if the directory holds something else than a run.
        """
        config = read_config(self.path)
        if config is None and (self.path.is_file() or any(self.path.glob("*"))):
            raise UserError(
                f"{self.path}: exists and is no run. Choose another directory with --run-dir."
            )
        return config

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from training in the directory meanwhile.

        Raises:
            UserError: if another process does.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.path, wait=False))
            except BlockingIOError as error:
                raise UserError(
                    f"{self.path}: another process is training there. Wait for it, or choose "
                    "another directory with --run-dir."
                ) from error
            yield

    def start(
        self, settings: Settings, dataset: Dataset, statistics: ChannelStatistics | None = None
    ) -> None:
        """Makes the directory with its `config.json`, unless it is there already."""
        file = self.path / "config.json"
        if file.is_file():
            return
        origin = {
            "paths": places_of(settings.config()),
            "versions": versions(),
            "git_commit": git_commit(),
            **({"statistics": statistics._asdict()} if statistics else {}),
        }
        with written_whole(file) as aside:
            text = json.dumps(_config(settings, dataset) | origin, indent=1)
            aside.write_text(text + "\n", encoding="utf-8")

    def statistics(self) -> ChannelStatistics | None:
        """Returns what the training images were when the run began; None for photographs.

        A run that goes on keeps to it.
        """
        kept = (self.config() or {}).get("statistics")
        if not kept:
            return None
        return ChannelStatistics(kept["dtype"], tuple(kept["mean"]), tuple(kept["std"]))

    def delete(self) -> None:
        """Deletes what is in the directory, which stays, and stays held."""
        # What is left when this is stopped must neither count as finished nor as no run.
        (self.path / "metrics.json").unlink(missing_ok=True)
        (self.path / "backup" / "checkpoint").unlink(missing_ok=True)
        for path in sorted(self.path.iterdir(), key=lambda path: path.name == "config.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def rows(self) -> list[dict]:
        """Returns the rows of `log.csv`; empty cells are None."""
        file = self.path / "log.csv"
        lines = file.read_text("utf-8").splitlines() if file.is_file() else []
        return [
            {name: float(cell) if cell else None for name, cell in row.items()}
            for row in csv.DictReader(lines)
        ]

    def write_rows(self, rows: list[dict]) -> None:
        """Writes `log.csv`."""
        with (
            written_whole(self.path / "log.csv") as aside,
            open(aside, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, LOG_COLUMNS)
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)

    def scores(self) -> dict | None:
        """Returns what `metrics.json` holds; None if the run has not finished."""
        file = self.path / "metrics.json"
        return json.loads(file.read_text("utf-8")) if file.is_file() else None


def _is_same(old, new, part, name):
    """Whether a run that goes on has what it had, by whatever path it is given."""
    if old[part].get(name) == new[part].get(name):
        return True
    if part == "settings":
        return leads_to_same(old, new["settings"], name)
    # A folder is called otherwise by a link that leads to it.
    return name == "name" and leads_to_same(old, new["settings"], "dataset")


def _config(settings, dataset):
    return {
        "settings": settings.config(),
        "dataset": {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "colors": [list(color) for color in dataset.colors],
            **({"heads": {k: list(v) for k, v in dataset.heads.items()}} if dataset.heads else {}),
            **({"stored": asdict(dataset.stored)} if dataset.stored else {}),
            "images": {name: len(split) for name, split in dataset.splits.items()},
        },
    }
