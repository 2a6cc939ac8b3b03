"""What a run directory tells of its network."""

import json
from pathlib import Path

from fcn_keras.errors import UserError
from fcn_keras.inference.classes import numbered_classes


def read_config(folder: str | Path) -> dict | None:
    """Returns what `config.json` in a run directory says; None if that is no run's."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text())
        parts = [config["settings"], config["dataset"], config["dataset"]["classes"]]
    # There is none, or another program's, many of which have a file of this name.
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return config if [type(part) for part in parts] == [dict, dict, list] else None


def network_file(path: str | Path, others: str = "or a .keras file") -> Path:
    """Returns the `.keras` file that a path stands for: a run's best one, or itself.

    Args:
        path: a run directory or a `.keras` file.
        others: what else than a run directory may be given, for the message.

    Raises:
        UserError: if there is none.
    """
    path = Path(path)
    file = path / "best.keras" if path.is_dir() else path
    if not file.is_file() or file.suffix != ".keras":
        raise UserError(
            f"{path}: must be a run directory with a best.keras in it, {others}."
            + ("" if path.exists() else " There is nothing of that name.")
        )
    return file


def config_of(path: str | Path) -> dict:
    """Returns the `config.json` of the run that a network lies in; an empty one if in none.

    Args:
        path: a run directory or a `.keras` file.

    Raises:
        UserError: if there is no network, or if a run directory has another program's file.
    """
    path = Path(path)
    config = read_config(network_file(path).parent)
    if config is None and path.is_dir() and (path / "config.json").exists():
        raise UserError(f"{path / 'config.json'}: is not the config.json of a run.")
    return config or {}


def classes_of(config: dict, num_classes: int) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Returns what a run's configuration calls the classes of a network, and their colours.

    Those of a network that has another number of classes are numbers, see `numbered_classes`.
    """
    dataset = config.get("dataset", {})
    if len(dataset.get("classes", ())) != num_classes:
        return numbered_classes(num_classes)
    return list(dataset["classes"]), [tuple(color) for color in dataset["colors"]]
