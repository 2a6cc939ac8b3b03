"""Files that appear whole or not at all."""

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fcn_keras.errors import UserError, WriteError

# What the disk refuses, whoever tells it: the system, or HDF5 and TensorFlow in words.
_REFUSALS = {
    os.strerror(number).lower(): number
    for number in (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES),
        *(errno.ENAMETOOLONG, errno.EILSEQ),
    )
}


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Says in one line that the disk refuses what is written meanwhile.

    Raises:
        WriteError: instead of what the system, HDF5 or TensorFlow raise then.
    """
    try:
        yield
    except (WriteError, UserError):
        raise
    except Exception as error:
        why = _refusal(error)
        if why is None:
            raise
        raise WriteError(
            f"{path}: could not be written: {why}. What was there before is whole; mend that, and "
            "give the same command again."
        ) from error


def _refusal(error):
    while error is not None:
        text = str(error).lower()
        for why, number in _REFUSALS.items():
            if why in text or f"errno = {number}," in text:
                return why
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Gives a path to write to, and moves what was written to `path` once it is complete.

    A reader sees the old file or the new one, never a part. If the writing fails, the old
    file stays.

    Args:
        path: where the file is to appear; its folder is made if need be.

    Yields:
        A path in the same folder, with the same suffixes.

    Raises:
        UserError: if there is a file where the folder should be.
        WriteError: if the disk refuses it.

    Example:

    >>> with written_whole("scores.json") as path:
    ...     path.write_text("{}")
    """
    path = Path(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{path.parent}: is not a folder.") from error
    aside = path.with_name(f".{os.getpid()}.{_not_too_long(path.name)}")
    try:
        with writing(path):
            yield aside
            os.replace(aside, path)
    finally:
        with suppress(OSError):
            aside.unlink()


@contextmanager
def folder_written_whole(path: str | Path) -> Iterator[Path]:
    """Gives a folder to write to, which becomes `path` once all is in it.

    If the writing fails, nothing of it stays.

    Args:
        path: where the folder is to appear; there must be nothing yet.

    Yields:
        An empty folder beside it.

    Raises:
        WriteError: if the disk refuses it.
    """
    path = Path(path)
    aside = path.with_name(f".{os.getpid()}.{_not_too_long(path.name)}")
    with writing(path):
        try:
            aside.mkdir(parents=True)
            yield aside
            aside.rename(path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _not_too_long(name):
    """A name to which something can be added, with the endings of another."""
    if len(os.fsencode(name)) < 220:
        return name
    endings = "".join(Path(name).suffixes[-2:])
    return hashlib.sha256(os.fsencode(name.removesuffix(endings))).hexdigest() + endings[-100:]


def remove_leftovers(folder: str | Path, idle: float = 0.0):
    """Deletes what processes that were killed while they wrote have left in a folder.

    Args:
        folder: a folder, with all that lie in it.
        idle: how many seconds ago they must have been written to, where other processes may be
            at work in it.
    """
    for path in Path(folder).rglob(".*"):
        if (
            re.match(r"\.\d+\.", path.name)
            and path.is_file()
            and time.time() - path.stat().st_mtime >= idle
        ):
            with suppress(PermissionError):  # on Windows, a file that another process has open
                path.unlink()
