"""What a folder of photographs takes, labelled or scored, beside the network's bare forward pass.

Each way has its turn in every round, in processes that live on (`fcn_keras.bench.folder_work`):
what slows the machine down meanwhile slows all of them. Ratios are medians of those within a round.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fcn_keras.bench import forward as peers
from fcn_keras.bench.child import ChildFailed, answering_child
from fcn_keras.bench.folder_work import Work
from fcn_keras.bench.peers.network import Forward
from fcn_keras.bench.photographs import write_photographs
from fcn_keras.bench.results import cell, markdown
from fcn_keras.errors import UserError
from fcn_keras.system.progress import progress_bar

CHILD = ("-m", "fcn_keras.bench.folder_work")

TITLES = {
    "forward": "bare forward pass, decoded photographs in memory",
    "masks": "`predict --output-formats mask`",
    "overlays": "`predict --output-formats overlay`",
    "all": "`predict`: side by side, too",
    "evaluate": "`evaluate`",
}


@dataclass(frozen=True)
class Photographs:
    """A network, and the photographs that it labels.

    Attributes:
        network: of random weights, for photographs of its size; or a run directory, a `.keras`
            file or an export.
        size: height and width of photographs that are made.
        images: a folder of photographs to take instead.
        count: how many are made, or taken at most.
        batch_size: images in a batch; if not given what the commands take.
    """

    network: Forward | str
    size: tuple[int, int] = (375, 500)
    images: str | None = None
    count: int = 200
    batch_size: int | None = None


@dataclass
class MeasuredWay:
    """A way to label photographs.

    Attributes:
        name: one of `TITLES`.
        figures: by the number of the round what `fcn_keras.bench.folder_work` answers: `images`,
            and the `seconds` and `cpu_seconds` that they took.
        error: why there is nothing, in one line.
    """

    name: str
    figures: dict[int, dict[str, float]] = field(default_factory=dict)
    error: str = ""


def bench_folder(photographs: Photographs, rounds: int = 3) -> list[MeasuredWay]:
    """Measures the bare forward pass, `predict` and `evaluate`.

    What counts is the steady rate: of all batches but the first one, from when that has been
    labelled until the command's last file is written, or its last image scored. So starting,
    loading and the first run of a network do not count.

    Args:
        photographs: the network and the photographs.
        rounds: how often each way labels all of them, in turns.

    Returns:
        What was measured. What fails says why.

    Raises:
        UserError: if there are no photographs, one batch holds all of them, or the network cannot
            be opened.
    """
    measured = {name: MeasuredWay(name) for name in TITLES}
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar("bench folder", rounds * len(TITLES) + 1, "run"))
        labelling, keras_home = stack.enter_context(written(photographs))
        bar.update()
        predicting = stack.enter_context(working(labelling, keras_home))
        asks = dict.fromkeys(measured, predicting)
        try:
            scoring = Work(**asdict(labelling) | {"photographs": ()})
            asks["evaluate"] = stack.enter_context(working(scoring, keras_home))
        except UserError as error:
            measured["evaluate"].error = str(error)
        for number in range(1, rounds + 1):
            for name, ask in asks.items():
                measure(measured[name], number, ask)
                bar.update()
    return [*measured.values()]


@contextmanager
def written(photographs: Photographs) -> Iterator[tuple[Work, str | None]]:
    """Writes the photographs, and the network, to a temporary folder.

    Yields:
        What a process is to label, and evaluate on, with all there is to both; and the folder
        that graphs of networks are kept in, None for the user's own.

    Raises:
        UserError: see `bench_folder`.
    """
    with tempfile.TemporaryDirectory(prefix="fcn_keras_bench_") as temporary:
        folder = Path(temporary)
        network, keras_home = photographs.network, None
        if isinstance(network, Forward):
            keras_home = str(folder / "keras")
            with _failures(), answering_child(peers.CHILD) as ask:
                asked = {"forward": asdict(network), "folder": temporary}
                ask(asked | {"write": "coarse.keras"})
            network = str(folder / "coarse.keras")
        # Opened once before, so that its graph is kept: the first `predict` does without.
        with _opened(Work(network), keras_home) as (_, num_classes):
            pass
        paths = write_photographs(
            folder / "photographs",
            num_classes,
            photographs.count,
            photographs.size,
            photographs.images,
        )
        work = Work(
            network,
            tuple(map(str, paths)),
            str(folder / "labelled"),
            photographs.batch_size,
            str(folder / "photographs"),
        )
        yield work, keras_home


@contextmanager
def working(work: Work, keras_home: str | None) -> Iterator[Callable[[object], dict]]:
    """Starts a process that labels photographs; see `fcn_keras.bench.child.answering_child`.

    Args:
        work: what it is to label; evaluates if there are no photographs.
        keras_home: see `written`.

    Raises:
        UserError: if it fails.
    """
    if work.photographs:
        work = Work(**asdict(work) | {"dataset": ""})
    with _opened(work, keras_home) as (ask, _):
        yield ask


@contextmanager
def _opened(work, keras_home):
    variables = {"KERAS_HOME": keras_home} if keras_home else {}
    with answering_child(CHILD, **variables) as ask:
        with _failures():
            num_classes = ask(asdict(work))["num_classes"]
        yield ask, num_classes


@contextmanager
def _failures():
    try:
        yield
    except ChildFailed as error:
        raise UserError(str(error).rpartition("UserError: ")[2]) from error


def measure(measured: MeasuredWay, number: int, ask: Callable[[object], dict]) -> None:
    """Lets a process label the photographs in a way, unless that has failed before.

    Args:
        measured: the way.
        number: of the round.
        ask: see `working`.
    """
    if measured.error:
        return
    time.sleep(peers.REST)
    try:
        measured.figures[number] = ask(measured.name)
    except ChildFailed as error:
        measured.error = str(error)


def rates(figures: Mapping[int, Mapping[str, float]]) -> dict[int, float]:
    """Returns how many images there were in a second, by the round."""
    return {number: each["images"] / each["seconds"] for number, each in figures.items()}


def ratio(rate: Mapping[int, float], bare: Mapping[int, float]) -> float | None:
    """Returns the median of the ratios of two rates in the same rounds; None if there are none."""
    ratios = [rate[number] / bare[number] for number in rate if number in bare]
    return statistics.median(ratios) if ratios else None


def results(photographs: Photographs, measured: Sequence[MeasuredWay]) -> dict:
    """Returns what was measured, with medians and ratios.

    `ratio` is of the images in a second, to those of the bare forward pass in the same round: 1 is
    as fast.
    """
    bare = next(rates(way.figures) for way in measured if way.name == "forward")
    rows = []
    for way in measured:
        row: dict = {"name": way.name, "title": TITLES[way.name]}
        rows.append(row)
        if way.error or not way.figures:
            row["error"] = way.error or "did not run"
            continue
        rate = rates(way.figures)
        row |= {
            "images_per_second": statistics.median(rate.values()),
            "ratio": ratio(rate, bare),
            "cpu_seconds_per_image": statistics.median(
                each["cpu_seconds"] / each["images"] for each in way.figures.values()
            ),
            "measured": way.figures,
        }
    return {"photographs": asdict(photographs), "rows": rows}


def table(results: dict) -> str:
    """Returns `results` as a table in Markdown."""
    lines = []
    for row in results["rows"]:
        if "error" in row:
            lines.append([row["title"], f"not measured: {row['error']}"])
            continue
        cells = [f"{row['images_per_second']:.2f}", cell(row["ratio"], ".2f")]
        lines.append([row["title"], *cells, f"{1000 * row['cpu_seconds_per_image']:.1f}"])
    return markdown(("", "images/s", "of the bare pass", "CPU ms/image"), lines)
