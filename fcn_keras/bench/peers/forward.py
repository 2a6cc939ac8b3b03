"""A program in a process of its own, `python -m fcn_keras.bench.peers.forward`.

It reads a line of JSON: a folder and a network, and which of the folder's files to write or which
peer to run. A peer answers by a line when it has loaded and warmed up, and then by one for each
line that it reads, which tells it to run once more.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from fcn_keras.bench.peers.loaders import LOADERS
from fcn_keras.bench.peers.network import Forward
from fcn_keras.bench.peers.programs import PEERS
from fcn_keras.system.memory import process_memory

ENOUGH = 0.3  # seconds


def _serve(name, folder, forward, answer):
    """Loads a peer, and runs it once for each line that comes in."""
    image = np.load(folder / "image.npy")
    started = time.perf_counter()
    run = LOADERS[name](folder / PEERS[name].file, forward)
    loaded = time.perf_counter()
    output = run(image)
    first = time.perf_counter()
    if PEERS[name].elided is not None:
        np.save(folder / f"{name}.npy", output)
    run(image)
    answer({"load_seconds": loaded - started, "first_seconds": first - loaded} | _memory())
    for _ in sys.stdin:
        answer(_timed(lambda: run(image)) | _memory())


def _timed(run):
    """The mean seconds of as many runs as there is time for, of one at least."""
    wall, cpu, runs = time.perf_counter(), time.process_time(), 0
    while not runs or time.perf_counter() - wall < ENOUGH:
        run()
        runs += 1
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall / runs, "cpu_seconds": cpu / runs}


def _memory():
    return dict(zip(("resident_bytes", "peak_bytes"), process_memory(), strict=True))


def _main():
    # What libraries print goes to standard error; the channel is kept for answers.
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)

    def answer(content):
        print(json.dumps(content), file=channel)

    asked = json.loads(sys.stdin.readline())
    folder, forward = Path(asked["folder"]), Forward(**asked["forward"])
    if "write" in asked:
        # It brings TensorFlow along, which a peer may be without.
        from fcn_keras.bench.peers.files import write_file

        write_file(asked["write"], folder, forward)
        answer({})
    else:
        _serve(asked["peer"], folder, forward, answer)


if __name__ == "__main__":
    _main()
