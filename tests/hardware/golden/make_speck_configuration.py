"""Writes speck_configuration.json: what sinabs configures cores with, without a board. See SOURCE.md."""

import importlib.machinery
import json
import sys
from unittest.mock import MagicMock


class NoSamna:
    """samna, which fetches a program when it is imported, does nothing here, nor does its viewer."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("samna", "samnagui"):
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        return MagicMock(__spec__=spec, __path__=[], __name__=spec.name, __version__="0.48.0")

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, NoSamna())

import numpy as np  # noqa: E402
import torch  # noqa: E402
from sinabs.backend.dynapcnn import DynapcnnNetwork  # noqa: E402
from sinabs.backend.dynapcnn.chip_factory import ChipFactory  # noqa: E402
from sinabs.layers import IAFSqueeze, SumPool2d  # noqa: E402
from torch import nn  # noqa: E402

random = np.random.default_rng(3)


def whole(*shape):
    return torch.tensor(random.integers(-128, 128, shape).astype(np.float32))


def fire(threshold):
    return IAFSqueeze(
        batch_size=1,
        spike_threshold=torch.tensor(float(threshold)),
        min_v_mem=torch.tensor(float(-threshold)),
    )


first = nn.Conv2d(2, 3, 3, stride=(2, 1), padding=(1, 2), bias=False)
# (2, 11, 7) -> (3, 6, 9) -> pooled (3, 3, 4) -> (5, 4, 3) -> (4, 4, 3)
second = nn.Conv2d(3, 5, 2, padding=(1, 0), bias=False)
third = nn.Conv2d(5, 4, 1, bias=False)
for layer in (first, second, third):
    layer.weight.data = whole(*layer.weight.shape)
network = DynapcnnNetwork(
    nn.Sequential(first, fire(200), SumPool2d(2), second, fire(90), third, fire(300)),
    input_shape=(2, 11, 7),
    discretize=False,
)
builder = ChipFactory("speck2fmodule:0").get_config_builder()
cores = {0: 2, 1: 1, 2: 0}
content = []
for index in cores:
    following = [index + 1] if index + 1 in cores else []
    layer = network.dynapcnn_layers[index]
    found = builder.get_dynapcnn_layer_config_dict(layer, cores, following)
    found["leak_enable"] = bool(found["leak_enable"])
    del found["neurons_initial_value"]
    content.append(found)
print(json.dumps(content))
