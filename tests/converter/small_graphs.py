"""Small NIR graphs that several test files take apart."""

from __future__ import annotations

import itertools

import nir
import numpy as np


def graph(nodes, edges, metadata=None, **kinds):
    """A graph as somebody else's program may hand it over: nothing is checked."""
    return nir.NIRGraph(dict(nodes), list(edges), dict(metadata or {}), type_check=False)


def chain(*nodes, shape=(3,), out=None, metadata=None):
    """input -> n0 -> n1 -> ... -> output; `out` is the shape that the Output declares."""
    named = {"input": nir.Input(np.array(shape))}
    named |= {f"n{index}": node for index, node in enumerate(nodes)}
    named["output"] = nir.Output(np.array(shape if out is None else out))
    path = list(named)
    return graph(named, itertools.pairwise(path), metadata)


def full(value, shape=(3,)):
    return np.full(shape, value, np.float32)


def lif(shape=(3,), metadata=None, **fields):
    told = {"tau": 4.0, "r": 4.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | fields
    arrays = {k: full(v, shape) if np.isscalar(v) else v for k, v in told.items()}
    return nir.LIF(**arrays, metadata=metadata or {})


def cuba(shape=(3,), metadata=None, **fields):
    told = {"tau_syn": 2.0, "tau_mem": 4.0, "r": 4.0, "v_leak": 0.0, "w_in": 2.0}
    told |= {"v_threshold": 1.0, "v_reset": 0.0} | fields
    arrays = {k: full(v, shape) if np.isscalar(v) else v for k, v in told.items()}
    return nir.CubaLIF(**arrays, metadata=metadata or {})


def li(shape=(3,), tau=4.0, r=4.0, v_leak=0.0, metadata=None):
    return nir.LI(full(tau, shape), full(r, shape), full(v_leak, shape), metadata=metadata or {})


def linear(rows=3, columns=3, value=0.5):
    return nir.Linear(full(value, (rows, columns)))


def changed(node, **fields):
    """A node with fields that its constructor would not take."""
    for name, value in fields.items():
        setattr(node, name, value)
    return node
