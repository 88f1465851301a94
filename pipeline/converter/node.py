"""The record that every file in `nodes/` fills in, and the table made of them."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np

from pipeline.converter.layout import Site
from pipeline.converter.reference import EQUATIONS, Equation

# What a layer becomes: nodes in a row, each with the suffix of its name.
Exported = list[tuple[str, nir.NIRNode]]


@dataclass(frozen=True)
class Kind:
    """One kind of NIR node.

    Fields:
        type: the name of the class in `nir`.
        equation: its meaning, for the reference; None for a subgraph, which is its nodes.
        load: `load(node, site, stock) -> layer` with Spyx's contract. `node` is the node's
            dictionary; `stock` says that the layer itself must do the neuron's `spike_delay`.
            None: the node has no layer (Input, Output).
        exports: layer class ("module.Class") -> `export(layer, site) -> Exported`.
        examples: `examples(rng) -> [(node, shape that arrives), ...]`, the cases every test runs.
        numpy: further functions that the equation's source text needs.
    """

    type: str
    equation: Equation | None
    load: Callable[..., Any] | None
    examples: Callable[[np.random.Generator], list[tuple[nir.NIRNode, tuple[int, ...]]]]
    exports: dict[str, Callable[[Any, Site], Exported]] = field(default_factory=dict)
    numpy: tuple[Callable, ...] = ()


@functools.cache
def kinds() -> dict[str, Kind]:
    """Every kind by NIR type; found by looking into `nodes/`.

    Raises:
        RuntimeError: two files claim the same NIR type or the same layer, or there are none.
    """
    from pipeline.converter import nodes

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


def register() -> None:
    """Enter every kind's equation into the reference's table."""
    for kind in kinds().values():
        if kind.equation is not None:
            EQUATIONS[kind.type] = kind.equation


@functools.cache
def _exporters() -> dict[str, Callable[[Any, Site], Exported]]:
    return {name: export for kind in kinds().values() for name, export in kind.exports.items()}


def class_name(cls: Any) -> str:
    """How a layer class or function is called in `Kind.exports`: its public module and name."""
    module = cls.__module__
    if module.startswith(("flax.nnx", "flax.linen.pooling")):  # nnx.avg_pool is linen's function
        module = "flax.nnx"
    return f"{module}.{cls.__qualname__}"


def exporter(layer: Any) -> Callable[[Any, Site], Exported] | None:
    """What exports this layer, or None. A subclass counts as its parent unless it runs otherwise."""
    if isinstance(layer, functools.partial):
        name = class_name(layer.func) if hasattr(layer.func, "__qualname__") else ""
        return _exporters().get(name)
    cls = type(layer)
    for base in cls.__mro__:
        if found := _exporters().get(class_name(base)):
            same = all(
                getattr(cls, name, None) is getattr(base, name, None)
                for name in ("__call__", "initial_state")
            )
            return found if same else None
    return None


def load_layer(node: dict, site: Site, stock: bool) -> Any:
    """The layer of a node's dictionary; see `Kind.load`."""
    load = kinds()[node["type"]].load
    assert load is not None, f"{node['type']} is no layer"
    return load(node, site, stock)
