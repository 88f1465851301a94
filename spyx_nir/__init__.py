"""Spyx models to NIR graphs and back, what a NIR graph means, and which chip it fits.

`import spyx_nir as snir` where people wrote `import spyx.nir as snir`: the names of `spyx.nir` are here
with the same signatures. Nothing is imported before it is used: tools for files start without JAX.

    to_nir, from_nir, load, run, reorder_layers    layers <-> graphs
    read, write, upgrade, lint                     graphs <-> files, and what is wrong with a file
    check                                          does a graph fit a chip
    neurons                                        neurons that NIR expresses exactly
    file, reference                                all of the files' reader; the float64 interpreter
    converter, meaning, hardware, bundle           the rooms: see the docstring of each
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spyx_nir.errors import naming_extra

if TYPE_CHECKING:
    from spyx_nir import bundle as bundle
    from spyx_nir import converter as converter
    from spyx_nir import hardware as hardware
    from spyx_nir import meaning as meaning
    from spyx_nir import neurons as neurons
    from spyx_nir.converter import file as file
    from spyx_nir.converter.file import read as read
    from spyx_nir.converter.file import write as write
    from spyx_nir.converter.graph import Loaded as Loaded
    from spyx_nir.converter.graph import export_named as export_named
    from spyx_nir.converter.graph import load as load
    from spyx_nir.converter.graph import to_nir as to_nir
    from spyx_nir.converter.lint import lint as lint
    from spyx_nir.converter.runner import from_nir as from_nir
    from spyx_nir.converter.runner import reorder_layers as reorder_layers
    from spyx_nir.converter.runner import run as run
    from spyx_nir.converter.upgrade import upgrade as upgrade
    from spyx_nir.errors import GraphError as GraphError
    from spyx_nir.errors import UserError as UserError
    from spyx_nir.hardware.chip_check import check as check
    from spyx_nir.meaning import reference as reference

    __version__: str

_MODULES = {
    "converter.file": ("read", "write"),
    "converter.graph": ("Loaded", "export_named", "load", "to_nir"),
    "converter.lint": ("lint",),
    "converter.runner": ("from_nir", "reorder_layers", "run"),
    "converter.upgrade": ("upgrade",),
    "errors": ("GraphError", "UserError"),
    "hardware.chip_check": ("check",),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}
_ROOMS = {
    "bundle": "bundle",
    "converter": "converter",
    "file": "converter.file",
    "hardware": "hardware",
    "meaning": "meaning",
    "neurons": "neurons",
    "reference": "meaning.reference",
}

__all__ = [*sorted(_PLACES), *_ROOMS, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("spyx-nir")
    with naming_extra():
        if name in _PLACES:
            return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
        if name in _ROOMS:
            return importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
