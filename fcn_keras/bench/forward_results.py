"""What `fcn_keras.bench.forward` measured: medians and ratios for JSON, a table and a figure."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fcn_keras.bench.forward import MeasuredPeer
from fcn_keras.bench.peers.network import Forward
from fcn_keras.bench.peers.programs import CEILINGS, PEERS
from fcn_keras.bench.tables import cell, markdown


def results(forward: Forward, peers: Sequence[MeasuredPeer]) -> dict:
    """Returns what was measured, with medians, ratios and rates.

    `share` is of the fastest matrix product of a round, in the peer's precision. `ratio` is our
    time over the peer's: below 1 where ours is faster. It is that of our export in
    the peer's precision, if that was measured.
    """
    by_name = {measured.name: measured for measured in peers}
    flops = {elided: forward.cost(elided).forward_flops for elided in (True, False)}
    work = 2 * forward.matrix**3
    rows = []
    for measured in peers:
        peer = PEERS[measured.name]
        row: dict = {"name": measured.name, "title": peer.title, "precision": peer.precision}
        rows.append(row)
        if measured.error or not measured.seconds:
            row["error"] = measured.error or "did not run"
            continue
        seconds = statistics.median(measured.seconds.values())
        row |= {
            "seconds": seconds,
            "cpu_seconds": statistics.median(measured.cpu_seconds.values()),
            "load_seconds": measured.figures["load"],
            "first_seconds": measured.figures["first"],
            "resident_bytes": measured.figures["resident"],
            "peak_bytes": measured.figures["peak"],
            "measured": {
                "rounds": [*measured.seconds],
                "seconds": [*measured.seconds.values()],
            },
        }
        if peer.elided is not None:
            ours = by_name["ours_bfloat16" if peer.precision == "bfloat16" else "ours"]
            products = _ratio(_fastest_products(peers, peer.precision), measured.seconds)
            row |= {
                "ratio": _ratio(ours.seconds, measured.seconds),
                "flops_per_second": flops[peer.elided] / seconds,
                "share": products and products * flops[peer.elided] / work,
                "labels": measured.labels,
            }
        elif measured.name == "copy":
            # Read and written.
            row["bytes_per_second"] = 2 * 2 * 4 * forward.matrix**2 / seconds
        else:
            row["flops_per_second"] = work / seconds
    return {
        "forward": asdict(forward),
        "weights_bytes": forward.cost(True).parameter_bytes(),
        "flops": {"elided": flops[True], "plain": flops[False]},
        "rows": rows,
    }


def _fastest_products(peers, precision):
    """The seconds of the fastest product of matrices in a precision, by round."""
    fastest = {}
    for measured in peers:
        name = measured.name
        if name in CEILINGS and name != "copy" and PEERS[name].precision == precision:
            for number, seconds in measured.seconds.items():
                fastest[number] = min(seconds, fastest.get(number, seconds))
    return fastest


def _ratio(others, seconds):
    """The median of others' seconds over a peer's in the same rounds; None if there are none."""
    ratios = [others[number] / seconds[number] for number in seconds if number in others]
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


def table(results: dict) -> str:
    """Returns `results` as a table in Markdown."""
    lines = []
    for row in results["rows"]:
        if "error" in row:
            lines.append([row["title"], f"not measured: {row['error']}"])
            continue
        cells = [row["title"], f"{row['seconds']:.3f}"]
        if "labels" in row:
            resident = row["resident_bytes"]
            cells += [
                cell(row["ratio"], ".2f"),
                f"{row['cpu_seconds']:.2f}",
                f"{row['load_seconds']:.1f}",
                f"{resident / 2**20:.0f}",
                f"{resident / results['weights_bytes']:.1f}",
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


def draw(results: dict, path: str | Path):
    """Draws the seconds of each program, and how few the machine's ceiling allows ours."""
    from matplotlib.figure import Figure

    from fcn_keras.figures.style import save_figure

    rows = [row for row in results["rows"] if "labels" in row][::-1]
    figure = Figure(figsize=(8, 0.8 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    colors = ["tab:orange" if row["name"].startswith("ours") else "tab:blue" for row in rows]
    bars = axes.barh([row["title"] for row in rows], [row["seconds"] for row in rows], color=colors)
    labels = [f"{row['seconds']:.2f} s" for row in rows]
    axes.bar_label(bars, labels, padding=4, bbox={"color": "white", "pad": 1})
    ours = next(row for row in rows if row["name"] == "ours")
    if ours["share"]:
        axes.axvline(ours["seconds"] * ours["share"], color="grey", linestyle="--", zorder=0)
    forward = results["forward"]
    size = "x".join(map(str, forward["size"]))
    axes.set_title(f"{forward['variant']}, width {forward['width']:g}, one image of {size}")
    axes.set_xlabel("seconds (dashed: ours at the speed of a matrix product)")
    axes.margins(x=0.18)
    save_figure(figure, path)
