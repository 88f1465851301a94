"""One weight, one population."""

import nir
import numpy as np


def chain(weight: np.ndarray, node: nir.NIRNode) -> nir.NIRGraph:
    """Input -> `l`, the weight -> `n`, the node -> output; without a contract."""
    rows, columns = weight.shape
    nodes = {"input": nir.Input(np.array([columns])), "l": nir.Linear(weight), "n": node}
    nodes["output"] = nir.Output(np.array([rows]))
    edges = [("input", "l"), ("l", "n"), ("n", "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)
