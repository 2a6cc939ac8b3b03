"""Many files read at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fcn_keras.system.progress import progress_bar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    what: str,
    unit: str = "image",
    progress: bool = True,
) -> Iterator[Result]:
    """Calls a function for each of many items, in threads; yields the results in their order.

    Args:
        function: what to call.
        items: what to call it with.
        what: the work, as the progress bar calls it.
        unit: what an item is, in the bar.
        progress: whether to show a bar where it takes more than two seconds.
    """
    with ThreadPoolExecutor() as pool:
        results = pool.map(function, items)
        yield from progress_bar(
            what, len(items), unit, iterable=results, disable=not progress, delay=2
        )
