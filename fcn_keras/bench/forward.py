"""How long a network takes for an image on this machine, beside other programs that run it.

Each program has a process of its own (`fcn_keras.bench.peers.forward`). All that fit into memory
are kept alive, and in every round each runs once, in turns: what slows the machine down meanwhile
slows all of them. Ratios are medians of those within a round.
"""

import json
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
from fcn_keras.errors import UserError
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
        figures: seconds that loading took (`load`) and the first run after it (`first`), and
            bytes of memory, resident after the last run (`resident`) and at the most (`peak`).
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
        rounds: how often each runs, after two runs that do not count.
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
                aside.write_text(json.dumps(network))
        elif json.loads(claim.read_text()) != network:
            raise UserError(f"--folder: holds the files of another network: {claim.read_text()}")

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
