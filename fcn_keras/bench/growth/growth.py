"""How seconds and memory grow, each as a curve beside the line that it should be."""

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fcn_keras.bench.child import ChildFailed, run_child
from fcn_keras.bench.growth.curves import UNITS, Asked, Curve, curves_of, job_of
from fcn_keras.bench.growth.lines import LINEAR, bend_of, line_of
from fcn_keras.bench.results import cell, markdown
from fcn_keras.errors import UserError
from fcn_keras.system.memory import free_memory
from fcn_keras.system.progress import progress_bar

CHILD = ("-m", "fcn_keras.bench.growth.work")


@dataclass
class Point:
    """A size of a curve, and what its processes measured.

    Attributes:
        size: of what there is to do.
        seconds, peak_bytes: of each process.
        work, held: what seconds and memory should be in proportion to, beside what any size takes.
        error: why there is nothing, in one line.
    """

    size: float
    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    work: float = 0.0
    held: float = 0.0
    error: str = ""


def bench_growth(asked: Asked, rounds: int = 1) -> list[tuple[Curve, list[Point]]]:
    """Measures all points of all curves of a kind, each time in a new process, in turns.

    Args:
        asked: what to measure.
        rounds: how many processes each point has.

    Returns:
        Each curve with its points. A point whose process fails says why; so does one of "whole"
        that would take more memory than is allowed or free, by the line of those before it.

    Raises:
        UserError: if what is to be worked on cannot be written.
    """
    measured = [(curve, [Point(size) for size in curve.sizes]) for curve in curves_of(asked)]
    total = rounds * sum(len(points) for _, points in measured)
    with (
        tempfile.TemporaryDirectory(prefix="fcn_keras_bench_") as folder,
        progress_bar("bench growth", total, "process") as bar,
    ):
        bar.set_postfix_str("writing")
        try:
            _in_child({"job": "write", "asked": asdict(asked)}, folder)
        except ChildFailed as error:
            raise UserError(f"bench growth: cannot begin: {error}") from error
        for _ in range(rounds):
            for curve, points in measured:
                for number, point in enumerate(points):
                    bar.set_postfix_str(f"{curve.title}: {point.size:g}")
                    if asked.kind == "whole" and not point.error:
                        point.error = _too_large(points[:number], point.size, asked.memory)
                    if not point.error:
                        _measure(asked, curve, point, folder)
                    bar.update()
    return measured


def _measure(asked, curve, point, folder):
    try:
        answer = json.loads(_in_child(job_of(asked, curve.name, point.size), folder))
    except ChildFailed as error:
        point.error = str(error)
        return
    point.seconds.append(answer["seconds"])
    point.peak_bytes.append(answer["peak_bytes"])
    point.work, point.held = answer["work"], answer["held"]


def _in_child(job, folder):
    # Graphs that are kept are kept there, and not among the user's.
    home = str(Path(folder, "home"))
    return run_child((*CHILD, folder), json.dumps(job), KERAS_HOME=home)


def _too_large(before: Sequence[Point], size: float, allowed: float) -> str:
    """Why an image is not labelled as a whole; "" if it may be."""
    known = [(point.size, max(point.peak_bytes)) for point in before if point.peak_bytes]
    if len(known) < 2:
        return ""
    (one, some), (two, more) = known[-2:]
    expected = more + (more - some) / (two - one) * (size - two)
    limit = min(1e9 * allowed, free_memory())
    if expected <= limit:
        return ""
    return f"would take about {expected / 1e9:.0f} GB, and there are {limit / 1e9:.0f}"


def results(asked: Asked, measured: Sequence[tuple[Curve, Sequence[Point]]]) -> dict:
    """Returns what was measured, with medians, lines and bends.

    `seconds_bend` and `bytes_bend` of a curve are the largest factors between a point and its line,
    above or below.
    """
    return {
        "asked": asdict(asked),
        "unit": UNITS[asked.kind],
        "curves": [_result(curve, points) for curve, points in measured],
    }


def _result(curve, points):
    rows: list[dict] = []
    for point in points:
        if point.error or not point.seconds:
            rows.append({"size": point.size, "error": point.error or "did not run"})
            continue
        seconds = statistics.median(point.seconds)
        rows.append(
            {
                "size": point.size,
                "work": point.work,
                "held": point.held,
                "seconds": seconds,
                "seconds_per_unit": seconds / point.size,
                "peak_bytes": statistics.median(point.peak_bytes),
                "measured": {"seconds": point.seconds, "peak_bytes": point.peak_bytes},
            }
        )
    result = {"name": curve.name, "title": curve.title, "memory": curve.memory, "points": rows}
    known = [row for row in rows if "error" not in row]
    if not known:
        return result
    for name, short, by, shape in (
        ("seconds", "seconds", "work", LINEAR),
        ("peak_bytes", "bytes", "held", curve.memory),
    ):
        values = [row[name] for row in known]
        line = line_of([row[by] for row in known], values, shape)
        for row, value, on_line in zip(known, values, line, strict=True):
            row[f"{short}_line"], row[f"{short}_ratio"] = on_line, value / on_line
        result[f"{short}_bend"] = bend_of(values, line)
    return result


def table(results: dict) -> str:
    """Returns `results` as tables in Markdown, one for each curve."""
    unit = results["unit"]
    parts = []
    for curve in results["curves"]:
        titles = (unit, "s", "ms each", "line, s", "of it", "MiB", "line, MiB", "of it")
        parts += [f"{curve['title']}:", "", markdown(titles, [*map(_cells, curve["points"])])]
        if "seconds_bend" in curve:
            seconds, memory = curve["seconds_bend"], curve["bytes_bend"]
            parts.append(f"\nbends by {seconds:.2f}x in seconds, {memory:.2f}x in memory")
        parts.append("")
    return "\n".join(
        [
            *parts,
            "The line goes through both ends, by the size; of tiles by the pixels seen in them,",
            "overlaps counted, in all or for memory of the largest. Where images grow, that of",
            "memory is level.",
            "A bend is the largest factor between a point and its line, above or below.",
        ]
    )


def _cells(row):
    size = f"{row['size']:g}"
    if "error" in row:
        return [size, f"not measured: {row['error']}"]
    mebibytes = [row[name] / 2**20 for name in ("peak_bytes", "bytes_line")]
    return [
        size,
        f"{row['seconds']:.3f}",
        f"{1000 * row['seconds_per_unit']:.3g}",
        f"{row['seconds_line']:.3f}",
        cell(row["seconds_ratio"], ".2f", "x"),
        *(f"{value:.0f}" for value in mebibytes),
        cell(row["bytes_ratio"], ".2f", "x"),
    ]
