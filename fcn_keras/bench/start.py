"""How long commands take to start, and what `predict` of one image spends its time on.

Each measurement is a process of its own; `python -m fcn_keras.bench.start` is a `predict` with a
clock at its parts.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fcn_keras.system.progress import progress_bar

PARTS = ("imports", "load", "forward", "rest")

# Before the first `predict` with a `.keras` file there is no graph of it, see
# `fcn_keras.inference.c_library.graph_reader`.
FIRST = "predict_first"

PREDICTS = {
    FIRST: "network.keras",
    "predict": "network.keras",
    "predict_exported": "exported",
}


def bench_start(step, rounds: int = 3) -> dict[str, float]:
    """Measures how long commands take from their start to their end.

    A network of random weights is written, and an image, which are read once before.

    Args:
        step: the network and the image, a `fcn_keras.bench.steps.Step`.
        rounds: how often each command runs, in turns; one run more comes first.

    Returns:
        Seconds, medians: `help`, of `train --help`; `import`, of a program that imports this
        package; `tensorflow`, of one that imports TensorFlow; `predict`, of `predict` with one
        image and a `.keras` file, and `predict_first`, of the first one with any network that is
        built like that; `predict_exported`, with an export. What these three consist of, each
        with their name and a dot before: `imports` of libraries, `load`ing the network,
        `forward`, its first run, and the `rest`; `outside`, the share that is neither `load` nor
        `forward`, a fraction of 1.
    """
    with tempfile.TemporaryDirectory(prefix="fcn_keras_bench_") as folder:
        folder = Path(folder)
        writing = ["-m", "fcn_keras.bench.start", "write", folder, json.dumps(_network(step))]
        _run(writing, folder / "home")
        commands = {
            "help": ["-m", "fcn_keras", "train", "--help"],
            "import": ["-c", "import fcn_keras"],
            "tensorflow": ["-c", "import tensorflow"],
            **{name: ["-m", "fcn_keras.bench.start", name, folder] for name in PREDICTS},
        }
        parts = [f"{name}.{part}" for name in PREDICTS for part in (*PARTS, "outside")]
        found = {name: [] for name in (*commands, *parts)}
        with progress_bar("bench start", rounds + 1, "round") as bar:
            for number in range(rounds + 1):
                for name, words in commands.items():
                    started = time.perf_counter()
                    output = _run(words, folder / (f"{name}-{number}" if name == FIRST else "home"))
                    seconds = time.perf_counter() - started
                    if number == 0:
                        continue
                    found[name].append(seconds)
                    if name in PREDICTS:
                        spent = json.loads(output.splitlines()[-1])
                        spent["rest"] = seconds - sum(spent.values())
                        spent["outside"] = (spent["imports"] + spent["rest"]) / seconds
                        for part, value in spent.items():
                            found[f"{name}.{part}"].append(value)
                bar.update()
    return {name: statistics.median(values) for name, values in found.items()}


def _network(step):
    names = ("variant", "num_classes", "width", "size")
    return {name: getattr(step, name) for name in names}


def _run(words, home):
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["KERAS_HOME"] = str(home)
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{' '.join(map(str, words))}: {lines[-1]}")
    return done.stdout


def _write(folder, asked):
    import keras
    from PIL import Image

    from fcn_keras.exporters.saved_model import export
    from fcn_keras.inference.classes import numbered_classes
    from fcn_keras.models.fcn import build

    height, width = asked.pop("size")
    keras.utils.set_random_seed(0)
    network = build(**asked, weights=None)
    network.save(folder / "network.keras")
    export(network, folder / "exported", *numbered_classes(asked["num_classes"]))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), "uint8")
    Image.fromarray(image).save(folder / "image.jpg", quality=90)


def _predict(name, folder):
    started = time.perf_counter()
    from fcn_keras.cli import predict as cli
    from fcn_keras.cli.app import main
    from fcn_keras.inference import predict as prediction
    from fcn_keras.inference.c_library import graph_reader as traced
    from fcn_keras.inference.c_library import library as c_api
    from fcn_keras.inference.c_library import saved_model as exported

    if name == FIRST:
        cli.import_tensorflow_silently()
        from fcn_keras.inference import network as evaluation
    else:
        with cli.stderr_held():
            c_api.open_library()
    spent = {"imports": time.perf_counter() - started, "load": 0.0, "forward": 0.0}

    def clocked(module, function_name, part):
        function = getattr(module, function_name)

        def call(*args):
            started = time.perf_counter()
            try:
                return function(*args)
            finally:
                spent[part] += time.perf_counter() - started

        setattr(module, function_name, call)

    clocked(cli, "import_tensorflow_silently", "imports")
    clocked(traced, "open_traced", "load")
    if name == FIRST:
        clocked(evaluation, "load_network", "load")
    clocked(exported, "Exported", "load")
    clocked(prediction, "_label", "forward")
    output = folder / f"labels-{os.getpid()}"
    sys.argv[1:] = [
        "predict",
        f"{folder}/{PREDICTS[name]}",
        f"{folder}/image.jpg",
        f"--output={output}",
    ]
    code = main()
    print(json.dumps(spent))
    return code


def as_table(found: dict) -> str:
    """Returns what `bench_start` found as a table in Markdown."""
    from fcn_keras.bench.tables import markdown

    titles = {
        "help": "`train --help`",
        "import": "`import fcn_keras`",
        "tensorflow": "`import tensorflow`",
        "predict_first": "first `predict` of one image, `.keras` file",
        "predict": "`predict` of one image, `.keras` file",
        "predict_exported": "`predict` of one image, exported",
    }
    parts = {
        "imports": "- importing libraries",
        "load": "- loading the network",
        "forward": "- the network's first run",
        "rest": "- the rest",
    }
    lines = []
    for name, title in titles.items():
        lines.append([title, f"{found[name]:.2f}", ""])
        if name in PREDICTS:
            for part, words in parts.items():
                seconds = found[f"{name}.{part}"]
                lines.append([words, f"{seconds:.2f}", f"{seconds / found[name]:.0%}"])
    return markdown(("", "s", "of `predict`"), lines)


def _main():
    job, folder, *asked = sys.argv[1:]
    if job == "write":
        return _write(Path(folder), json.loads(asked[0]))
    return _predict(job, Path(folder))


if __name__ == "__main__":
    sys.exit(_main())
