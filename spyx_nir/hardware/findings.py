"""What a constraint check finds: single findings, the utilisation table, the report of both."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any, Self

from spyx_nir.errors import GraphError
from spyx_nir.hardware.facts import Profile

SEVERITIES = ("error", "change", "warning", "note")
FITS, CHANGED, REFUSED = "fits", "fits when changed", "refused"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that does not fit, or that the chip does differently.

    severity: error: does not fit; change: the stage `target` changes it and fine-tunes; warning: may
    not mean the same; note: known difference.
    layer: node path, "" for the whole graph. number, limit: what is there and what is allowed.
    fix: what would fix it. source: who states the limit.
    """

    severity: str
    code: str
    layer: str = ""
    number: Any = None
    limit: Any = None
    reason: str
    fix: str = ""
    source: str = ""


error = functools.partial(Finding, severity="error")


def against(
    profile: Profile,
    key: str,
    code: str,
    layer: str,
    reason: str,
    fix: str,
    *,
    number: Any,
    limit: Any = None,
    severity: str = "error",
) -> Finding:
    """What a graph has against the fact `key` of a chip; `limit`: None takes the fact itself."""
    fact = profile[key]
    if limit is None:
        limit = ", ".join(map(str, fact)) if isinstance(fact, list) else fact
    return Finding(
        severity=severity,
        code=code,
        layer=layer,
        number=number,
        limit=limit,
        reason=reason,
        fix=fix,
        source=profile.source(key),
    )


class Misfit(GraphError):
    """A graph that does not fit a chip: `finding` says where and why."""

    finding: Finding

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """The error of a finding."""
        where = f"`{finding.layer}`: " if finding.layer else ""
        text = f"{where}{finding.reason}; {finding.fix}"
        found = cls(text, node=finding.layer, code=finding.code)
        found.finding = finding
        return found


@dataclass(frozen=True)
class Row:
    """One line of the utilisation table; `limit` None: no bound is known.

    source: who states the limit; "": the profile, under `limits`.
    """

    resource: str
    used: int
    limit: int | None
    source: str = ""


@dataclass
class Report:
    """What `constraints.check_constraints` found.

    cores: a row for each core in use. changes: what `build` and the stage `target` change before they
    quantise, such as "reset v_reset -> subtract".
    """

    profile: Profile
    findings: list[Finding] = field(default_factory=list)
    table: list[Row] = field(default_factory=list)
    cores: list[dict[str, Any]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """`FITS` as it is, `CHANGED`: once all that is marked `change` is changed, or `REFUSED`."""
        found = {finding.severity for finding in self.findings}
        return REFUSED if "error" in found else CHANGED if "change" in found else FITS

    @property
    def how(self) -> str:
        """`fits`, `fits after: ... (costs QAT)`, or `does not fit: ...` with the first error."""
        if self.verdict == REFUSED:
            return f"does not fit: {self.first_error}"
        said = self.changes or [f.reason for f in self.findings if f.severity == "change"]
        return FITS if not said else f"{FITS} after: {', '.join(said)} (costs QAT)"

    @property
    def first_error(self) -> str:
        """The first error with its place and what would fix it; "" where there is none."""
        first = next((found for found in self.findings if found.severity == "error"), None)
        if first is None:
            return ""
        where = f"`{first.layer}`: " if first.layer else ""
        return f"{where}{first.reason}{f'; {first.fix}' if first.fix else ''}"

    @property
    def fits(self) -> bool:
        """No error was found."""
        return self.verdict != REFUSED


def by_severity(findings: list[Finding]) -> list[Finding]:
    """The findings, errors first; those of a severity keep their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def as_data(report: Report) -> dict[str, Any]:
    """A report as JSON-like data, the form of `fit.json`."""
    return {
        "target": report.profile.name,
        "chip": report.profile.chip,
        "fits": report.fits,
        "verdict": report.verdict,
        "findings": [dataclasses.asdict(found) for found in report.findings],
        "utilisation": [
            {
                **dataclasses.asdict(row),
                "source": row.source
                or report.profile.source(
                    f"limits.{row.resource.replace(' ', '_').replace('-', '_')}"
                ),
            }
            for row in report.table
        ],
        "cores": report.cores,
    }
