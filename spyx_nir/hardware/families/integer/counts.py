"""What is counted of a network: weights, neurons, and the work of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir import neurobench
from spyx_nir.hardware.families.integer.layout import Layout, layout
from spyx_nir.hardware.network import IntegerNetwork, Weight
from spyx_nir.hardware.topology import Topology


@dataclass(frozen=True)
class Link:
    """A weight: the shape of its values, and what is added where every source has one spike.

    channels: what arrives. rows: weights side by side that are added at once. most_rows: of one
    spike, away from the border of a map. synapses: single weights in the rows.
    """

    node: str
    source: str
    target: str
    shape: tuple[int, ...]
    channels: int
    rows: int
    most_rows: int
    synapses: int

    @property
    def weights(self) -> int:
        """How many values are stored."""
        return math.prod(self.shape)

    @property
    def groups(self) -> int:
        """Of a convolution; a matrix has one."""
        return 1 if len(self.shape) == 2 else self.channels // self.shape[1]


@dataclass(frozen=True)
class Neurons:
    """A population.

    decays: how many states of a neuron decay, 0 to 2. tables: how many of these decays are stored for
    each neuron.
    """

    name: str
    size: int
    current: bool
    decays: int
    tables: int


@dataclass(frozen=True)
class Counts:
    """inputs: name -> how many."""

    layout: Layout
    inputs: Mapping[str, int]
    links: tuple[Link, ...]
    neurons: tuple[Neurons, ...]

    @property
    def sizes(self) -> dict[str, int]:
        """Input or population -> how many."""
        return {**self.inputs, **{one.name: one.size for one in self.neurons}}

    def share(self, link: Link, spikes: Mapping[str, float] | None) -> float:
        """How much of `rows` and `synapses` a step adds.

        Args:
            spikes: input or population -> how many in the step; None: one of each.
        """
        return 1.0 if spikes is None else spikes[link.source] / self.sizes[link.source]


def mean_spikes(counts: Counts, metrics: Mapping[str, Any], step_s: float) -> dict[str, float]:
    """Spikes of a step in the mean of the test set, by input or population.

    Args:
        metrics: as metrics/<task>-<target>.json has them. step_s: length of a step, s.
    """
    rates = {layer["node"]: layer["spike_rate"] for layer in metrics["layers"]}
    (source,) = counts.inputs
    return {
        source: metrics["rates"]["events"]["mean_per_s"] * step_s,
        **{one.name: rates[one.name] * one.size for one in counts.neurons},
    }


def of_graph(graph: Topology) -> Counts:
    """The counts of a graph whose links have one weight each."""
    nodes, shapes = graph.plan.nodes, graph.plan.shapes
    links = []
    for link in graph.links:
        (name,) = graph.weights(link)
        shape, synapses = nodes[name]["weight"].shape, graph.synapses(name)
        channels = graph.plan.arrives[name][0]
        rows = _rows(shape, channels, synapses)
        most = _most_rows(shape, nodes[name].get("stride", 1))
        links.append(Link(name, link.source, link.target, shape, channels, rows, most, synapses))
    decaying = {
        path: [nodes[path][tau] for tau in ("tau", "tau_syn", "tau_mem") if tau in nodes[path]]
        for path in graph.populations
    }
    return Counts(
        layout(
            (path, shapes[path], "tau_syn" in nodes[path], path in graph.outputs)
            for path in graph.populations
        ),
        {path: math.prod(shapes[path]) for path in graph.plan.inputs},
        tuple(links),
        tuple(
            Neurons(
                path,
                graph.size(path),
                "tau_syn" in nodes[path],
                len(decaying[path]),
                sum(not _one(values) for values in decaying[path]),
            )
            for path in graph.populations
        ),
    )


def of_network(network: IntegerNetwork) -> Counts:
    """The counts of a network in integers."""
    populations = network.populations
    return Counts(
        layout((p.name, p.shape, p.decay_syn is not None, p.output) for p in populations),
        {name: math.prod(shape) for name, shape in network.inputs.items()},
        tuple(_link(weight) for weight in network.weights),
        tuple(
            Neurons(
                p.name,
                math.prod(p.shape),
                p.decay_syn is not None,
                len(decays),
                sum(decay.ndim > 0 for decay in decays),
            )
            for p in populations
            for decays in [[d for d in (p.decay_syn, p.decay_mem) if d is not None]]
        ),
    )


def _link(weight: Weight) -> Link:
    node = {"weight": weight.values, "stride": weight.stride, "padding": weight.padding}
    shape = weight.shape if weight.values.ndim > 2 else (weight.values.shape[1],)
    synapses = neurobench.synapses(node, shape)
    values, channels = weight.values.shape, weight.shape[0]
    rows = _rows(values, channels, synapses)
    most = _most_rows(values, weight.stride)
    return Link(weight.node, weight.source, weight.target, values, channels, rows, most, synapses)


def _rows(weight: tuple[int, ...], arrives: int, synapses: int) -> int:
    """Rows of weights that are added where every source has one spike.

    Args:
        weight: the shape of its values. arrives: channels that arrive at it, of a convolution.
    """
    if len(weight) == 2:
        return weight[1]
    groups = arrives // weight[1]
    return synapses // (weight[0] // groups)


def _most_rows(weight: tuple[int, ...], stride: Any) -> int:
    """Places of a kernel that one spike can be at; 1 for a matrix."""
    size = weight[2:]
    steps = np.broadcast_to(stride, len(size)) if size else ()
    return math.prod(-(-n // int(step)) for n, step in zip(size, steps, strict=True))


def _one(value: Any) -> bool:
    """Whether all entries are the same."""
    first = value.ravel()[0]
    return bool((value == first).all())
