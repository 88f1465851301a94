"""Small networks for Xylo, and what of a bundle BRINGUP.md needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np

from spyx_nir.bundle import bringup, integers
from spyx_nir.hardware import profile, quantise, registry
from spyx_nir.hardware.network import IntegerNetwork


def random_linear(random: np.random.Generator, inputs: int, outputs: int) -> nir.Linear:
    return nir.Linear(random.normal(size=(outputs, inputs)).astype(np.float32))


def residual(membrane: bool = False, biased: bool = False) -> dict[str, Any]:
    """12-5-(4)-7: the second hidden population has a way around it, as in rockpool's introduction."""
    random = np.random.default_rng(0)
    out = nir.LI(*(np.full(7, value) for value in (4 * graphs.DT, 4.0, 0.0)))
    nodes = {
        "input": nir.Input(np.array([12])),
        "a": random_linear(random, 12, 5),
        "one": graphs.cuba(5, 0.5, 0.875),
        "b": random_linear(random, 5, 4),
        "two": graphs.cuba(4, 0.5, 0.75),
        "c": random_linear(random, 4, 7),
        "around": random_linear(random, 5, 7),
        "out": out if membrane else graphs.cuba(7, 0.5, 0.75),
        "output": nir.Output(np.array([7])),
    }
    if biased:
        nodes["a"] = nir.Affine(nodes["a"].weight, np.linspace(-0.2, 0.3, 5, dtype=np.float32))
        nodes["two"].v_leak = np.full(4, 0.4)
    edges = [
        ("input", "a"), ("a", "one"), ("one", "b"), ("b", "two"), ("two", "c"), ("c", "out"),
        ("one", "around"), ("around", "out"), ("out", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, graphs.contract(), type_check=False).to_dict()


def network(target: str, **options: bool) -> IntegerNetwork:
    """`residual` in a chip's integers."""
    return quantise.quantise(residual(**options), profile.load(target))


def write(folder: Path, chip: IntegerNetwork) -> str:
    """Vectors and the family's files; the text of BRINGUP.md."""
    random = np.random.default_rng(1)
    ((_, (inputs,)),) = chip.inputs.items()
    x = random.integers(0, 3, (30, 2, inputs)) * (random.random((30, 2, inputs)) < 0.4)
    (folder / "test_data_set_0").mkdir(parents=True)
    run = integers.write(folder / "test_data_set_0" / integers.NAME, chip, x)
    about = bringup.Samples(np.zeros(2, int), "ABCDEFG", ["taxel 0"] * inputs, 5000)
    for name, text in registry.family(chip.profile).files(chip, about.bin_us).items():
        (folder / name).write_text(text, encoding="utf-8")
    text = bringup.write(chip, run, about)
    (folder / "BRINGUP.md").write_text(text, encoding="utf-8")
    return text
