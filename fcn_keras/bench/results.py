"""What results are told with: the machine that they are of, ratios, and tables."""

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence

from fcn_keras.system import processor
from fcn_keras.system.versions import versions


def conditions() -> dict:
    """Returns where and with what a measurement is made: machine, versions and command."""
    return {
        "machine": machine(),
        "versions": versions(),
        "command": " ".join(["python -m fcn_keras", *sys.argv[1:]]),
    }


def machine() -> dict:
    """Describes this machine; what it does not tell is None."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(gpus[0]) if gpus else {}
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        memory = None
    return {
        "cpu": processor.about().get("model name") or platform.processor() or platform.machine(),
        "cores": processor.cores(),
        "memory_bytes": memory,
        "bfloat16_instructions": processor.computes_in("bfloat16"),
        "gpu": details.get("device_name"),
        "system": platform.platform(),
    }


def markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown; short lines are filled up."""
    lines = [titles, ["---"] * len(titles), *lines]
    return "\n".join(
        "| " + " | ".join([*line, *[""] * (len(titles) - len(line))]) + " |" for line in lines
    )


def cell(value: float | None, format: str, unit: str = "") -> str:
    """Returns a number as text, with its unit behind it; nothing for None."""
    return "" if value is None else f"{value:{format}}{unit}"


def told(figures: dict, as_json: bool, about: str, table: Callable[[dict], str]) -> str:
    """Returns what was measured on this machine, for people or as JSON.

    Args:
        figures: what was measured.
        as_json: whether all of it is wanted, as JSON.
        about: a line on what was measured; none if empty.
        table: makes a table of the figures.
    """
    where = conditions()
    if as_json:
        return json.dumps(where | figures)
    machine, versions = where["machine"], where["versions"]
    on = (
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores; "
        f"TensorFlow {versions['tensorflow']}, Keras {versions['keras']}"
    )
    return "\n".join([on, *filter(None, [about]), table(figures)])
