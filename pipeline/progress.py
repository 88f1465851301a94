"""Progress of a long loop: a bar on a terminal, a few plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield `items` and show how many of `total` are done; `what` names the work in one word."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(items, total=total, description=what, console=Console(stderr=True))
        return
    marks = {max(1, total * quarter // 4) for quarter in range(1, 5)}
    for done, item in enumerate(items, start=1):
        yield item
        if done in marks:
            print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)
