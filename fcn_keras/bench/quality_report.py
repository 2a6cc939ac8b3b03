"""What `fcn_keras.bench.quality` found: a table in a document, JSON and a figure beside it."""

import json
from pathlib import Path

from fcn_keras.bench.document import read_document, write_document
from fcn_keras.bench.peers.programs import OURS, SMP
from fcn_keras.bench.quality import Quality, bench_quality, results
from fcn_keras.bench.results import conditions, markdown
from fcn_keras.system.files import written_whole
from fcn_keras.system.versions import versions

TITLES = {OURS: "fcn_keras", **{name: f"smp's {title}" for name, title in SMP.items()}}

PART = "quality"  # of a document; and the name of the files beside it


def quality_report(path: str | Path, asked: Quality, folder: str | Path | None = None) -> dict:
    """Trains, and writes down how scores rose with the seconds.

    Args:
        path: the document, ends in `.md`. In one that exists, the lines between
            `<!-- bench quality -->` and `<!-- end -->` are replaced. `quality.json` and
            `quality.png` appear beside it.
        asked: what to train.
        folder: see `fcn_keras.bench.quality.bench_quality`; a folder beside the document, with
            `-runs` behind its name, if not given.

    Returns:
        What the JSON holds.

    Raises:
        UserError: if the document has no place for the table, or something cannot be trained.
    """
    path = Path(path)
    read_document(path, "Time to quality", [PART])
    found = results(asked, bench_quality(asked, folder or path.with_name(f"{path.stem}-runs")))
    report = conditions() | found
    report["versions"] = versions("torch", "segmentation_models_pytorch")
    draw(found, path.with_name(f"{PART}.png"))
    with written_whole(path.with_name(f"{PART}.json")) as aside:
        aside.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    # Someone may have written something else in it meanwhile.
    text = read_document(path, "Time to quality", [PART])
    write_document(path, text, {PART: table(found)})
    return report


def table(results: dict) -> str:
    """Returns `results` as a table in Markdown, with the ratio below."""
    asked, lines = results["asked"], []
    for method in asked["methods"]:
        own = [row for row in results["trainings"] if row["method"] == method]
        for row in own:
            lines.append(
                [
                    TITLES[method],
                    str(row["seed"]),
                    _seconds(row["seconds_to_target"]),
                    f"{row['best_mean_iu']:.3f}",
                    f"{row['seconds']:.0f}",
                    str(row["epochs"]),
                ]
            )
        median = results["medians"][method]
        if len(own) > 1:
            lines.append(
                [
                    f"**{TITLES[method]}**",
                    "median",
                    f"**{_seconds(median['seconds_to_target'])}**",
                    f"**{median['best_mean_iu']:.3f}**",
                ]
            )
    titles = ("", "seed", f"s to mean IU {asked['target']:g}", "best mean IU", "s in all", "epochs")
    text = markdown(titles, lines)
    if results["ratio"] is not None:
        text += (
            f"\n\nSeconds to a mean IU of {asked['target']:g}, medians, ours over the better "
            f"peer's: {results['ratio']:.2f}"
        )
    return text


def _seconds(value):
    return "not reached" if value is None else f"{value:.0f}"


def draw(results: dict, path: str | Path) -> None:
    """Draws the validation scores by the seconds of training."""
    from fcn_keras.figures.quality import quality_figure
    from fcn_keras.figures.style import save_figure

    asked = results["asked"]
    courses = {
        TITLES[method]: [row["points"] for row in results["trainings"] if row["method"] == method]
        for method in asked["methods"]
    }
    name = Path(asked["dataset"]).name
    save_figure(quality_figure(courses, asked["target"], f"{name}, a line for each seed"), path)
