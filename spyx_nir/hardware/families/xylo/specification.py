"""xylo_specification.json: what rockpool needs to configure the chip, as plain lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware.families.xylo.simulator import REACHES, hidden_ids, ranks
from spyx_nir.hardware.network import IntegerNetwork, Population

NAME = "xylo_specification.json"
VERSION = 1
# rockpool's name of a neuron's number -> ours.
NEURONS = {
    "dash_syn": "decay_syn",
    "dash_mem": "decay_mem",
    "threshold": "threshold",
    "bias": "bias",
}


def files(network: IntegerNetwork, bin_us: int) -> dict[str, str]:
    """See `Family.files`."""
    chip = network.profile
    (output,) = (p for p in network.populations if p.output)
    content = {
        "version": VERSION,
        "target": chip.name,
        "device": chip["graph.device"],
        "dt": bin_us / 1e6,
        "inputs": {name: ranks(network)[name].tolist() for name in network.inputs},
        "hidden": {name: ids.tolist() for name, ids in hidden_ids(network).items()},
        "output": output.name,
        "output_mode": "Vmem" if output.membrane else "Spike",
        "specification": {key: value.tolist() for key, value in specification(network).items()},
    }
    return {NAME: json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n"}


def specification(network: IntegerNetwork) -> dict[str, np.ndarray]:
    """The arguments of rockpool's `XyloSim.from_specification`.

    `config_from_specification` takes the same, but calls `bias` `bias_hidden`.

    Hidden populations are one there. weights_in (inputs, hidden, 1), weights_rec (hidden, hidden, 1),
    weights_out (hidden, outputs); where inputs reach only the first hidden neurons, and outputs the
    last, weights_in and weights_out have these alone. dash_syn, dash_mem, threshold and, where a neuron
    has one, bias (hidden,), the same with `_out` (outputs,). int64.

    Raises:
        GraphError: an input that leads straight to an output, an output that leads anywhere, two weights
            between the same populations, or no order in which inputs and outputs reach all they need.
    """
    shown = [p for p in network.populations if p.output]
    hidden = [p for p in network.populations if not p.output]
    ids: dict[str, np.ndarray] = hidden_ids(network)
    places = {**ranks(network), **ids}
    starts = np.append(0, np.cumsum([p.shape[0] for p in shown]))
    outputs = {p.name: np.arange(a, a + p.shape[0]) for p, a in zip(shown, starts, strict=False)}
    count = sum(map(len, ids.values()))
    inputs = sum(shape[0] for shape in network.inputs.values())
    arrays = {
        "weights_in": np.zeros((inputs, count, 1), np.int64),
        "weights_rec": np.zeros((count, count, 1), np.int64),
        "weights_out": np.zeros((count, starts[-1], 1), np.int64),
    }
    done = set()
    for weight in network.weights:
        source, target = weight.source, weight.target
        kind = "in" if source in network.inputs else "rec" if target in ids else "out"
        if source in outputs or (kind == "in" and target in outputs) or (source, target) in done:
            raise GraphError(
                f"weight `{weight.node}` from `{source}` to `{target}`: the chip has one matrix from "
                "inputs to hidden neurons, one between them, and one from them to outputs",
                node=weight.node,
            )
        done.add((source, target))
        block = np.ix_(places[source], {**ids, **outputs}[target], np.arange(1))
        arrays[f"weights_{kind}"][block] = weight.values.T[:, :, None]
    reach = [network.profile[key] or count for key in REACHES]
    arrays["weights_in"] = arrays["weights_in"][:, : reach[0]]
    arrays["weights_out"] = arrays["weights_out"][-reach[1] :, :, 0]
    biased = any(p.bias is not None for p in network.populations)
    for group, where, suffix in ((hidden, ids, ""), (shown, outputs, "_out")):
        for key, field in NEURONS.items():
            if field != "bias" or biased:
                arrays[key + suffix] = _numbers(group, where, field)
    return arrays


def _numbers(group: list[Population], where: Mapping[str, Any], field: str) -> np.ndarray:
    """One number for each neuron of a group, in the chip's order; no bias is 0."""
    found = np.zeros(sum(map(len, where.values())), np.int64)
    for population in group:
        value = getattr(population, field)
        found[where[population.name]] = 0 if value is None and field == "bias" else value
    return found
