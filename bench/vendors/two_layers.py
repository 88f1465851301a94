"""A hidden population, recurrent, and an output: the form in which the vendors' programs take networks.

Matrices are (sources, targets), as those programs have them; ours are (targets, sources).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.profile import Profile

FIELDS = ("threshold", "decay_syn", "decay_mem")


def to_arrays(network: IntegerNetwork) -> dict[str, np.ndarray]:
    """weights_in, weights_rec, weights_out (sources, targets) and, with `_out` for the outputs, FIELDS.

    All hidden populations become one, in their order; weights between them become recurrent ones.

    Raises:
        GraphError: several inputs, no output population, convolutions, or outputs that feed something.
    """
    hidden = [p for p in network.populations if not p.output]
    shown = [p for p in network.populations if p.output]
    if len(network.inputs) != 1 or not hidden or not shown:
        raise GraphError(
            "the chip takes one input, hidden populations and an output population; there are "
            f"{len(network.inputs)}, {len(hidden)} and {len(shown)}"
        )
    ((name, shape),) = network.inputs.items()
    sources = {name: (0, int(np.prod(shape)))}
    counts = {}
    for group in (hidden, shown):
        start = 0
        for population in group:
            size = int(np.prod(population.shape))
            sources[population.name] = (start, start + size)
            start += size
        counts[id(group)] = start
    n, h, o = sources[name][1], counts[id(hidden)], counts[id(shown)]
    arrays = {
        "weights_in": np.zeros((n, h), np.int64),
        "weights_rec": np.zeros((h, h), np.int64),
        "weights_out": np.zeros((h, o), np.int64),
    }
    names = {p.name for p in hidden}
    for weight in network.weights:
        from_input, to_hidden = weight.source == name, weight.target in names
        if weight.values.ndim != 2 or weight.pools or (from_input and not to_hidden):
            raise GraphError(
                f"weight `{weight.node}` is no matrix into hidden neurons, or from them to the output"
            )
        if not from_input and weight.source not in names:
            raise GraphError(
                f"weight `{weight.node}` starts at the output `{weight.source}`; put a layer behind it"
            )
        which = "in" if from_input else "rec" if to_hidden else "out"
        (a, b), (c, d) = sources[weight.source], sources[weight.target]
        arrays[f"weights_{which}"][a:b, c:d] += weight.values.T
    for group, suffix in ((hidden, ""), (shown, "_out")):
        for field in FIELDS:
            parts = [np.broadcast_to(getattr(p, field), p.shape).ravel() for p in group]
            arrays[field + suffix] = np.concatenate(parts).astype(np.int64)
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray], profile: Profile, reset: str) -> IntegerNetwork:
    """The network of what `to_arrays` gives: `input`, `hidden` and `out`."""
    n, h = arrays["weights_in"].shape
    o = arrays["weights_out"].shape[1]

    def population(name: str, size: int, suffix: str) -> Population:
        values = {field: np.asarray(arrays[field + suffix], np.int64) for field in FIELDS}
        return Population(name, (size,), **values, reset=reset, output=bool(suffix))

    def weight(source: str, target: str, which: str) -> Weight:
        values = np.asarray(arrays[f"weights_{which}"], np.int64).T
        return Weight(source, target, f"w_{which}", values, (values.shape[1],))

    return IntegerNetwork(
        profile,
        {"input": (n,)},
        (population("hidden", h, ""), population("out", o, "_out")),
        (
            weight("input", "hidden", "in"),
            weight("hidden", "hidden", "rec"),
            weight("hidden", "out", "out"),
        ),
    )
