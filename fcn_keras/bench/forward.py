"""How long a network takes for an image on this machine, beside other programs that run it.

Each program has a process of its own (`fcn_keras.bench.peers.forward`). All that fit into memory
are
kept alive, and in every round each runs once, in turns: what slows the machine down meanwhile slows
all of them. Ratios are medians of those within a round.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fcn_keras.bench.peers.forward import PEERS
from fcn_keras.bench.peers.plan import plan
from fcn_keras.bench.tables import cell, markdown
from fcn_keras.errors import UserError
from fcn_keras.models.cost import Cost, cost
from fcn_keras.system.files import written_whole
from fcn_keras.system.processor import ONEDNN, cores
from fcn_keras.system.progress import progress_bar

CEILINGS = ("product", "product_numpy", "product_bfloat16", "copy")

OPT_IN = ("ours_frozen",)

REST = 0.3  # seconds for the threads of one program to fall asleep before the next one starts

COPIES = 12  # a program that loads may take that many times the weights' size for a while


@dataclass(frozen=True)
class Forward:
    """What is run.

    Attributes:
        variant, num_classes, width, geometry: see `fcn_keras.build`.
        size: height and width of the image.
        matrix: rows and columns of the matrices whose product is the machine's ceiling.
    """

    variant: str = "fcn8s"
    width: float = 1.0
    size: tuple[int, int] = (500, 500)
    geometry: str = "paper"
    num_classes: int = 21
    matrix: int = 4096

    def __post_init__(self):
        plan(self.variant, self.width, self.geometry)

    def cost(self, elide_padding: bool) -> Cost:
        names = ("variant", "size", "num_classes", "geometry", "width")
        return cost(**{name: getattr(self, name) for name in names}, elide_padding=elide_padding)


@dataclass
class Row:
    """A peer, and what its process measured.

    Attributes:
        name: its name in `fcn_keras.bench.peers.forward.PEERS`.
        rounds: for each run, which round it was in.
        seconds, cpu_seconds: of each run, by the clock and of all cores.
        found: seconds that loading took (`load`) and the first run after it (`first`), and bytes
            of memory, resident after the last run (`resident`) and at the most (`peak`).
        labels: share of the pixels that have the label that our network in float32 gives them.
        error: why there is nothing, in one line.
    """

    name: str
    rounds: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    found: dict = field(default_factory=dict)
    labels: float | None = None
    error: str = ""


def default_peers() -> list[str]:
    """Returns the names of all peers that take no more memory than others do."""
    return [name for name in PEERS if name not in (*CEILINGS, *OPT_IN)]


def bench_forward(
    forward: Forward, names: list[str] | None = None, rounds: int = 7, folder: str | None = None
) -> list[Row]:
    """Measures the serving function: bytes of an image in, class ids out.

    Args:
        forward: the network and the image. Its weights are random, and the same for all.
        names: which peers to measure beside ours; all but `OPT_IN` if not given.
        rounds: how often each runs, after two runs that do not count.
        folder: where to keep the files that the programs load, which takes some 4 GB at full
            width, and to find those of an earlier call; a temporary folder if not given.

    Returns:
        A row for each peer. One that is not installed, or fails, says why.

    Raises:
        UserError: if a name is unknown, the folder holds files of another network, or our own
            network cannot be measured.
    """
    names = names or default_peers()
    for name in names:
        if name not in PEERS:
            raise UserError(f"--peers: must be some of {', '.join(PEERS)}. Received: {name!r}.")
    kept = [name for name in ("ours", "ours_bfloat16") if name == "ours" or name in names]
    kept += [name for name in CEILINGS if "bfloat16" not in name or "ours_bfloat16" in kept]
    rows = {name: Row(name) for name in (*kept, *(n for n in names if n not in kept))}
    waiting = [name for name in rows if name not in kept]
    with ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fcn_keras_bench_"))
        folder = Path(folder)
        _claim(folder, forward)
        asked = asdict(forward) | {"folder": str(folder.resolve()), "cores": cores()}
        bar = stack.enter_context(progress_bar("bench forward", len(rows) * (rounds + 1), "run"))
        _write(asked, "network.keras", bar)
        reserve = COPIES * forward.cost(True).parameter_bytes()
        base = [p for name in kept if (p := _start(rows[name], asked, stack, bar))]
        if rows["ours"].error:
            raise UserError(f"bench forward: ours cannot be measured: {rows['ours'].error}")
        number = 0
        while waiting or not number:
            with ExitStack() as group_stack:
                group = []
                while waiting and (not group or _available() > reserve):
                    process = _start(rows[waiting.pop(0)], asked, group_stack, bar)
                    group += [process] if process else []
                for _ in range(rounds):
                    number += 1
                    for process in [*base, *group]:
                        process.run(number)
                    bar.update(len(group) or len(base))
        expected = np.load(folder / "ours.npy")
        for name, row in rows.items():
            if not row.error and PEERS[name].elided is not None:
                output = np.load(folder / f"{name}.npy")
                row.labels = float(np.mean(output.reshape(expected.shape) == expected))
    return [*rows.values()]


def _claim(folder, forward):
    """Writes down whose files lie in a folder."""
    network = {name: value for name, value in asdict(forward).items() if name != "matrix"}
    network = json.loads(json.dumps(network))  # with lists for tuples
    file = folder / "asked.json"
    if not file.exists():
        with written_whole(file) as aside:
            aside.write_text(json.dumps(network))
    elif json.loads(file.read_text()) != network:
        raise UserError(f"--folder: holds the files of another network: {file.read_text()}")


def _start(row, asked, stack, bar):
    """Starts the process of a peer, and waits until it is warm; None if that fails."""
    peer = PEERS[row.name]
    bar.set_postfix_str(f"loading {row.name}")
    try:
        if peer.module and find_spec(peer.module) is None:
            raise _Failed(f"{peer.module} is not installed")
        if peer.elided is not None:
            _write(asked, peer.file, bar)
        process = stack.enter_context(_Process(asked | {"peer": row.name}, row))
        row.found = process.answer()
    except _Failed as error:
        row.error = str(error)
        bar.update(1)
        return None
    bar.update()
    return process


def _write(asked, file, bar):
    if (Path(asked["folder"]) / file).exists():
        return
    bar.set_postfix_str(f"writing {file}")
    with _Process(asked | {"write": file}) as process:
        process.answer()


class _Failed(Exception):
    pass


class _Process:
    """A process that answers each line that it is sent by one."""

    def __init__(self, asked, row=None):
        self.row = row
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if "keras" in asked.get("peer", ""):  # with TensorFlow as it comes
            environment.pop(ONEDNN, None)
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fcn_keras.bench.peers.forward"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            env=environment,
        )
        self._send(json.dumps(asked))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        if code == -9:
            raise _Failed("killed by signal 9, as the system does where memory has run out")
        self.errors.seek(0)
        # Messages may have several lines, the last of which may say nothing.
        lines = [line for line in self.errors.read().splitlines() if len(line) > 2]
        raise _Failed((lines or [f"ended with {code}"])[-1])

    def run(self, number):
        """Lets it run once, unless it has failed before."""
        if self.row.error:
            return
        time.sleep(REST)
        try:
            self._send("run")
            found = self.answer()
        except _Failed as error:
            self.row.error = str(error)
            return
        self.row.rounds.append(number)
        self.row.seconds.append(found.pop("seconds"))
        self.row.cpu_seconds.append(found.pop("cpu_seconds"))
        self.row.found |= found

    def _send(self, line):
        try:
            self.process.stdin.write(line + "\n")
        except BrokenPipeError:
            pass  # `answer` tells why


def _available():
    """Bytes of memory that nobody uses; no limit where that is not known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable")))


def as_json(forward: Forward, rows: list[Row]) -> dict:
    """Returns what was measured, with medians, ratios and rates.

    `share` is of the fastest matrix product of a round, in the peer's precision. `ratio` is our
    time over the peer's: below 1 where ours is faster. It is that of our export in
    the peer's precision, if that was measured.
    """
    by_name = {row.name: row for row in rows}
    flops = {elided: forward.cost(elided).forward_flops for elided in (True, False)}
    work = 2 * forward.matrix**3
    products = [row for row in rows if row.name in CEILINGS and row.name != "copy"]
    found = []
    for row in rows:
        peer = PEERS[row.name]
        entry = {"name": row.name, "title": peer.title, "precision": peer.precision}
        if row.error or not row.seconds:
            found.append(entry | {"error": row.error or "did not run"})
            continue
        seconds = statistics.median(row.seconds)
        entry |= {
            "seconds": seconds,
            "cpu_seconds": statistics.median(row.cpu_seconds),
            "load_seconds": row.found["load"],
            "first_seconds": row.found["first"],
            "resident_bytes": row.found["resident"],
            "peak_bytes": row.found["peak"],
            "measured": {"rounds": row.rounds, "seconds": row.seconds},
        }
        if peer.elided is not None:
            ours = by_name["ours_bfloat16" if peer.precision == "bfloat16" else "ours"]
            fastest = {}  # product of matrices in this precision, by round
            for product in products:
                if PEERS[product.name].precision == peer.precision:
                    for number, lasted in zip(product.rounds, product.seconds, strict=True):
                        fastest[number] = min(lasted, fastest.get(number, lasted))
            products_made = _ratio(fastest, row)
            entry |= {
                "ratio": _ratio(dict(zip(ours.rounds, ours.seconds, strict=True)), row),
                "flops_per_second": flops[peer.elided] / seconds,
                "share": products_made and products_made * flops[peer.elided] / work,
                "labels": row.labels,
            }
        elif row.name == "copy":
            # Read and written.
            entry["bytes_per_second"] = 2 * 2 * 4 * forward.matrix**2 / seconds
        else:
            entry["flops_per_second"] = work / seconds
        found.append(entry)
    return {
        "forward": asdict(forward),
        "weights_bytes": forward.cost(True).parameter_bytes(),
        "flops": {"elided": flops[True], "plain": flops[False]},
        "rows": found,
    }


def _ratio(others, row):
    """The median of others' seconds, by round, over those of a row in the same rounds."""
    pairs = zip(row.rounds, row.seconds, strict=True)
    ratios = [others[number] / seconds for number, seconds in pairs if number in others]
    return statistics.median(ratios) if ratios else None


TITLES = (
    "",
    "s",
    "ours / it",
    "CPU s",
    "load s",
    "MiB",
    "of the weights",
    "GFLOP/s",
    "of the ceiling",
    "same labels",
)


def table(found: dict) -> str:
    """Returns what `as_json` gave as a table in Markdown."""
    lines = []
    for row in found["rows"]:
        if "error" in row:
            lines.append([row["title"], f"not measured: {row['error']}"])
            continue
        cells = [row["title"], f"{row['seconds']:.3f}"]
        if "labels" in row:
            mib = row["resident_bytes"]
            cells += [
                cell(row["ratio"], ".2f"),
                f"{row['cpu_seconds']:.2f}",
                f"{row['load_seconds']:.1f}",
                cell(mib and mib / 2**20, ".0f"),
                cell(mib and mib / found["weights_bytes"], ".1f"),
                f"{row['flops_per_second'] / 1e9:.0f}",
                cell(row["share"], ".0%"),
                f"{row['labels']:.3%}",
            ]
        elif "bytes_per_second" in row:
            cells[1] += f" ({row['bytes_per_second'] / 1e9:.1f} GB/s)"
        else:
            cells += [""] * 5 + [f"{row['flops_per_second'] / 1e9:.0f}"]
        lines.append(cells)
    return markdown(TITLES, lines)


def draw(found: dict, path: str | Path):
    """Draws the seconds of each program, and how few the machine's ceiling allows ours."""
    from matplotlib.figure import Figure

    rows = [row for row in found["rows"] if "labels" in row][::-1]
    figure = Figure(figsize=(8, 0.8 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    colors = ["tab:orange" if row["name"].startswith("ours") else "tab:blue" for row in rows]
    bars = axes.barh([row["title"] for row in rows], [row["seconds"] for row in rows], color=colors)
    labels = [f"{row['seconds']:.2f} s" for row in rows]
    axes.bar_label(bars, labels, padding=4, bbox={"color": "white", "pad": 1})
    ours = next(row for row in rows if row["name"] == "ours")
    if ours["share"]:
        axes.axvline(ours["seconds"] * ours["share"], color="grey", linestyle="--", zorder=0)
    forward = found["forward"]
    size = "x".join(map(str, forward["size"]))
    axes.set_title(f"{forward['variant']}, width {forward['width']:g}, one image of {size}")
    axes.set_xlabel("seconds (dashed: ours at the speed of a matrix product)")
    axes.margins(x=0.18)
    with written_whole(Path(path)) as aside:
        figure.savefig(aside, dpi=120, format=Path(path).suffix[1:])
