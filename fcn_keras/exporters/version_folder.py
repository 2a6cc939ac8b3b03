"""The numbered folders that TensorFlow Serving watches: complete or absent."""

import fcntl
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

from fcn_keras.errors import UserError

# Folders in the making. TensorFlow Serving looks at numbered ones only.
_PARTIAL = ".export-"


def check_target(output: str | Path, version: int | None = None) -> Path:
    """Returns the folder that an export would make, see `export`.

    Raises:
        UserError: if it exists, or cannot be made.
    """
    output = Path(output)
    for path in (output, *output.parents):
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: is not a folder.")
    if version is None:
        names = [path.name for path in output.iterdir()] if output.is_dir() else []
        numbers = [int(name) for name in names if name.isascii() and name.isdecimal()]
        version = max(numbers, default=0) + 1
    if not 0 < version < 1 << 63:
        raise UserError(
            f"--version: must be a number from 1 up to {(1 << 63) - 1}, the highest that "
            f"TensorFlow Serving knows. Received: {version}."
        )
    target = output / str(version)
    if target.exists():
        raise UserError(
            f"{target}: exists already. Leave --version out for one above the highest, or choose "
            "another."
        )
    return target


@contextmanager
def partial_folder(output):
    """Gives a new folder in `output`, which is gone afterwards if it still has its name."""
    aside = output / f"{_PARTIAL}{uuid.uuid4().hex[:12]}"
    with locked(output):
        for path in output.glob(f"{_PARTIAL}*"):
            # One that its process writes to is locked, as long as that lives.
            with suppress(OSError), locked(path, fcntl.LOCK_NB):
                shutil.rmtree(path)
        aside.mkdir()
        held = os.open(aside, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        os.close(held)


@contextmanager
def locked(folder, flags=0):
    """Keeps other processes from locking a folder meanwhile; waits for those that have."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(lock)
