"""Random modules with branches, sums and shared layers, drawn as lists of operations.

A recipe is a list of rows (kind, sources, size, seed); a source is the index of an earlier value, 0 the
input. Every kind that adds takes values of one size.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import spyx.nn as snn
from flax import nnx
from hypothesis import strategies as st

from spyx_nir import neurons

SIZES = (3, 4, 5)
INPUT = 4
NEURONS = ("lif", "if", "cuba", "li", "psu", "exact", "recurrent")
KINDS = (
    "linear",
    "affine",
    "shared",
    "norm",
    "drop",
    "gain",
    "add",
    "subtract",
    "flat",
    "cat",
    *NEURONS,
)


@st.composite
def recipes(draw: Any) -> list[tuple[str, tuple[int, ...], int, int]]:
    """Three to ten operations; the last value and perhaps an earlier one are the outputs."""
    sizes, rows = [INPUT], []
    for _ in range(draw(st.integers(3, 10))):
        kind = draw(st.sampled_from(KINDS))
        first = draw(st.integers(0, len(sizes) - 1))
        seed = draw(st.integers(0, 2**16))
        alike = [k for k, size in enumerate(sizes) if size == sizes[first]]
        sources, size = (first,), sizes[first]
        if kind in ("linear", "affine"):
            size = draw(st.sampled_from(SIZES))
        elif kind in ("add", "subtract"):
            sources = (first, draw(st.sampled_from(alike)))
        elif kind == "cat":
            second = draw(st.integers(0, len(sizes) - 1))
            sources, size = (first, second), size + sizes[second]
        elif kind == "shared":
            size = INPUT
            same = [k for k, width in enumerate(sizes) if width == INPUT]
            sources = (draw(st.sampled_from(same)),)
        if size > 12:
            continue
        rows.append((kind, sources, size, seed))
        sizes.append(size)
    return rows


def weight(inner: int, outer: int, seed: int, bias: bool) -> nnx.Linear:
    """An nnx.Linear that makes neurons spike."""
    random = np.random.default_rng(seed)
    layer = nnx.Linear(inner, outer, use_bias=bias, rngs=nnx.Rngs(0))
    layer.kernel[...] = jnp.asarray(random.normal(0.4, 1, (inner, outer)) / inner**0.5, jnp.float32)
    if layer.bias is not None:
        layer.bias[...] = jnp.asarray(random.normal(0, 0.3, outer), jnp.float32)
    return layer


def norm(size: int, seed: int) -> nnx.BatchNorm:
    """A BatchNorm that has seen data."""
    random = np.random.default_rng(seed)
    layer = nnx.BatchNorm(size, use_running_average=True, rngs=nnx.Rngs(0))
    layer.mean[...] = jnp.asarray(random.normal(0, 0.3, size), jnp.float32)
    layer.var[...] = jnp.asarray(random.uniform(0.4, 2, size), jnp.float32)
    return layer


def neuron(kind: str, size: int, seed: int) -> Any:
    """A neuron layer with a decay of its own for every neuron."""
    rngs, random = nnx.Rngs(seed), np.random.default_rng(seed)
    decay = jnp.asarray(random.uniform(0.3, 0.95, size), jnp.float32)
    made: Any = {
        "lif": lambda: snn.LIF((size,), rngs=rngs),
        "if": lambda: snn.IF((size,)),
        "cuba": lambda: snn.CuBaLIF((size,), rngs=rngs),
        "li": lambda: snn.LI((size,), 0.7, rngs=rngs),
        "psu": lambda: snn.PSU_LIF((size,), rngs=rngs),
        "exact": lambda: neurons.LIF((size,), decay),
        "recurrent": lambda: snn.RLIF((size,), rngs=rngs),
    }[kind]()
    if kind in ("lif", "cuba", "psu", "recurrent"):
        made.beta = nnx.Param(decay)
    if kind == "cuba":
        made.alpha = nnx.Param(decay[::-1])
    return made


class RandomModule(nnx.Module):
    """Runs a recipe; outputs (last value, value of row `tap`) or only the last."""

    def __init__(self, recipe: list[Any], tap: int | None):
        self.recipe, self.tap = tuple(recipe), tap
        self.shared = weight(INPUT, INPUT, 0, True)
        sizes = [INPUT, *(row[2] for row in recipe)]
        parts = []
        for kind, sources, size, seed in recipe:
            layer: Any = None
            if kind in ("linear", "affine"):
                layer = weight(sizes[sources[0]], size, seed, kind == "affine")
            elif kind == "norm":
                layer = norm(size, seed)
            elif kind == "drop":
                layer = nnx.Dropout(0.5, deterministic=True, rngs=nnx.Rngs(0))
            elif kind == "flat":
                layer = snn.Flatten()
            elif kind in NEURONS:
                layer = neuron(kind, size, seed)
            parts.append(layer)
        self.parts = nnx.List(parts)

    def initial_state(self, batch: int) -> list[Any]:
        return [
            part.initial_state(batch) if hasattr(part, "initial_state") else None
            for part in self.parts
        ]

    def __call__(self, x: Any, states: list[Any]) -> Any:
        values, after = [x], []
        for (kind, sources, _, _), part, state in zip(self.recipe, self.parts, states, strict=True):
            first, *more = (values[k] for k in sources)
            if kind in NEURONS:
                first, state = part(first, state)
            elif kind == "shared":
                first = self.shared(first)
            elif kind == "gain":
                first = 0.75 * first
            elif kind == "add":
                first = first + more[0]
            elif kind == "subtract":
                first = first - more[0]
            elif kind == "cat":
                first = jnp.concatenate([first, *more], axis=-1)
            else:
                first = part(first)
            values.append(first)
            after.append(state)
        out = values[-1] if self.tap is None else (values[-1], values[self.tap])
        return out, after
