"""What the vendors' own programs say of networks; in the vendors' environment:

    python ask_vendors.py rockpool|sinabs|lava NETWORKS.json ANSWERS.json

NETWORKS maps a name to `{"target", "nodes", "edges"}`, nodes as in a NIR file; ANSWERS maps it to
`["fits" or "refused", what was said]`. Imports neither nir, whose old version here lacks fields, nor
`spyx_nir`. Boards are not needed: where the programs import
samna, whose packages fetch a binary, a stand-in takes its place that accepts every configuration. So an
answer comes from rockpool's mapper and `config_from_specification`, from sinabs' DynapcnnNetwork, memory
mapping and layer configuration, and from Lava's processes, run for three steps.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from pipeline.interop import quirks

FITS, REFUSED = "fits", "refused"
DT = 1e-3
Answer = tuple[str, str]


@dataclass
class Network:
    """A network for `target`; nodes in an order in which sources come first."""

    target: str
    nodes: dict[str, Any]
    edges: list[tuple[str, str]]

    def sources(self, name: str) -> list[str]:
        """The nodes that lead into one."""
        return [source for source, target in self.edges if target == name]


def _network(data: dict[str, Any]) -> Network:
    nodes = {name: _node(fields) for name, fields in data["nodes"].items()}
    return Network(data.get("target", ""), nodes, [(a, b) for a, b in data["edges"]])


def _node(fields: dict[str, Any]) -> Any:
    if fields["type"] == "NIRGraph":
        return SimpleNamespace(type="NIRGraph", nodes=_network(fields).nodes)
    values = {
        name: np.asarray(value, np.float32 if name != "shape" else int)
        if isinstance(value, (list, int, float))
        else value
        for name, value in fields.items()
    }
    return SimpleNamespace(**values)


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules of which every part can be called; a check of a configuration finds it valid.

    For samna, and for bitstruct, with which rockpool reads what a board sends.
    """

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.split(".")[0] not in ("samna", "samnagui", "bitstruct"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        made = ModuleType(spec.name)
        made.__getattr__ = lambda _: mock.MagicMock()  # type: ignore[method-assign]
        made.validate_configuration = lambda _: (True, "")  # type: ignore[attr-defined]
        return made

    def exec_module(self, module: ModuleType) -> None:
        pass


# --------------------------------------------------------------------------------------- rockpool


def rockpool() -> Callable[[Network], Answer]:
    """The mapper of each Xylo and what its `config_from_specification` warns of."""
    quirks.leave_out_samna()
    import rockpool.graph as rg
    from rockpool.devices.xylo import syns61201, syns63300, syns65302
    from rockpool.nn.modules import LIFTorch, LinearTorch

    sys.meta_path.insert(0, _StandIns())
    from rockpool.devices.xylo.syns61201 import xylo_samna as on_audio_2
    from rockpool.devices.xylo.syns63300 import xylo_samna as on_imu
    from rockpool.devices.xylo.syns65302 import xylo_samna as on_audio_3

    chips = {
        "xylo-audio-2": (syns61201.mapper, on_audio_2.config_from_specification),
        "xylo-audio-3": (syns65302.mapper, on_audio_3.config_from_specification),
        "xylo-imu": (syns63300.mapper, on_imu.config_from_specification),
    }

    def neurons(node: Any, w_rec: Any = None) -> Any:
        import torch

        count = node.r.size
        return LIFTorch(
            (count, count),
            tau_mem=torch.tensor(node.tau_mem),
            tau_syn=torch.tensor(node.tau_syn).reshape(count, 1),
            threshold=torch.tensor(node.v_threshold),
            bias=torch.tensor(node.v_leak),
            has_rec=w_rec is not None,
            w_rec=None if w_rec is None else torch.tensor(w_rec.weight.T),
            dt=DT,
        ).as_graph()

    def part(node: Any) -> Any:
        """As rockpool's from_nir reads a node."""
        import torch

        if node.type == "NIRGraph":
            return neurons(node.nodes["lif"], node.nodes["w_rec"])
        if node.type == "CubaLIF":
            return neurons(node)
        if node.type in ("Linear", "Affine"):
            rows, columns = node.weight.shape
            bias = torch.tensor(node.bias) if node.type == "Affine" else None
            weight = torch.tensor(node.weight.T)
            module = LinearTorch(
                (columns, rows), weight=weight, bias=bias, has_bias=bias is not None
            )
            return module.as_graph()
        raise NotImplementedError(f"Cannot convert {node.type} to rockpool module")

    def mapped(network: Network) -> Any:
        """The computational graph; a matrix has a copy for each of its sources, as the mapper needs."""
        copies: dict[str, list[Any]] = {}
        fed = []  # the parts that the input leads to
        for name, node in network.nodes.items():
            if node.type in ("Input", "Output"):
                continue
            sources = network.sources(name)
            once = node.type not in ("Linear", "Affine")
            copies[name] = [part(node) for _ in (sources[:1] if once else sources)]
            for at, source in enumerate(sources):
                made = copies[name][0 if once else at]
                for before in copies.get(source, ()):
                    rg.connect_modules(before, made)
                if source == "input":
                    fed.append(made)
        first, *others = fed
        for other in others:  # one input feeds several
            dropped = list(other.input_nodes)
            for kept, gone in zip(first.input_nodes, dropped, strict=True):
                for module in list(gone.sink_modules):
                    module.input_nodes[module.input_nodes.index(gone)] = kept
                    kept.add_sink(module)
        (last,) = network.sources("output")
        return rg.GraphHolder(first.input_nodes, copies[last][0].output_nodes, "network", None)

    def ask(network: Network) -> Answer:
        mapper, config_from_specification = chips[network.target]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            spec = mapper(mapped(network))
            # The mapper says `bias`, which config_from_specification does not read.
            config_from_specification(**spec, bias_hidden=spec["bias"])
        said = [str(w.message).replace("\n", " ") for w in caught]
        # A weight's bias is dropped by the mapper, and given to the specification by hand.
        wrong = [text for text in said if "only supports up to" in text or "Only the " in text]
        return (REFUSED, wrong[0]) if wrong else (FITS, "; ".join(sorted(set(said)))[:200])

    return ask


# ----------------------------------------------------------------------------------------- sinabs


def sinabs() -> Callable[[Network], Answer]:
    """DynapcnnNetwork of the module, a place for each layer, and the configuration of each core."""
    sys.meta_path.insert(0, _StandIns())
    import torch
    from sinabs.activation import MembraneReset, MembraneSubtract
    from sinabs.backend.dynapcnn import DynapcnnNetwork
    from sinabs.backend.dynapcnn.chips.dynapcnn import DynapcnnConfigBuilder
    from sinabs.backend.dynapcnn.mapping import get_valid_mapping
    from sinabs.layers import IAFSqueeze, LIFSqueeze, Merge, SumPool2d

    def module(node: Any) -> Any:
        """As sinabs' from_nir reads a node, but with a Linear, one threshold, and the reset."""
        if node.type == "Conv2d":
            made = torch.nn.Conv2d(
                node.weight.shape[1] * int(node.groups),
                node.weight.shape[0],
                tuple(node.weight.shape[2:]),
                stride=tuple(int(n) for n in node.stride),
                padding=tuple(int(n) for n in node.padding),
                dilation=tuple(int(n) for n in node.dilation),
                groups=int(node.groups),
                bias=bool(np.any(node.bias)),
            )
            made.weight.data = torch.tensor(node.weight)
            if np.any(node.bias):
                made.bias.data = torch.tensor(node.bias)
            return made
        if node.type == "Linear":
            made = torch.nn.Linear(*node.weight.shape[::-1], bias=False)
            made.weight.data = torch.tensor(node.weight)
            return made
        if node.type == "IF":
            threshold = torch.tensor(node.v_threshold)
            each = (
                float(threshold.ravel()[0])
                if (threshold == threshold.ravel()[0]).all()
                else threshold
            )
            zero = node.metadata["reset"] == "v_reset"
            return IAFSqueeze(
                batch_size=1,
                spike_threshold=each,
                min_v_mem=-each,
                reset_fn=MembraneReset() if zero else MembraneSubtract(),
            )
        if node.type == "LIF":
            return LIFSqueeze(batch_size=1, tau_mem=torch.tensor(node.tau))
        if node.type == "SumPool2d":
            return SumPool2d(
                tuple(int(n) for n in node.kernel_size), tuple(int(n) for n in node.stride)
            )
        if node.type == "Flatten":
            return torch.nn.Flatten()
        raise NotImplementedError(f"{node.type}: no layer of the devkits")

    class Module(torch.nn.Module):
        def __init__(self, network: Network) -> None:
            super().__init__()
            self.network = network
            for name, node in network.nodes.items():
                if name in ("input", "output"):
                    continue
                self.add_module(name, module(node))
                if len(network.sources(name)) > 1:
                    self.add_module(f"merge_{name}", Merge())

        def forward(self, x: Any) -> Any:
            values = {"input": x}

            def value(name: str) -> Any:
                if name not in values:
                    first, *others = [value(source) for source in self.network.sources(name)]
                    for other in others:
                        first = getattr(self, f"merge_{name}")(first, other)
                    values[name] = getattr(self, name)(first)
                return values[name]

            return value(self.network.sources("output")[0])

    def ask(network: Network) -> Answer:
        shape = tuple(int(n) for n in network.nodes["input"].shape)
        made = DynapcnnNetwork(Module(network), input_shape=shape, dvs_input=False)
        cores = get_valid_mapping(made.dynapcnn_layers, DynapcnnConfigBuilder.get_constraints())
        for number, layer in made.dynapcnn_layers.items():
            targets = made.layer_destination_map[number]
            DynapcnnConfigBuilder.get_dynapcnn_layer_config_dict(layer, cores, targets)
        return FITS, f"layers on cores: {cores}"

    return ask


# ------------------------------------------------------------------------------------------- Lava


def lava() -> Callable[[Network], Answer]:
    """Dense, DelayDense, Conv and LIF processes of the fixed-point models, run for three steps."""
    quirks.share_mutable_defaults()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import DelayDense, Dense
    from lava.proc.io.source import RingBuffer
    from lava.proc.lif.process import LIF

    def one(values: Any) -> Any:
        """One number for a population where all are the same, else what each neuron has."""
        found = np.unique(values)
        return found[0] if found.size == 1 else np.asarray(values)

    def population(node: Any, shape: tuple[int, ...], bias: Any) -> Any:
        tau_syn, tau_mem = getattr(node, "tau_syn", None), getattr(node, "tau_mem", None)
        tau_mem = getattr(node, "tau", tau_mem)
        du = 4095 if tau_syn is None else whole(40.96 * one(DT / tau_syn)) - 1
        dv = 0 if tau_mem is None else whole(40.96 * one(DT / tau_mem))
        vth = whole(one(node.v_threshold)) if hasattr(node, "v_threshold") else 2**17 - 1
        given = {} if bias is None else {"bias_mant": bias, "bias_exp": 6}
        return LIF(shape=shape, du=du, dv=dv, vth=vth, **given)

    def whole(value: Any) -> Any:
        """Hundredths, as integers."""
        return np.round(100 * np.asarray(value)).astype(int)

    def conv(node: Any, arrives: tuple[int, ...]) -> Any:
        padding = node.padding
        if isinstance(padding, str):
            both = [
                int(d) * (k - 1) for d, k in zip(node.dilation, node.weight.shape[2:], strict=True)
            ]
            if padding == "valid" or any(n % 2 for n in both):
                raise ValueError(f"padding {padding}: Conv has one number for both sides")
            padding = [n // 2 for n in both]
        return Conv(
            weight=whole(node.weight).transpose(0, 3, 2, 1),
            input_shape=arrives[::-1],
            **{k: tuple(int(n) for n in getattr(node, k))[::-1] for k in ("stride", "dilation")},
            padding=tuple(int(n) for n in padding)[::-1],
            groups=int(node.groups),
            num_message_bits=8,
        )

    def pooling(node: Any, arrives: tuple[int, ...]) -> Any:
        """Windows as a Conv with a group for each channel."""
        channels = arrives[0]
        size = [int(n) for n in node.kernel_size]
        return Conv(
            weight=np.ones((channels, size[1], size[0], 1), int),
            input_shape=arrives[::-1],
            stride=tuple(int(n) for n in node.stride)[::-1],
            groups=channels,
            num_message_bits=8,
        )

    def build(network: Network) -> Any:
        ports: dict[str, Any] = {}  # name -> (port, shape as in NIR, delays, bias)
        process = None
        for name, node in network.nodes.items():
            if node.type == "Output":
                continue
            if node.type == "Input":
                shape = tuple(int(n) for n in node.shape)
                lava_shape = shape if len(shape) == 1 else shape[::-1]
                process = RingBuffer(data=np.ones((*lava_shape, 1), int))
                ports[name] = (process.s_out, shape, None, None)
                continue
            before = [ports[source] for source in network.sources(name)]
            port, arrives, delayed, bias = before[0]
            if node.type == "Delay":
                ports[name] = (port, arrives, np.round(node.delay / DT).astype(int), bias)
            elif node.type == "Flatten":
                count = int(np.prod(arrives))
                ports[name] = (port.reshape((count,)), (count,), None, None)
            elif node.type in ("Linear", "Affine"):
                weights, behind = whole(node.weight), _delay_behind(network, name)
                if delayed is not None or behind is not None:
                    delays = np.zeros(weights.shape, int) + (0 if delayed is None else delayed)
                    delays += 0 if behind is None else behind[:, np.newaxis]
                    process = DelayDense(weights=weights, delays=delays, num_message_bits=8)
                else:
                    process = Dense(weights=weights, num_message_bits=8)
                for other, *_ in before:
                    other.connect(process.s_in)
                bias = whole(node.bias) if node.type == "Affine" else None
                ports[name] = (process.a_out, (len(weights),), None, bias)
            elif node.type in ("Conv2d", "SumPool2d"):
                made = conv if node.type == "Conv2d" else pooling
                process = made(node, arrives)
                for other, *_ in before:
                    other.connect(process.s_in)
                shape = tuple(int(n) for n in process.output_shape)[::-1]
                bias = None
                if node.type == "Conv2d" and np.any(node.bias):
                    each = np.broadcast_to(node.bias[:, np.newaxis, np.newaxis], shape)
                    bias = whole(each).T
                ports[name] = (process.a_out, shape, None, bias)
            else:
                inner = node.nodes["lif"] if node.type == "NIRGraph" else node
                lava_shape = arrives if len(arrives) == 1 else arrives[::-1]
                process = population(inner, lava_shape, bias)
                for other, *_ in before:
                    other.connect(process.a_in)
                if node.type == "NIRGraph":
                    around = Dense(weights=whole(node.nodes["w_rec"].weight))
                    process.s_out.connect(around.s_in)
                    around.a_out.connect(process.a_in)
                ports[name] = (process.s_out, arrives, None, None)
        return process

    def _delay_behind(network: Network, name: str) -> Any:
        for source, target in network.edges:
            if source == name and network.nodes[target].type == "Delay":
                return np.round(network.nodes[target].delay / DT).astype(int)
        return None

    def ask(network: Network) -> Answer:
        process = build(network)
        process.run(condition=RunSteps(num_steps=3), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        process.stop()
        return FITS, "ran for three steps"

    return ask


def main(program: str, networks: str, answers: str) -> None:
    ask = {"rockpool": rockpool, "sinabs": sinabs, "lava": lava}[program]()
    with open(networks) as file:
        asked = {name: _network(data) for name, data in json.load(file).items()}
    found: dict[str, Answer] = {}
    for name, network in asked.items():
        try:
            found[name] = ask(network)
        except Exception as error:  # whatever the program stops with is its answer
            said = f"{type(error).__name__}: {error}".replace("\n", " ")
            found[name] = (REFUSED, said[:300])
    with open(answers, "w") as file:
        json.dump(found, file, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
