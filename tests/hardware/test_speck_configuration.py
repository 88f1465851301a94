"""speck_configuration.json, beside what sinabs configures the cores with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir.hardware import profile
from spyx_nir.hardware.families.speck import configuration
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

GOLDEN = Path(__file__).parent / "golden" / "speck_configuration.json"


def network(theirs: list[dict[str, Any]]) -> IntegerNetwork:
    """The network of the golden configuration."""
    populations, weights, source, pools = [], [], "input", ()
    for index, layer in enumerate(theirs):
        size = layer["dimensions"]
        arrives, leaves = (
            (s["feature_count"], s["size"]["y"], s["size"]["x"])
            for s in (size["input_shape"], size["output_shape"])
        )
        name = f"if_{index}"
        last = index == len(theirs) - 1
        threshold = np.array(layer["threshold_high"])
        populations.append(Population(name, leaves, threshold, output=last))
        values = np.swapaxes(np.array(layer["weights"]), 2, 3)
        stride, padding = ((size[key]["y"], size[key]["x"]) for key in ("stride", "padding"))
        node = f"conv_{index}"
        weights.append(Weight(source, name, node, values, arrives, pools, stride, padding))
        source = name
        pools = tuple(d["pooling"] for d in layer["destinations"] if d["pooling"] > 1)
    chip = profile.load("speck-2f")
    return IntegerNetwork(chip, {"input": (2, 11, 7)}, tuple(populations), tuple(weights))


def test_every_layer_is_configured_as_sinabs_does() -> None:
    theirs = json.loads(GOLDEN.read_text())
    chips = network(theirs)
    ours = configuration.layers(chips)
    named = dict(zip([layer["core"] for layer in ours], (2, 1, 0), strict=True))  # theirs
    assert len(ours) == len(theirs) == 3
    for here, there, weight in zip(ours, theirs, chips.weights, strict=True):
        for key in (
            "dimensions",
            "return_to_zero",
            "leak_enable",
            "threshold_high",
            "threshold_low",
        ):
            assert here[key] == there[key], key
        assert here["biases"] is None and not any(there["biases"])
        assert tuple(here["weights_shape"]) == weight.values.shape
        found = [
            {"layer": named[d["layer"]], "enable": d["enable"], "pooling": d["pooling"]}
            for d in here["destinations"]
        ]
        assert found == there["destinations"]


def test_a_matrix_behind_a_map_is_a_kernel_as_large_as_the_map() -> None:
    """Two poolings in a row are one, and a Linear behind a Flatten takes the pooled map whole."""
    chip = profile.load("speck-2f")
    hidden = Population("hidden", (3, 9, 8), np.array(10))
    out = Population("out", (5,), np.array(10), output=True)
    weights = (
        Weight("input", "hidden", "conv", np.ones((3, 1, 1, 1), int), (1, 9, 8)),
        Weight("hidden", "out", "linear", np.ones((5, 12), int), (12,), (2, 2)),
    )
    first, second = configuration.layers(
        IntegerNetwork(chip, {"input": (1, 9, 8)}, (hidden, out), weights)
    )
    assert first["destinations"][0]["pooling"] == 4
    assert second["weights_shape"] == [5, 3, 2, 2]
    assert second["dimensions"]["input_shape"]["size"] == {"x": 2, "y": 2}


def test_the_file_is_plain_json() -> None:
    texts = configuration.files(network(json.loads(GOLDEN.read_text())), 21_000)
    content = json.loads(texts["speck_configuration.json"])
    assert (content["version"], content["target"], content["device"]) == (
        1, "speck-2f", "speck2fmodule",
    )  # fmt: skip
    assert content["weights_file"] == "test_data_set_0/integer_vectors.npz"
    assert content["input"] == {"layer": "if_0", "bin_us": 21_000}
