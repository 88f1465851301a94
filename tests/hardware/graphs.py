"""Small graphs for the tests of `spyx_nir.hardware`, as dictionaries, with a contract."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np

DT = 1e-4


def contract(dt: float = DT, **more: Any) -> dict[str, Any]:
    return {"contract_version": 1, "dt": dt, "time_unit": "s", **more}


def cuba(n: int, alpha: Any, beta: Any, threshold: Any = 1.0, reset: str = "subtract", **told: Any):
    """CubaLIF of `n` neurons with decays per step `alpha`, `beta` and gain 1."""
    ones = np.ones(n)
    tau_syn, tau_mem = DT / (1 - alpha * ones), DT / (1 - beta * ones)
    return nir.CubaLIF(
        tau_syn=tau_syn.astype(np.float32),
        tau_mem=tau_mem.astype(np.float32),
        r=(tau_mem / DT).astype(np.float32),
        w_in=(tau_syn / DT).astype(np.float32),
        v_leak=0 * ones,
        v_threshold=threshold * ones,
        v_reset=0 * ones,
        metadata={"reset": reset, "spike_delay": 0, **told},
    )


def if_(shape: Any, threshold: float = 1.0, reset: str = "subtract", dt: float = 1.0):
    ones = np.ones(shape)
    return nir.IF(
        r=ones / dt,
        v_threshold=threshold * ones,
        v_reset=0 * ones,
        metadata={"reset": reset, "spike_delay": 0},
    )


def recurrent(
    w_in: np.ndarray, w_rec: np.ndarray, w_out: np.ndarray, hidden: Any, out: Any
) -> dict[str, Any]:
    """Input -> Linear -> recurrent hidden -> Linear -> out; weights (targets, sources)."""
    n = w_rec.shape[0]
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([n])),
            "lif": hidden,
            "w_rec": nir.Linear(w_rec),
            "output": nir.Output(np.array([n])),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
        type_check=False,
    )
    nodes = {
        "input": nir.Input(np.array([w_in.shape[1]])),
        "w_in": nir.Linear(w_in),
        "hidden": inner,
        "w_out": nir.Linear(w_out),
        "out": out,
        "output": nir.Output(np.array([w_out.shape[0]])),
    }
    names = list(nodes)
    edges = list(itertools.pairwise(names))
    return nir.NIRGraph(nodes, edges, contract(), type_check=False).to_dict()


def chain(shape: tuple[int, ...], *layers: Any, dt: float = DT) -> dict[str, Any]:
    """Input of `shape`, then (name, node) in a row, then an Output."""
    nodes = {"input": nir.Input(np.array(shape)), **dict(layers)}
    nodes["output"] = nir.Output(np.array([1]))  # its shape follows
    edges = list(itertools.pairwise(nodes))
    graph = _arrays(nir.NIRGraph(nodes, edges, contract(dt), type_check=False).to_dict())
    graph["nodes"]["output"]["shape"] = np.array(_leaves(graph))
    return graph


def _arrays(graph: dict[str, Any]) -> dict[str, Any]:
    """Sizes as arrays, as they come from a file; `nir` holds some as tuples."""
    for node in graph["nodes"].values():
        for name, value in node.items():
            if isinstance(value, (tuple, int)):
                node[name] = np.array(value)
    return graph


def _leaves(graph: dict[str, Any]) -> tuple[int, ...]:
    from spyx_nir.meaning.equations import EQUATIONS

    shape: tuple[int, ...] = tuple(int(n) for n in graph["nodes"]["input"]["shape"])
    for name, node in graph["nodes"].items():
        if name not in ("input", "output"):
            shape = tuple(int(n) for n in EQUATIONS[node["type"]].shape(node, shape))
    return shape


def conv(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 1,
):
    weight = rng.normal(size=(channels, shape[0], kernel, kernel)).astype(np.float32)
    return nir.Conv2d(
        input_shape=np.array(shape[1:]),
        weight=weight,
        stride=np.array([stride, stride]),
        padding=np.array([padding, padding]),
        dilation=np.array([1, 1]),
        groups=1,
        bias=np.zeros(channels, np.float32),
    )


def pool(size: int = 2):
    return nir.SumPool2d(np.array([size] * 2), np.array([size] * 2), np.array([0, 0]))


def paper_scnn(rng: np.random.Generator) -> dict[str, Any]:
    """The N-MNIST network of the NIR paper: sizes as published, random weights."""

    def linear(n: int, m: int):
        return nir.Linear(rng.normal(size=(m, n)).astype(np.float32))

    return chain(
        (2, 34, 34),
        ("conv_0", conv(rng, (2, 34, 34), 16, 5, 2, 1)),
        ("if_1", if_((16, 16, 16))),
        ("conv_2", conv(rng, (16, 16, 16), 16)),
        ("if_3", if_((16, 16, 16))),
        ("pool_4", pool()),
        ("conv_5", conv(rng, (16, 8, 8), 8)),
        ("if_6", if_((8, 8, 8))),
        ("pool_7", pool()),
        ("flatten", nir.Flatten({"input": np.array([8, 4, 4])}, 0, -1)),
        ("linear_9", linear(128, 256)),
        ("if_10", if_(256)),
        ("linear_11", linear(256, 10)),
        ("if_12", if_(10)),
        dt=1.0,
    )
