"""Random networks in integers, for the family `integer`: every kind of layer, reset and recurrence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from spyx_nir.hardware import profile
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

CHIP = profile.load("cortex-m")


def network(
    draw: Callable[[st.SearchStrategy[Any]], Any], into_maps: bool = True
) -> tuple[IntegerNetwork, np.ndarray]:
    """A network and recordings (T, N, *shape) of counts for it; draw: of `st.data()`.

    into_maps: whether maps may feed themselves, and matrices lead to maps, which no graph has.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    axes = draw(st.sampled_from([1, 3, 3, 2]))
    shape = (draw(st.integers(1, 4)), *draw(st.tuples(*[st.integers(1, 9)] * (axes - 1))))
    if axes == 1:
        shape = (draw(st.integers(1, 12)),)
    populations: list[Population] = []
    weights: list[Weight] = []
    source, arrives = "input", shape
    for n in range(draw(st.integers(1, 3))):
        name = f"part.n{n}"
        weight = layer(draw, rng, source, name, f"w{n}", arrives)
        made = out_shape(weight)
        weights.append(weight)
        if draw(st.booleans()) and (into_maps or len(made) == 1):
            weights.append(recurrent(draw, rng, name, made))
        if n and (into_maps or len(made) == 1) and draw(st.integers(0, 3)) == 0:  # past a layer
            weights.append(dense(rng, "input", name, f"skip{n}", shape, made))
        populations.append(neurons(draw, rng, name, made))
        source, arrives = name, made
    size = draw(st.integers(1, 5))
    weights.append(dense(rng, source, "out", "w_out", arrives, (size,)))
    populations.append(neurons(draw, rng, "out", (size,), output=True))
    made = IntegerNetwork(CHIP, {"input": shape}, tuple(populations), tuple(weights))
    density = draw(st.sampled_from([0.05, 0.3, 0.9]))
    x = rng.random((draw(st.integers(1, 12)), 2, *shape)) < density
    return made, x * rng.integers(1, draw(st.sampled_from([2, 4, 300])), x.shape)


def layer(
    draw: Any, rng: np.random.Generator, source: str, target: str, node: str, shape: tuple[int, ...]
) -> Weight:
    if len(shape) != 3 or draw(st.integers(0, 3)) == 0:
        return dense(rng, source, target, node, shape, (draw(st.integers(1, 40)),))
    pools = draw(st.sampled_from([(), (), (2,), (3,), (2, 2)]))
    window = math.prod(pools)
    if min(shape[1:]) < window:
        pools, window = (), 1
    pooled = (shape[0], shape[1] // window, shape[2] // window)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    sizes = [
        draw(st.integers(1, min(4, n + 2 * p))) for n, p in zip(pooled[1:], padding, strict=True)
    ]
    groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if shape[0] % g == 0]))
    features = groups * draw(st.integers(1, 6))
    values = rng.integers(-128, 128, (features, shape[0] // groups, *sizes))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return Weight(source, target, node, values, pooled, pools, stride, padding, groups=groups)


def dense(
    rng: np.random.Generator, source: str, target: str, node: str, shape: Any, made: Any
) -> Weight:
    values = rng.integers(-128, 128, (math.prod(made), math.prod(shape)))
    return Weight(source, target, node, values, (math.prod(shape),))


def recurrent(draw: Any, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Weight:
    """A matrix, or a convolution that keeps the map."""
    if len(shape) == 3 and draw(st.booleans()):
        values = rng.integers(-128, 128, (shape[0], shape[0], 3, 1))
        return Weight(name, name, f"{name}_rec", values, shape, (), (1, 1), (1, 0))
    return dense(rng, name, name, f"{name}_rec", shape, shape)


def out_shape(weight: Weight) -> tuple[int, ...]:
    if weight.values.ndim == 2:
        return (weight.values.shape[0],)
    sizes = zip(
        weight.shape[1:], weight.padding, weight.values.shape[2:], weight.stride, strict=True
    )
    return (len(weight.values), *((n + 2 * p - k) // s + 1 for n, p, k, s in sizes))


def neurons(
    draw: Any, rng: np.random.Generator, name: str, shape: tuple[int, ...], output: bool = False
) -> Population:
    kind = draw(st.sampled_from(["IF", "LIF", "CubaLIF"]))
    each = draw(st.booleans())

    def decay(low: int, high: int) -> np.ndarray:
        size = shape if each else ()
        return np.asarray(rng.integers(low, high + 1, size))

    return Population(
        name,
        shape,
        np.asarray(draw(st.sampled_from([1, 100, 1000, 131071]))),
        decay(0, 4095) if kind == "CubaLIF" else None,
        None if kind == "IF" else decay(1, 4096),
        draw(st.sampled_from(["v_reset", "subtract"])),
        output,
    )
