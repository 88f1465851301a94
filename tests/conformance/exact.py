"""NIR's equations once more, in exact fractions and by SciPy: nothing of `spyx_nir.meaning` is used.

A value is pulled from the node that gives it, step by step backwards, where the reference pushes values
through an order of nodes. Which edges carry the step before is not found out here: each case says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from scipy.signal import correlate

SILENT = ("IF", "LIF", "CubaLIF", "I", "LI", "CubaLI", "Delay", "Input")
fractions = np.vectorize(Fraction, otypes=[object])


class Exact:
    """One run of a graph's dictionary; `output`, `fired` and `membrane` of a node and a step."""

    def __init__(
        self,
        graph: Mapping[str, Any],
        inputs: Mapping[str, np.ndarray],
        dt: float,
        delayed: tuple[tuple[str, str], ...],
    ) -> None:
        self.inputs = {name: fractions(x) for name, x in inputs.items()}
        self.dt, self.delayed = Fraction(dt), set(delayed)
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self._flatten(graph, "")
        self.output = cache(self._output)  # type: ignore[method-assign]
        self.state = cache(self._state)  # type: ignore[method-assign]

    def _flatten(self, graph: Mapping[str, Any], prefix: str) -> None:
        def port(name: str, kind: str) -> str:
            node = graph["nodes"][name]
            if node["type"] != "NIRGraph":
                return prefix + name
            (inner,) = (n for n, child in node["nodes"].items() if child["type"] == kind)
            return f"{prefix}{name}.{inner}"

        for name, node in graph["nodes"].items():
            if node["type"] == "NIRGraph":
                self._flatten(node, f"{prefix}{name}.")
            else:
                self.nodes[prefix + name] = node
        self.edges += [(port(s, "Output"), port(t, "Input")) for s, t in graph["edges"]]

    def arrives(self, path: str, t: int) -> Any:
        found = [
            self.output(source, max(t - 1, -1) if (source, target) in self.delayed else t)
            for source, target in self.edges
            if target == path
        ]
        return sum(found[1:], found[0])

    def _output(self, path: str, t: int) -> Any:
        """What leaves a node in step t; before step 0 what it gives while all neurons are silent."""
        node = self.nodes[path]
        kind = node["type"]
        if path in self.inputs:
            return self.inputs[path][t] if t >= 0 else 0 * self.inputs[path][0]
        if t < 0 and kind in SILENT:
            return 0 * self._shaped(path)
        if kind in ("IF", "LIF", "CubaLIF"):
            before = t - int(node.get("metadata", {}).get("spike_delay", 0))
            return self.state(path, before)["z"] if before >= 0 else 0 * self._shaped(path)
        if kind in ("I", "LI", "CubaLI"):
            return self.state(path, t)["u"]
        if kind == "Delay":
            return self._delayed(path, t)
        return stateless(node, self.arrives(path, t))

    def _shaped(self, path: str) -> Any:
        """Zeros of a node's shape: all of these have that of a parameter, or of what arrives."""
        node = self.nodes[path]
        shapes = [v.shape for v in node.values() if isinstance(v, np.ndarray) and v.size > 1]
        return fractions(np.zeros(shapes[0])) if shapes else 0 * self.arrives(path, 0)

    def _delayed(self, path: str, t: int) -> Any:
        delay = self.nodes[path]["delay"]
        steps = [round(float(d) / float(self.dt)) for d in delay]
        found = [
            self.arrives(path, t - s)[n] if t >= s else Fraction(0) for n, s in enumerate(steps)
        ]
        return np.array(found, object)

    def _state(self, path: str, t: int) -> dict[str, Any]:
        """u: the membrane before the reset. v: after it. z: the spike. i: the current."""
        node = self.nodes[path]
        p = {
            k: np.asarray(fractions(v), object)
            for k, v in node.items()
            if isinstance(v, np.ndarray)
        }
        p = {k: v.reshape(-1)[0] if v.size == 1 else v for k, v in p.items()}
        said = node.get("metadata", {})
        x, dt = self.arrives(path, t), self.dt
        rest = p["v_leak"] if said.get("v_init") == "v_leak" else 0
        before = self.state(path, t - 1) if t else {"v": 0 * x + rest, "i": 0 * x, "owed": 0 * x}
        v, i = before["v"], before["i"]
        if node["type"].startswith("Cuba"):
            i = (1 - dt / p["tau_syn"]) * i + dt / p["tau_syn"] * p["w_in"] * x
            keep = dt / p["tau_mem"]
            u = (1 - keep) * v + keep * p["v_leak"] + keep * p["r"] * i
        elif node["type"] in ("LIF", "LI"):
            keep = dt / p["tau"]
            u = (1 - keep) * v + keep * p["v_leak"] + keep * p["r"] * x
        else:
            u = v + dt * p["r"] * x
        u = u - before["owed"]
        if "v_threshold" not in p:
            return {"u": u, "v": u, "i": i, "owed": 0 * x}
        z = np.where(u > p["v_threshold"], Fraction(1), Fraction(0))
        rule = said.get("reset", "v_reset")
        after = {"v_reset": z * p["v_reset"] + (1 - z) * u, "subtract": u - z * p["v_threshold"]}
        owed = z * p["v_threshold"] if rule == "subtract_after_decay" else 0 * x
        return {"u": u, "v": after.get(rule, u), "z": z, "i": i, "owed": owed}


def stateless(node: Mapping[str, Any], x: Any) -> Any:
    """Nodes that only see the present."""
    kind = node["type"]
    if kind in ("Input", "Output"):
        return x
    if kind in ("Linear", "Affine"):
        y = np.array([sum(fractions(row) * x) for row in node["weight"]], object)
        return y + fractions(node["bias"]) if kind == "Affine" else y
    if kind == "Scale":
        return fractions(node["scale"]) * x
    if kind == "Threshold":
        return np.where(x > fractions(node["threshold"]), Fraction(1), Fraction(0))
    if kind == "Flatten":
        start, end = int(node["start_dim"]), int(node["end_dim"]) % x.ndim
        return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])
    image = x.astype(np.float64)  # small multiples of powers of two: SciPy's sums are exact
    return fractions(convolved(node, image) if kind.startswith("Conv") else pooled(node, image))


def convolved(node: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
    """A convolution by `scipy.signal.correlate`, one pair of channels at a time."""
    weight = node["weight"].astype(np.float64)
    rank = weight.ndim - 2
    stride, dilation = (np.broadcast_to(node[k], rank) for k in ("stride", "dilation"))
    padding, groups = node["padding"], int(node["groups"])
    span = dilation * (np.array(weight.shape[2:]) - 1)
    if isinstance(padding, str):
        low = span // 2 if padding == "same" else 0 * span
        high = span - low if padding == "same" else 0 * span
    else:
        low = high = np.broadcast_to(padding, rank)
    kernels = np.zeros((*weight.shape[:2], *(span + 1)))
    kernels[(..., *(slice(None, None, d) for d in dilation))] = weight
    padded = np.pad(image, [(0, 0), *zip(low, high, strict=True)])
    steps = tuple(slice(None, None, s) for s in stride)
    maps = []
    for out, kernel in enumerate(kernels):
        first = out // (len(weight) // groups) * weight.shape[1]
        planes = padded[first : first + weight.shape[1]]
        total = sum(correlate(a, b, "valid", "direct") for a, b in zip(planes, kernel, strict=True))
        maps.append(total[steps] + node["bias"][out])
    return np.array(maps)


def pooled(node: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
    """A pooling as a correlation with ones."""
    (kh, kw), (sh, sw), (ph, pw) = (node[k] for k in ("kernel_size", "stride", "padding"))
    padded = np.pad(image, [(0, 0), (ph, ph), (pw, pw)])
    maps = [correlate(plane, np.ones((kh, kw)), "valid", "direct")[::sh, ::sw] for plane in padded]
    return np.array(maps) / (kh * kw if node["type"] == "AvgPool2d" else 1)
