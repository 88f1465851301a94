"""What the float graph costs, by NeuroBench's definitions; chips have theirs in `targets.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.part import Number, Part, Table, count, measured, percent
from pipeline.report.provenance import leaves
from pipeline.report.sources import Source

SHARES = ("ActivationSparsity", "ClassificationAccuracy", "ConnectionSparsity")
UNITS = {
    "Footprint": "bytes",
    "ParameterCount": "weights and biases",
    "MembraneUpdates": "a recording",
    "SynapticOperations": "a recording",
}


def make(source: Source) -> Part:
    """The generic bundle's numbers, from its manifest."""
    id, title = "cost", "Cost"
    if source.bundle is None:
        return Part(id, title, missing=[source.unbundled("manifest.json")])
    caption = "Cost of the float graph by NeuroBench's definitions, means per recording"
    counted = source.bundle.manifest["metrics"]["neurobench"]
    text = [parameters(source.bundle.manifest, counted["ParameterCount"])]
    return Part(id, title, text=text, tables=[table(caption, counted)])


def parameters(manifest: Mapping[str, Any], counted: int) -> str:
    """What the counts of parameters on the page count, of a bundle and NeuroBench's ParameterCount."""
    stored, synapses = manifest["parameters_stored"], manifest["synapses"]
    return (
        f"Parameters: {count(stored).text} weights are stored; NeuroBench's ParameterCount has "
        f"{count(counted - stored).text} biases more. A convolution's weight is stored once and is in "
        f"many of the {count(synapses).text} synapses."
    )


def _with_unit(key: str, value: Any) -> Any:
    """A value as it is shown; see docs/hardware.md for what is counted."""
    if key in SHARES:
        return percent(value)
    number = measured(value)
    unit = UNITS.get(key.partition(".")[0])
    return Number(value, f"{number.text} {unit}") if unit and isinstance(number, Number) else number


def table(caption: str, counted: dict[str, Any]) -> Table:
    """Everything in a nested mapping, a row for each value."""
    rows = [(key, _with_unit(key, value)) for key, value in leaves(counted)]
    return Table(caption, ("measure", "value"), rows)
