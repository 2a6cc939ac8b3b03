"""How long commands take to start, and what `predict` of one image spends its time on.

Each measurement is a process of its own; `python -m fcn_keras.bench.start` does what `predict`
does, with a clock at its parts.
"""

import atexit
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from fcn_keras.bench.child import ChildFailed, run_child
from fcn_keras.bench.results import markdown
from fcn_keras.bench.steps import Step
from fcn_keras.inference.segmenter import Segmenter
from fcn_keras.system.console import import_tensorflow_silently, quiet, stderr_held
from fcn_keras.system.progress import progress_bar

PARTS = {
    "imports": "- importing libraries",
    "load": "- loading the network",
    "forward": "- the network's first run",
    "rest": "- the rest",
}

# Before the first `predict` with a `.keras` file there is no graph of it, see
# `fcn_keras.inference.c_library.graph_reader`.
FIRST = "predict_first"

PREDICTS = {
    FIRST: "network.keras",
    "predict": "network.keras",
    "predict_exported": "exported",
}

TITLES = {
    "help": "`train --help`",
    "import": "`import fcn_keras`",
    "tensorflow": "`import tensorflow`",
    "predict_first": "first `predict` of one image, `.keras` file",
    "predict": "`predict` of one image, `.keras` file",
    "predict_exported": "`predict` of one image, exported",
}

CHILD = ("-m", "fcn_keras.bench.start")


def bench_start(step: Step, rounds: int = 3) -> dict[str, float]:
    """Measures how long commands take from their start to their end.

    A network of random weights is written, and an image, which are read once before.

    Args:
        step: the network and the image.
        rounds: how often each command runs, in turns; one run more comes first.

    Returns:
        Seconds, medians: `help`, of `train --help`; `import`, of a program that imports this
        package; `tensorflow`, of one that imports TensorFlow; `predict`, of `predict` with one
        image and a `.keras` file, and `predict_first`, of the first one with any network that is
        built like that; `predict_exported`, with an export. What these three consist of, each
        with their name and a dot before: `imports` of libraries; `load`ing the network, and the
        first time keeping its graph; `forward`, its first run; and the `rest`. `outside` is the
        share that is neither `load` nor `forward`, a fraction of 1.
    """
    with tempfile.TemporaryDirectory(prefix="fcn_keras_bench_") as temporary:
        folder = Path(temporary)
        names = ("variant", "num_classes", "width", "size")
        network = json.dumps({name: getattr(step, name) for name in names})
        _measure("write", (*CHILD, "write", folder, network), folder / "home")
        commands: dict[str, tuple] = {
            "help": ("-m", "fcn_keras", "train", "--help"),
            "import": ("-c", "import fcn_keras"),
            "tensorflow": ("-c", "import tensorflow"),
            **{name: (*CHILD, name, folder) for name in PREDICTS},
        }
        times: dict[str, list[float]] = {}
        with progress_bar("bench start", rounds + 1, "round") as bar:
            for number in range(rounds + 1):
                for name, words in commands.items():
                    home = folder / (f"{name}-{number}" if name == FIRST else "home")
                    for key, value in _measure(name, words, home).items():
                        if number:
                            times.setdefault(key, []).append(value)
                bar.update()
    return {name: statistics.median(values) for name, values in times.items()}


def _measure(name, words, home):
    """Runs a command, whose graphs are kept in `home`: its seconds, and those of its parts."""
    started = time.perf_counter()
    try:
        answer = run_child(words, KERAS_HOME=str(home))
    except ChildFailed as error:
        raise RuntimeError(f"{name}: {error}") from error
    seconds = time.perf_counter() - started
    parts = json.loads(answer) if name in PREDICTS else {}
    if parts:
        parts["rest"] = seconds - sum(parts.values())
        parts["outside"] = (parts["imports"] + parts["rest"]) / seconds
    return {name: seconds} | {f"{name}.{part}": value for part, value in parts.items()}


def table(results: dict[str, float]) -> str:
    """Returns what `bench_start` measured as a table in Markdown."""
    lines = []
    for name, title in TITLES.items():
        lines.append([title, f"{results[name]:.2f}"])
        if name in PREDICTS:
            for part, words in PARTS.items():
                seconds = results[f"{name}.{part}"]
                lines.append([words, f"{seconds:.2f}", f"{seconds / results[name]:.0%}"])
    return markdown(("", "s", "of `predict`"), lines)


def _write(folder, network):
    """Writes a network, as a file and exported, and an image."""
    import keras
    from PIL import Image

    from fcn_keras.exporters.saved_model import export
    from fcn_keras.inference.classes import numbered_classes
    from fcn_keras.models.fcn import build

    height, width = network.pop("size")
    keras.utils.set_random_seed(0)
    model = build(**network, weights=None)
    model.save(folder / "network.keras")
    export(model, folder / "exported", *numbered_classes(network["num_classes"]))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), "uint8")
    Image.fromarray(image).save(folder / "image.jpg", quality=90)


class _Clocked(Segmenter):
    """A segmenter that takes the time of what it labels."""

    def __init__(self, segmenter):
        super().__init__(segmenter.name, segmenter.classes, segmenter.colors)
        self.segmenter, self.seconds = segmenter, 0.0

    def label(self, images, paths=None):
        started = time.perf_counter()
        labels = self.segmenter.label(images, paths)
        self.seconds += time.perf_counter() - started
        return labels


def _predict(name, folder):
    """Does what the command `predict` does; returns the seconds of its parts but the `rest`."""
    started = time.perf_counter()
    from fcn_keras.inference.opening import open_network
    from fcn_keras.inference.predict import predict

    # What opening the network will import.
    if name == FIRST:
        import_tensorflow_silently()
        from fcn_keras.inference import keras_segmenter  # noqa: F401
    else:
        from fcn_keras.inference.c_library.library import open_library

        with stderr_held(), suppress(OSError):  # what opens the network goes on without it
            open_library()
    imported = time.perf_counter()
    segmenter = _Clocked(open_network(folder / PREDICTS[name]))
    loaded = time.perf_counter()
    output = folder / f"labels-{os.getpid()}"
    predict(segmenter, [folder / "image.jpg"], output, segmenter.classes, segmenter.colors)
    return {
        "imports": imported - started,
        "load": loaded - imported,
        "forward": segmenter.seconds,
    }


if __name__ == "__main__":
    job, folder, *rest = sys.argv[1:]
    atexit.register(gc.freeze)  # as the command does
    with quiet(debug=False, tensorflow=False):
        if job == "write":
            _write(Path(folder), json.loads(rest[0]))
        else:
            print(json.dumps(_predict(job, Path(folder))))
