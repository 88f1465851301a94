"""Repair what is understood in a graph, add what the caller knows, name every change."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter import contract, file
from spyx_nir.converter.file import Source
from spyx_nir.converter.repair import repair, spiking
from spyx_nir.converter.writers import WRITERS
from spyx_nir.errors import GraphError, UsageError
from spyx_nir.meaning.equations import ENDLESS, GAINS
from spyx_nir.meaning.plan import check_dt, make_plan, settled_node, step_dt


def upgrade(
    source: Source,
    *,
    dt: float | None = None,
    time_unit: str | None = None,
    discretization: str | None = None,
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
        discretization: one of `DISCRETIZATIONS`; needs dt.
        reset: one of `RESETS`, written to every neuron that resets.
        spike_delay: steps by which the spikes of every neuron are delayed, 0 or 1; likewise.
        writer: one of `WRITERS`, whose mistake is put right; needs dt.

    Raises:
        GraphError: faults are left that are not understood, or what is given contradicts the file.
        UsageError: dt is missing, or there is no such writer.
    """
    if dt is None and (time_unit or writer or discretization):
        what = "`time_unit`, `writer` and `discretization` need `dt`, the step of the training"
        raise UsageError(what)
    if writer is not None and writer not in WRITERS:
        raise UsageError(f"`writer` must be one of {', '.join(WRITERS)}, got {writer!r}")
    content = file.content_of(source)
    with file.naming(source):
        graph_dict, faults = repair(content)
        changes = [
            f"{fault.code}: {f'`{fault.node}`: ' if fault.node else ''}{fault.reason}; {fault.repair}"
            for fault in faults
        ]
        file.check_nodes(graph_dict)
        if writer is not None and dt is not None:
            if "contract_version" in graph_dict.get("metadata", {}):
                what = f"has a contract, which {writer} does not write: nothing to put right"
                raise GraphError(what, node="", code="contract")
            graph_dict, lines = WRITERS[writer](graph_dict, dt)
            changes += lines
        if dt is not None:
            changes += _set_dt(graph_dict, dt, time_unit, discretization)
        for path, node in spiking(graph_dict):
            for name, value in (("reset", reset), ("spike_delay", spike_delay)):
                own = node.setdefault("metadata", {})
                if value is not None and own.get(name) != value:
                    before = f" (was {own[name]})" if name in own else ""
                    own[name] = value
                    changes.append(f"contract: `{path}`: {name} = {value}{before}")
        plan = make_plan(graph_dict)  # whatever is left that has no meaning is refused here
        if "dt" in plan.metadata:
            changes += _finite(graph_dict, step_dt(plan, None))
        return file.build(graph_dict), changes


def _finite(graph_dict: dict[str, Any], dt: float) -> list[str]:
    """Write finite numbers where a time constant is infinite, that mean the same for a step of dt.

    Where the input has no effect, r of a finite r or w_in becomes 0: dt/tau * r is 0 then, too.
    """
    changes = []
    for path, node in file.nodes(graph_dict):
        settled = settled_node(node, dt)
        for tau, gain in GAINS.items():
            if tau not in node or not np.isinf(node[tau]).any():
                continue
            endless = np.isinf(settled[tau])  # where the gain is finite
            settled[tau] = np.where(endless, ENDLESS * dt, settled[tau])
            settled[gain] = np.where(endless, 0, settled[gain])
            for name in (tau, gain, "v_leak"):
                if name in node:
                    node[name] = settled[name].astype(np.asarray(node[name]).dtype)
            changes.append(f"infinite: `{path}`: {tau} is infinite; now 2^60 dt = {ENDLESS * dt:g}")
    return changes


def _set_dt(
    graph_dict: dict[str, Any], dt: float, time_unit: str | None, discretization: str | None
) -> list[str]:
    """Write a contract with this step, and say what of it is new."""
    plan = make_plan(graph_dict, discretization=discretization)
    step_dt(plan, dt)
    check_dt(plan, dt)
    metadata = graph_dict.setdefault("metadata", {})
    if discretization is None and plan.exact:
        discretization = "exact"
    said = plan.metadata.get("time_unit")
    if time_unit is None and isinstance(said, str) and said in contract.UNITS:
        time_unit = said
    made = contract.make(dt, time_unit=time_unit, discretization=discretization)
    new = {name: value for name, value in made.items() if metadata.get(name) != value}
    metadata.update(new)
    return ["contract: " + ", ".join(f"{k} = {v}" for k, v in new.items())] if new else []
