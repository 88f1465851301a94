"""`fit FILE --target T`: does a graph fit a chip, where does it go, how full is it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spyx_nir.bundle.dialect import as_graph
from spyx_nir.cli import mendable, show
from spyx_nir.converter import file
from spyx_nir.errors import UsageError, UserError
from spyx_nir.hardware import facts, findings, profile
from spyx_nir.hardware.chip_check import check
from spyx_nir.meaning.equations import RESETS

PLACEMENT = ("core", "layer", "kernel memory", "neuron memory", "could go on cores")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file, whoever wrote it")
    parser.add_argument(
        "--target",
        required=True,
        help=f"one of {', '.join(facts.names())}, or a profile of your own (a .yaml file)",
    )
    parser.add_argument(
        "--dt", type=show.step, help="the step, to judge decays; default: the contract's"
    )
    parser.add_argument(
        "--reset", choices=RESETS, help="how every neuron resets, whatever the file says"
    )
    show.add_discretization(parser)
    show.add_dialect(parser, "judge it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = (
        "An error does not fit; a change is what `build` and the stage `target` change; a\n"
        "warning may not mean the same; a note is a known difference. A limit of ? is one that no\n"
        "source gives.\n"
        "exit code 0: fits, as it is or after changes; 1: does not; 2: wrong command line"
    )


def main(arguments: argparse.Namespace) -> int:
    try:
        chip = profile.load(arguments.target)
    except UserError as error:
        if Path(arguments.target).exists():
            raise
        raise UsageError(f"--target: {error}") from None
    show.check_dialect(arguments)

    def judged(graph: dict[str, Any]) -> tuple[findings.Report, list[str]]:
        if arguments.dialect is None:
            dt, reset, discretization = arguments.dt, arguments.reset, arguments.discretization
            return check(graph, chip, dt, reset, discretization), []
        file.check_nodes(graph)
        reading = as_graph(graph, arguments.dialect, arguments.dt)
        return check(reading.content, chip, reading.dt), reading.lines

    found, differs = mendable(arguments.file, judged)
    if arguments.json:
        report = {**findings.as_data(found), "changes": found.changes}
        if arguments.dialect is not None:
            report["dialect"] = {"name": arguments.dialect, "differs": differs}
        show.as_json({"file": arguments.file, **report})
    else:
        for line in differs:
            print(f"differs from {arguments.dialect}: {line}")
        _print(arguments.file, found)
    return int(not found.fits)


def placement(cores: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Which core takes which layer, as rows under `PLACEMENT`."""
    return [
        (
            str(row["core"]),
            row["layer"],
            f"{row['kernel']} of {row['kernel_memory']}",
            f"{row['neuron']} of {row['neuron_memory']}",
            ", ".join(map(str, row["could_go_on"])),
        )
        for row in cores
    ]


def _print(name: str, report: findings.Report) -> None:
    chip = report.profile
    errors = [f for f in report.findings if f.severity == "error"]
    show.table(
        ("", "code", "layer", "reason", "what would fix it"),
        [(f.severity, f.code, f.layer or "graph", f.reason, f.fix) for f in report.findings],
    )
    if report.findings:
        print()
    show.table(
        ("resource", "used", "limit", "percent"),
        [
            (
                row.resource,
                str(row.used),
                "?" if row.limit is None else str(row.limit),
                "" if row.limit is None else show.share(row.used / row.limit, 1),
            )
            for row in report.table
        ],
    )
    if report.cores:
        print()
        show.table(PLACEMENT, placement(report.cores))
    print()
    if errors:
        first = errors[0]
        where = f"`{first.layer}`: " if first.layer else ""
        print(f"{name}: does not fit {chip.name} ({show.count(len(errors), 'error')})")
        source = f" (source: {first.source})" if first.source else ""
        print(f"first: {where}{first.reason}{f'; {first.fix}' if first.fix else ''}{source}")
        return
    fits = f"{name}: fits {chip.name}"
    changes = [f.reason for f in report.findings if f.severity == "change"]
    if report.changes or changes:
        print(f"{fits} after: {', '.join(report.changes or changes)} (costs QAT), {chip.chip}")
    elif not chip.has_integers:
        print(f"{fits}, {chip.chip}, by its limits; it has no integer semantics here")
    else:
        print(f"{fits}, {chip.chip}")
