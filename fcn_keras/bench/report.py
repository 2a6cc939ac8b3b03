"""All comparisons with others at once: tables in a document, JSON and a figure beside it."""

import json
import os
import re
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fcn_keras.bench import forward as bench_inference
from fcn_keras.bench import start as bench_start
from fcn_keras.bench import steps as bench_training
from fcn_keras.bench.forward import Forward
from fcn_keras.bench.machine import about
from fcn_keras.bench.steps import Step
from fcn_keras.bench.tables import markdown
from fcn_keras.errors import UserError
from fcn_keras.system.files import written_whole

PEERS = ("torch", "onnxruntime", "openvino", "opencv-python-headless")


def bench_report(
    path: str | Path,
    forward: Forward,
    peers: list[str] | None = None,
    rounds: int = 7,
    folder: str | None = None,
) -> dict:
    """Measures the serving function, a training step and starting up, and writes what it found.

    Args:
        path: the document, ends in `.md`. In one that exists, the lines between
            `<!-- bench forward -->` and `<!-- end -->` are replaced, and likewise those of
            `machine`, `train` and `start`; a new one is made of these parts alone. A `.json` and a
            `.png` of the same name appear beside it.
        forward: the network and the image.
        peers, rounds, folder: see `fcn_keras.bench.forward.bench_forward`. Training steps and
            starts are slow: they have a third of the rounds.

    Returns:
        What the JSON holds.

    Raises:
        UserError: if the name ends otherwise, a part is missing in a document, or our own network
            cannot be measured.
    """
    path = Path(path)
    if path.suffix != ".md":
        raise UserError(f"{path}: must end in .md, the document to write.")
    _read(path)

    few = max(1, rounds // 3)
    rows = bench_inference.bench_forward(forward, peers, rounds, folder)
    found = about()
    found["versions"] |= {name: version(name) for name in PEERS if _installed(name)}
    found["machine"]["load"] = os.getloadavg()[0]
    found["forward"] = bench_inference.as_json(forward, rows)
    step = Step(forward.variant, forward.width, forward.size, forward.num_classes)
    steps = bench_training.peers_to_compare(step)
    steps.append(replace(step, elide_padding=False))
    found["train"] = bench_training.as_json(bench_training.bench_training(steps, few))
    found["start"] = bench_start.bench_start(step, few)

    text = _read(path)  # someone may have written something else in it meanwhile
    for name, table in _TABLES.items():
        lines = f"<!-- bench {name} -->\n{table(found)}\n<!-- end -->"
        text = re.sub(_pattern(name), lambda _, lines=lines: lines, text, flags=re.DOTALL)
    bench_inference.draw(found["forward"], path.with_suffix(".png"))
    for file, content in ((".json", json.dumps(found, indent=1) + "\n"), (".md", text)):
        with written_whole(path.with_suffix(file)) as aside:
            aside.write_text(content)
    return found


def _read(path):
    """Returns the document with places for all tables; raises where one is missing."""
    text = path.read_text() if path.exists() else "".join(map(_part, ("", *_TABLES)))
    for name in _TABLES:
        if not re.search(_pattern(name), text, re.DOTALL):
            raise UserError(f"{path}: has no lines <!-- bench {name} --> and <!-- end -->.")
    return text


def _installed(package):
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _pattern(name):
    return f"<!-- bench {name} -->.*?<!-- end -->"


def _part(name):
    return f"<!-- bench {name} -->\n<!-- end -->\n\n" if name else "# Performance\n\n"


def _machine(found):
    machine = found["machine"]
    lines = [
        ["processor", f"{machine['cpu']}, {machine['cores']} cores"],
        ["bfloat16 instructions", "yes" if machine["bfloat16_instructions"] else "no"],
        ["memory", f"{(machine['memory_bytes'] or 0) / 2**30:.1f} GiB"],
        ["graphics processor", machine["gpu"] or "none"],
        ["system", machine["system"]],
        ["load when it ended", f"{machine['load']:.1f}"],
        *([name, version] for name, version in found["versions"].items() if version),
        ["command", f"`{found['command']}`"],
    ]
    return markdown(("", ""), lines)


def _train(found):
    lines = []
    for row in found["train"]:
        if "error" in row:
            lines.append([row["name"], f"not measured: {row['error']}"])
            continue
        ratios = row["ratios"]
        lines.append(
            [
                row["name"],
                f"{row['seconds']:.2f}",
                f"{1 / ratios['seconds_per_image']:.2f}",
                f"{row['cpu_seconds_per_image']:.2f}",
                f"{row['process_bytes'] / 2**20:.0f}",
                f"{1 / ratios['process_bytes']:.2f}" if ratios["process_bytes"] else "",
            ]
        )
    return markdown(("", "s/step", "ours / it", "CPU s", "MiB", "ours / it"), lines)


_TABLES = {
    "machine": _machine,
    "forward": lambda found: bench_inference.table(found["forward"]),
    "train": _train,
    "start": lambda found: bench_start.as_table(found["start"]),
}
