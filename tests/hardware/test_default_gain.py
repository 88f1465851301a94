"""A CubaLIF without `w_in`, for which nir has 1: a chip judges and constrains it as one with 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spyx_nir.hardware import facts, profile
from spyx_nir.hardware.chip_check import check
from spyx_nir.hardware.constrain import variant


def graph(**w_in: Any) -> dict[str, Any]:
    neuron = {
        name: np.full(2, value, np.float32)
        for name, value in (
            ("tau_syn", 3.3),
            ("tau_mem", 4.7),
            ("r", 4.7),
            ("v_leak", 0),
            ("v_threshold", 1),
            ("v_reset", 0),
        )
    }
    nodes: dict[str, dict[str, Any]] = {
        "i": {"type": "Input", "shape": np.array([2])},
        "w": {"type": "Linear", "weight": np.array([[1, -0.5], [0.25, 1]], np.float32)},
        "n": {"type": "CubaLIF", **neuron, **w_in, "metadata": {"reset": "subtract"}},
        "o": {"type": "Output", "shape": np.array([2])},
    }
    edges = [("i", "w"), ("w", "n"), ("n", "o")]
    return {"type": "NIRGraph", "nodes": nodes, "edges": edges, "metadata": {"dt": 1.0}}


WITH = {"w_in": np.ones(2, np.float32)}


@pytest.mark.parametrize("target", facts.names())
@pytest.mark.parametrize("without", [{}, {"w_in": np.zeros(0, np.float32)}], ids=["none", "empty"])
def test_a_gain_that_is_not_there_is_1(target: str, without: dict[str, Any]) -> None:
    chip = profile.load(target)
    found, expected = (check(graph(**w_in), chip) for w_in in (without, WITH))
    assert found.findings == expected.findings
    if not chip.has_integers:
        return
    made, meant = (variant(graph(**w_in), chip)["nodes"]["n"] for w_in in (without, WITH))
    assert set(made) == set(meant)
    for name, value in meant.items():
        assert np.array_equal(made[name], value), name


@pytest.mark.parametrize("target", facts.names())
def test_a_graph_without_neurons_fits_nothing_that_computes(target: str) -> None:
    content = graph()
    del content["nodes"]["n"]
    content["edges"] = [("i", "w"), ("w", "o")]
    chip = profile.load(target)
    found = check(content, chip)
    assert not found.fits or not chip.has_integers
