"""Does a graph fit a chip: what the profile says, what rounding says, what the file does not say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from spyx_nir.converter import file
from spyx_nir.converter.discretize import as_euler
from spyx_nir.converter.file import Source
from spyx_nir.converter.repair import spiking
from spyx_nir.hardware import profile
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Finding, Report, by_severity
from spyx_nir.hardware.judge import Admission, admit


def check(
    source: Source,
    target: str | os.PathLike[str] | Profile,
    dt: float | None = None,
    reset: str | None = None,
    discretization: str | None = None,
) -> Report:
    """Compare a graph with a chip; findings are sorted, errors first.

    Args, Raises: as `admission`, whose report this is.
    """
    return admission(source, target, dt, reset, discretization).report


def admission(
    source: Source,
    target: str | os.PathLike[str] | Profile,
    dt: float | None = None,
    reset: str | None = None,
    discretization: str | None = None,
) -> Admission:
    """Compare a graph with a chip, and give what a bundle for the chip starts from.

    Args:
        source: a .nir file, a `nir.NIRGraph`, or a dictionary as `file.read_dict` gives it.
        target: the name of a profile, such as `xylo-audio-2`, a profile of your own (a .yaml file), or
            what `profile.load` gives.
        dt: the step, in the unit of the time constants; None takes the contract's, and without one
            decays are not judged.
        reset: one of `RESETS` for every neuron, whatever the file says.
        discretization: one of `DISCRETIZATIONS`, whatever the file says.

    Raises:
        GraphError: the graph has no meaning as it is.
        UsageError: `dt` contradicts the contract.
        UserError: there is no such profile, or it is not readable.
    """
    graph = file.content_of(source)
    chip = target if isinstance(target, Profile) else profile.load(os.fspath(target))
    with file.naming(source):
        if discretization is not None:
            file.check_nodes(graph)
            graph = as_euler(graph, dt, discretization)
        found = admit(graph, chip, dt, reset)
    report = found.report
    missing = [*_not_given(graph, dt, reset, report.findings)]
    report.findings = by_severity([*report.findings, *missing])
    return found


def _not_given(
    graph: dict[str, Any], dt: float | None, reset: str | None, found: list[Finding]
) -> Iterator[Finding]:
    """What neither the file nor the caller says, and `found` does not name yet."""
    metadata = graph.get("metadata", {})
    if dt is None and "dt" not in metadata and not any(finding.code == "dt" for finding in found):
        why, fix = "dt is not said, so decays were not judged", "say it: `--dt DT`"
        yield Finding(severity="warning", code="dt", limit="a step", reason=why, fix=fix)
    named = {finding.layer for finding in found if finding.code == "reset"}
    silent = [p for p, n in spiking(graph) if "reset" not in n.get("metadata", {})]
    silent = [path for path in silent if path not in named]
    if silent and reset is None:
        why = (
            f"does not say how {len(silent)} layer{'s' * (len(silent) != 1)} reset in training: judged "
            "as v_reset, as NIR means"
        )
        fix = "ask who trained it, then say it: `--reset RESET`"
        yield Finding(severity="warning", code="legacy-reset", limit="a reset", reason=why, fix=fix)
