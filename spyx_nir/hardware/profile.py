"""Chip profiles: data in `profiles/*.yaml`, read and checked here.

A profile maps every key of `KEYS` to an entry `{value, source}`. `also` lists what other sources say.
A chip is added by adding a file there, or by naming the file itself on the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spyx_nir.errors import UserError

FOLDER = Path(__file__).parent / "profiles"
RULES = ("xylo", "lava", "dynapcnn", "none")


@dataclass(frozen=True)
class Entry:
    """One fact: its value, who says so, and what others say: (value, source), ..."""

    value: Any
    source: str
    also: tuple[tuple[Any, str], ...] = ()


@dataclass(frozen=True)
class Profile:
    """One target. `profile["limits.inputs"]` is a value, `profile.source("limits.inputs")` its source.

    rule: the integer rule that simulates it, one of `RULES`. `cores` and `convolution` facts exist
    only where the profile has these sections: `"cores.kernel_memory" in profile`.
    """

    name: str
    chip: str
    rule: str
    facts: dict[str, Entry] = field(repr=False)

    def __getitem__(self, key: str) -> Any:
        return self.facts[key].value

    def __contains__(self, key: str) -> bool:
        return key in self.facts

    def source(self, key: str) -> str:
        """Who says so."""
        return self.facts[key].source


Check = tuple[Callable[[Any], bool], str]


def _whole(low: int) -> Check:
    def test(value: Any) -> bool:
        return type(value) is int and value >= low

    return test, f"a whole number of {low} or more"


def _or_null(check: Check) -> Check:
    return (lambda value: value is None or check[0](value)), f"{check[1]}, or null"


def _one_of(*words: str) -> Check:
    return (lambda value: isinstance(value, str) and value in words), f"one of {', '.join(words)}"


def _list_of(check: Check, empty: bool = False) -> Check:
    def test(value: Any) -> bool:
        return isinstance(value, list) and (empty or bool(value)) and all(map(check[0], value))

    return test, f"a list, each {check[1]}"


_TEXT: Check = (lambda value: isinstance(value, str) and bool(value.strip())), "text"
_ENERGY: Check = (
    lambda value: type(value) in (int, float) and 0 < value < float("inf"),
    "a number above 0",
)
_RESETS = _one_of("v_reset", "subtract", "subtract_after_decay")

# Every key that a profile has, and what its value may be. The sections in `OPTIONAL` may be left out.
KEYS: dict[str, Check] = {
    "graph.nodes": _list_of(_TEXT),
    "graph.recurrence": _one_of("none", "hidden", "any"),
    "graph.nested_recurrence": ((lambda value: isinstance(value, bool)), "true or false"),
    "graph.neuron_layers": _whole(0),
    "graph.nir": _or_null(_TEXT),
    "graph.device": _or_null(_TEXT),
    "graph.notes": _list_of(_TEXT, empty=True),
    "neuron.reset": _list_of(_RESETS),
    "neuron.compare": _one_of(">", ">="),
    "neuron.spikes_per_step": _or_null(_whole(1)),
    "neuron.output_spikes_per_step": _or_null(_whole(1)),
    "neuron.input_spikes_per_step": _or_null(_whole(1)),
    "neuron.bias": ((lambda value: isinstance(value, bool)), "true or false"),
    "neuron.threshold_per": _one_of("neuron", "layer"),
    "neuron.decay_per": _one_of("neuron", "layer"),
    "neuron.decay": _one_of("shift", "fraction", "none", "free"),
    "neuron.decay_bits": _or_null(_whole(0)),
    "weights.bits": _or_null(_whole(2)),
    "weights.step": _or_null(_whole(1)),
    "weights.symmetric": ((lambda value: isinstance(value, bool)), "true or false"),
    "weights.scale_per": _one_of("neuron", "layer"),
    "state.bits": _or_null(_whole(2)),
    "state.overflow": _one_of("saturate", "wrap", "refuse", "none"),
    "state.floor": _one_of("none", "threshold"),
    "state.threshold_bits": _or_null(_whole(1)),
    "state.threshold_shift": _whole(0),
    "limits.inputs": _or_null(_whole(1)),
    "limits.hidden_neurons": _or_null(_whole(1)),
    "limits.outputs": _or_null(_whole(1)),
    "limits.neurons": _or_null(_whole(1)),
    "limits.synapses": _or_null(_whole(1)),
    "limits.fan_in": _or_null(_whole(1)),
    "limits.fan_out": _or_null(_whole(1)),
    "energy.pj_per_synop": _or_null(_ENERGY),
    "cores.kernel_memory": _list_of(_whole(1)),
    "cores.neuron_memory": _list_of(_whole(1)),
    "cores.bias_memory": _list_of(_whole(1)),
    "cores.destinations": _whole(1),
    "convolution.input_size": _whole(1),
    "convolution.output_size": _whole(1),
    "convolution.channels": _whole(1),
    "convolution.kernel": _whole(1),
    "convolution.strides": _list_of(_whole(1)),
    "convolution.padding": _whole(0),
    "convolution.pooling": _list_of(_whole(1)),
}
OPTIONAL = ("cores", "convolution")
# What an integer rule computes with, and what its toolchain calls the chip: a profile that names the rule
# has values for these.
NEEDED = {
    "xylo": (
        "graph.device",
        "neuron.spikes_per_step",
        "neuron.output_spikes_per_step",
        "neuron.input_spikes_per_step",
        "neuron.decay_bits",
        "weights.bits",
        "weights.step",
        "state.bits",
        "state.threshold_bits",
    ),
    "lava": (
        "neuron.input_spikes_per_step",
        "neuron.decay_bits",
        "weights.bits",
        "weights.step",
        "state.bits",
        "state.threshold_bits",
    ),
    "dynapcnn": (
        "graph.device",
        "weights.bits",
        "weights.step",
        "state.bits",
        "state.threshold_bits",
        "cores.kernel_memory",
        "convolution.kernel",
    ),
    "none": (),
}


def names() -> list[str]:
    """The targets that come with the program."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


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
    return _profile(_document(path), path)


def _document(path: Path) -> dict[str, Any]:
    import yaml

    try:
        # The same safe loader; in C, where PyYAML was built with it, in a tenth of the time.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: a mapping is needed, got {type(document).__name__}")
    return document


def _profile(document: dict[str, Any], path: Path) -> Profile:
    sections: dict[str, list[str]] = {}
    for key in KEYS:
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(name)
    _only(document, ["chip", "rule", *sections], f"{path}: ")
    for key, check in (("chip", _TEXT), ("rule", _one_of(*RULES))):
        if key not in document:
            raise UserError(f"{path}: `{key}` is missing; {check[1]} is needed")
        if not check[0](document[key]):
            raise UserError(f"{path}: `{key}` must be {check[1]}, got {document[key]!r}")
    facts = {}
    for section, keys in sections.items():
        if section not in document:
            if section in OPTIONAL:
                continue
            raise UserError(f"{path}: the section `{section}` is missing")
        block = document[section]
        if not isinstance(block, dict):
            raise UserError(f"{path}: `{section}` must be a mapping, got {block!r:.80}")
        _only(block, keys, f"{path}: {section}.")
        for name in keys:
            if name not in block:
                raise UserError(
                    f"{path}: `{section}.{name}` is missing; {{value, source}} is needed"
                )
            facts[f"{section}.{name}"] = _entry(block[name], f"{section}.{name}", path)
    for key in NEEDED[document["rule"]]:
        if key not in facts or facts[key].value is None:
            raise UserError(f"{path}: rule `{document['rule']}` needs a value for `{key}`")
    if "cores.kernel_memory" in facts:
        sizes = {len(facts[f"cores.{name}_memory"].value) for name in ("kernel", "neuron", "bias")}
        if len(sizes) != 1:
            raise UserError(f"{path}: cores.*_memory list different numbers of cores: {sizes}")
    return Profile(path.stem, document["chip"], document["rule"], facts)


def _only(block: dict[Any, Any], allowed: list[str], where: str) -> None:
    for key in block:
        if key not in allowed:
            raise UserError(f"{where}{key}: unknown key; allowed are {', '.join(allowed)}")


def _entry(entry: Any, key: str, path: Path) -> Entry:
    if not isinstance(entry, dict):
        raise UserError(f"{path}: `{key}` is {entry!r:.80}; {{value, source}} is needed")
    _only(entry, ["value", "source", "also"], f"{path}: {key}.")
    value, source = _sourced(entry, key, path)
    others = entry.get("also", [])
    if not isinstance(others, list):
        raise UserError(f"{path}: `{key}.also` must be a list of {{value, source}}")
    also = []
    for i, other in enumerate(others):
        where = f"{key}.also[{i}]"
        if not isinstance(other, dict):
            raise UserError(f"{path}: `{where}` is {other!r:.80}; {{value, source}} is needed")
        _only(other, ["value", "source"], f"{path}: {where}.")
        also.append(_sourced(other, where, path, key))
    return Entry(value, source, tuple(also))


def _sourced(
    entry: dict[str, Any], where: str, path: Path, key: str | None = None
) -> tuple[Any, str]:
    """The checked value and source of an entry; `key` says which rule holds, `where` is its place."""
    test, allowed = KEYS[key or where]
    if "value" not in entry:
        raise UserError(f"{path}: `{where}.value` is missing; {allowed} is needed")
    if not test(entry["value"]):
        raise UserError(f"{path}: `{where}.value` must be {allowed}, got {entry['value']!r:.80}")
    if not _TEXT[0](entry.get("source")):
        raise UserError(f"{path}: `{where}` has no source; say where {entry['value']!r} is from")
    return entry["value"], entry["source"]
