"""The next item while the last one is in use: reading and augmenting beside the training step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Yield `items`, made by one thread, up to `depth` of them before they are asked for.

    The thread makes them in their order, so random numbers are drawn as without it; what it raises
    is raised here. It ends with the iterator, also when that is given up early.
    """
    iterator: Iterator[Any] = iter(items)
    end: Any = object()
    thread = ThreadPoolExecutor(1, "prefetch")
    made = deque(thread.submit(next, iterator, end) for _ in range(depth))
    try:
        while (item := made.popleft().result()) is not end:
            made.append(thread.submit(next, iterator, end))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
