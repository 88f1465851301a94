"""The network of another target's bundle, for a chip that computes alike (`network_of` of a target).

Nothing is trained or simulated on the test set again: the integers are the same, and so is what follows
from them. Read are manifest.json and model.nir of the bundle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spyx_nir.bundle import integers
from spyx_nir.converter import file
from spyx_nir.errors import UserError
from spyx_nir.hardware import judge, quantise
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Misfit
from spyx_nir.hardware.network import IntegerNetwork
from spyx_nir.hardware.topology import PlannedGraph, planned


@dataclass(frozen=True)
class Shared:
    """graph: with the integers, for the new chip. metrics: of the other, as its metrics file has them."""

    graph: PlannedGraph
    network: IntegerNetwork
    metrics: dict[str, Any]


def read(bundle: Path, trained_for: Profile, chip: Profile, weights: str) -> Shared:
    """The network of a bundle, for another chip.

    Args:
        trained_for: the bundle's chip. chip: the other one. weights: SHA-256 of the trained weights that
            the bundle must come from.

    Raises:
        UserError: the chips compute by other rules, or there is no bundle, or one of other weights.
        GraphError: the network does not fit the chip.
    """
    refuse_other_rules(trained_for, chip)
    path = bundle / "manifest.json"
    again = "run dvc repro"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        metrics, digest = manifest["target"], manifest["weights"]["sha256"]
        known = {key: metrics[key] for key in metrics if key not in ("name", "chip", "rule")}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {again}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not the manifest of a chip's bundle; {again}") from None
    if digest != weights:
        raise UserError(
            f"{path}: of weights with SHA-256 {digest[:12]}..., those of today have {weights[:12]}...; "
            f"{again}"
        )
    graph = planned(quantise.for_chip(file.read_dict(bundle / "model.nir"), chip))
    for finding in judge.judge(graph, chip).findings:
        if finding.severity == "error":
            raise Misfit.of(finding)
    return Shared(graph, quantise.recover(graph, chip), known)


def refuse_other_rules(one: Profile, other: Profile) -> None:
    """Refuse chips whose integers may differ.

    Raises:
        UserError: names the first fact that differs, and both values.
    """
    rules = [
        {"integer_semantics": chip.integer_semantics, **integers.arithmetic(chip)}
        for chip in (one, other)
    ]
    for key in rules[0] | rules[1]:
        a, b = (rule.get(key) for rule in rules)
        if a != b:
            raise UserError(
                f"network_of: {other.name} computes by another rule than {one.name}: `{key}` is {b!r} "
                f"there, {a!r} here; train a network of its own"
            )
