"""The subcommands of `spyx-nir`, one file each."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from spyx_nir.errors import GraphError, UsageError, UserError

T = TypeVar("T")


def check_name(path: str, suffix: str, where: str) -> None:
    """Refuse to write to `path` unless it ends in `suffix`: another name may be another file.

    Raises:
        UsageError: it does not.
    """
    if Path(path).suffix != suffix:
        raise UsageError(f"{where} {path}: the name must end in {suffix}")


def mendable(path: str, work: Callable[[dict[str, Any]], T]) -> T:
    """What `work` makes of the graph in a .nir file; it gets what `file.read_dict` gives.

    Raises:
        GraphError: as `work`, behind the name of the file. Where `work` refuses the graph that `upgrade`
            writes no more for this reason, the message says that `upgrade` repairs it.
    """
    from spyx_nir.converter import file

    content = file.read_dict(path)
    try:
        return work(content)
    except GraphError as error:
        if _repaired(content, work, error):
            error.args = (f"{error}; `upgrade` repairs that",)
        raise error.within(path) from None


def _repaired(
    content: dict[str, Any], work: Callable[[dict[str, Any]], object], reason: GraphError
) -> bool:
    """Whether `upgrade` takes the graph, and `work` does not refuse the result for this reason."""
    from spyx_nir.converter import file
    from spyx_nir.converter.repair import means_something, repair

    with warnings.catch_warnings(action="ignore"):
        try:
            graph_dict, faults = repair(content)
            if not faults or not means_something(graph_dict):
                return False
            file.build(graph_dict)
        except GraphError:
            return False
        try:
            work(graph_dict)
        except GraphError as error:
            return (error.code, error.node, error.field) != (reason.code, reason.node, reason.field)
        except UserError:
            return True
    return True
