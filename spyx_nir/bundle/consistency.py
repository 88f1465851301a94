"""Whether a bundle's files agree with each other, seen from outside: no program of the bundle is run.

Besides what the bundle's own verify.py and verify_integers.py check: its programs are ours, manifest.json
follows from model.nir, the integers are those of model.nir, accuracies and intervals follow from their
counts, the card follows from manifest.json.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import confidence
from spyx_nir.bundle import integers, manifest, programs
from spyx_nir.bundle.manifest import About
from spyx_nir.bundle.templates import encode, shared, verify, verify_integers
from spyx_nir.converter import file
from spyx_nir.errors import UserError, one_line
from spyx_nir.hardware import facts as chips
from spyx_nir.hardware import profile, quantise
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.network import IntegerNetwork
from spyx_nir.hardware.topology import planned
from spyx_nir.limits import LIMITS

MANIFEST, CARD = verify.MANIFEST, "MODEL_CARD.md"
MEASURED = {"accuracy", "correct", "n", "wilson95"}
NEAR = 1e-9  # of shares, which other versions of Python may round otherwise in the last bit
# Entries of manifest.json that do not follow from the graph.
GIVEN = ("files", "vectors", "versions", "silent_steps")
COMMON = ("What it costs", "Nodes", "What NIR cannot say")  # sections that every card has
LINE = 1000  # characters of a problem that are shown
ROW = re.compile(r"(\d+\.\d\d) % \((\d+) of (\d+)\) \| (\d+\.\d\d) % to (\d+\.\d\d) %")


@dataclass
class Verdict:
    """problems: what differs, a line each. seen: what was compared, a line each."""

    problems: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


def check(folder: Path) -> Verdict:
    """What differs in the bundle `folder`.

    Raises:
        UserError: it is no bundle, or a graph in it cannot be read.
    """
    found = _check(folder)
    found.problems = [
        line if len(line) <= LINE else f"{line[:LINE]}... ({len(line)} characters)"
        for line in found.problems
    ]
    return found


def _check(folder: Path) -> Verdict:
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; a bundle is the folder that holds manifest.json"
        )
    if not any((folder / name).exists() for name in (MANIFEST, verify.SUMS)):
        raise UserError(f"{folder}: no bundle, which is a folder that holds manifest.json")
    regular, _ = verify.regular_files(folder)
    for name in verify.MODELS:
        if name in regular:
            file.read(folder / name)  # refuses what verify.py's short reader trusts
    found = Verdict(verify.check(folder))
    if found.problems:
        return found
    found.seen.append(verify.passed(folder))
    try:
        _compare(folder, found)
    except UserError as error:
        found.problems.append(str(error))
    except Exception as error:  # what a manifest may hold is not known; it must become a line
        found.problems.append(
            f"{MANIFEST}: not to be compared ({type(error).__name__}: {one_line(error)})"
        )
    return found


def _compare(folder: Path, found: Verdict) -> None:
    facts, _ = verify.facts_of(folder)
    digests = {name: verify.sha256(path) for name, path in verify.regular_files(folder)[0].items()}
    bin_us = round(facts["input_bin_s"] * 1e6)
    problems = [*_graph(folder, facts, bin_us), *_metrics(facts), *_labels(facts)]
    problems += _events(folder, facts)
    chip, network = _chip(folder, facts)
    if "target" in facts:
        more = _claims(folder, network) or verify_integers.check(folder)
        more = more or _integers(folder, network)
        problems += more
        if not more:
            found.seen.append(verify_integers.passed(folder))
        if chip is None:
            name = facts["target"]["name"]
            found.seen.append(
                f"not compared: integers with model.nir, as {name} is no chip known here"
            )
    version = facts["versions"].get("spyx-nir", "unknown")
    problems += programs.foreign(
        digests, chip, network, bin_us, version, plain="target" not in facts
    )
    if importlib.util.find_spec("jinja2") is None:
        found.seen.append(f"not compared: {CARD}, which needs jinja2")
    else:
        problems += _card(shared.read_text(folder / CARD), facts)
    found.problems += problems


def _graph(folder: Path, facts: Mapping[str, Any], bin_us: int) -> Iterator[str]:
    """Where manifest.json does not follow from model.nir and its contract."""
    content = file.read_dict(folder / "model.nir")
    graph = file.build(content)
    about = About(
        dt=facts["dt"],
        time_unit=facts["time_unit"],
        bin_us=bin_us,
        steps=facts["n_steps"],
        classes=facts["classes"],
        channels=facts["input_channels"],
        values=facts["input_values"],
        packages=(),
        more={},
    )
    contract = {k: manifest.plain(v) for k, v in sorted(graph.metadata.items())}
    built = manifest.build(
        about, plan=planned(content).plan, contract=contract, digests={}, vectors={}
    )
    for key, value in json.loads(json.dumps(built)).items():
        if key not in GIVEN and facts.get(key) != value:
            yield f"{MANIFEST}: `{key}` is not what model.nir gives{_where(facts.get(key), value)}"
    said = {key: contract.get(key) for key in ("dt", "time_unit", "n_steps", "input_bin_s")}
    said["classes"] = json.loads(contract["classes"]) if "classes" in contract else None
    for key, value in said.items():
        if value is not None and facts[key] != value:
            yield f"{MANIFEST}: `{key}` is {facts[key]!r}, the contract in model.nir says {value!r}"
    for name in verify.MODELS:
        if facts["files"][name].get("content") != (digest := file.digest(folder / name)):
            yield f"{name}: its content has digest {digest}, which {MANIFEST} does not say"


def _where(found: Any, expected: Any) -> str:
    """The first entry of a list in which it differs from another."""
    if not (isinstance(found, list) and isinstance(expected, list)):
        return f": {str(found)[:60]!r}, not {str(expected)[:60]!r}"
    if len(found) != len(expected):
        return f": {len(found)} entries, not {len(expected)}"
    first = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
    return f": entry {first}"


def _metrics(facts: Mapping[str, Any]) -> Iterator[str]:
    """Accuracies that do not follow from their counts, and what does not follow from the accuracies."""
    for place, entry in measured(facts):
        k, n = entry["correct"], entry["n"]
        if type(k) is not int or type(n) is not int or not 0 <= k <= n or not n:
            yield f"{MANIFEST}: `{place}`: {str(k)[:20]} of {str(n)[:20]} is no count of right answers"
            continue
        due = confidence.accuracy_entry(k, n)
        for key in ("accuracy", "wilson95"):
            if not np.allclose(entry[key], due[key], rtol=0, atol=NEAR):  # type: ignore[arg-type]
                yield f"{MANIFEST}: `{place}.{key}` is {entry[key]}, which {k} of {n} does not give"
    target = facts.get("target", {})
    accuracy = target.get("accuracy", {})
    for name, lost in target.get("lost_points", {}).items():
        due = 100 * (accuracy["float"]["accuracy"] - accuracy[name]["accuracy"])
        if not math.isclose(lost, due, abs_tol=1e-6):  # points are rounded to 6 places
            yield f"{MANIFEST}: `target.lost_points.{name}` is {lost}, the accuracies give {due:.6g}"
    shares = [(target.get("ClassificationAccuracy"), accuracy.get("integer"), "target")]
    if "metrics" in facts:
        metrics = facts["metrics"]
        trained = metrics["test_accuracy"]["trained"]
        shares.append(
            (metrics["neurobench"]["ClassificationAccuracy"], trained, "metrics.neurobench")
        )
        for name, entry in metrics["test_accuracy"].items():
            if entry["n"] != metrics["test_samples"]:
                yield f"{MANIFEST}: `metrics.test_accuracy.{name}.n` is not `metrics.test_samples`"
    for share, entry, place in shares:
        if share is not None and entry and not math.isclose(share, entry["accuracy"], abs_tol=NEAR):
            yield f"{MANIFEST}: `{place}.ClassificationAccuracy` is {share}, not {entry['accuracy']}"


def measured(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every accuracy with its counts, and where it is in a manifest."""
    if isinstance(value, dict):
        if set(value) >= MEASURED:
            yield place, value
        for key, inner in value.items():
            yield from measured(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from measured(inner, f"{place}[{number}]")


def _labels(facts: Mapping[str, Any]) -> Iterator[str]:
    """Labels of the golden vectors that are no classes."""
    about, classes = facts["vectors"], len(facts["classes"])
    if about["file"] != verify.VECTORS:
        yield f"{MANIFEST}: `vectors.file` is {about['file']!r}, not {verify.VECTORS}"
    if (labels := about["labels"]) is None:
        return
    if len(labels) != len(about["test_samples"]):
        yield f"{MANIFEST}: {len(labels)} labels for {len(about['test_samples'])} golden vectors"
    if wrong := [label for label in labels if type(label) is not int or not 0 <= label < classes]:
        yield f"{MANIFEST}: the label {str(wrong[0])[:20]} is none of {classes} classes"


def _events(folder: Path, facts: Mapping[str, Any]) -> Iterator[str]:
    """What of `events/` is not of these golden vectors."""
    name = str(verify_integers.ADDRESSES)
    addresses = shared.read_json(folder / verify_integers.ADDRESSES)
    said = {
        "classes": [entry["class"] for entry in addresses["output"]["classes"]],
        "n_steps": addresses["time"]["steps"],
        "silent_steps": addresses["time"]["silent_steps"],
        "input_shape": addresses["input"]["shape"],
    }
    for key, value in said.items():
        if value != facts[key]:
            yield f"{name}: `{key}` is {str(value)[:60]}, {MANIFEST} says {str(facts[key])[:60]}"
    recordings = shared.read(folder / verify_integers.EVENTS)
    if not len(recordings["events"]):
        yield f"{verify_integers.EVENTS}: holds no event"
    for problem in encode.check(folder / "events"):
        yield f"{verify_integers.EVENTS}: {problem}"


def _chip(folder: Path, facts: Mapping[str, Any]) -> tuple[Profile | None, IntegerNetwork | None]:
    """The chip of a bundle and the integers of its model.nir; None where the chip is not known here.

    Raises:
        UserError: model.nir is not on the chip's grid.
    """
    name = facts["target"]["name"] if "target" in facts else None
    if name not in chips.names():
        return None, None
    chip = profile.load(name)
    return chip, quantise.recover(file.read_dict(folder / "model.nir"), chip)


def _claims(folder: Path, network: IntegerNetwork | None) -> list[str]:
    """A line where integer_vectors.npz claims a larger network than model.nir has: it must not be run.

    What cannot be read is left to verify_integers.py, which says so.
    """
    name, most = verify_integers.VECTORS, LIMITS["delay"].most
    try:
        arrays = shared.read(folder / name)
        steps, samples = arrays["input"].shape[:2]
        kept = _states(verify_integers.network_of(arrays), steps, samples)
        if network is not None:
            most = _states(network, steps, samples)
    except Exception:
        return []
    return [f"{name}: not run, it claims {kept} states; at most {most} are run"] * (kept > most)


def _states(network: IntegerNetwork, steps: int, samples: int) -> int:
    """The most states that a run keeps: of every neuron, in every step and during the longest delay."""
    delays = [int(weight.delay.max()) for weight in network.weights if weight.delay is not None]
    neurons = sum(math.prod(population.shape) for population in network.populations)
    return neurons * samples * (steps + max(delays, default=0))


def _integers(folder: Path, network: IntegerNetwork | None) -> list[str]:
    """Where integer_vectors.npz is not of the vectors' input, or of the integers of model.nir."""
    name = verify_integers.VECTORS
    arrays = shared.read(folder / name)
    if not np.array_equal(arrays["input"], shared.read(folder / verify.VECTORS)["input"]):
        return [f"{name}: its input is not that of {verify.VECTORS}"]
    if network is None:
        return []
    given = verify_integers.network_of(arrays)
    if json.loads(str(arrays["network"])) != json.loads(json.dumps(integers.structure(network))):
        return [f"{name}: `network` is not what model.nir gives"]
    pairs = [
        *(
            (f"{key}/{p.name}", getattr(p, key), getattr(q, key))
            for p, q in zip(given.populations, network.populations, strict=True)
            for key in ("threshold", "decay_syn", "decay_mem", "bias")
        ),
        *(
            (f"{word}/{v.node}", getattr(v, key), getattr(w, key))
            for v, w in zip(given.weights, network.weights, strict=True)
            for word, key in (("weight", "values"), ("delay", "delay"))
        ),
    ]
    return [
        f"{name}: `{key}` is not what model.nir gives"
        for key, a, b in pairs
        if (a is None) != (b is None) or (a is not None and not np.array_equal(a, b))
    ]


def _card(text: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """Numbers and sections of the card that do not follow from manifest.json."""
    from spyx_nir.bundle import card

    found = _sections(text)
    due = _sections(card.common(facts))
    for title in COMMON:
        if found.get(title) != due[title]:
            yield f"{CARD}: `{title}` is not what {MANIFEST} gives"
    first = next(line for line in card.common(facts).splitlines() if line.startswith("A spiking"))
    if not any(line.startswith(first) for line in text.splitlines()):
        yield f"{CARD}: does not say what {MANIFEST} gives: {first}"
    rows = {
        (
            f"{100 * entry['accuracy']:.2f}",
            str(entry["correct"]),
            str(entry["n"]),
            *(f"{100 * bound:.2f}" for bound in entry["wilson95"]),
        )
        for _, entry in measured(facts)
    }
    for row in ROW.findall(text):
        if row not in rows:
            yield f"{CARD}: {row[0]} % ({row[1]} of {row[2]}), {row[3]} to {row[4]} %: not in {MANIFEST}"
    shares = {entry["accuracy"] for _, entry in measured(facts)}
    for value in re.findall(r"^ +value: (\S+)$", text.partition("\n---\n")[0], re.MULTILINE):
        if value not in map(str, shares):
            yield f"{CARD}: the accuracy {value} of its head is not in {MANIFEST}"


def _sections(text: str) -> dict[str, list[str]]:
    """The lines below each second heading, sorted: JSON does not keep the order of keys."""
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (sorted(part.split("\n")) for part in parts[2::2]), strict=True))
