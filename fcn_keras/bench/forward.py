"""How long a network takes for an image on this machine, beside other programs that run it.

Each program has a process of its own (`fcn_keras.bench.peers.forward`). All that fit into memory
are kept alive, and in every round each runs once, in turns: what slows the machine down meanwhile
slows all of them. Ratios are medians of those within a round.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fcn_keras.bench.child import ChildFailed, answering_child
from fcn_keras.bench.peers.network import Forward
from fcn_keras.bench.peers.programs import CEILINGS, PEERS
from fcn_keras.bench.results import cell, markdown
from fcn_keras.errors import UserError
from fcn_keras.models.backbones import VGG16
from fcn_keras.system.files import written_whole
from fcn_keras.system.memory import free_memory
from fcn_keras.system.progress import progress_bar

CHILD = ("-m", "fcn_keras.bench.peers.forward")

REST = 0.3  # seconds for the threads of one program to fall asleep before the next one starts

COPIES = 12  # a program that loads may take that many times the weights' size for a while


@dataclass
class MeasuredPeer:
    """A peer, and what its process measured.

    Attributes:
        name: its name in `fcn_keras.bench.peers.programs.PEERS`.
        seconds, cpu_seconds: of each run, by its round: by the clock and of all cores.
        figures: seconds that loading took (`load_seconds`) and the first run after it
            (`first_seconds`), and memory after the last run (`resident_bytes`) and at the most
            (`peak_bytes`).
        labels: share of the pixels that have the label that our network in float32 gives them.
        error: why there is nothing, in one line.
    """

    name: str
    seconds: dict[int, float] = field(default_factory=dict)
    cpu_seconds: dict[int, float] = field(default_factory=dict)
    figures: dict = field(default_factory=dict)
    labels: float | None = None
    error: str = ""


def bench_forward(
    forward: Forward,
    names: Sequence[str],
    rounds: int = 7,
    folder: str | Path | None = None,
) -> list[MeasuredPeer]:
    """Measures the serving function: bytes of an image in, class ids out.

    Args:
        forward: the network and the image. Its weights are random, and the same for all.
        names: which peers to measure beside ours.
        rounds: in how many rounds each runs, after two runs that do not count: once, or as often
            as there is time for in 0.3 seconds.
        folder: where to keep the files that the programs load, which takes some 4 GB at full
            width, and to find those of an earlier call; a temporary folder if not given.

    Returns:
        What each peer's process measured. One that is not installed, or fails, says why.

    Raises:
        UserError: if a name is unknown, the folder holds files of another network, or our own
            network cannot be measured.
    """
    for name in names:
        if name not in PEERS:
            raise UserError(f"--peers: must be some of {', '.join(PEERS)}. Received: {name!r}.")
        if forward.backbone != VGG16 and not PEERS[name].anywhere:
            raise UserError(
                f"--peers: {name} runs the paper's network alone, on {VGG16}. "
                f"Received: --backbone {forward.backbone}."
            )
    # What the others are compared with runs in every round.
    always = ["ours", *(["ours_bfloat16"] if "ours_bfloat16" in names else [])]
    always += [name for name in CEILINGS if "bfloat16" not in name or "ours_bfloat16" in names]
    peers = {name: MeasuredPeer(name) for name in (*always, *names)}
    waiting = [peer for peer in peers.values() if peer.name not in always]
    reserve = COPIES * forward.cost(True).parameter_bytes()
    with ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fcn_keras_bench_"))
        bar = stack.enter_context(progress_bar("bench forward", len(peers) * (rounds + 1), "run"))
        programs = _Programs(forward, Path(folder), bar)
        programs.write("network.keras")
        base = [pair for name in always for pair in programs.start(peers[name], stack)]
        if peers["ours"].error:
            raise UserError(f"bench forward: ours cannot be measured: {peers['ours'].error}")
        number = 0
        while waiting or not number:
            with ExitStack() as group_stack:
                group: list[tuple] = []
                while waiting and (not group or free_memory() > reserve):
                    group += programs.start(waiting.pop(0), group_stack)
                for _ in range(rounds):
                    number += 1
                    for peer, ask in [*base, *group]:
                        _run(peer, ask, number)
                    bar.update(len(group) or len(base))
        programs.compare_labels(peers)
    return [*peers.values()]


class _Programs:
    """The files of a network in one folder, and processes that load them."""

    def __init__(self, forward, folder, bar):
        self.folder, self.bar = folder, bar
        self.asked = {"forward": asdict(forward), "folder": str(folder.resolve())}
        # With lists for tuples, as JSON has them.
        network = json.loads(json.dumps(asdict(forward)))
        del network["matrix"]  # no file has it
        claim = folder / "asked.json"
        if not claim.exists():
            with written_whole(claim) as aside:
                aside.write_text(json.dumps(network), "utf-8")
        elif json.loads(claim.read_text("utf-8")) != network:
            raise UserError(
                f"--folder: holds the files of another network: {claim.read_text('utf-8')}"
            )

    def write(self, file):
        if not (self.folder / file).exists():
            self.bar.set_postfix_str(f"writing {file}")
            with answering_child(CHILD) as ask:
                ask(self.asked | {"write": file})

    def start(self, measured, stack):
        """Starts a peer, and waits until it is warm: a list with it and its way to ask, or none."""
        peer = PEERS[measured.name]
        self.bar.set_postfix_str(f"loading {measured.name}")
        self.bar.update()
        try:
            if peer.module and find_spec(peer.module) is None:
                raise ChildFailed(f"{peer.module} is not installed")
            self.write(peer.file)
            ask = stack.enter_context(answering_child(CHILD, peer.onednn))
            measured.figures = ask(self.asked | {"peer": measured.name})
        except ChildFailed as error:
            measured.error = str(error)
            return []
        return [(measured, ask)]

    def compare_labels(self, peers):
        expected = np.load(self.folder / "ours.npy")
        for name, measured in peers.items():
            if not measured.error and PEERS[name].elided is not None:
                labels = np.load(self.folder / f"{name}.npy").reshape(expected.shape)
                measured.labels = float(np.mean(labels == expected))


def _run(measured, ask, number):
    """Lets a peer run once, unless it has failed before."""
    if measured.error:
        return
    time.sleep(REST)
    try:
        figures = ask("run")
    except ChildFailed as error:
        measured.error = str(error)
        return
    measured.seconds[number] = figures.pop("seconds")
    measured.cpu_seconds[number] = figures.pop("cpu_seconds")
    measured.figures |= figures


def results(forward: Forward, peers: Sequence[MeasuredPeer]) -> dict:
    """Returns what was measured, with medians, ratios and rates.

    `share` is of the fastest matrix product of a round, in the peer's precision. `ratio` is our
    time over the peer's: below 1 where ours is faster. It is that of our export in
    the peer's precision, if that was measured.
    """
    by_name = {measured.name: measured for measured in peers}
    flops = {elided: forward.cost(elided).forward_flops for elided in (True, False)}
    work = 2 * forward.matrix**3
    rows = []
    for measured in peers:
        peer = PEERS[measured.name]
        row: dict = {"name": measured.name, "title": peer.title, "precision": peer.precision}
        rows.append(row)
        if measured.error or not measured.seconds:
            row["error"] = measured.error or "did not run"
            continue
        seconds = statistics.median(measured.seconds.values())
        row |= {
            "seconds": seconds,
            "cpu_seconds": statistics.median(measured.cpu_seconds.values()),
            **measured.figures,
            "measured": {"rounds": [*measured.seconds], "seconds": [*measured.seconds.values()]},
        }
        if peer.elided is not None:
            ours = by_name["ours_bfloat16" if peer.precision == "bfloat16" else "ours"]
            products = _ratio(_fastest_products(peers, peer.precision), measured.seconds)
            row |= {
                "ratio": _ratio(ours.seconds, measured.seconds),
                "flops_per_second": flops[peer.elided] / seconds,
                "share": products and products * flops[peer.elided] / work,
                "labels": measured.labels,
            }
        elif measured.name == "copy":
            # Read and written.
            row["bytes_per_second"] = 2 * 2 * 4 * forward.matrix**2 / seconds
        else:
            row["flops_per_second"] = work / seconds
    return {
        "forward": asdict(forward),
        "weights_bytes": forward.cost(True).parameter_bytes(),
        "flops": {"elided": flops[True], "plain": flops[False]},
        "rows": rows,
    }


def _fastest_products(peers, precision):
    """The seconds of the fastest product of matrices in a precision, by round."""
    fastest = {}
    for measured in peers:
        name = measured.name
        if name in CEILINGS and name != "copy" and PEERS[name].precision == precision:
            for number, seconds in measured.seconds.items():
                fastest[number] = min(seconds, fastest.get(number, seconds))
    return fastest


def _ratio(others, seconds):
    """The median of others' seconds over a peer's in the same rounds; None if there are none."""
    ratios = [others[number] / seconds[number] for number in seconds if number in others]
    return statistics.median(ratios) if ratios else None


def table(results: dict) -> str:
    """Returns `results` as a table in Markdown."""
    titles = ("", "s", "ours / it", "CPU s", "load s", "MiB", "of the weights", "GFLOP/s")
    lines = []
    for row in results["rows"]:
        if "error" in row:
            lines.append([row["title"], f"not measured: {row['error']}"])
            continue
        cells = [row["title"], f"{row['seconds']:.3f}"]
        if "labels" in row:
            resident = row["resident_bytes"]
            cells += [
                cell(row["ratio"], ".2f"),
                f"{row['cpu_seconds']:.2f}",
                f"{row['load_seconds']:.1f}",
                f"{resident / 2**20:.0f}",
                f"{resident / results['weights_bytes']:.1f}",
                f"{row['flops_per_second'] / 1e9:.0f}",
                cell(row["share"], ".0%"),
                f"{row['labels']:.3%}",
            ]
        elif "bytes_per_second" in row:
            cells[1] += f" ({row['bytes_per_second'] / 1e9:.1f} GB/s)"
        else:
            cells += [""] * 5 + [f"{row['flops_per_second'] / 1e9:.0f}"]
        lines.append(cells)
    return markdown((*titles, "of the ceiling", "same labels"), lines)


def draw(results: dict, path: str | Path):
    """Draws the seconds of each program, and how few the machine's ceiling allows ours."""
    from matplotlib.figure import Figure

    from fcn_keras.figures.style import save_figure

    rows = [row for row in results["rows"] if "labels" in row][::-1]
    figure = Figure(figsize=(8, 0.8 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    colors = ["tab:orange" if row["name"].startswith("ours") else "tab:blue" for row in rows]
    bars = axes.barh([row["title"] for row in rows], [row["seconds"] for row in rows], color=colors)
    labels = [f"{row['seconds']:.2f} s" for row in rows]
    axes.bar_label(bars, labels, padding=4, bbox={"color": "white", "pad": 1})
    ours = next(row for row in rows if row["name"] == "ours")
    if ours["share"]:
        axes.axvline(ours["seconds"] * ours["share"], color="grey", linestyle="--", zorder=0)
    forward = results["forward"]
    size = "x".join(map(str, forward["size"]))
    axes.set_title(f"{forward['variant']}, width {forward['width']:g}, one image of {size}")
    axes.set_xlabel("seconds (dashed: ours at the speed of a matrix product)")
    axes.margins(x=0.18)
    save_figure(figure, path)
