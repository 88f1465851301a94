"""The subcommands of `python -m pipeline`, one file each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import GraphError, UsageError


def check_name(path: str, suffix: str, where: str) -> None:
    """Refuse to write to `path` unless it ends in `suffix`: another name may be another file.

    Raises:
        UsageError: it does not.
    """
    if Path(path).suffix != suffix:
        raise UsageError(f"{where} {path}: the name must end in {suffix}")


@contextlib.contextmanager
def mendable(path: str) -> Iterator[None]:
    """Add to what refuses a .nir file that `upgrade` repairs it, where it does."""
    try:
        yield
    except GraphError as error:
        if _repaired(path):
            raise GraphError(f"{error}; `upgrade` repairs that") from None
        raise


def _repaired(path: str) -> bool:
    from pipeline.converter import file
    from pipeline.converter.repair import means_something, repair

    try:
        graph, faults = repair(file.read_dict(path))
        file.build(graph)
    except GraphError:
        return False
    return bool(faults) and means_something(graph)
