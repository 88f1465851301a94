"""Random networks of integers for XyloSim, of any form that bundles for Xylo have.

One to three hidden populations that feed each other and themselves forwards and backwards, skips from
the input and to the output, biases, outputs whose membrane is read. Every third has weights, decays and
input that lead to the bounds of 16 bits. Every tenth has more neurons than inputs and outputs reach on
Xylo Audio 3, so that its neurons have to change places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spyx_nir.hardware import profile
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

STEPS, SAMPLES = 32, 2
MOST_THRESHOLD = 32767  # of an output whose membrane is read


def draw(number: int, rng: np.random.Generator) -> tuple[IntegerNetwork, np.ndarray]:
    """A network and its input, (T, N, inputs) counts."""
    hard, large = number % 3 == 2, number % 10 == 9
    inputs, outputs = int(rng.integers(2, 7)), int(rng.integers(1, 6))
    sizes = {name: int(rng.integers(2, 10)) for name in "abc"[: rng.integers(1, 4)]}
    if large:
        sizes = {"a": 90, "b": 60, "c": int(rng.integers(20, 50))}
    sizes["out"] = outputs
    links = [("input", "a"), *zip([*sizes], [*sizes][1:], strict=False)]
    for source in ("input", *sizes):
        for target in sizes:
            straight = source == "input" and target == "out"
            if source != "out" and not straight and rng.random() < (0 if large else 0.35):
                links.append((source, target))
    links += [("c", "a"), ("input", "c"), ("a", "out")] if large else []
    weights = [
        _weight(rng, source, target, {"input": inputs, **sizes}, hard, large)
        for source, target in dict.fromkeys(links)
    ]
    populations = [_population(rng, name, n, hard, name == "out") for name, n in sizes.items()]
    chip = profile.load("xylo-audio-3" if large else "xylo-audio-2")
    network = IntegerNetwork(chip, {"input": (inputs,)}, tuple(populations), tuple(weights))
    network.check()
    x = (rng.random((STEPS, SAMPLES, inputs)) < (0.8 if hard else 0.3)).astype(np.int64)
    return network, x * rng.integers(1, 20 if hard else 3, x.shape)


def _weight(
    rng: np.random.Generator,
    source: str,
    target: str,
    sizes: dict[str, int],
    hard: bool,
    large: bool,
) -> Weight:
    size = 127 if hard else 50
    values = rng.integers(-size, size + 1, (sizes[target], sizes[source]))
    if large:  # few of each layer are fed, or read: together no more than 128
        values *= rng.random(values.shape) < 0.2
        if source == "input":
            values[rng.random(len(values)) < 0.5] = 0
    return Weight(source, target, f"w_{source}_{target}", values, (sizes[source],))


def _population(
    rng: np.random.Generator, name: str, size: int, hard: bool, output: bool
) -> Population:
    membrane = output and rng.random() < 0.4
    longer = 5 if hard else 0
    bias: Any = None
    if rng.random() < 0.5:
        most = 5000 if hard else 40
        bias = rng.integers(-most, most, size if rng.random() < 0.5 else ())
    return Population(
        name,
        (size,),
        np.asarray(MOST_THRESHOLD) if membrane else rng.integers(20, 400, size),
        rng.integers(1, 6, size) + longer,
        rng.integers(0, 7, size) + longer,
        "subtract",
        output,
        bias=None if bias is None else np.asarray(bias),
        membrane=membrane,
    )
