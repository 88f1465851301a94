"""The metadata of a file, key by key, against the JSON schema of the specification.

`contract.schema.json` is for any validator of JSON schemas; the words of it that occur there are
checked here, without one.
"""

from __future__ import annotations

import importlib.resources
import json
import math
from collections.abc import Iterator
from functools import cache
from numbers import Integral, Real
from typing import Any

from spyx_nir.converter.file import nodes
from spyx_nir.converter.repair import spiking
from spyx_nir.meaning.equations import text
from spyx_nir.meaning.plan import parse_json

Problem = tuple[str, str, str]  # node ("" the graph), reason, remedy


@cache
def schema() -> dict[str, Any]:
    """The JSON schema; `$defs` has `graph`, `spiking` and `leaky`."""
    source = importlib.resources.files("spyx_nir.converter") / "contract.schema.json"
    found: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return found


def against(graph_dict: dict[str, Any]) -> Iterator[Problem]:
    """What is against the specification in the metadata of a graph and of its nodes."""
    spikes = {path for path, _ in spiking(graph_dict)}
    parts = [("", graph_dict, "graph")]
    parts += [
        (path, node, "spiking" if path in spikes else "leaky")
        for path, node in nodes(graph_dict)
        if path in spikes or "v_leak" in node
    ]
    for path, part, kind in parts:
        yield from _object(path, part.get("metadata", {}), schema()["$defs"][kind])


def _object(path: str, metadata: dict[str, Any], rules: dict[str, Any]) -> Iterator[Problem]:
    for name in rules.get("required", ()):
        if name not in metadata:
            yield path, f"`{name}` is missing", "an exporter writes it, see docs/contract.md"
    properties = dict(rules["properties"])
    condition = rules.get("if")
    if condition and all(
        isinstance(said := text(metadata.get(name)), str) and said == rule["const"]
        for name, rule in condition["properties"].items()
    ):
        for name, rule in rules["then"]["properties"].items():
            properties[name] = {**properties[name], **rule}
    for name, value in metadata.items():
        if name in properties and (what := _wrong(text(value), properties[name])):
            yield path, f"`{name}` is {text(value)!r:.60}; {what}", "write what the key allows"


def _wrong(value: Any, rule: dict[str, Any]) -> str:
    """What a value must be by a rule of the schema, "" where it is that."""
    kind = rule["type"]
    if kind == "string" and not isinstance(value, str):
        return "a text is needed"
    if kind != "string":
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            return "a finite number is needed"
        if kind == "integer" and not isinstance(value, Integral):
            return "an integer is needed"
    if "enum" in rule and value not in rule["enum"]:
        return f"one of {', '.join(rule['enum'])} is needed"
    if value < rule.get("minimum", value) or value > rule.get("maximum", value):
        least, most = rule.get("minimum", ""), rule.get("maximum", "")
        if least == most:
            return f"{least} is needed"
        return f"{least} to {most} is needed" if most else f"{least} or more is needed"
    if "exclusiveMinimum" in rule and value <= rule["exclusiveMinimum"]:
        return f"a number above {rule['exclusiveMinimum']} is needed"
    if rule.get("contentMediaType") == "application/json":
        try:
            parse_json(value)
        except ValueError:
            return "JSON is needed"
    return ""
