"""`upgrade FILE OUT`: repair what is understood, add what the caller knows, name every change."""

from __future__ import annotations

import argparse

from spyx_nir.cli import check_name, show
from spyx_nir.converter import contract, file
from spyx_nir.converter.upgrade import upgrade
from spyx_nir.converter.writers import WRITERS
from spyx_nir.errors import UsageError, about
from spyx_nir.meaning.equations import RESETS, says_nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file")
    parser.add_argument("out", help="where to write, a .nir file; FILE itself is allowed")
    parser.add_argument("--dt", type=show.step, help="the step: writes a contract")
    parser.add_argument("--time-unit", choices=contract.UNITS, help="the unit of dt and the taus")
    show.add_discretization(
        parser, "how a step followed from the equations in training; needs --dt"
    )
    parser.add_argument("--reset", choices=RESETS, help="how every neuron was reset in training")
    parser.add_argument(
        "--spike-delay", type=int, choices=(0, 1), help="steps by which spikes are delayed"
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
    show.add_limits(parser)


def main(arguments: argparse.Namespace) -> int:
    if arguments.dt is None and arguments.time_unit:
        raise UsageError("--time-unit says the unit of --dt: give both")
    if arguments.dt is None and arguments.discretization:
        raise UsageError("--discretization needs --dt, the step of the training")
    if arguments.writer and arguments.dt is None:
        raise UsageError(f"--writer {arguments.writer} needs --dt, the step of the training")
    check_name(arguments.out, ".nir", "OUT")
    content = file.read_dict(arguments.file)
    with about(arguments.file):
        graph, changes = upgrade(
            content,
            dt=arguments.dt,
            time_unit=arguments.time_unit,
            discretization=arguments.discretization,
            reset=arguments.reset,
            spike_delay=arguments.spike_delay,
            writer=arguments.writer,
        )
        file.write(arguments.out, graph, arguments.nir_version)
    if arguments.nir_version == "1.0.4":
        changes += [
            f"nir 1.0.4: `{path}`: v_reset left out, it is 0"
            for path, node in file.nodes(content)
            if not says_nothing("v_reset", node.get("v_reset", ()))
        ]
    if arguments.json:
        show.as_json({"file": arguments.file, "out": arguments.out, "changes": changes})
        return 0
    for change in changes:
        show.say(change)
    show.say(
        f"{arguments.out}: {show.count(len(changes), 'change')}"
        if changes
        else f"{arguments.out}: as before"
    )
    return 0
