"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Gives a path to write to, and moves what was written to `path` once it is complete.

    A reader sees the old file or the new one, never a part. If the writing fails, the old
    file stays.

    Args:
        path: where the file is to appear; its folder is made if need be.

    Yields:
        A path in the same folder, with the same suffixes.

    Example:

    >>> with written_whole("scores.json") as path:
    ...     path.write_text("{}")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
