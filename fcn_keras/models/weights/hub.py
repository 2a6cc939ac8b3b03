"""Networks on the Hugging Face hub, by addresses as Keras has them: hf://USER/NAME."""

from pathlib import Path
from typing import TypeGuard

from fcn_keras.errors import UserError, first_line

PREFIX = "hf://"

# What `keras.saving.load_model` reads of a repository, or of a folder.
KERAS_PARTS = ("config.json", "metadata.json", "model.weights.h5")

# What a repository may hold beside that, where somebody put a run there as it is.
RUN_PARTS = ("best.keras", "config.json")

NEEDED = 'needs huggingface_hub: pip install "fcn_keras[hub]".'


def is_hub_address(what: object) -> TypeGuard[str]:
    """Whether something is the address of a repository of the hub."""
    return isinstance(what, str) and what.startswith(PREFIX)


def repository_of(address: str) -> str:
    """Returns `USER/NAME` of an address.

    Raises:
        UserError: if it has another form.
    """
    repository = address.removeprefix(PREFIX)
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"{address}: must be {PREFIX}USER/NAME.")
    return repository


def is_keras_folder(folder: Path) -> bool:
    """Whether a folder holds a network as a `.keras` file does, unpacked."""
    return all((folder / name).is_file() for name in KERAS_PARTS)


def fetched(address: str) -> Path:
    """Returns the folder of a network of the hub; what changed there since is fetched.

    It lies in the cache of `huggingface_hub`, which serves without a network connection too.

    Args:
        address: `hf://USER/NAME`.

    Raises:
        UserError: if the hub cannot be reached, knows no such repository, or none with a network;
            or if the extra `hub` is not installed.

    Example:

    >>> keras.saving.load_model(fetched("hf://someone/roads-fcn8s"))
    """
    repository = repository_of(address)
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as error:
        raise UserError(f"{address}: {NEEDED}") from error
    try:
        # Nothing else: others may keep anything beside their network.
        parts = sorted({*KERAS_PARTS, *RUN_PARTS})
        folder = Path(snapshot_download(repository, allow_patterns=parts))
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{address}: the hub has no such repository for you. Check the name; if it is private "
            "or asks for consent, log in by `hf auth login`."
        ) from error
    except errors.HFValidationError as error:
        raise UserError(f"{address}: is no name of a repository ({first_line(error)}).") from error
    except errors.LocalEntryNotFoundError as error:
        raise UserError(
            f"{address}: the hub cannot be reached, and the network has not been fetched before "
            f"({first_line(error)})."
        ) from error
    # Whatever else the connection, the hub or the disk say: libraries below it raise errors of
    # their own.
    except Exception as error:
        raise UserError(f"{address}: could not be fetched ({first_line(error)}).") from error
    if not is_keras_folder(folder) and not (folder / "best.keras").is_file():
        raise UserError(
            f"{address}: holds no network as Keras keeps it: neither {', '.join(KERAS_PARTS)}, nor "
            "best.keras."
        )
    return folder


def network_in(folder: Path) -> Path:
    """Returns what of a folder `keras.saving.load_model` opens: the folder, or its best.keras."""
    return folder if is_keras_folder(folder) else folder / "best.keras"
