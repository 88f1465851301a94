"""NIR's objects as plain dictionaries, the form of `nir.NIRGraph.to_dict()`."""

from __future__ import annotations

import dataclasses
from typing import Any

import nir

from spyx_nir.errors import GraphError


def as_dict(graph: nir.NIRGraph, path: str = "", within: tuple[int, ...] = ()) -> dict[str, Any]:
    """`graph.to_dict()`, which names no node where it fails.

    Raises:
        GraphError: the graph contains itself, or something that is no NIR node.
    """
    where = f"subgraph `{path[:-1]}`" if path else "the graph"
    if not isinstance(graph, nir.NIRGraph):
        raise GraphError(f"a nir.NIRGraph is needed, got {type(graph).__name__}", code="no-graph")
    if id(graph) in within:
        raise GraphError(f"{where} contains itself", node=path[:-1], code="cycle")
    if not isinstance(graph.nodes, dict):
        raise GraphError(
            f"{where}: `nodes` must be a dict, got {type(graph.nodes).__name__}",
            node=path[:-1],
            field="nodes",
            code="field-value",
        )
    nodes = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            if len(within) > 16:
                raise GraphError(
                    f"{where}: nested more than 16 deep", node=path[:-1], code="too-large"
                )
            nodes[name] = as_dict(node, f"{path}{name}.", (*within, id(graph)))
        elif isinstance(node, nir.ir.NIRNode):
            try:
                nodes[name] = node_dict(node)
            except Exception as error:  # nir takes its own fields apart without looking at them
                text = " ".join(str(error).split())
                raise GraphError(
                    f"`{path}{name}`: its fields cannot be read: {text}",
                    node=f"{path}{name}",
                    code="field-value",
                ) from None
        else:
            raise GraphError(
                f"`{path}{name}` is no NIR node but a {type(node).__name__}",
                node=f"{path}{name}",
                code="unknown-type",
            )
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
