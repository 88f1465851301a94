"""The table of kinds of nodes, filled with what the files in `nodes/` hold."""

from __future__ import annotations

import importlib
import pkgutil

from spyx_nir.converter import nodes
from spyx_nir.converter.kind import EXPORTERS, Kind
from spyx_nir.converter.kind import KINDS as KINDS


def enter(kind: Kind) -> None:
    """Put a kind into the table.

    Raises:
        RuntimeError: another kind has the same NIR type, or exports the same layer.
    """
    if kind.type in KINDS:
        raise RuntimeError(f"`{kind.type}` is claimed twice")
    if twice := sorted(EXPORTERS.keys() & kind.exports.keys()):
        raise RuntimeError(f"{twice[0]} is claimed by `{kind.type}` and another kind")
    KINDS[kind.type] = kind
    EXPORTERS.update(kind.exports)


for _module in pkgutil.iter_modules(nodes.__path__):
    for _kind in getattr(importlib.import_module(f"{nodes.__name__}.{_module.name}"), "KINDS", ()):
        enter(_kind)
