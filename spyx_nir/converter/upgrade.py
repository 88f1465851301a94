"""Repair what is understood in a graph, add what the caller knows, name every change."""

from __future__ import annotations

from typing import Any

import nir

from spyx_nir.converter import contract, file
from spyx_nir.converter.file import Source
from spyx_nir.converter.repair import repair, spiking
from spyx_nir.converter.writers import WRITERS
from spyx_nir.errors import GraphError, UsageError
from spyx_nir.meaning.plan import check_dt, make_plan, step_dt


def upgrade(
    source: Source,
    *,
    dt: float | None = None,
    time_unit: str | None = None,
    reset: str | None = None,
    spike_delay: int | None = None,
    writer: str | None = None,
) -> tuple[nir.NIRGraph, list[str]]:
    """A repaired graph, and one line for each change.

    Args:
        source: a .nir file, a `nir.NIRGraph`, or a dictionary as `file.read_dict` gives it; it is not
            changed.
        dt: the step, in the unit of the time constants; written as a contract.
        time_unit: the unit of dt, one of `contract.UNITS`; needs dt.
        reset: one of `RESETS`, written to every neuron that resets.
        spike_delay: steps by which the spikes of every neuron are delayed, 0 or 1; likewise.
        writer: one of `WRITERS`, whose mistake is put right; needs dt.

    Raises:
        GraphError: faults are left that are not understood, or what is given contradicts the file.
        UsageError: dt is missing, or there is no such writer.
    """
    if dt is None and (time_unit or writer):
        raise UsageError("`time_unit` and `writer` need `dt`, the step of the training")
    if writer is not None and writer not in WRITERS:
        raise UsageError(f"`writer` must be one of {', '.join(WRITERS)}, got {writer!r}")
    content = file.content_of(source)
    with file.naming(source):
        return _upgraded(content, dt, time_unit, reset, spike_delay, writer)


def _upgraded(
    content: dict[str, Any],
    dt: float | None,
    time_unit: str | None,
    reset: str | None,
    spike_delay: int | None,
    writer: str | None,
) -> tuple[nir.NIRGraph, list[str]]:
    graph, faults = repair(content)
    changes = [
        f"{fault.code}: {f'`{fault.node}`: ' if fault.node else ''}{fault.reason}; {fault.repair}"
        for fault in faults
    ]
    for path, node in file.nodes(graph):
        file.check_node(node, path)
    if writer is not None and dt is not None:
        if "contract_version" in graph.get("metadata", {}):
            raise GraphError(
                f"has a contract, which {writer} does not write: nothing to put right",
                node="",
                code="contract",
            )
        graph, lines = WRITERS[writer](graph, dt)
        changes += lines
    metadata = graph.setdefault("metadata", {})
    if dt is not None:
        plan = make_plan(graph)
        step_dt(plan, dt)
        check_dt(plan, dt)
        made = contract.make(dt, time_unit=time_unit)
        new = {name: value for name, value in made.items() if metadata.get(name) != value}
        metadata.update(new)
        if new:
            changes.append("contract: " + ", ".join(f"{k} = {v}" for k, v in new.items()))
    for path, node in spiking(graph):
        for name, value in (("reset", reset), ("spike_delay", spike_delay)):
            own = node.setdefault("metadata", {})
            if value is not None and own.get(name) != value:
                before = f" (was {own[name]})" if name in own else ""
                own[name] = value
                changes.append(f"contract: `{path}`: {name} = {value}{before}")
    make_plan(graph)  # whatever is left that has no meaning is refused here
    return file.build(graph), changes
