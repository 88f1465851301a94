"""A process beside this one, for what does not wait for its results: the second of two cores."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

WORTH_IT = 10_000  # steps of recordings: below, starting a process, half a second, takes longer


class Here(Executor):
    """Runs what is submitted at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def end_with_parent() -> None:
    """End this process when the one that started it does: killed, that tells nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def second_process(steps: int) -> Iterator[Executor]:
    """An executor of one process, started anew without this one's modules; `Here` for few steps.

    steps: that are simulated, all recordings together. What is submitted has to be known by its module.
    """
    if steps < WORTH_IT:
        yield Here()
        return
    spawn = multiprocessing.get_context("spawn")
    elsewhere = ProcessPoolExecutor(1, spawn, initializer=end_with_parent)
    try:
        yield elsewhere
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # nobody waits for its result
        elsewhere.shutdown(cancel_futures=True)
        raise
    elsewhere.shutdown()
