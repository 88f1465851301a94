"""NIR's objects as plain dictionaries, the form of `nir.NIRGraph.to_dict()`."""

from __future__ import annotations

import dataclasses
from typing import Any

import nir
import numpy as np

from spyx_nir.errors import GraphError, one_line
from spyx_nir.limits import check_limit
from spyx_nir.meaning.equations import graph_error


def as_dict(
    nir_graph: nir.NIRGraph, path: str = "", within: tuple[int, ...] = ()
) -> dict[str, Any]:
    """`nir_graph.to_dict()`, which names no node where it fails.

    Raises:
        GraphError: the graph contains itself, or something that is no NIR node.
    """
    own = path[:-1]
    if not isinstance(nir_graph, nir.NIRGraph):
        raise GraphError(
            f"a nir.NIRGraph is needed, got {type(nir_graph).__name__}", code="no-graph"
        )
    if id(nir_graph) in within:
        raise graph_error(own, " contains itself", "cycle")
    if not isinstance(nir_graph.nodes, dict):
        what = f": `nodes` must be a dict, got {type(nir_graph.nodes).__name__}"
        raise graph_error(own, what, "field-value", "nodes")
    nodes = {}
    for name, node in nir_graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            claims = f"subgraph `{path}{name}` is nested {len(within) + 1} deep"
            check_limit("depth", len(within) + 1, claims, own)
            nodes[name] = as_dict(node, f"{path}{name}.", (*within, id(nir_graph)))
        elif isinstance(node, nir.ir.NIRNode):
            try:
                nodes[name] = node_dict(node)
            except Exception as error:  # nir takes its own fields apart without looking at them
                what = f"`{path}{name}`: its fields cannot be read: {one_line(error)}"
                raise GraphError(what, node=f"{path}{name}", code="field-value") from None
        else:
            what = f"`{path}{name}` is no NIR node but a {type(node).__name__}"
            raise GraphError(what, node=f"{path}{name}", code="unknown-type")
    return {
        "type": "NIRGraph",
        "nodes": nodes,
        "edges": nir_graph.edges,
        "metadata": nir_graph.metadata,
    }


def node_dict(node: nir.NIRNode) -> dict[str, Any]:
    """`node.to_dict()` with the node's own arrays, which `nir` copies; other numbers become arrays."""
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
    # nir keeps what it was given: a tuple of a size, a whole number of a dimension.
    return {name: np.asarray(v) if _plain(v) else v for name, v in found.items()}


def _plain(value: object) -> bool:
    """A Python number, or a flat row of them."""
    row = value if isinstance(value, (tuple, list)) and value else [value]
    return all(isinstance(one, (int, float)) for one in row)
