"""The next item while the last one is in use: reading and augmenting beside the training step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Yield `items`, made by one thread, up to `depth` of them before they are asked for.

    The thread makes them in their order, so random numbers are drawn as without it; what it raises
    is raised here. It ends with the iterator, also when that is given up early.
    """
    made: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(depth)
    given_up = threading.Event()

    def put(more: bool, item: T | BaseException | None) -> bool:
        while not given_up.is_set():
            try:
                made.put((more, item), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(True, item):
                    return
            put(False, None)
        except BaseException as error:
            put(False, error)

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            more, item = made.get()
            if more:
                yield item  # type: ignore[misc]
            elif isinstance(item, BaseException):
                raise item
            else:
                return
    finally:
        given_up.set()
        thread.join()
