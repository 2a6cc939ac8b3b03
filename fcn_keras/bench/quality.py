"""Validation scores by the seconds of training: this package beside others on one classifier.

Each training has a process of its own, one after the other. What each leaves of its epochs is
`log.csv`; see `fcn_keras.bench.peers.smp_training` for the others'. The seconds are those of the
steps and of waiting for images, with what the first step takes to compile; without starting,
reading the data set for the first time and validating.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

from fcn_keras.bench.child import ChildFailed, watched_child
from fcn_keras.bench.peers.programs import METHODS, OURS
from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import resolve
from fcn_keras.system.files import writing, written_whole
from fcn_keras.system.progress import progress_bar
from fcn_keras.training.losses.names import CROSS_ENTROPY
from fcn_keras.training.run import Run
from fcn_keras.training.settings import Settings
from fcn_keras.training.train import dataset_of, source_of

RECIPE = "light"


@dataclass(frozen=True)
class Quality:
    """What is compared.

    Attributes:
        dataset, weights: see `fcn_keras.training.settings.Settings`.
        seeds: of the trainings of each method.
        methods: some of `fcn_keras.bench.peers.programs.METHODS`.
        epochs: of each training; None for the recipe's steps.
        target: the mean IU on the validation split that is waited for.
        until_target: whether a training ends when it has that.
        validate_every: epochs from one validation to the next.
        peer_loss: what the others are trained with: cross-entropy, or the recipe's loss.
    """

    dataset: str
    weights: str = "imagenet"
    seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[str, ...] = METHODS
    epochs: int | None = None
    target: float = 0.65
    until_target: bool = False
    validate_every: int = 1
    peer_loss: str = CROSS_ENTROPY

    def __post_init__(self):
        for name in self.methods:
            if name not in METHODS:
                raise UserError(
                    f"--methods: must be some of {', '.join(METHODS)}. Received: {name!r}."
                )
        for name in ("seeds", "methods"):
            if len({*getattr(self, name)}) < len(getattr(self, name)):
                raise UserError(f"--{name}: must be given once each.")
        if not 0 < self.target <= 1:
            raise UserError(f"--target: must be above 0, and at most 1. Received: {self.target}.")
        if {*self.methods} != {OURS} and find_spec("segmentation_models_pytorch") is None:
            raise UserError(
                "bench quality: the others need segmentation_models_pytorch: "
                'pip install "fcn_keras[peers]", or --methods ours.'
            )

    def changes(self, seed: int) -> dict[str, Any]:
        """Returns what the settings of a training have in place of the recipe's."""
        changes = {
            "dataset": self.dataset,
            "weights": self.weights,
            "seed": seed,
            "validate_every": self.validate_every,
        }
        return changes | ({"epochs": self.epochs} if self.epochs else {})

    def loss_of(self, method: str, settings: Settings) -> str:
        """Returns the loss that a method is trained with."""
        own = method == OURS or self.peer_loss != CROSS_ENTROPY
        return settings.loss if own else CROSS_ENTROPY


def bench_quality(asked: Quality, folder: str | Path) -> list[dict]:
    """Trains each method with each seed, and returns how its scores rose.

    Args:
        asked: what to train.
        folder: where each training is written, `METHOD-SEED`, and what there is to say of one that
            is done, `METHOD-SEED.json`: it is not made again.

    Returns:
        For each training `method`, `seed`, `stopped`, whether it was ended when it had the target,
        and `points`: `epoch`, `seconds` of training until then, and `mean_iu`, for each validation;
        of smp `channels_last`, too.

    Raises:
        UserError: if it cannot be trained so, a training fails, or the folder holds one that was
            made otherwise.
    """
    folder = Path(folder)
    settings = resolve(RECIPE, **asked.changes(0))
    dataset = dataset_of(settings, source_of(settings))
    if dataset.heads or dataset.stored:
        raise UserError(f"{asked.dataset}: must be photographs with one label map each.")
    epochs, _ = settings.length(len(dataset.splits["train"]))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    trainings = [
        _Training(asked, method, seed, folder) for seed in asked.seeds for method in asked.methods
    ]
    kept = [training.kept() for training in trainings]  # what does not fit comes to light first
    total = epochs * kept.count(None)
    with progress_bar("bench quality", total, "epoch", smoothing=0) as bar:
        for number, training in enumerate(trainings):
            if kept[number] is None:
                before = bar.n
                kept[number] = training.run(bar)
                bar.total -= epochs - (bar.n - before)  # that have become needless
                bar.refresh()
    return [found for found in kept if found]


class _Training:
    """A training of one method with one seed, and what is kept of it."""

    def __init__(self, asked: Quality, method: str, seed: int, folder: Path):
        self.asked, self.method, self.seed = asked, method, seed
        self.folder = folder / f"{method}-{seed}"
        self.file = folder / f"{method}-{seed}.json"
        self.changes = asked.changes(seed)
        settings = resolve(RECIPE, **self.changes)
        self.loss = asked.loss_of(method, settings)
        self.settings = settings.config() | {"loss": self.loss}

    def kept(self) -> dict | None:
        """Returns what an earlier call has kept, unless it ended before what is asked for now.

        Raises:
            UserError: if that was made with other settings.
        """
        if not self.file.is_file():
            return None
        found = json.loads(self.file.read_text("utf-8"))
        if found["settings"] != self.settings:
            raise UserError(
                f"{self.file}: is of a training with other settings. Choose another --folder."
            )
        reached = seconds_to(found["points"], self.asked.target) is not None
        if found["stopped"] and not (self.asked.until_target and reached):
            return None
        return found

    def run(self, bar) -> dict:
        """Trains, and keeps what came of it."""
        if self.method != OURS:  # which begin anew; ours goes on
            (self.folder / "log.csv").unlink(missing_ok=True)
            self.folder.mkdir(exist_ok=True)
        shown = 0

        def is_enough():
            nonlocal shown
            rows = Run(self.folder).rows()
            points = points_of(rows)
            score = f", mean IU {points[-1]['mean_iu']:.3f}" if points else ""
            bar.set_postfix_str(f"{self.method}, seed {self.seed}{score}", refresh=False)
            bar.update(len(rows) - shown)
            shown = len(rows)
            reached = seconds_to(points, self.asked.target) is not None
            return self.asked.until_target and reached

        output = self.folder.with_suffix(".txt")
        try:
            ended = watched_child(
                self._words(), self._text(), output, is_enough, **self._variables()
            )
        except ChildFailed as error:
            raise UserError(
                f"bench quality: {self.method}, seed {self.seed}: {error} ({output} has all of it)"
            ) from error
        is_enough()  # shows the last epochs
        about = self.folder / "about.json"
        found = {
            "method": self.method,
            "seed": self.seed,
            "settings": self.settings,
            "stopped": not ended,
            "points": points_of(Run(self.folder).rows()),
            **(json.loads(about.read_text("utf-8")) if about.is_file() else {}),
        }
        with written_whole(self.file) as aside:
            aside.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        return found

    def _words(self):
        if self.method != OURS:
            return ["-m", "fcn_keras.bench.peers.smp_training"]
        options = {"recipe": RECIPE, **self.changes, "run_dir": self.folder}
        words = ["-m", "fcn_keras", "train"]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}={value}"]
        return words

    def _variables(self):
        # PyTorch's threads would keep the cores busy while they wait for each other, and keep them
        # from the threads that make the images: a step takes many times as long.
        return {"OMP_WAIT_POLICY": "PASSIVE"} if self.method != OURS else {}

    def _text(self):
        return json.dumps(
            {
                "method": self.method,
                "run_dir": str(self.folder),
                "loss": self.loss,
                "settings": self.changes,
            }
        )


def points_of(rows: Sequence[dict]) -> list[dict]:
    """Returns the validations in the rows of a `log.csv`, with the seconds of all epochs so far."""
    points, seconds = [], 0.0
    for row in rows:
        seconds += row["seconds"]
        if row.get("mean_iu") is not None:
            points.append(
                {"epoch": int(row["epoch"]), "seconds": seconds, "mean_iu": row["mean_iu"]}
            )
    return points


def seconds_to(points: Sequence[dict], target: float) -> float | None:
    """Returns the seconds until the first validation that has the target; None if none has.

    Nothing is interpolated: a validation tells of its own epoch alone.
    """
    return next((point["seconds"] for point in points if point["mean_iu"] >= target), None)


def results(asked: Quality, trainings: Sequence[dict]) -> dict:
    """Returns what came of the trainings, medians over the seeds, and how ours compares.

    `seconds_to_target` is None where a training does not reach the target; a median is where the
    one in the middle does not. `ratio` is our median over that of the better one of the others;
    None unless both are there.
    """
    rows = []
    for training in trainings:
        points = training["points"]
        rows.append(
            training
            | {
                "seconds_to_target": seconds_to(points, asked.target),
                "best_mean_iu": max(point["mean_iu"] for point in points),
                "seconds": points[-1]["seconds"],
                "epochs": points[-1]["epoch"],
            }
        )
    medians = {}
    for method in asked.methods:
        own = [row for row in rows if row["method"] == method]
        to_target = statistics.median(
            inf if row["seconds_to_target"] is None else row["seconds_to_target"] for row in own
        )
        medians[method] = {
            "seconds_to_target": None if to_target == inf else to_target,
            "best_mean_iu": statistics.median(row["best_mean_iu"] for row in own),
        }
    ours = medians.get(OURS, {}).get("seconds_to_target")
    others = [
        found["seconds_to_target"]
        for method, found in medians.items()
        if method != OURS and found["seconds_to_target"] is not None
    ]
    return {
        "asked": asdict(asked),
        "trainings": rows,
        "medians": medians,
        "ratio": ours / min(others) if ours is not None and others else None,
    }
