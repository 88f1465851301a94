"""Progress of a long loop: a bar on a terminal, a few plain lines in a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO, TypeVar

T = TypeVar("T")
WIDTH = 40  # of a bar, where share and times still fit behind it
BEHIND = (
    24  # columns of ` 100% 0:00:00 0:00:00` and a space before the bar, times of ten hours included
)


@dataclass(frozen=True)
class Bar:
    """A bar on a terminal, or in a pipe nothing.

    shown: whether there is one. advance: adds to what is done. say: prints a line, above the bar.
    """

    shown: bool
    advance: Callable[[float], None]
    say: Callable[[str], None]


@contextlib.contextmanager
def bar(what: str, total: float, done: float = 0, stream: TextIO | None = None) -> Iterator[Bar]:
    """A bar with its share, the time that is left and the time since the start, on one line.

    Args:
        what: names the work in a word or two. stream: instead of standard output.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        yield Bar(False, lambda n: None, lambda text: print(text, file=stream, flush=True))
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(file=stream)
    width = max(4, min(WIDTH, console.width - len(what) - BEHIND))
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(width),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as shown:
        line = shown.add_task(what, total=total, completed=done)  # type: ignore[arg-type]

        def say(text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield Bar(True, lambda n: shown.advance(line, n), say)


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield `items` and show how many of `total` are done; `what` names the work in one word."""
    marks = {max(1, total * quarter // 4) for quarter in range(1, 5) if total > 1}
    with bar(what, total, stream=sys.stderr) as shown:
        for done, item in enumerate(items, start=1):
            yield item
            shown.advance(1)
            if not shown.shown and done in marks:
                shown.say(f"{what}: {done}/{total}")
