"""The record that every file in `nodes/` fills in, and what is looked up in the table of them.

`registry.py` fills the table.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import nir

from spyx_nir.converter.known import class_name, runs_as
from spyx_nir.converter.layout import Site

# What a layer becomes: nodes in a row, each with the suffix of its name.
Exported: TypeAlias = list[tuple[str, nir.NIRNode]]
Exporter: TypeAlias = Callable[[Any, Site], Exported]
# A node as a plan has it: its type, its fields as arrays, its part of the contract beside them.
Node: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of NIR node. What it means is in `meaning/equations.py`.

    Fields:
        type: the name of the class in `nir`.
        load: `load(node, site) -> layer` with Spyx's contract; its arrays are float32 and channels
            last. None: the node has no layer (Input, Output).
        exports: layer class ("module.Class") -> `export(layer, site) -> Exported`; arrays are channels
            first, time constants in the unit of dt. What NIR cannot say raises a GraphError.
    """

    type: str
    load: Callable[[Node, Site], Any] | None
    exports: dict[str, Exporter] = field(default_factory=dict)


KINDS: dict[str, Kind] = {}  # by NIR type
EXPORTERS: dict[str, Exporter] = {}  # by `class_name` of a layer


def exported_layers() -> Collection[str]:
    """The layers that are exported, by `class_name`."""
    return EXPORTERS.keys()


def exporter(layer: Any) -> Exporter | None:
    """What exports this layer, or None. A subclass counts as its parent unless it runs otherwise."""
    if type(layer) is functools.partial:
        name = class_name(layer.func) if inspect.isfunction(layer.func) else ""
        return EXPORTERS.get(name)
    base = runs_as(layer, exported_layers())
    return None if base is None else EXPORTERS[class_name(base)]


def load_layer(node: Node, site: Site) -> Any:
    """The layer of a node's dictionary; see `Kind.load`."""
    load = KINDS[node["type"]].load
    assert load is not None, f"{node['type']} is no layer"
    return load(node, site)
