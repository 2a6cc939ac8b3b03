"""The networks that the paper's authors published, by name."""

import hashlib
import os
from pathlib import Path
from typing import TypeGuard

from fcn_keras.errors import UserError, first_line

ADDRESS = "http://dl.caffe.berkeleyvision.org/{}.caffemodel"

# What can be fetched, since it is known what it must be: the variant, and the file's SHA-1.
FETCHED = {"fcn8s-heavy-pascal": ("fcn8s", "c449ea74dd7d83751d1357d6a8c323fcf4038962")}

# What lies at the same address, and whose hashes nobody has published.
OTHERS = (
    *("fcn32s-heavy-pascal", "fcn16s-heavy-pascal", "fcn8s-atonce-pascal", "fcn-alexnet-pascal"),
    *("nyud-fcn32s-color-heavy", "nyud-fcn32s-hha-heavy", "nyud-fcn32s-color-hha-heavy"),
    *("siftflow-fcn32s-heavy", "siftflow-fcn16s-heavy", "siftflow-fcn8s-heavy"),
    *("pascalcontext-fcn32s-heavy", "pascalcontext-fcn16s-heavy", "pascalcontext-fcn8s-heavy"),
)


def is_published_name(weights: object) -> TypeGuard[str]:
    """Whether weights are given by the name of one of these networks."""
    return isinstance(weights, str) and (weights in FETCHED or weights in OTHERS)


def fetch_published(name: str, variant: str | None = None) -> Path:
    """Returns the `.caffemodel` file of a published network, fetched by Keras the first time.

    It is read without being converted first: it is mapped into memory.

    Args:
        name: the name of a network, as its file has it.
        variant: which network it is wanted for, see `fcn_keras.build`; any if not
            given.

    Raises:
        UserError: if it is another network, if it cannot be fetched, or if it is one of those that
            are not, as no hash tells whether what came is what was published; says what to do.

    Example:

    >>> fetch_published("fcn8s-heavy-pascal", "fcn8s").name
    'fcn8s-heavy-pascal.caffemodel'
    """
    # The names are known without it, on the command line.
    import keras

    address = ADDRESS.format(name)
    if name not in FETCHED:
        raise UserError(
            f"{name}: is not fetched, as no hash of it is known. Download {address} and give the "
            "path of that file as the weights."
        )
    whose, sha1 = FETCHED[name]
    if variant not in (None, whose):
        raise UserError(f"{name}: is a network {whose}. Received: {variant}.")
    try:
        file = Path(keras.utils.get_file(f"{name}.caffemodel", address, cache_subdir="models"))
    # get_file wraps every failure of the network in a bare Exception.
    except Exception as error:
        home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
        raise UserError(
            f"{name}: could not be fetched ({first_line(error)}). Download {address} (sha1 {sha1}) "
            f"on a machine with network access and put it at {home / 'models'}, or give its path "
            "as the weights."
        ) from error
    with open(file, "rb") as opened:
        found = hashlib.file_digest(opened, "sha1").hexdigest()
    if found != sha1:
        file.unlink()
        raise UserError(
            f"{name}: what {address} gave is not what was published (sha1 {found}, not {sha1}). It "
            "has been deleted; try again, or give the path of the right file as the weights."
        )
    return file
