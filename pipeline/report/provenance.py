"""Where it comes from: recordings, parameters, versions, digests, what NIR cannot carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.report.part import Number, Part, Table, count
from pipeline.report.sources import Source


def make(source: Source) -> Part:
    """The bundle's manifest as tables."""
    id, title = "provenance", "Provenance"
    if source.bundle is None:
        return Part(id, title, missing=[source.unbundled("manifest.json")])
    manifest = source.bundle.manifest
    facts = Table(
        "The graph",
        ("what", "value"),
        [
            ("neurons", count(manifest["neurons"])),
            ("synapses", count(manifest["synapses"])),
            ("stored weights", count(manifest["parameters_stored"])),
            ("step", Number(manifest["dt"], f"dt = {manifest['dt']:g} {manifest['time_unit']}")),
            ("classes", ", ".join(manifest["classes"])),
        ],
    )
    said = [(fact["what"], fact["here"]) for fact in manifest["not_in_nir"]]
    digests = [(name, entry["sha256"]) for name, entry in manifest["files"].items()]
    return Part(
        id,
        title,
        tables=[
            facts,
            _words("What NIR cannot say", ("what", "here"), said),
            _words("Recordings", ("key", "value"), leaves(manifest["data"])),
            _words("Parameters", ("key", "value"), leaves(manifest["parameters"])),
            _words("Versions", ("package", "version"), manifest["versions"].items()),
            _words("Files of the bundle", ("file", "SHA-256"), digests),
        ],
    )


def _words(caption: str, head: tuple[str, str], rows: Iterable[tuple[str, Any]]) -> Table:
    shown = [(name, str(value)) for name, value in rows]
    return Table(caption, head, shown, folded=True, words=True)


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """A nested mapping as (dotted key, value); a list is one text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        yield where, ", ".join(map(str, value))
    else:
        yield where, value
