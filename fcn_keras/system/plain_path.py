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


def plain_path(path: str | Path) -> str:
    """Returns a path for TensorFlow, which finds nothing where a name has brackets in it.

    Args:
        path: where something lies, or is to lie.

    Returns:
        The path itself; or, if TensorFlow does not take it as it is, one that leads to the same
        place through a link in a temporary folder of this process.
    """
    parts = Path(path).parts
    upto = max((i for i, part in enumerate(parts, 1) if _SPECIAL.search(part)), default=0)
    if not upto:
        return str(path)
    target = Path(*parts[:upto]).absolute()
    link = _links(os.getpid()) / hashlib.sha256(os.fsencode(target)).hexdigest()[:16]
    if not link.is_symlink():
        link.symlink_to(target)
    return str(link.joinpath(*parts[upto:]))


@cache
def _links(process):
    """A folder for links, which goes with the process that asked for it."""
    # Batch systems call temporary folders by the number of a job in brackets.
    place = "/tmp" if _SPECIAL.search(tempfile.gettempdir()) else None
    folder = tempfile.mkdtemp(prefix="fcn-keras-", dir=place)
    atexit.register(lambda: process == os.getpid() and shutil.rmtree(folder, ignore_errors=True))
    return Path(folder)
