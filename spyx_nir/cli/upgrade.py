"""`upgrade FILE OUT`: repair what is understood, add what the caller knows, name every change."""

from __future__ import annotations

import argparse
from typing import Any

from spyx_nir.cli import check_name, show
from spyx_nir.converter import contract, file
from spyx_nir.converter.repair import repair, spiking
from spyx_nir.converter.writers import WRITERS
from spyx_nir.errors import GraphError, UsageError, about
from spyx_nir.meaning.equations import RESETS
from spyx_nir.meaning.plan import check_dt, make_plan, step_dt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file")
    parser.add_argument("out", help="where to write, a .nir file; FILE itself is allowed")
    parser.add_argument("--dt", type=show.step, help="the step: writes a contract")
    parser.add_argument("--time-unit", choices=contract.UNITS, help="the unit of dt and the taus")
    parser.add_argument("--reset", choices=RESETS, help="how every neuron was reset in training")
    parser.add_argument(
        "--spike-delay", type=int, choices=(0, 1), help="steps by which spikes leave late"
    )
    parser.add_argument(
        "--writer",
        choices=sorted(WRITERS),
        help="who wrote FILE, and with which mistake; needs --dt, the step of the training",
    )
    parser.add_argument(
        "--nir-version", choices=file.NIR_VERSIONS, default="1.0.8", help="default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(arguments: argparse.Namespace) -> int:
    if arguments.dt is None and arguments.time_unit:
        raise UsageError("--time-unit says the unit of --dt: give both")
    if arguments.writer and arguments.dt is None:
        raise UsageError(f"--writer {arguments.writer} needs --dt, the step of the training")
    check_name(arguments.out, ".nir", "OUT")
    content = file.read_dict(arguments.file)
    with about(arguments.file):
        graph, changes = upgrade(
            content,
            dt=arguments.dt,
            time_unit=arguments.time_unit,
            reset=arguments.reset,
            spike_delay=arguments.spike_delay,
            writer=arguments.writer,
        )
        built = file.build(graph)
        file.write(arguments.out, built, arguments.nir_version)
    if arguments.nir_version == "1.0.4":
        changes += [
            f"nir 1.0.4: `{path}`: v_reset left out, it is 0"
            for path, node in file.nodes(graph)
            if "v_reset" in node
        ]
    if arguments.json:
        show.as_json({"file": arguments.file, "out": arguments.out, "changes": changes})
        return 0
    for change in changes:
        print(change)
    print(
        f"{arguments.out}: {show.count(len(changes), 'change')}"
        if changes
        else f"{arguments.out}: as before"
    )
    return 0


def upgrade(
    graph: dict[str, Any],
    *,
    dt: float | None = None,
    time_unit: str | None = None,
    reset: str | None = None,
    spike_delay: int | None = None,
    writer: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """A repaired graph's dictionary, and one line for each change.

    Args:
        graph: as `file.read_dict` gives it; it is not changed.
        dt, time_unit: written as a contract. reset, spike_delay: written to every neuron.
        writer: one of `WRITERS`, whose mistake is put right; needs dt.

    Raises:
        GraphError: faults are left that are not understood, or what is given contradicts the file.
    """
    graph, faults = repair(graph)
    changes = [
        f"{fault.code}: {f'`{fault.node}`: ' if fault.node else ''}{fault.reason}; {fault.repair}"
        for fault in faults
    ]
    for path, node in file.nodes(graph):
        file.check_node(node, path)
    if writer is not None and dt is not None:
        if "contract_version" in graph.get("metadata", {}):
            raise GraphError(f"has a contract, which {writer} does not write: nothing to put right")
        graph, lines = WRITERS[writer](graph, dt)
        changes += lines
    told = graph.setdefault("metadata", {})
    if dt is not None:
        plan = make_plan(graph)
        step_dt(plan, dt)
        check_dt(plan, dt)
        made = contract.make(dt, time_unit=time_unit)
        new = {name: value for name, value in made.items() if told.get(name) != value}
        told.update(new)
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
    return graph, changes
