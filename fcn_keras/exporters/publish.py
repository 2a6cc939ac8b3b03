"""Networks for others: in a folder, or on the hub, with all that is to be known of them."""

import json
import re
import shutil
import tempfile
from pathlib import Path

from fcn_keras.data.files.readers import AsStored
from fcn_keras.errors import UserError, first_line
from fcn_keras.exporters.model_card import FIGURES, Published, model_card
from fcn_keras.inference.network import Network, load_network
from fcn_keras.inference.run_folder import local_folder, network_file, places_of
from fcn_keras.models.variants import OWN_CHANNELS
from fcn_keras.models.weights.hub import NEEDED, is_hub_address, repository_of
from fcn_keras.system.files import folder_written_whole


def publish(
    source: str | Path,
    target: str | Path,
    license: str | None = None,
    private: bool = False,
    samples: bool = True,
) -> str:
    """Publishes a network with its classes and colours, its scores and a card.

    What is written is what Keras' own `hf://` reads, so that `keras.saving.load_model` opens it
    too. Of the run's settings those are left out that are paths.

    Args:
        source: a run directory or a `.keras` file.
        target: `hf://USER/NAME`, a repository of the hub, which is made if need be; or a folder
            that is not there yet.
        license: under what terms the network may be used, as the hub calls them: "apache-2.0".
        private: whether a repository of the hub is for its owner alone.
        samples: whether the card shows images of the validation split.

    Returns:
        A line that says what was written, and where it is.

    Raises:
        UserError: if there is no such network, if the target is there already, or if the hub
            refuses it.

    Example:

    >>> publish("runs/roads-fcn8s", "hf://someone/roads-fcn8s", license="cc-by-4.0")
    """
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        raise UserError(
            "--license: must be a name as the hub has it, such as apache-2.0, mit, cc-by-4.0 or "
            f"other. Received: {license!r}."
        )
    source = local_folder(source)
    if is_hub_address(target):
        return _upload(source, target, license, private, samples)
    if private:
        raise UserError("--private: is for hf://USER/NAME.")
    target = Path(target)
    if target.exists():
        raise UserError(f"{target}: exists already.")
    network = load_network(source)
    with folder_written_whole(target) as folder:
        _write(network, source, folder, target.resolve().name, license, samples)
    return f"{network.full.name} in {target}"


def _upload(source, address, license, private, samples):
    repository = repository_of(address)
    try:
        from huggingface_hub import HfApi, errors
    except ImportError as error:
        raise UserError(f"{address}: {NEEDED}") from error
    network = load_network(source)
    hub = HfApi(library_name="fcn_keras")
    with tempfile.TemporaryDirectory(prefix="fcn-keras-publish-") as folder:
        _write(network, source, Path(folder), address, license, samples)
        try:
            hub.create_repo(repository, private=private or None, exist_ok=True)
            if private and not hub.repo_info(repository).private:
                raise UserError(f"{address}: is there already, and public. Leave --private out.")
            message = f"{network.full.name} from fcn_keras"
            hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
        except errors.HFValidationError as error:
            raise UserError(
                f"{address}: is no name of a repository ({first_line(error)})."
            ) from error
        except UserError:
            raise
        # Whatever the connection and the hub say, which wants to know who it is.
        except Exception as error:
            raise UserError(
                f"{address}: the hub did not take it ({first_line(error)}). Log in by `hf auth "
                "login`, with a token that may write there."
            ) from error
    return f"{network.full.name} in {address}"


def _write(network, source, folder, address, license, samples):
    """Writes all files of a published network into an empty folder."""
    # Of a relative path Keras would lay assets, of which these networks have none, somewhere else.
    network.full.save(folder.resolve(), zipped=False)
    (folder / "assets").rmdir()
    config = cleaned(network.config)
    keras_config = json.loads((folder / "config.json").read_text("utf-8"))
    # Keras looks at its own keys alone, and this package at those of a run.
    _write_json(folder / "config.json", keras_config | config)
    origin = network_file(source)
    run = origin if origin.is_dir() else origin.parent
    # Scores and figures are those of the run's best network.
    is_best = bool(config) and (origin.is_dir() or origin.name == "best.keras")
    metrics = _copied_metrics(run, folder) if is_best else None
    figures = _copied_figures(run, folder, samples) if is_best else []
    card = model_card(
        Published(
            address=address,
            classes=_classes(network),
            colors=network.colors,
            parameters=network.full.count_params(),
            images=_images(network),
            config=config,
            metrics=metrics,
            figures=figures,
            license=license,
        )
    )
    (folder / "README.md").write_text(card, "utf-8")


def cleaned(config: dict) -> dict:
    """Returns what a run's `config.json` tells of it, without paths of the machine it was made on.

    A data set that is a folder is known by its name alone; of files there are their names.
    """
    if not config:
        return {}
    settings = dict(config["settings"])
    for name, paths in places_of(settings).items():
        names = (re.split(r"[/\\]", path)[-1] for path in paths)
        settings[name] = None if name == "dataset" else ",".join(names)
    kept = ("dataset", "versions", "git_commit")
    return {"settings": settings, **{name: config[name] for name in kept if name in config}}


def _classes(network: Network) -> dict[str, list[str]]:
    heads = network.config.get("dataset", {}).get("heads", {})
    if not network.heads or not heads:
        return {"": network.classes}
    return {head: heads[head] for head in network.heads}


def _images(network):
    of = f"images of {network.full.input_shape[-1]} channels"
    if isinstance(network.images, AsStored):
        return f"{of} with their numbers as stored ({network.images.dtype})"
    variant = network.config.get("settings", {}).get("variant")
    return of if variant in OWN_CHANNELS else "RGB images, 0..255,"


def _copied_metrics(run, folder):
    file = run / "metrics.json"
    if not file.is_file():
        return None
    shutil.copyfile(file, folder / file.name)
    return json.loads(file.read_text("utf-8"))


def _copied_figures(run, folder, samples):
    names = [name for name in FIGURES if samples or name != "samples"]
    files = [run / "report" / f"{name}.png" for name in names]
    files = [file for file in files if file.is_file()]
    if files:
        (folder / "report").mkdir()
    for file in files:
        shutil.copyfile(file, folder / "report" / file.name)
    return [file.stem for file in files]


def _write_json(path, content):
    path.write_text(json.dumps(content), "utf-8")
