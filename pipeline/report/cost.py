"""What the float graph costs, by NeuroBench's definitions; chips have theirs in `targets.py`."""

from __future__ import annotations

from typing import Any

from pipeline.report.part import Part, Table, measured
from pipeline.report.provenance import leaves
from pipeline.report.sources import Source


def make(source: Source) -> Part:
    """The generic bundle's numbers, from its manifest."""
    id, title = "cost", "Cost"
    if source.bundle is None:
        return Part(id, title, missing=[source.unbundled("manifest.json")])
    caption = "Cost of the float graph by NeuroBench's definitions, means per recording"
    return Part(id, title, tables=[table(caption, source.bundle.manifest["metrics"]["neurobench"])])


def table(caption: str, counted: dict[str, Any]) -> Table:
    """Everything in a nested mapping, a row for each value."""
    rows = [(key, measured(value)) for key, value in leaves(counted)]
    return Table(caption, ("measure", "value"), rows)
