"""Random networks of integers for Lava, of any form that Loihi's bundles have.

Half are matrices: two or three hidden populations with skip connections, recurrence, delays. Half are
maps: convolutions with groups, dilation, uneven strides, skips, behind poolings whose windows often do
not divide the map. Both have biases, graded input, and outputs that never fire.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spyx_nir.hardware import profile
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

NEVER = 131071  # the largest threshold: nothing here reaches it


def draw(number: int, rng: np.random.Generator) -> tuple[IntegerNetwork, np.ndarray]:
    """A network and its input, (T, N, *shape) counts; with an odd number, of maps."""
    populations, weights, shape = (_maps if number % 2 else _matrices)(rng)
    network = IntegerNetwork(profile.load("loihi"), {"input": shape}, populations, weights)
    network.check()
    x = (rng.random((14, 2, *shape)) < 0.3) * rng.integers(
        1, 2 if number % 3 else 4, (14, 2, *shape)
    )
    x[-4:] = 0
    return network, x


def _population(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], output: bool = False
) -> Population:
    """Neurons with a current (CubaLIF), without (LIF), or without leak (IF)."""
    kind = rng.integers(3)
    never = output and rng.random() < 0.4
    bias = None
    if rng.random() < 0.5:
        bias = rng.integers(-4096, 4096, shape if rng.random() < 0.5 else ()) << rng.integers(0, 3)
    return Population(
        name,
        shape,
        np.asarray(NEVER if never else rng.integers(50, 500)),
        np.asarray(rng.integers(0, 4096)) if kind == 0 else None,
        np.asarray(rng.integers(1, 4097)) if kind < 2 else None,
        "v_reset",
        output,
        bias=None if bias is None else np.asarray(bias),
    )


def _values(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.asarray(rng.integers(-100, 128, shape) * 2)


def _matrix(
    rng: np.random.Generator,
    source: str,
    target: str,
    shape: tuple[int, ...],
    targets: int,
    **more: Any,
) -> Weight:
    values = _values(rng, targets, math.prod(shape))
    if not more and source != target and rng.random() < 0.5:
        full = values.shape if rng.random() < 0.5 else (1, values.shape[1])
        more["delay"] = rng.integers(0, 5, full)
    return Weight(source, target, f"w_{source}_{target}", values, shape, **more)


def _matrices(rng: np.random.Generator) -> tuple[Any, Any, tuple[int, ...]]:
    sizes = {"input": (int(rng.integers(2, 8)),)}
    populations, weights = [], []
    names = [*["a", "b", "c"][: rng.integers(2, 4)], "out"]
    for name in names:
        shape = (int(rng.integers(2, 8)),)
        before = list(sizes)
        chosen = {before[-1], *(source for source in before if rng.random() < 0.4)}
        for source in sorted(chosen):
            weights.append(_matrix(rng, source, name, sizes[source], shape[0]))
        if name != "out" and rng.random() < 0.5:
            weights.append(_matrix(rng, name, name, shape, shape[0]))
        populations.append(_population(rng, name, shape, name == "out"))
        sizes[name] = shape
    return tuple(populations), tuple(weights), sizes["input"]


def _convolution(
    rng: np.random.Generator,
    source: str,
    target: str,
    arrives: tuple[int, ...],
    pools: tuple[int, ...],
) -> tuple[Weight, tuple[int, ...]]:
    """From maps of shape `arrives`; the shape of the target."""
    size = math.prod(pools)
    c, h, w = arrives[0], arrives[1] // size, arrives[2] // size
    while True:
        groups = int(rng.choice([1, 2]))
        kernel = rng.integers(1, 4, 2)
        stride, dilation, padding = (rng.integers(low, 3, 2) for low in (1, 1, 0))
        spans = dilation * (kernel - 1) + 1
        leaves = (np.array([h, w]) + 2 * padding - spans) // stride + 1
        if (np.array([h, w]) + 2 * padding >= spans).all():
            break
    values = _values(rng, 2 * groups, c // groups, *kernel)
    pairs = {
        key: (int(value[0]), int(value[1]))
        for key, value in (("stride", stride), ("padding", padding), ("dilation", dilation))
    }
    weight = Weight(
        source, target, f"w_{source}_{target}", values, (c, h, w), pools, groups=groups, **pairs
    )
    return weight, (2 * groups, int(leaves[0]), int(leaves[1]))


def _maps(rng: np.random.Generator) -> tuple[Any, Any, tuple[int, ...]]:
    shape = (2, int(rng.integers(5, 12)), int(rng.integers(5, 12)))
    first, leaves = _convolution(rng, "input", "a", shape, ())
    while min(leaves[1:]) < 3:
        first, leaves = _convolution(rng, "input", "a", shape, ())
    pools = ((2,), (3,), (), (2,))[rng.integers(4)]
    second, mapped = _convolution(rng, "a", "b", leaves, pools)
    weights = [first, second]
    kernel = shape[1] - mapped[1] + 1, shape[2] - mapped[2] + 1
    if rng.random() < 0.6 and min(kernel) > 0:  # another way to `b`, past `a`
        values = _values(rng, mapped[0], shape[0], *kernel)
        weights.append(Weight("input", "b", "w_input_b", values, shape))
    last = (2,) if min(mapped[1:]) > 1 and rng.random() < 0.5 else ()
    size = math.prod(last)
    read = (mapped[0], mapped[1] // size, mapped[2] // size)
    weights.append(_matrix(rng, "b", "out", read, 3, pools=last))
    populations = (
        _population(rng, "a", leaves),
        _population(rng, "b", mapped),
        _population(rng, "out", (3,), True),
    )
    return populations, tuple(weights), shape
