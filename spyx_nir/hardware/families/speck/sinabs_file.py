"""sinabs.nir: a graph for Speck as sinabs 3.1.3 reads it.

What sinabs' importer (sinabs/nir.py) and `DynapcnnNetwork` do not read of a NIR graph is written as
they do: a Linear as an Affine with a bias of 0; r and v_threshold of a layer as one number; names with a
number in front, so that the importer, which sorts them, has the modules in the order in which they run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spyx_nir.meaning.plan import make_plan

NAME = "sinabs.nir"


def for_sinabs(content: Mapping[str, Any]) -> dict[str, Any]:
    """The graph that `quantise.on_grid` made for Speck, as sinabs reads it; a graph's dictionary."""
    plan = make_plan(content)
    names = {path: f"{number:02}_{path}" for number, path in enumerate(plan.order)}
    nodes = {names[path]: _node(content["nodes"][path]) for path in plan.order}
    edges = [(names[source], names[target]) for source, target in content["edges"]]
    return {"type": "NIRGraph", "nodes": nodes, "edges": edges}


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in node.items() if key != "metadata"}
    if node["type"] == "Linear":
        bias = np.zeros(len(node["weight"]), np.float32)
        return {**found, "type": "Affine", "bias": bias}
    if node["type"] == "IF":
        one = {key: np.float32(np.ravel(node[key])[0]) for key in ("r", "v_threshold")}
        return {
            **found,
            **{key: np.asarray(value) for key, value in one.items()},
            "v_reset": np.zeros(()),
        }
    return found
