"""`fit FILE --target T`: does a graph fit a chip, where does it go, how full is it."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from spyx_nir.bundle.dialect import as_graph
from spyx_nir.cli import mendable, show, targets
from spyx_nir.converter import file
from spyx_nir.hardware import findings
from spyx_nir.hardware.chip_check import admission
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.judge import Admission
from spyx_nir.meaning.equations import RESETS

PLACEMENT = ("core", "layer", "kernel memory", "neuron memory", "could go on cores")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file, whoever wrote it")
    targets.add_argument(parser)
    parser.add_argument(
        "--dt", type=show.step, help="the step, to judge decays; default: the contract's"
    )
    parser.add_argument(
        "--reset", choices=RESETS, help="how every neuron resets, whatever the file says"
    )
    show.add_discretization(parser)
    show.add_dialect(parser, "judge it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    show.add_limits(parser, "paths")
    parser.epilog = (
        "An error does not fit; a change is what `build` and the stage `target` change; a\n"
        "warning may not mean the same; a note is a known difference. A limit of ? is one that no\n"
        "source gives.\n"
        "exit code 0: fits, as it is or after changes; 1: does not, of several targets one (with\n"
        f"`--target {targets.ALL}`: none) does not; 2: wrong command line"
    )


def main(arguments: argparse.Namespace) -> int:
    chips = targets.chips(arguments.target)
    show.check_dialect(arguments)
    all_admitted, differs = [], list[str]()
    for chip in chips:
        judged = functools.partial(_judged, chip=chip, arguments=arguments)
        admitted, differs = mendable(arguments.file, judged)
        all_admitted.append(admitted)
    reports = [admitted.report for admitted in all_admitted]
    several = targets.ALL in arguments.target or len(chips) > 1
    if arguments.json:
        data = [{**findings.as_data(found), "changes": found.changes} for found in reports]
        more = {}
        if arguments.dialect is not None:
            more["dialect"] = {"name": arguments.dialect, "differs": differs}
        report = {"targets": data} if several else data[0]
        show.as_json({"file": arguments.file, **report, **more})
    else:
        for line in differs:
            show.say(f"differs from {arguments.dialect}: {line}")
        if several:
            show.table(("target", "fits"), [(found.profile.name, found.how) for found in reports])
        else:
            (admitted,) = all_admitted
            along = admitted.start.plan.order if admitted.start else []
            _print(arguments.file, admitted.report, {layer: at for at, layer in enumerate(along)})
    fits = [found.fits for found in reports]
    return int(not (any(fits) if targets.ALL in arguments.target else all(fits)))


def _judged(
    graph: dict[str, Any], chip: Profile, arguments: argparse.Namespace
) -> tuple[Admission, list[str]]:
    """What the constraint check found, and what stays different from the dialect of `--dialect`."""
    if arguments.dialect is None:
        dt, reset, discretization = arguments.dt, arguments.reset, arguments.discretization
        return admission(graph, chip, dt, reset, discretization), []
    file.check_nodes(graph)
    reading = as_graph(graph, arguments.dialect, arguments.dt)
    return admission(reading.content, chip, reading.dt), reading.lines


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


def _print(name: str, report: findings.Report, order: Mapping[str, int]) -> None:
    """order: of the layers in the graph; without it, cores are in their own."""
    chip = report.profile
    show.table(
        ("severity", "code", "layer", "reason", "what would fix it"),
        [(f.severity, f.code, f.layer or "graph", f.reason, f.fix) for f in report.findings],
    )
    if report.findings:
        show.say()
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
        ("used", "limit", "percent"),
    )
    if report.cores:
        show.say()
        cores = sorted(report.cores, key=lambda row: order.get(row["layer"], len(order)))
        show.table(PLACEMENT, placement(cores), ("core", "kernel memory", "neuron memory"))
    show.say()
    errors = [found for found in report.findings if found.severity == "error"]
    if errors:
        source = f" (source: {errors[0].source})" if errors[0].source else ""
        errors_of = show.count(len(errors), "error")
        show.verdict(f"{name}: does not fit {chip.name} ({errors_of})", good=False)
        show.say(f"first: {report.first_error}{source}")
        return
    how = report.how.replace(findings.FITS, f"fits {chip.name}", 1)
    limits = ", by its limits; it has no integer semantics here"
    by_limits = report.how == findings.FITS and not chip.has_integers
    show.verdict(f"{name}: {how}, {chip.chip}{limits * by_limits}", good=True)
