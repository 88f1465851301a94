"""BRINGUP.md: Xylo's specification of networks that the default tasks do not have."""

from __future__ import annotations

from pathlib import Path

import graphs
import nir
import numpy as np

from spyx_nir.bundle import bringup, integers
from spyx_nir.hardware import profile, quantise


def test_xylos_specification_of_two_hidden_layers_puts_them_in_one_reservoir(
    tmp_path: Path,
) -> None:
    """12-5-4-7: XyloSim has one hidden population, so the second layer's weights are recurrent there."""
    random = np.random.default_rng(0)

    def linear(inputs: int, outputs: int) -> nir.Linear:
        return nir.Linear(random.normal(size=(outputs, inputs)).astype(np.float32))

    graph = graphs.chain(
        (12,), ("a", linear(12, 5)), ("one", graphs.cuba(5, 0.5, 0.875)), ("b", linear(5, 4)),
        ("two", graphs.cuba(4, 0.5, 0.75)), ("c", linear(4, 7)), ("out", graphs.cuba(7, 0.5, 0.75)),
    )  # fmt: skip
    network = quantise.quantise(graph, profile.load("xylo-audio-2"))
    x = np.zeros((2, 1, 12), np.int64)
    run = integers.write(tmp_path / "v.npz", network, x)
    about = bringup.Samples(np.zeros(1, int), "ABCDEFG", ["x"] * 12, 5000)
    text = bringup.write(network, run, about)
    with np.load(tmp_path / "v.npz") as stored:
        v = dict(stored)
    lines = text.split("    spec = ")[1].split("\n    )\n")[0]
    spec = eval(lines + "\n)", {"numpy": np, "v": v, "dict": dict})
    zero = np.zeros
    a, b, c = (v[f"weight/{name}"].T for name in "abc")
    assert (spec["weights_in"] == np.hstack([a, zero((12, 4))])).all()
    top, bottom = np.hstack([zero((5, 5)), b]), zero((4, 9))
    assert (spec["weights_rec"] == np.vstack([top, bottom])).all()
    assert (spec["weights_out"] == np.vstack([zero((5, 7)), c])).all()
    assert (spec["dash_mem"] == [3] * 5 + [2] * 4).all()  # decays 1 - 2^-3 and 1 - 2^-2
    assert len(spec["threshold"]) == 9 and len(spec["threshold_out"]) == 7
