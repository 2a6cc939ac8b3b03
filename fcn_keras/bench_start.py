"""How long commands take to start, and what `predict` of one image spends its time on.

Each measurement is a process of its own; `python -m fcn_keras.bench_start` is a `predict` with a
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

from fcn_keras.progress import progress_bar

PARTS = ("imports", "load", "forward", "rest")


def bench_start(step, rounds: int = 3) -> dict[str, float]:
    """Measures how long commands take from their start to their end.

    A network of random weights is written, and an image, which are read once before.

    Args:
        step: the network and the image, a `fcn_keras.bench_training.Step`.
        rounds: how often each command runs, in turns; one run more comes first.

    Returns:
        Seconds, medians: `help`, of `train --help`; `import`, of a program that imports this
        package; `tensorflow`, of one that imports TensorFlow; `predict`, of `predict` with one
        image; and what that consists of: `imports` of TensorFlow and Keras, `load`ing the network,
        `forward`, tracing included, and the `rest`; `outside`, the share of `predict` that is
        neither `load` nor `forward`, a fraction of 1.
    """
    with tempfile.TemporaryDirectory(prefix="fcn_keras_bench_") as folder:
        folder = Path(folder)
        _run(["-m", "fcn_keras.bench_start", "write", folder, json.dumps(_network(step))])
        commands = {
            "help": ["-m", "fcn_keras", "train", "--help"],
            "import": ["-c", "import fcn_keras"],
            "tensorflow": ["-c", "import tensorflow"],
            "predict": ["-m", "fcn_keras.bench_start", "predict", folder],
        }
        found = {name: [] for name in (*commands, *PARTS, "outside")}
        with progress_bar("bench start", rounds + 1, "round") as bar:
            for number in range(rounds + 1):
                for name, words in commands.items():
                    started = time.perf_counter()
                    output = _run(words)
                    seconds = time.perf_counter() - started
                    if number == 0:
                        continue
                    found[name].append(seconds)
                    if name == "predict":
                        parts = json.loads(output.splitlines()[-1])
                        parts["rest"] = seconds - sum(parts.values())
                        parts["outside"] = (parts["imports"] + parts["rest"]) / seconds
                        for part, value in parts.items():
                            found[part].append(value)
                bar.update()
    return {name: statistics.median(values) for name, values in found.items()}


def _network(step):
    names = ("variant", "num_classes", "width", "size")
    return {name: getattr(step, name) for name in names}


def _run(words):
    root = str(Path(__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
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

    from fcn_keras.fcn import build

    height, width = asked.pop("size")
    keras.utils.set_random_seed(0)
    build(**asked, weights=None).save(folder / "network.keras")
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), "uint8")
    Image.fromarray(image).save(folder / "image.jpg", quality=90)


def _predict(folder):
    started = time.perf_counter()
    from fcn_keras import cli

    cli._import_tensorflow_silently()
    from fcn_keras import evaluation, prediction

    spent = {"imports": time.perf_counter() - started, "load": 0.0, "forward": 0.0}

    def clocked(module, name, part):
        function = getattr(module, name)

        def call(*args):
            started = time.perf_counter()
            try:
                return function(*args)
            finally:
                spent[part] += time.perf_counter() - started

        setattr(module, name, call)

    clocked(evaluation, "load_network", "load")
    clocked(prediction, "_label", "forward")
    output = folder / f"labels-{os.getpid()}"
    sys.argv[1:] = [
        "predict",
        f"{folder}/network.keras",
        f"{folder}/image.jpg",
        f"--output={output}",
    ]
    code = cli.main()
    print(json.dumps(spent))
    return code


def as_table(found: dict) -> str:
    """Returns what `bench_start` found as a table in Markdown."""
    from fcn_keras.bench_inference import markdown

    titles = {
        "help": "`train --help`",
        "import": "`import fcn_keras`",
        "tensorflow": "`import tensorflow`",
        "predict": "`predict` of one image",
        "imports": "- imports of TensorFlow and Keras",
        "load": "- loading the network",
        "forward": "- the network, traced and run",
        "rest": "- the rest",
    }
    lines = [
        [title, f"{found[name]:.2f}", f"{found[name] / found['predict']:.0%}" * (name in PARTS)]
        for name, title in titles.items()
    ]
    return markdown(("", "s", "of `predict`"), lines)


def _main():
    job, folder, *asked = sys.argv[1:]
    if job == "write":
        return _write(Path(folder), json.loads(asked[0]))
    return _predict(Path(folder))


if __name__ == "__main__":
    sys.exit(_main())
