"""What `serve` answers under load, beside the network's bare forward pass."""

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path

from fcn_keras.bench.child import ChildFailed, serving_child
from fcn_keras.bench.folder import MeasuredWay, Photographs, measure, rates, ratio, working, written
from fcn_keras.bench.results import cell, markdown
from fcn_keras.client.client import Client
from fcn_keras.errors import UserError
from fcn_keras.system.progress import progress_bar

CLIENTS = (1, 4, 16)


@dataclass
class Load:
    """What a number of clients measured.

    Attributes:
        clients: how many asked at a time.
        rounds: by the number of the round the seconds from the first request to the last answer,
            and how long each answer took.
    """

    clients: int
    rounds: dict[int, tuple[float, list[float]]] = field(default_factory=dict)

    @property
    def rates(self) -> dict[int, float]:
        """Requests in a second, by the round."""
        return {number: len(waits) / seconds for number, (seconds, waits) in self.rounds.items()}

    @property
    def waits(self) -> list[float]:
        """How long each answer took, of all rounds."""
        return [wait for _, waits in self.rounds.values() for wait in waits]


def bench_serve(
    photographs: Photographs,
    clients: Sequence[int] = CLIENTS,
    seconds: float = 5.0,
    rounds: int = 3,
) -> tuple[MeasuredWay, list[Load]]:
    """Measures the bare forward pass, image by image, and what clients wait for `serve`.

    Each client is a thread of this process, and asks for one photograph at a time by this
    package's own client; the next one as soon as it has the answer.

    Args:
        photographs: the network and the photographs. The server labels one at a time.
        clients: how many ask at a time.
        seconds: for how long they do, in each round.
        rounds: how often, in turns.

    Returns:
        The bare forward pass, and what each number of clients measured.

    Raises:
        UserError: if a server cannot be started, or see `fcn_keras.bench.folder.bench_folder`.
    """
    bare, loads = MeasuredWay("forward"), [Load(number) for number in clients]
    with ExitStack() as stack:
        runs = rounds * (1 + len(loads)) + 1
        bar = stack.enter_context(progress_bar("bench serve", runs, "run"))
        work, keras_home = stack.enter_context(written(replace(photographs, batch_size=1)))
        ask = stack.enter_context(working(work, keras_home))
        try:
            words = ("-m", "fcn_keras", "serve", work.model, "--name", "bench", "--http-port", 0)
            line = stack.enter_context(serving_child(words))
        except ChildFailed as error:
            raise UserError(str(error).removeprefix("error: ")) from error
        address = line.split()[-1]
        files = [Path(path).read_bytes() for path in work.photographs]
        # The first requests meet a graph that has not run yet.
        _ask(Client(address), files[:1], [])
        bar.update()
        for number in range(1, rounds + 1):
            measure(bare, number, ask)
            bar.update()
            for load in loads:
                load.rounds[number] = load_server(address, files, load.clients, seconds)
                bar.update()
    return bare, loads


def load_server(
    address: str, files: Sequence[bytes], clients: int, seconds: float
) -> tuple[float, list[float]]:
    """Has clients ask a server for a while; what was asked for then is waited for.

    Args:
        address: the server's, see `fcn_keras.client.client.Client`.
        files: what they ask for, in turns.
        clients: how many ask at a time.
        seconds: for how long they do.

    Returns:
        The seconds until the last answer, and those that each took.

    Raises:
        UserError, ServerError: see `fcn_keras.client.client.Client`.
    """
    waits: list[float] = []
    faults: list[Exception] = []
    asking = [Client(address) for _ in range(clients)]
    for client in asking:
        _ = client.num_classes  # what each asks for once
    started = time.perf_counter()

    def ask_on(first, client):
        for file in islice(cycle(files), first, None):
            try:
                _ask(client, [file], waits)
            except Exception as error:  # raised below
                faults.append(error)
                return
            if time.perf_counter() - started >= seconds:
                return

    threads = [threading.Thread(target=ask_on, args=each) for each in enumerate(asking)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = time.perf_counter()
    for fault in faults:
        raise fault
    return ended - started, waits


def _ask(client, files, waits):
    started = time.perf_counter()
    [class_ids] = client.label(files)
    if class_ids is None:
        raise UserError("serve: cannot decode a photograph. Give --images of JPEG or PNG.")
    waits.append(time.perf_counter() - started)


def results(photographs: Photographs, bare: MeasuredWay, loads: Sequence[Load]) -> dict:
    """Returns what was measured, with medians and ratios.

    `ratio` is of the requests in a second, to the images in a second of the bare forward pass in
    the same round.
    """
    alone = rates(bare.figures)
    rows = [
        {
            "clients": load.clients,
            "requests_per_second": statistics.median(load.rates.values()),
            "ratio": ratio(load.rates, alone),
            "median_seconds": statistics.median(load.waits),
            "seconds_of_95_percent": percentile(load.waits, 0.95),
            "requests": len(load.waits),
        }
        for load in loads
    ]
    forward = statistics.median(alone.values()) if alone else None
    return {"photographs": asdict(photographs), "forward_per_second": forward, "rows": rows}


def percentile(waits: Sequence[float], share: float) -> float:
    """Returns the shortest wait that a share of them do not exceed."""
    ordered = sorted(waits)
    return next(
        wait for count, wait in enumerate(ordered, 1) if count >= share * len(ordered) - 1e-9
    )


def table(results: dict) -> str:
    """Returns `results` as a table in Markdown."""
    bare = cell(results["forward_per_second"], ".2f")
    lines = [["bare forward pass, decoded photographs in memory", bare, "1.00"]]
    for row in results["rows"]:
        many = "s" * (row["clients"] > 1)
        lines.append(
            [
                f"`serve`, {row['clients']} client{many}",
                f"{row['requests_per_second']:.2f}",
                cell(row["ratio"], ".2f"),
                f"{1000 * row['median_seconds']:.0f}",
                f"{1000 * row['seconds_of_95_percent']:.0f}",
            ]
        )
    return markdown(("", "1/s", "of the bare pass", "ms, median", "ms, 95 %"), lines)
