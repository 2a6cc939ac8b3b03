"""The card of a published network: what the hub shows of it, and tells programs."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fcn_keras.evaluation.scores import MACRO, OF_CLASSES, SCORES, SHOWN
from fcn_keras.system.spelling import shown_name

# The settings that say most of a training; all of them are in config.json.
_SETTINGS = (
    *("variant", "backbone", "width", "geometry", "upsampling", "weights", "init_from", "recipe"),
    *("loss", "optimizer", "learning_rate", "epochs", "batch_size", "crop_size", "seed"),
)

# What each figure of a report shows.
FIGURES = {
    "samples": "Images of the validation split: truth, prediction and errors",
    "per_class_iu": "Scores of each class",
    "confusion": "Confusion matrix",
    "curves": "Losses and scores by epoch",
}

_CITATION = """```bibtex
@inproceedings{long2015fully,
  title={Fully Convolutional Networks for Semantic Segmentation},
  author={Long, Jonathan and Shelhamer, Evan and Darrell, Trevor},
  booktitle={CVPR},
  year={2015}
}
```"""

_LIMITS = (
    "It gives every pixel one of the classes above. What is none of them is taken for one of them "
    "too, and what is unlike the training images (other places, cameras, weather, scales) may be "
    "labelled wrongly without any sign of it. Score it on labelled images of your own before you "
    "rely on it, and let nothing depend on it alone that could harm somebody."
)


class Published(NamedTuple):
    """What a card tells of.

    Attributes:
        address: where the network is to be found: `hf://USER/NAME`, or the name of a folder.
        classes: for each label map, by its name, what its classes are called; the only one may be
            called "".
        colors: RGB triples of the classes of the first label map.
        parameters: how many numbers the network has.
        images: the images that it takes, in words.
        config: `config.json` of its run; empty where it lies in none.
        metrics: `metrics.json`; None where there is none.
        figures: which of `FIGURES` are in `report/`.
        license: under what terms it may be used, as the hub calls them; None where that was not
            said.
    """

    address: str
    classes: Mapping[str, Sequence[str]]
    colors: Sequence[Sequence[int]]
    parameters: int
    images: str
    config: dict[str, Any]
    metrics: dict[str, Any] | None
    figures: Sequence[str]
    license: str | None


def model_card(network: Published) -> str:
    """Returns the text of README.md: Markdown behind a head in YAML, as the hub reads it."""
    sections = {
        "Classes": _classes(network),
        "Scores": _scores(network),
        "Use": _use(network),
        "Training": _training(network),
        "Intended use and limits": f"To label photographs such as it was trained on. {_LIMITS}",
        "Licence": f"`{network.license}`" if network.license else "None was given.",
        "Citation": _CITATION,
    }
    name = network.address.rpartition("/")[2]
    parts = [_head(network), f"# {shown_name(name)}", _summary(network), *_figures(network)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def _head(network):
    # JSON is YAML, whatever stands in a name.
    settings = network.config.get("settings", {})
    tags = ["semantic-segmentation", "fcn"]
    tags += [settings[name] for name in ("variant", "backbone") if settings.get(name)]
    head = {
        "library_name": "keras",
        "pipeline_tag": "image-segmentation",
        **({"license": network.license} if network.license else {}),
        "tags": tags,
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in head.items()]
    return "\n".join(["---", *lines, "---"])


def _summary(network):
    settings, dataset = (network.config.get(name, {}) for name in ("settings", "dataset"))
    kind = settings.get("variant", "A fully convolutional network")
    on = f" on {settings['backbone']}" if settings.get("backbone") else ""
    trained = f", trained on {_cell(dataset['name'])}" if dataset.get("name") else ""
    count = " and ".join(str(len(names)) for names in network.classes.values())
    return (
        f"{_cell(kind)}{on} for semantic segmentation into {count} classes{trained}: "
        f"{network.parameters:,} parameters. It takes {network.images} of any size and returns "
        "scores of each class at each pixel. Made with fcn_keras."
    )


def _figures(network):
    return [f"![{FIGURES[name]}](report/{name}.png)" for name in network.figures]


def _classes(network):
    tables = []
    for number, (head, names) in enumerate(network.classes.items()):
        colors = [f"`#{r:02x}{g:02x}{b:02x}`" for r, g, b in network.colors] if not number else ()
        rows = [(i, name, colors[i] if i < len(colors) else "") for i, name in enumerate(names)]
        tables.append(_titled(head, _table(("id", "class", "colour"), rows)))
    return "\n\n".join(tables)


def _scores(network):
    if not network.metrics:
        return "None: the network was published without `metrics.json`."
    heads = network.metrics.get("heads", {"": network.metrics})
    dataset = network.config.get("settings", {}).get("dataset") or "DIR"
    where = " (DIR is the folder of the data set)" if dataset == "DIR" else ""
    command = f"python -m fcn_keras evaluate {network.address} --dataset {shlex.quote(dataset)}"
    tables = [_titled(head, _score_tables(scores)) for head, scores in heads.items()]
    share = network.config.get("settings", {}).get("val_share")
    chosen = f", of which `--val-share {share}` was kept for it" if share else ""
    return "\n\n".join(
        [
            f"In percent, on the validation split{chosen}, by which the best epoch was chosen; "
            f"`metrics.json` has the confusion matrix too. This command gives them{where}:",
            f"```bash\n{command}\n```",
            *tables,
        ]
    )


def _score_tables(scores):
    of_all = [
        (name.replace("_", " "), _percent(scores[name]))
        for name in (*SCORES, *MACRO)
        if name in scores
    ]
    columns = [name for name in ("iu", *OF_CLASSES) if f"per_class_{name}" in scores]
    of_each = [
        (name, *(_percent(scores[f"per_class_{column}"][name]) for column in columns))
        for name in scores["per_class_iu"]
    ]
    titles = ("class", *(SHOWN.get(name, name) for name in columns))
    return f"{_table(('score', '%'), of_all)}\n\n{_table(titles, of_each)}"


def _use(network):
    return f"""With the package fcn_keras and its extra `hub`, on the command line:

```bash
python -m fcn_keras predict {network.address} photo.jpg --output labelled
```

With Keras alone, and `huggingface_hub` where the address begins with `hf://`:

```python
import keras

model = keras.saving.load_model("{network.address}")
scores = model(images)  # (N, H, W, channels) -> logits (N, H, W, classes)
class_ids = keras.ops.argmax(scores, axis=-1)
```

Nothing is to be resized, scaled or reordered before. Names and colours of the classes are in
`config.json`, under `dataset`."""


def _training(network):
    settings, dataset = (network.config.get(name, {}) for name in ("settings", "dataset"))
    rows = [
        (name, "x".join(map(str, value)) if isinstance(value, list) else value)
        for name in _SETTINGS
        if (value := settings.get(name)) not in (None, "")
    ]
    counts = dataset.get("images", {})
    images = ", ".join(f"{count} {split}" for split, count in counts.items())
    versions = network.config.get("versions", {})
    made = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    parts = [
        f"Images: {images}." if images else "",
        _table(("setting", "value"), rows) if rows else "",
    ]
    return "\n\n".join(filter(None, [*parts, f"Versions: {made}." if made else ""]))


def _titled(head, text):
    return f"### {_cell(head)}\n\n{text}" if head else text


def _table(titles: Iterable, rows: Iterable[Iterable]) -> str:
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in (titles, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(tuple(titles)), *lines[1:]])


def _percent(value):
    return "absent" if value is None else f"{100 * value:.1f}"


def _cell(value):
    """A value in one line that Markdown takes for nothing but text."""
    text = shown_name(str(value))
    if text.startswith("`#"):
        return text
    for sign in "\\|`*<>[]":
        text = text.replace(sign, f"\\{sign}")
    return text
