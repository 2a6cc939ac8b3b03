"""Paths that TensorFlow takes as they are."""

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

# What TensorFlow takes for a pattern where it reads; and bytes that are no UTF-8, or, in a process
# whose locale is ASCII, all that are no ASCII.
_SPECIAL = re.compile(r"[*?\[\\\ud800-\udfff]")

NO_PRIVILEGE = 1314  # what Windows says to those whom it does not let make links


def plain_path(path: str | Path) -> str:
    """Returns a path for TensorFlow, which finds nothing where a name has brackets in it.

    Args:
        path: where something lies, or is to lie.

    Returns:
        The path itself; or, if TensorFlow does not take it as it is, one that leads to the same
        place through a link in a temporary folder of this process, where it may make one.
    """
    parts = Path(path).parts
    upto = _special_parts(Path(path))
    if not upto:
        return str(path)
    target = Path(*parts[:upto]).absolute()
    link = _links(os.getpid()) / hashlib.sha256(os.fsencode(target)).hexdigest()[:16]
    if not link.is_symlink():
        try:
            link.symlink_to(target)
        except OSError as error:
            if getattr(error, "winerror", None) != NO_PRIVILEGE:
                raise
            return str(path)
    return str(link.joinpath(*parts[upto:]))


def _special_parts(path):
    """How many parts a path has up to the last that TensorFlow does not take."""
    begins = bool(path.anchor)  # on Windows, by "C:\\", which is not meant
    names = enumerate(path.parts[begins:], 1 + begins)
    return max((i for i, name in names if _SPECIAL.search(name)), default=0)


@cache
def _links(process):
    """A folder for links, which goes with the process that asked for it."""
    # Batch systems call temporary folders by the number of a job in brackets.
    special = _special_parts(Path(tempfile.gettempdir())) and os.path.isdir("/tmp")
    folder = tempfile.mkdtemp(prefix="fcn-keras-", dir="/tmp" if special else None)
    atexit.register(lambda: process == os.getpid() and shutil.rmtree(folder, ignore_errors=True))
    return Path(folder)
