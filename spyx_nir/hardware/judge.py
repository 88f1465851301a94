"""Whether a graph gets onto a chip here: the constraint check and, where the chip has one, `quantise`.

`check_constraints` compares with the profile alone. The stage `target` may change what it calls an error
(`variant`) and fine-tune; `quantise` may refuse what it lets pass. The verdict here is what these two do.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from spyx_nir.errors import GraphError
from spyx_nir.hardware.constrain import variant
from spyx_nir.hardware.constraints import check_constraints
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Finding, Report, by_severity, error
from spyx_nir.hardware.quantise import quantise
from spyx_nir.hardware.topology import PlannedGraph, planned


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `lint` reports these
        given = planned(graph, reset)
        report = check_constraints(given, profile, dt)
        if profile.has_integers:
            report.findings = by_severity([*_findings(report, given, profile, dt)])
    return report


def _findings(
    report: Report, graph: PlannedGraph, profile: Profile, dt: float | None
) -> Iterable[Finding]:
    not_given = [f for f in report.findings if f.code == "reset" and f.severity == "warning"]
    found = [_as("error", f) if f in not_given else f for f in report.findings]
    if dt is None and "dt" not in graph.plan.metadata:
        why = "no contract says the step, without which no number becomes an integer"
        return [
            *found,
            error(code="dt", limit="a step", reason=why, fix="say it: `--dt DT`"),
        ]
    refused = _refusal(graph, profile, dt)
    if refused is None or not_given:
        return found
    try:
        changed = planned(variant(graph, profile, dt))
    except GraphError as problem:
        said = error(code="variant", reason=str(problem))
        return found if any(f.severity == "error" for f in found) else [*found, said]
    still = _refusal(changed, profile, dt)
    left = {(f.code, f.layer) for f in check_constraints(changed, profile, dt).findings}
    found = [
        _as("change", f) if f.severity == "error" and (f.code, f.layer) not in left else f
        for f in found
    ]
    needed = "change" if still is None else "error"
    if all(f.severity != needed for f in found):
        fix = "the stage `target` changes it" if still is None else ""
        said = Finding(severity=needed, code="quantise", reason=still or refused, fix=fix)
        return [*found, said]
    return found


def _as(severity: str, finding: Finding) -> Finding:
    return dataclasses.replace(finding, severity=severity)


def _refusal(graph: PlannedGraph, profile: Profile, dt: float | None) -> str | None:
    """Why `quantise` refuses the graph; None where it does not."""
    try:
        quantise(graph, profile, dt)
    except GraphError as problem:
        return str(problem)
    return None
