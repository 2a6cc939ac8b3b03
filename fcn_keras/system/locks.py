"""Folders that one process at a time works in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


@contextmanager
def locked(folder: str | Path, wait: bool = True) -> Iterator[None]:
    """Keeps other processes from locking a folder meanwhile.

    The system unlocks it however the process ends.

    Args:
        folder: a folder, which is there.
        wait: whether to wait for a process that has locked it.

    Raises:
        BlockingIOError: if another process has locked it, and is not waited for.
    """
    lock = _lock_folder if filelock.has_fcntl else _lock_file_beside
    with lock(Path(folder), wait):
        yield


@contextmanager
def _lock_folder(folder, wait):
    """The folder itself is locked: no file stays behind."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        if not filelock.lock_descriptor(opened, blocking=wait):
            raise BlockingIOError(f"{folder} is locked.")
        yield
    finally:
        os.close(opened)


@contextmanager
def _lock_file_beside(folder, wait):
    """Windows locks files alone, and does not rename a folder in which one is open.

    The file is deleted afterwards. One that a killed process has left locks nothing.
    """
    folder = folder.resolve()
    lock = filelock.FileLock(folder.parent / f"{folder.name}.lock", blocking=wait)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BlockingIOError(f"{folder} is locked.") from error
    try:
        yield
    finally:
        lock.release()
