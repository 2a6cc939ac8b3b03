"""Times functions in turns, so that what slows the machine down slows all of them down."""

import statistics
import time
from collections.abc import Callable


def in_turns(functions: list[Callable[[], object]], rounds: int) -> list[tuple[float, float]]:
    """Returns for each function the median of its seconds, and of its share of the first one's.

    Args:
        functions: each waits for what it computes. They run once before.
        rounds: how often each runs.
    """
    seconds = []
    for number in range(rounds + 1):
        taken = []
        for function in functions:
            started = time.perf_counter()
            function()
            taken.append(time.perf_counter() - started)
        if number:
            seconds.append(taken)
    shares = [[each / taken[0] for each in taken] for taken in seconds]
    return [
        (statistics.median(one), statistics.median(share))
        for one, share in zip(zip(*seconds, strict=True), zip(*shares, strict=True), strict=True)
    ]
