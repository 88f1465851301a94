"""Reads and checks chip profiles: the data in `profiles/*.yaml`.

A profile maps every key of `KEYS`, and of its family's `keys`, to an entry `{value, source}`. `also`
lists what other sources say. A chip is added by adding a file there, or by naming the file itself on
the command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spyx_nir import yaml_file
from spyx_nir.errors import UserError, about
from spyx_nir.hardware import registry
from spyx_nir.hardware.facts import (
    FLAG,
    NO_INTEGERS,
    POSITIVE,
    TEXT,
    Check,
    Entry,
    list_of,
    one_of,
    or_null,
    whole,
)
from spyx_nir.hardware.facts import FOLDER as FOLDER
from spyx_nir.hardware.facts import Profile as Profile
from spyx_nir.hardware.facts import names as names
from spyx_nir.hardware.family import Family

_RESETS = one_of("v_reset", "subtract", "subtract_after_decay")

# Every key that a profile has, and what its value may be. A family adds its own.
KEYS: dict[str, Check] = {
    "graph.nodes": list_of(TEXT),
    "graph.recurrence": one_of("none", "hidden", "any"),
    "graph.nested_recurrence": FLAG,
    "graph.neuron_layers": whole(0),
    "graph.nir": or_null(TEXT),
    "graph.device": or_null(TEXT),
    "graph.notes": list_of(TEXT, empty=True),
    "neuron.reset": list_of(_RESETS),
    "neuron.compare": one_of(">", ">="),
    "neuron.spikes_per_step": or_null(whole(1)),
    "neuron.output_spikes_per_step": or_null(whole(1)),
    "neuron.input_spikes_per_step": or_null(whole(1)),
    "neuron.bias": FLAG,
    "neuron.threshold_per": one_of("neuron", "layer"),
    "neuron.decay_per": one_of("neuron", "layer"),
    "neuron.decay": one_of("shift", "fraction", "none", "free"),
    "neuron.decay_bits": or_null(whole(0)),
    "weights.bits": or_null(whole(2)),
    "weights.step": or_null(whole(1)),
    "weights.symmetric": FLAG,
    "weights.scale_per": one_of("neuron", "layer"),
    "state.bits": or_null(whole(2)),
    "state.overflow": one_of("saturate", "wrap", "refuse", "none"),
    "state.floor": one_of("none", "threshold"),
    "state.threshold_bits": or_null(whole(1)),
    "state.threshold_shift": whole(0),
    "limits.inputs": or_null(whole(1)),
    "limits.hidden_neurons": or_null(whole(1)),
    "limits.outputs": or_null(whole(1)),
    "limits.neurons": or_null(whole(1)),
    "limits.synapses": or_null(whole(1)),
    "limits.fan_in": or_null(whole(1)),
    "limits.fan_out": or_null(whole(1)),
    "energy.pj_per_synop": or_null(POSITIVE),
}
# A chip's name is that of its bundle's folder and a key of params.yaml, where a dot would part it.
NAME, PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*"), "generic"
# What every family computes with.
INTEGERS = ("weights.bits", "weights.step", "state.bits", "state.threshold_bits")


def load(target: str) -> Profile:
    """The profile of a target.

    Args:
        target: one of `names()`, or the path of a .yaml file.

    Raises:
        UserError: no such target; or a key is missing, unknown, without source, or of the wrong
            type. Names file, key, value and what is allowed.
    """
    inside = FOLDER / f"{target}.yaml"
    path = inside if target in names() else Path(target)
    if path is not inside and path.suffix not in (".yaml", ".yml"):
        raise UserError(
            f"unknown target `{target}`; known are {', '.join(names())}, or the path of a .yaml file"
        )
    if path is not inside and (not NAME.fullmatch(path.stem) or path.stem == PLAIN):
        raise UserError(
            f"{path}: a chip is called by its file, by letters, digits, - and _, and not `{PLAIN}`, "
            "which is the bundle of plain NIR"
        )
    return _profile(_document(path), path)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml_file.read(path)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such file") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: a mapping is needed, got {type(document).__name__}")
    return document


def _profile(document: dict[str, Any], path: Path) -> Profile:
    if "rule" in document:
        raise UserError(f"{path}: `rule` is now called `integer_semantics`: rename the key")
    families = registry.families()
    semantics = one_of(*families, NO_INTEGERS)
    for key, check in (("chip", TEXT), ("integer_semantics", semantics)):
        if key not in document:
            raise UserError(f"{path}: `{key}` is missing; {check[1]} is needed")
        if not check[0](document[key]):
            raise UserError(f"{path}: `{key}` must be {check[1]}, got {document[key]!r:.80}")
    family = families.get(document["integer_semantics"])
    keys = {**KEYS, **family.keys, **_kind(family, document, path)} if family else KEYS
    profile = Profile(
        path.stem, document["chip"], document["integer_semantics"], _facts(document, keys, path)
    )
    if family:
        for key in (*INTEGERS, *family.needs):
            if profile[key] is None:
                raise UserError(
                    f"{path}: integer_semantics `{family.name}` needs a value for `{key}`"
                )
        with about(path, UserError):
            family.check_profile(profile)
    return profile


def _kind(family: Family, document: dict[str, Any], path: Path) -> Mapping[str, Check]:
    """The further keys of the kind of chip that a profile describes."""
    for kind in family.kinds:
        if any(key.partition(".")[0] in document for key in kind):
            return kind
    if family.kinds:
        sections = [next(iter(kind)).partition(".")[0] for kind in family.kinds]
        raise UserError(
            f"{path}: a section is missing, one of: {', '.join(f'`{name}`' for name in sections)}"
        )
    return {}


def _facts(document: dict[str, Any], checks: Mapping[str, Check], path: Path) -> dict[str, Entry]:
    sections: dict[str, list[str]] = {}
    for key in checks:
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(name)
    _only(document, ["chip", "integer_semantics", *sections], f"{path}: ")
    facts = {}
    for section, keys in sections.items():
        if section not in document:
            raise UserError(f"{path}: the section `{section}` is missing")
        block = document[section]
        if not isinstance(block, dict):
            raise UserError(f"{path}: `{section}` must be a mapping, got {block!r:.80}")
        _only(block, keys, f"{path}: {section}.")
        for name in keys:
            key = f"{section}.{name}"
            if name not in block:
                raise UserError(f"{path}: `{key}` is missing; {{value, source}} is needed")
            facts[key] = _entry(block[name], key, checks[key], path)
    return facts


def _only(block: dict[Any, Any], allowed: list[str], where: str) -> None:
    for key in block:
        if key not in allowed:
            raise UserError(f"{where}{key}: unknown key; allowed are {', '.join(allowed)}")


def _entry(entry: Any, key: str, check: Check, path: Path) -> Entry:
    if not isinstance(entry, dict):
        raise UserError(f"{path}: `{key}` is {entry!r:.80}; {{value, source}} is needed")
    _only(entry, ["value", "source", "also"], f"{path}: {key}.")
    value, source = _sourced(entry, key, check, path)
    others = entry.get("also", [])
    if not isinstance(others, list):
        raise UserError(f"{path}: `{key}.also` must be a list of {{value, source}}")
    also = []
    for i, other in enumerate(others):
        where = f"{key}.also[{i}]"
        if not isinstance(other, dict):
            raise UserError(f"{path}: `{where}` is {other!r:.80}; {{value, source}} is needed")
        _only(other, ["value", "source"], f"{path}: {where}.")
        also.append(_sourced(other, where, check, path))
    return Entry(value, source, tuple(also))


def _sourced(entry: dict[str, Any], where: str, check: Check, path: Path) -> tuple[Any, str]:
    """The checked value and the source of an entry; `where` is its place in the file."""
    test, allowed = check
    if "value" not in entry:
        raise UserError(f"{path}: `{where}.value` is missing; {allowed} is needed")
    if not test(entry["value"]):
        raise UserError(f"{path}: `{where}.value` must be {allowed}, got {entry['value']!r:.80}")
    if not TEXT[0](entry.get("source")):
        raise UserError(f"{path}: `{where}` has no source; say where {entry['value']!r} is from")
    return entry["value"], entry["source"]
