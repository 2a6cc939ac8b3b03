"""Work in threads, a little ahead of who takes it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import Any


def ahead(
    pool: ThreadPool, function: Callable[[Any], Any], items: Iterable[Any], depth: int
) -> Iterator[Any]:
    """Maps `function` over `items` in order, up to `depth` of them in threads ahead of the caller.

    What is done is given as soon as one more is underway, however few these are.
    """
    pending: deque[AsyncResult] = deque()
    for item in items:
        pending.append(pool.apply_async(function, (item,)))
        if len(pending) > depth or pending[0].ready():
            yield pending.popleft().get()
    while pending:
        yield pending.popleft().get()
