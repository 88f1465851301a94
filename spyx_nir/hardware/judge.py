"""Whether a graph gets onto a chip here: the constraint check and, where the chip has one, `quantise`.

`check_constraints` compares with the profile alone. The stage `target` may change what it calls an error
(`variant`) and fine-tune; `quantise` may refuse what it lets pass. The verdict here is what these two do.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spyx_nir.errors import GraphError
from spyx_nir.hardware.constrain import changes, variant
from spyx_nir.hardware.constraints import check_constraints
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Finding, Report, by_severity, error
from spyx_nir.hardware.network import IntegerNetwork
from spyx_nir.hardware.quantise import quantise
from spyx_nir.hardware.topology import PlannedGraph, planned


@dataclass(frozen=True)
class Admission:
    """What was found of a graph on a chip, and where a bundle for the chip starts.

    start: the graph that is quantised, the given one or its variant, and network: its integers after
    post-training quantisation. Both None where the graph does not fit or the chip has no integers here.
    """

    report: Report
    start: PlannedGraph | None = None
    network: IntegerNetwork | None = None


def judge(
    graph: Mapping[str, Any] | PlannedGraph,
    profile: Profile,
    dt: float | None = None,
    reset: str | None = None,
) -> Report:
    """As `check_constraints`, with a verdict that follows what `quantise` and the stage `target` can do.

    An error that `target` changes away is a `change`; what `quantise` refuses and the check does
    not name is added; a step or a reset that is not given is an error, as `quantise` refuses it.

    Raises:
        GraphError, UsageError: as `check_constraints`.
    """
    return admit(graph, profile, dt, reset).report


def admit(
    graph: Mapping[str, Any] | PlannedGraph,
    profile: Profile,
    dt: float | None = None,
    reset: str | None = None,
) -> Admission:
    """`judge`, with the graph and the integers that the verdict rests on.

    Raises:
        GraphError, UsageError: as `check_constraints`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `lint` reports these
        given = planned(graph, reset)
        report = check_constraints(given, profile, dt)
        if not profile.has_integers:
            return Admission(report)
        found = _admitted(report, given, profile, dt)
        report.findings = by_severity(found.report.findings)
    return found


def _admitted(report: Report, graph: PlannedGraph, profile: Profile, dt: float | None) -> Admission:
    not_given = any(f.code == "reset" and f.severity == "warning" for f in report.findings)
    report.findings = [
        _as("error", f) if f.code == "reset" and f.severity == "warning" else f
        for f in report.findings
    ]
    if dt is None and "dt" not in graph.plan.metadata:
        why = "no contract says the step, without which no number becomes an integer"
        fix = "say it: `--dt DT`"
        report.findings += [error(code="dt", limit="a step", reason=why, fix=fix)]
        return Admission(report)
    refused, network = _quantised(graph, profile, dt)
    if network is not None:
        return _as_the_toolchain_resets(Admission(report, graph, network), dt)
    if not_given:
        return Admission(report)
    try:
        changed = planned(variant(graph, profile, dt))
    except GraphError as problem:
        if all(f.severity != "error" for f in report.findings):
            report.findings += [error(code="variant", reason=str(problem))]
        return Admission(report)
    still, network = _quantised(changed, profile, dt)
    left = {(f.code, f.layer) for f in check_constraints(changed, profile, dt).findings}
    report.findings = [
        _as("change", f) if f.severity == "error" and (f.code, f.layer) not in left else f
        for f in report.findings
    ]
    needed = "error" if network is None else "change"
    if all(f.severity != needed for f in report.findings):
        fix = "" if network is None else "the stage `target` changes it"
        said = Finding(severity=needed, code="quantise", reason=still or refused, fix=fix)
        report.findings += [said]
    if not report.fits:
        return Admission(report)
    report.changes = changes(graph, changed, profile, dt)
    return Admission(report, changed, network)


def _as_the_toolchain_resets(found: Admission, dt: float | None) -> Admission:
    """The variant of a graph that fits, where the chip's toolchain has one reset (`trained_reset`)."""
    profile, graph = found.report.profile, found.start
    if "neuron.trained_reset" not in profile or graph is None or not found.report.fits:
        return found
    resets = {node["reset"] for node in graph.plan.nodes.values() if "reset" in node}
    if resets <= {profile["neuron.trained_reset"]}:
        return found
    changed = planned(variant(graph, profile, dt))
    _, network = _quantised(changed, profile, dt)
    if network is None:
        return found
    found.report.changes = changes(graph, changed, profile, dt)
    return Admission(found.report, changed, network)


def _as(severity: str, finding: Finding) -> Finding:
    return dataclasses.replace(finding, severity=severity)


def _quantised(
    graph: PlannedGraph, profile: Profile, dt: float | None
) -> tuple[str, IntegerNetwork | None]:
    """A graph's integers; why `quantise` refuses it where it does."""
    try:
        return "", quantise(graph, profile, dt)
    except GraphError as problem:
        return str(problem), None
