"""All comparisons with others at once: tables in a document, JSON and a figure beside it."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fcn_keras.bench import forward as inference, start, steps
from fcn_keras.bench.document import read_document, write_document
from fcn_keras.bench.forward import bench_forward
from fcn_keras.bench.peers.network import Forward
from fcn_keras.bench.results import conditions, markdown
from fcn_keras.bench.start import bench_start
from fcn_keras.bench.steps import Step, bench_training, peers_to_compare
from fcn_keras.system.files import written_whole
from fcn_keras.system.versions import versions

PACKAGES = ("torch", "onnxruntime", "openvino", "opencv-python-headless")


def bench_report(
    path: str | Path,
    forward: Forward,
    peers: Sequence[str],
    rounds: int = 7,
    folder: str | Path | None = None,
) -> dict:
    """Measures the serving function, a training step and starting up, and writes it all down.

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
    read_document(path, "Performance", _TABLES)

    few = max(1, rounds // 3)
    measured_peers = bench_forward(forward, peers, rounds, folder)
    report = conditions()
    report["versions"] = {name: number for name, number in versions(*PACKAGES).items() if number}
    report["machine"]["load"] = os.getloadavg()[0]
    report["forward"] = inference.results(forward, measured_peers)
    step = Step(forward.variant, forward.width, forward.size, forward.num_classes)
    compared = [*peers_to_compare(step), replace(step, elide_padding=False)]
    report["train"] = steps.results(bench_training(compared, few))["rows"]
    report["start"] = bench_start(step, few)

    # Someone may have written something else in it meanwhile.
    text = read_document(path, "Performance", _TABLES)
    inference.draw(report["forward"], path.with_suffix(".png"))
    with written_whole(path.with_suffix(".json")) as aside:
        aside.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    write_document(path, text, {name: table(report) for name, table in _TABLES.items()})
    return report


def _machine(report):
    machine = report["machine"]
    lines = [
        ["processor", f"{machine['cpu']}, {machine['cores']} cores"],
        ["bfloat16 instructions", "yes" if machine["bfloat16_instructions"] else "no"],
        ["memory", f"{(machine['memory_bytes'] or 0) / 2**30:.1f} GiB"],
        ["graphics processor", machine["gpu"] or "none"],
        ["system", machine["system"]],
        ["load when it ended", f"{machine['load']:.1f}"],
        *([name, version] for name, version in report["versions"].items() if version),
        ["command", f"`{report['command']}`"],
    ]
    return markdown(("", ""), lines)


def _train(report):
    lines = []
    for row in report["train"]:
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


_TABLES: dict[str, Callable[[dict], str]] = {
    "machine": _machine,
    "forward": lambda report: inference.table(report["forward"]),
    "train": _train,
    "start": lambda report: start.table(report["start"]),
}
