"""What a run directory tells of its network."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcn_keras.data.catalog import is_path
from fcn_keras.data.files.text import read_text
from fcn_keras.errors import UserError
from fcn_keras.inference.classes import numbered_classes
from fcn_keras.models.variants import COLOR_HHA
from fcn_keras.models.weights.hub import fetched, is_hub_address, network_in
from fcn_keras.models.weights.reference import is_published_name
from fcn_keras.system.spelling import same_path, spelled_as_found, split_paths

# The settings that may be paths.
PATHS = ("dataset", "init_from", "weights")


def read_config(folder: str | Path) -> dict | None:
    """Returns what `config.json` in a run directory says; None if that is no run's."""
    try:
        config = json.loads(read_text(Path(folder) / "config.json"))
        parts = [config["settings"], config["dataset"], config["dataset"]["classes"]]
    # There is none, or another program's, many of which have a file of this name.
    except (ValueError, KeyError, TypeError):
        return None
    return config if [type(part) for part in parts] == [dict, dict, list] else None


def local_folder(what: str | Path) -> Path:
    """Returns a path as it is; of an address of the hub, the folder that was fetched from there.

    Raises:
        UserError: if it cannot be fetched, see `fcn_keras.models.weights.hub.fetched`.
    """
    return fetched(what) if is_hub_address(what) else Path(what)


def network_file(path: str | Path, others: str = "or a .keras file") -> Path:
    """Returns what holds the network that a path stands for.

    It is a run's best `.keras` file, or the file itself; or a folder that `publish` wrote, which
    holds the parts of such a file, as Keras' `hf://` has them.

    Args:
        path: a run directory, such a folder or a `.keras` file.
        others: what else than a run directory may be given, for the message.

    Raises:
        UserError: if there is none.
    """
    path = Path(path)
    file = network_in(path) if path.is_dir() else path
    if not file.is_dir() and not (file.is_file() and file.suffix == ".keras"):
        raise UserError(
            f"{path}: must be a run directory with a best.keras in it, {others}."
            + ("" if path.exists() else " There is nothing of that name.")
        )
    return file


def config_of(path: str | Path) -> dict:
    """Returns the `config.json` of the run that a network lies in; an empty one if in none.

    That of a published network begins with what Keras keeps there of how it is built.

    Args:
        path: a run directory, a `.keras` file, or an address of the hub.

    Raises:
        UserError: if there is no network, or if a run directory has another program's file.
    """
    path = local_folder(path)
    file = network_file(path)
    config = read_config(file if file.is_dir() else file.parent)
    # Keras' own, where no run is told of, is none's fault.
    if config is None and path.is_dir() and file != path and (path / "config.json").exists():
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


def dataset_of(config: dict) -> str | None:
    """Returns what `fcn_keras.data.registry.load_dataset` opens as the data set of a run.

    A folder is looked for where it lay when the run began, and then by the path that was given,
    which is right where it has moved together with the run.

    Args:
        config: what `config_of` returned; None is returned if it tells no data set.

    Raises:
        UserError: if it was a folder, which is not there any more.
    """
    settings = config.get("settings", {})
    name = settings.get("dataset")
    paths = _paths_in(settings, "dataset")
    if not paths:
        return name
    places = [*config.get("paths", {}).get("dataset", ()), *paths]
    for place in map(spelled_as_found, places):
        if os.path.isdir(place):
            return place
    raise UserError(
        f"{places[0]}: the folder of the run's data set is not there any more. Say with --dataset "
        "where it is now."
    )


def places_of(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns where the settings lead that are paths, as `config.json` keeps it: absolute paths."""
    places = {name: _paths_in(settings, name) for name in PATHS}
    return {name: [*map(os.path.abspath, paths)] for name, paths in places.items() if paths}


def leads_to_same(config: dict, settings: Mapping[str, Any], name: str) -> bool:
    """Whether a setting is a path, and leads to where it led a run.

    Args:
        config: the run's `config.json`.
        settings: settings of now.
        name: which one.
    """
    if name not in PATHS:
        return False
    now, before = _paths_in(settings, name), _paths_in(config["settings"], name)
    kept = config.get("paths", {}).get(name, ())
    if kept and all(os.path.exists(spelled_as_found(path)) for path in kept):
        before = kept
    return bool(now) and len(before) == len(now) and all(map(same_path, before, now))


def _paths_in(settings, name):
    """The paths in a setting; none where it is a name."""
    value = settings.get(name)
    if not value or not isinstance(value, str):
        return []
    if name == "dataset":
        return [value] if is_path(value) else []
    if name == "weights":
        named = value in ("imagenet", "none") or is_published_name(value) or is_hub_address(value)
        return [] if named else [value]
    paths = split_paths(value, 2 if settings.get("variant") == COLOR_HHA else 1)
    return [path for path in paths if not is_hub_address(path)]
