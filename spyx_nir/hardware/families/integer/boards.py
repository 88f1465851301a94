"""What a network takes of a board's flash, memory and time, from counts, before anything is compiled.

Flash is the weights, the numbers of neurons that differ within a population, and code by a rule of thumb.
RAM is `model_state`, exactly, and a stack. Time is instructions in the worst case: every neuron spikes,
every input has one event. The constants are above what gcc 12.2 -O2 makes for a Cortex-M4 of the default
tasks' networks; `make silicon` counts what runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spyx_nir.errors import UserError
from spyx_nir.hardware.facts import Check, Profile
from spyx_nir.hardware.families.integer.c_code import most_events
from spyx_nir.hardware.families.integer.layout import Layout, layout
from spyx_nir.hardware.findings import Finding, against
from spyx_nir.hardware.topology import Topology

CODE, CODE_LINK, CODE_NEURONS = 512, 320, 192  # bytes: interface; each link; each population
STACK = 256  # bytes
PER_SYNAPSE, PER_ROW, PER_NEURON, PER_DECAY = 6, 24, 12, 15  # instructions
MOST_AXES = 3
FIELDS = {"name": str, "core": str, "flash": int, "ram": int, "clock": int, "source": str}


def _is_board(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == FIELDS.keys()
        and all(type(value[key]) is kind and bool(value[key]) for key, kind in FIELDS.items())
        and all(value[key] > 0 for key in ("flash", "ram", "clock"))
    )


BOARDS: Check = (
    lambda value: isinstance(value, list) and bool(value) and all(map(_is_board, value)),
    f"a list of boards, each with {', '.join(FIELDS)}; flash and ram in bytes, clock in hertz",
)


def check_profile(profile: Profile) -> None:
    """Refuse numbers that the C does not have."""
    for key, most in (("weights.bits", 8), ("state.bits", 24)):
        if profile[key] > most:
            raise UserError(f"`{key}` is {profile[key]}; the generated C has {most} at most")
    for key, value in (
        ("neuron.decay", "fraction"), ("neuron.decay_bits", 12), ("neuron.compare", ">"),
        ("neuron.bias", False), ("neuron.threshold_per", "layer"), ("weights.scale_per", "layer"),
        ("state.overflow", "saturate"), ("state.floor", "none"), ("neuron.spikes_per_step", 1),
    ):  # fmt: skip
        if profile[key] != value:
            raise UserError(f"`{key}` is {profile[key]!r}; the generated C has {value!r}")


@dataclass(frozen=True)
class Need:
    """What a network takes: bytes, and instructions of a step in the worst case."""

    flash: int
    ram: int
    instructions: int

    def seconds(self, board: dict[str, Any]) -> float:
        """A step in the worst case, at one instruction a clock."""
        return self.instructions / float(board["clock"])

    def on(self, board: dict[str, Any]) -> str:
        """The share of a board, in words."""
        return (
            f"{board['name']} ({board['core']}, {board['clock'] / 1e6:g} MHz): flash {self.flash} of "
            f"{board['flash']} bytes, RAM {self.ram} of {board['ram']}, a step at most "
            f"{self.instructions} instructions, {1e3 * self.seconds(board):.2f} ms at one a clock"
        )


@dataclass(frozen=True)
class Counts:
    """What is counted of a network.

    weights: those that are stored. tables: bytes of numbers that differ within a population. rows: how
    often a step adds a row of weights in the worst case. synapses: how many weights these rows have.
    decays: states that decay.
    """

    weights: int
    tables: int
    links: int
    rows: int
    synapses: int
    decays: int


def need(plan: Layout, counts: Counts) -> Need:
    """What a network takes."""
    code = CODE + CODE_LINK * counts.links + CODE_NEURONS * len(plan.places)
    instructions = (
        PER_SYNAPSE * counts.synapses
        + PER_ROW * counts.rows
        + PER_NEURON * plan.neurons
        + PER_DECAY * counts.decays
    )
    return Need(code + counts.weights + counts.tables, plan.ram + STACK, instructions)


def rows_of(weight: tuple[int, ...], arrives: int, synapses: int) -> int:
    """Rows of weights that a step adds in the worst case.

    Args:
        weight: the shape of its values. arrives: channels that arrive at it, of a convolution.
    """
    if len(weight) == 2:
        return weight[1]
    groups = arrives // weight[1]
    return synapses // (weight[0] // groups)


def place_on_boards(
    graph: Topology, profile: Profile
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """No rows, as no core takes a layer of its own; what is not supported, and a note for each board."""
    found = [*_not_supported(graph, profile)]
    if found or any(len(graph.weights(link)) != 1 for link in graph.links):
        return [], found  # the wiring is reported already
    needed = _need(graph)
    boards = profile["boards.list"]
    fits = [b for b in boards if needed.flash <= b["flash"] and needed.ram <= b["ram"]]
    for board in boards:
        why = needed.on(board) if board in fits else f"does not fit {needed.on(board)}"
        found.append(Finding(severity="note", code="board", reason=why, source=board["source"]))
    if not fits:
        largest = max(boards, key=lambda board: board["ram"])
        number = f"flash {needed.flash}, RAM {needed.ram}"
        found.append(
            against(
                profile, "boards.list", "board", "", f"fits no board: {needed.on(largest)}",
                "make layers smaller", number=number, limit=f"{largest['flash']}, {largest['ram']}",
            )
        )  # fmt: skip
    return [], found


def _not_supported(graph: Topology, profile: Profile) -> Iterator[Finding]:
    def against_nodes(code: str, path: str, why: str, fix: str, number: Any, limit: Any) -> Finding:
        return against(profile, "graph.nodes", code, path, why, fix, number=number, limit=limit)

    for what, paths in (("input", graph.plan.inputs), ("output", graph.outputs)):
        if len(paths) > 1:
            why, fix = f"{len(paths)} {what}s: {', '.join(paths)}", f"have one {what}"
            yield against_nodes("wiring", paths[1], why, fix, len(paths), 1)
    for path in (*graph.plan.inputs, *graph.populations):
        axes = len(graph.plan.shapes[path])
        if axes > MOST_AXES:
            why, fix = f"{axes} axes", "have (channels, height, width) at most"
            yield against_nodes("axes", path, why, fix, axes, MOST_AXES)
    for link in graph.links:
        if link.closes and link.source != link.target:
            why = f"`{link.source}` feeds it within a cycle of several populations"
            fix = "only a population that feeds itself is generated"
            yield against_nodes("recurrence", link.target, why, fix, link.source, link.target)
    for path in graph.populations:
        delay = graph.plan.nodes[path].get("spike_delay", 0)
        if delay:
            why, fix = f"spikes are delayed by {delay}", "train without a delay"
            yield against_nodes("spike-delay", path, why, fix, delay, 0)
    yield from _too_many(graph, profile)


def _too_many(graph: Topology, profile: Profile) -> Iterator[Finding]:
    """Populations whose sums would leave 32 bits."""
    unit, most = 2 ** profile["state.threshold_shift"], 2 ** (profile["state.bits"] - 1) - 1
    for path in graph.populations:
        sources = [link.source for link in graph.into(path)]
        links = sum(source in graph.plan.inputs for source in sources)
        neurons = sum(graph.size(source) for source in sources if source not in graph.plan.inputs)
        inputs = sum(math.prod(graph.plan.shapes[source]) for source in graph.plan.inputs)
        room = most_events([(links, neurons)], unit, profile["weights.bits"], most)
        if room < (inputs if links else 0):
            total = neurons + links * inputs
            why = f"{total} neurons and inputs lead there: 32 bits do not hold every sum of their weights"
            yield against(
                profile, "weights.bits", "sum", path, why, "use fewer", number=total,
                limit="a sum within 32 bits",
            )  # fmt: skip


def _need(graph: Topology) -> Need:
    nodes = graph.plan.nodes
    plan = layout(
        (path, graph.plan.shapes[path], "tau_syn" in nodes[path], path in graph.outputs)
        for path in graph.populations
    )
    decays = [
        (graph.size(path), nodes[path][name])
        for path in graph.populations
        for name in ("tau", "tau_syn", "tau_mem")
        if name in nodes[path]
    ]
    names = [graph.weights(link)[0] for link in graph.links]
    shapes = [nodes[name]["weight"].shape for name in names]
    synapses = [graph.synapses(name) for name in names]
    rows = (
        rows_of(shape, graph.plan.arrives[name][0], count)
        for name, shape, count in zip(names, shapes, synapses, strict=True)
    )
    return need(
        plan,
        Counts(
            weights=sum(map(math.prod, shapes)),
            tables=sum(2 * size for size, values in decays if not _one(values)),
            links=len(names),
            rows=sum(rows),
            synapses=sum(synapses),
            decays=sum(size for size, _ in decays),
        ),
    )


def _one(value: Any) -> bool:
    """Whether all entries are the same."""
    first = value.ravel()[0]
    return bool((value == first).all())
