"""Spyx models to NIR graphs and back; files; repair.

The functions that people call are here and in `spyx_nir`. Nothing is imported before it is used, so
that tools for files start without JAX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spyx_nir.errors import naming_extra

if TYPE_CHECKING:
    from spyx_nir.converter.graph import Loaded as Loaded
    from spyx_nir.converter.graph import export_named as export_named
    from spyx_nir.converter.graph import load as load
    from spyx_nir.converter.graph import to_nir as to_nir
    from spyx_nir.converter.runner import from_nir as from_nir
    from spyx_nir.converter.runner import reorder_layers as reorder_layers
    from spyx_nir.converter.runner import run as run

_PLACES = dict.fromkeys(("Loaded", "export_named", "load", "to_nir"), "graph")
_PLACES |= dict.fromkeys(("from_nir", "reorder_layers", "run"), "runner")


def __getattr__(name: str) -> Any:
    import importlib

    with naming_extra():
        if name in _PLACES:
            return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
        if name in ("file", "contract", "graph"):
            return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
