"""The record that every file in `nodes/` fills in, and the table made of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

from spyx_nir.converter.known import class_name, runs_as
from spyx_nir.converter.layout import Site
from spyx_nir.errors import GraphError

# What a layer becomes: nodes in a row, each with the suffix of its name.
Exported = list[tuple[str, nir.NIRNode]]


@dataclass(frozen=True)
class Kind:
    """One kind of NIR node. What it means is in `meaning/equations.py`.

    Fields:
        type: the name of the class in `nir`.
        load: `load(node, site, stock) -> layer` with Spyx's contract. `node` is the node's
            dictionary; `stock` says that the layer itself must do the neuron's `spike_delay`.
            None: the node has no layer (Input, Output).
        exports: layer class ("module.Class") -> `export(layer, site) -> Exported`.
        examples: `examples(rng) -> [(node, shape that arrives), ...]`, the cases every test runs.
    """

    type: str
    load: Callable[..., Any] | None
    examples: Callable[[np.random.Generator], list[tuple[nir.NIRNode, tuple[int, ...]]]]
    exports: dict[str, Callable[[Any, Site], Exported]] = field(default_factory=dict)


@functools.cache
def kinds() -> dict[str, Kind]:
    """Every kind by NIR type; found by looking into `nodes/`.

    Raises:
        RuntimeError: two files claim the same NIR type or the same layer, or there are none.
    """
    from spyx_nir.converter import nodes

    table: dict[str, Kind] = {}
    layers: dict[str, str] = {}
    for module in pkgutil.iter_modules(nodes.__path__):
        found = importlib.import_module(f"{nodes.__name__}.{module.name}")
        for kind in getattr(found, "KINDS", ()):
            if kind.type in table:
                raise RuntimeError(f"nodes/{module.name}.py: `{kind.type}` is claimed twice")
            for layer in kind.exports:
                if layer in layers:
                    raise RuntimeError(
                        f"nodes/{module.name}.py: {layer} is also claimed by {layers[layer]}"
                    )
                layers[layer] = kind.type
            table[kind.type] = kind
    if not table:
        raise RuntimeError("no kinds of nodes were found")
    return table


@functools.cache
def _exporters() -> dict[str, Callable[[Any, Site], Exported]]:
    return {name: export for kind in kinds().values() for name, export in kind.exports.items()}


def exported_layers() -> Collection[str]:
    """The layers that are exported, by `class_name`."""
    return _exporters().keys()


def exporter(layer: Any) -> Callable[[Any, Site], Exported] | None:
    """What exports this layer, or None. A subclass counts as its parent unless it runs otherwise."""
    if type(layer) is functools.partial:
        name = class_name(layer.func) if inspect.isfunction(layer.func) else ""
        return _exporters().get(name)
    base = runs_as(layer, exported_layers())
    return None if base is None else _exporters()[class_name(base)]


def as_dict(graph: nir.NIRGraph, path: str = "", within: tuple[int, ...] = ()) -> dict[str, Any]:
    """`graph.to_dict()`, which names no node where it fails.

    Raises:
        GraphError: the graph contains itself, or something that is no NIR node.
    """
    where = f"subgraph `{path[:-1]}`" if path else "the graph"
    if not isinstance(graph, nir.NIRGraph):
        raise GraphError(f"a nir.NIRGraph is needed, got {type(graph).__name__}")
    if id(graph) in within:
        raise GraphError(f"{where} contains itself")
    if not isinstance(graph.nodes, dict):
        raise GraphError(f"{where}: `nodes` must be a dict, got {type(graph.nodes).__name__}")
    nodes = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            if len(within) > 16:
                raise GraphError(f"{where}: nested more than 16 deep")
            nodes[name] = as_dict(node, f"{path}{name}.", (*within, id(graph)))
        elif isinstance(node, nir.ir.NIRNode):
            try:
                nodes[name] = node_dict(node)
            except Exception as error:  # nir takes its own fields apart without looking at them
                text = " ".join(str(error).split())
                raise GraphError(f"`{path}{name}`: its fields cannot be read: {text}") from None
        else:
            raise GraphError(f"`{path}{name}` is no NIR node but a {type(node).__name__}")
    return {"type": "NIRGraph", "nodes": nodes, "edges": graph.edges, "metadata": graph.metadata}


def node_dict(node: nir.NIRNode) -> dict[str, Any]:
    """`node.to_dict()` with the node's own arrays; those of `nir` copy every one of them."""
    types = ("input_type", "output_type")
    names = [f.name for f in dataclasses.fields(node) if f.name not in types]
    found = {name: getattr(node, name) for name in names}
    found["type"] = type(node).__name__
    if isinstance(node, nir.Input):
        found["shape"] = node.input_type["input"]
    elif isinstance(node, nir.Output):
        found["shape"] = node.output_type["output"]
    elif isinstance(node, nir.Flatten):
        found["input_type"] = node.input_type["input"]
    return found


def load_layer(node: dict, site: Site, stock: bool) -> Any:
    """The layer of a node's dictionary; see `Kind.load`."""
    load = kinds()[node["type"]].load
    assert load is not None, f"{node['type']} is no layer"
    return load(node, site, stock)
