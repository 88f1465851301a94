"""Files with the faults that are met in the wild, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from spyx_nir.converter import file

# Powers of two, so that no product is rounded and a tie is a tie in every arithmetic.
DT = 2.0**-13
TAU = 2.0**-11
R = 4.0  # TAU / DT: an input of 1 raises the membrane by 1; the decay is 0.75


def lif(n: int = 2, *, tau: float = TAU, **metadata: Any) -> nir.LIF:
    """n neurons whose input has the factor 1 for DT."""
    ones = np.ones(n, np.float32)
    return nir.LIF(
        tau=tau * ones,
        r=np.float32(tau / DT) * ones,
        v_leak=0 * ones,
        v_threshold=ones,
        v_reset=0 * ones,
        metadata=metadata,
    )


def chain(**nodes: nir.NIRNode) -> nir.NIRGraph:
    """Nodes in a row, with a full contract for DT seconds."""
    names = list(nodes)
    edges = [(names[i], names[i + 1]) for i in range(len(names) - 1)]
    metadata = {"contract_version": 1, "dt": DT, "time_unit": "s", "flatten_order": "CHW"}
    return nir.NIRGraph(nodes, edges, metadata, type_check=False)


def clean() -> nir.NIRGraph:
    """(3) -> Linear -> LIF (2), nothing to complain about."""
    return chain(
        input=nir.Input(np.array([3])),
        fc=nir.Linear(np.array([[1, 0, 0.5], [0, 1, 0.5]], np.float32)),
        lif=lif(reset="v_reset", spike_delay=0),
        output=nir.Output(np.array([2])),
    )


def recurrent(edges: list[tuple[str, str]]) -> nir.NIRGraph:
    """The clean graph with a recurrent subgraph `rec` of input, lif, w_rec and output."""
    inner = {
        "input": nir.Input(np.array([2])),
        "lif": lif(reset="v_reset", spike_delay=0),
        "w_rec": nir.Linear(np.array([[0, 0.5], [0.5, 0]], np.float32)),
        "output": nir.Output(np.array([2])),
    }
    graph = clean()
    nodes = {**graph.nodes, "rec": nir.NIRGraph(inner, edges, type_check=False)}
    del nodes["lif"]
    edges = [("input", "fc"), ("fc", "rec"), ("rec", "output")]
    return nir.NIRGraph(nodes, edges, graph.metadata, type_check=False)


INNER = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
LEGACY = [("input", "w_rec"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]


def write(
    path: Path, graph: nir.NIRGraph, change: Callable[[h5py.File], None] | None = None
) -> str:
    """The graph as a file, changed by hand; returns the name."""
    file.write(path, graph)
    if change is not None:
        with h5py.File(path, "r+") as f:
            change(f)
    return str(path)


def put(place: str, value: object) -> Callable[[h5py.File], None]:
    """A change that puts `value` at `place`; None takes away what is there."""

    def change(f: h5py.File) -> None:
        if place in f:
            del f[place]
        if isinstance(value, list):
            f.create_dataset(place, data=np.array(value, object), dtype=h5py.string_dtype())
        elif value is not None:
            f[place] = value

    return change


def both(*changes: Callable[[h5py.File], None]) -> Callable[[h5py.File], None]:
    """Several changes, one after the other."""

    def change(f: h5py.File) -> None:
        for one in changes:
            one(f)

    return change
