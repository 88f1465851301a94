"""speck_configuration.json: what each core is set to, as data that loads without this project.

Names and meanings are those of the configuration that sinabs 3.1.3 fills in (chips/dynapcnn.py,
get_dynapcnn_layer_config_dict). Weights are in integer_vectors.npz: numbers, not copied here.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any

from spyx_nir.hardware.families.speck.cores import Layer
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.placement import place

NAME = "speck_configuration.json"
VERSION = 1
WEIGHTS = "test_data_set_0/integer_vectors.npz"
READOUT_CHANNELS = 4  # channels of the last core for a class of the readout layer


def files(network: IntegerNetwork, bin_us: int) -> dict[str, str]:
    """See `Family.files`."""
    content = {
        "version": VERSION,
        "target": network.profile.name,
        "device": network.profile["graph.device"],
        "input": {"layer": network.populations[0].name, "bin_us": bin_us},
        "weights_file": WEIGHTS,
        "weights_order": (
            "(features, channels, height, width); a layer's array is reshaped to `weights_shape`; samna "
            "takes (features, channels, x, y), so exchange the last two axes"
        ),
        "source": "sinabs 3.1.3 backend/dynapcnn/chips/dynapcnn.py, get_dynapcnn_layer_config_dict",
        "layers": layers(network),
    }
    return {NAME: json.dumps(content, indent=2) + "\n"}


def layers(network: IntegerNetwork) -> list[dict[str, Any]]:
    """The configuration of every layer, in the order in which they run.

    A core is one that `fit` gives the layer; sinabs may choose another with enough memory.
    """
    cores = placed(network)
    return [
        {
            "neurons": population.name,
            "core": cores.get(population.name),
            **_dimensions(network, population),
            "biases": None,
            "leak_enable": False,
            "return_to_zero": population.reset != "subtract",
            "threshold_high": int(population.threshold),
            "threshold_low": _floor(network, population),
            "destinations": [
                {
                    "neurons": weight.target,
                    "layer": cores.get(weight.target),
                    "enable": True,
                    "pooling": prod(weight.pools),
                }
                for weight in network.weights
                if weight.source == population.name
            ],
        }
        for population in network.populations
    ]


def placed(network: IntegerNetwork) -> dict[str, int]:
    """Population -> core, by the memories of the profile; as `cores.place_on_cores` has it."""
    memory = {what: network.profile[f"cores.{what}_memory"] for what in ("kernel", "neuron")}
    fits = {}
    for population in network.populations:
        dimensions = _dimensions(network, population)
        _, channels, *kernel = dimensions["weights_shape"]
        arrives, leaves = (dimensions["dimensions"][k] for k in ("input_shape", "output_shape"))
        layer = Layer(
            population.name,
            (channels, arrives["size"]["y"], arrives["size"]["x"]),
            (leaves["feature_count"], leaves["size"]["y"], leaves["size"]["x"]),
            (kernel[0], kernel[1]),
            0,
        )
        fits[population.name] = [
            core
            for core in range(len(memory["kernel"]))
            if layer.kernel_memory <= memory["kernel"][core]
            and layer.neuron_memory <= memory["neuron"][core]
        ]
    return place(fits)[0]


def readout(network: IntegerNetwork) -> dict[str, Any]:
    """See `Family.addresses`: which class of the chip's readout layer a neuron becomes."""
    (output,) = (p for p in network.populations if p.output)
    return {
        "readout": {
            "note": (
                "only where the chip's readout layer is used: give neuron k the channel 4 k of the last "
                "core; the readout shows it as class k + 1, and 0 where there is none. Monitored layers "
                "show the channels as they are"
            ),
            "source": (
                "sinabs docs/speck/faqs/chip_errata.md (Speck 2e, 2f) and sinabs 3.1.3 "
                "backend/dynapcnn/utils.py, extend_readout_layer"
            ),
            "classes": [
                {"neuron": k, "core_channel": READOUT_CHANNELS * k, "readout_class": k + 1}
                for k in range(output.shape[0])
            ],
        }
    }


def _dimensions(network: IntegerNetwork, population: Population) -> dict[str, Any]:
    """Shapes of a layer; a matrix is a kernel as large as the map that arrives."""
    weight = network.into(population)[0]
    arrives, leaves = _arrives(network, weight), _map(population.shape)
    matrix = weight.values.ndim == 2
    kernel = arrives[1:] if matrix else weight.values.shape[2:]
    stride, padding = ((1, 1), (0, 0)) if matrix else (weight.stride, weight.padding)
    return {
        "weights": f"weight/{weight.node}",
        "weights_shape": [leaves[0], arrives[0], *kernel],
        "dimensions": {
            "input_shape": _shape(arrives),
            "output_shape": _shape(leaves),
            "kernel_size": int(kernel[0]),
            "stride": {"x": int(stride[1]), "y": int(stride[0])},
            "padding": {"x": int(padding[1]), "y": int(padding[0])},
        },
    }


def _arrives(network: IntegerNetwork, weight: Weight) -> tuple[int, int, int]:
    """The map (C, H, W) that arrives at a weight, before a Flatten."""
    shapes = {**network.inputs, **{p.name: p.shape for p in network.populations}}
    channels, height, width = _map(shapes[weight.source])
    size = prod(weight.pools)
    return channels, height // size, width // size


def _map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W); neurons without a map are channels of one."""
    if len(shape) != 3:
        return prod(shape), 1, 1
    channels, height, width = shape
    return channels, height, width


def _shape(shape: tuple[int, int, int]) -> dict[str, Any]:
    return {"feature_count": shape[0], "size": {"x": shape[2], "y": shape[1]}}


def _floor(network: IntegerNetwork, population: Population) -> int:
    """The lowest state, by the profile's `state.floor`."""
    if network.profile["state.floor"] == "threshold":
        return -int(population.threshold)
    return -(2 ** (int(network.profile["state.bits"]) - 1))
