"""How far long work has come, and how long it will take."""

import sys

from tqdm import tqdm


def progress_bar(what: str, total: int | None, unit: str = "image", **options) -> tqdm:
    """Makes a `tqdm` bar on standard error: done, rate, time left.

    Args:
        what: the work, as the bar calls it.
        total: how many units it has; None where nobody knows.
        unit: what is counted.
        **options: of `tqdm`.
    """
    return tqdm(
        desc=what,
        total=total,
        unit=unit,
        # In a file every refresh is a line more; on a terminal it overwrites the one before.
        mininterval=0.2 if sys.stderr.isatty() else 15,
        dynamic_ncols=True,
        **options,
    )
