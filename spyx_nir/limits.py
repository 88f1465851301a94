"""What a file from anybody may cost: one table of limits, and how each is raised.

A file of a few hundred kilobytes can claim gigabytes. What it claims is compared with this table before
memory or time is spent on it. This module imports the standard library only; a bundle's verify.py has
its text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from spyx_nir.errors import GraphError


@dataclass(frozen=True)
class Limit:
    """The most that is allowed unless somebody raises it, and what it counts."""

    most: int
    what: str


# Networks of today have some ten million weights; ResNets, unrolled, some two thousand nodes.
LIMITS = {
    "bytes": Limit(2**31, "bytes of a file's arrays, unpacked, as float64"),
    "ratio": Limit(64, "bytes unpacked for each byte of a file that unpacks to more than 256 MiB"),
    "nodes": Limit(2**15, "nodes of a graph, those of subgraphs included"),
    "edges": Limit(2**16, "edges of a graph, those of subgraphs included"),
    "depth": Limit(16, "subgraphs inside subgraphs"),
    "cycles": Limit(2**20, "edges looked at to find which of them close cycles"),
    "text": Limit(2**24, "bytes of a file's texts"),
    "delay": Limit(2**27, "values that delays keep: steps times neurons times samples"),
    "paths": Limit(10_000, "paths between populations, of which a chip's network consists"),
    "data": Limit(2**31, "bytes of data to run, unpacked"),
    "steps": Limit(100_000, "steps of a recording of events"),
}
_raised: ContextVar[dict[str, int] | None] = ContextVar("raised_limits", default=None)


def limit(name: str) -> int:
    """The most that is allowed now of what `name` in `LIMITS` counts."""
    return (_raised.get() or {}).get(name, LIMITS[name].most)


def check_limit(
    name: str, count: int, claims: str, node: str | None = None, field: str | None = None
) -> None:
    """Refuse more than the limit `name`.

    Args:
        count: what a file claims. claims: the same in words, the beginning of the message.
        node: the path of the node or subgraph that it is about, "" the graph itself.
        field: the name of the field that claims it.

    Raises:
        GraphError: with the code `too-large`; says the limit and how to raise it.
    """
    if count > limit(name):
        allowed = f"at most {limit(name)} are allowed (`--max-{name}` raises that)"
        raise GraphError(f"{claims}; {allowed}", node=node, field=field, code="too-large")


@contextlib.contextmanager
def raised_limits(**most: int) -> Iterator[None]:
    """Replace limits by others while the block runs, such as `raised_limits(nodes=100_000)`.

    Raises:
        GraphError: there is no such limit, or the number is none of 1 or more.
    """
    for name, number in most.items():
        if name not in LIMITS or not isinstance(number, int) or number < 1:
            known = ", ".join(LIMITS)
            what = f"limit {name} = {number!r:.40}; a whole number of 1 or more for one of {known}"
            raise GraphError(what, code="argument")
    token = _raised.set({**(_raised.get() or {}), **most})
    try:
        yield
    finally:
        _raised.reset(token)
