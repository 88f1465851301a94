"""Small networks from the chip vendors' documentation, examples and tests, with the vendor's verdict.

Each row of `GRAPHS` names its source and what follows from it for the chip; no verdict is taken from
`spyx_nir`. Shapes and connections are the source's, weights are random. `ask_vendors.py` puts the rows
with `asked` to the vendor's own program; the others rest on a sentence of the source, since the program
alone does not check it. Imports neither `spyx_nir` nor a vendor's package.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

DT = 1e-3
CONTRACT = {"contract_version": 1, "dt": DT, "time_unit": "s"}
FITS, REFUSED = "fits", "refused"
XYLO_TESTS = "synsense/rockpool tests/tests_default/devices_xylo/test_xylo_mapper_v2.py"
XYLO_TABLE = "https://rockpool.ai/devices/xylo-overview.html, table of the family members"
XYLO_128 = "rockpool 3.1.0 syns{}/xylo_samna.py, config_from_specification: the first, the last 128"
SPECK_PAGE = "synsense/sinabs docs/speck/overview.md"
SPECK_CASES = "synsense/sinabs tests/test_dynapcnn/test_individual_cases.py"
SPECK_NETS = "synsense/sinabs tests/test_dynapcnnnetwork"
SPECK_ARCH = "synsense/sinabs docs/speck/faqs/available_network_arch.md"
LAVA_CONV = "lava-nc 0.10.0 proc/conv/process.py"
LAVA_CONV_TEST = "lava-nc/lava tests/lava/proc/conv/test_models.py, setup_conv"
LAVA_LIF = "lava-nc 0.10.0 proc/lif"
NIR_TESTS = "neuromorphs/NIR tests/test_architectures.py"

Shape = tuple[int, ...]
Part = Callable[
    [Shape], tuple[Any, Shape]
]  # the shape that arrives -> a node, the shape that leaves


@dataclass(frozen=True, kw_only=True)
class VendorGraph:
    """One network and what the vendor says of it.

    verdict: `FITS` or `REFUSED`, of the graph as it is, without any change. code: of one of the findings
    that must name the reason, "" where none is agreed. warns: it fits, and a warning has to be given.
    asked: the vendor's program decides; else the sentence in `source`. large: takes seconds.
    """

    name: str
    target: str
    build: Callable[[], nir.NIRGraph]
    verdict: str
    source: str
    why: str
    code: str = ""
    warns: bool = False
    asked: bool = True
    large: bool = False


# ------------------------------------------------------------------------------- parts of networks


def _random(*shape: int) -> np.ndarray:
    """Weights between -0.9 and 0.9, below the thresholds here, which are 1; none is 0."""
    rng = np.random.default_rng(math.prod(shape))
    drawn = rng.uniform(0.05, 0.9, shape) * rng.choice([-1, 1], shape)
    return np.asarray(drawn, np.float32)


def dense(count: int, bias: bool = False, gain: float = 1.0) -> Part:
    """A matrix to `count` elements; a Linear or, with biases of 0.25, an Affine."""

    def make(arrives: Shape) -> tuple[Any, Shape]:
        (columns,) = arrives
        weight = np.float32(gain) * _random(count, columns)
        biases = np.full(count, 0.25, np.float32)
        return nir.Affine(weight, biases) if bias else nir.Linear(weight), (count,)

    return make


def conv(
    channels: int,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    bias: bool = False,
    gain: float = 1.0,
) -> Part:
    """A convolution over (C, height, width); pairs are (vertical, horizontal)."""

    def pair(value: int | tuple[int, int]) -> tuple[int, int]:
        return (value, value) if isinstance(value, int) else value

    def make(arrives: Shape) -> tuple[Any, Shape]:
        inputs, *sizes = arrives
        weight = np.float32(gain) * _random(channels, inputs // groups, *pair(kernel))
        if isinstance(padding, str):
            around = [d * (k - 1) for d, k in zip(pair(dilation), pair(kernel), strict=True)]
        else:
            around = [2 * p for p in pair(padding)]
        leaves = tuple(
            (size + both - far * (taps - 1) - 1) // step + 1
            for size, both, far, taps, step in zip(
                sizes, around, pair(dilation), pair(kernel), pair(stride), strict=True
            )
        )
        node = nir.Conv2d(
            input_shape=tuple(sizes),
            weight=weight,
            stride=np.array(pair(stride)),
            padding=padding if isinstance(padding, str) else np.array(pair(padding)),
            dilation=np.array(pair(dilation)),
            groups=groups,
            bias=np.full(channels, 0.25 if bias else 0, np.float32),
        )
        return node, (channels, *leaves)

    return make


def pool(kernel: int | tuple[int, int], stride: int | None = None) -> Part:
    """A sum over windows; stride None: windows that do not overlap."""

    def make(arrives: Shape) -> tuple[Any, Shape]:
        windows = np.broadcast_to(kernel, 2).copy()
        steps = windows if stride is None else np.broadcast_to(stride, 2).copy()
        sizes = zip(arrives[1:], windows, steps, strict=True)
        leaves = tuple((size - int(k)) // int(s) + 1 for size, k, s in sizes)
        node = nir.SumPool2d(kernel_size=windows, stride=steps, padding=np.zeros(2, int))
        return node, (arrives[0], *leaves)

    return make


def flatten() -> Part:
    return lambda arrives: (nir.Flatten({"input": np.array(arrives)}, 0, -1), (math.prod(arrives),))


def delay(*steps: int) -> Part:
    """A delay of whole steps; one for all, or one for each element."""

    def make(arrives: Shape) -> tuple[Any, Shape]:
        each = np.array([steps[at % len(steps)] for at in range(math.prod(arrives))])
        return nir.Delay(delay=np.asarray(DT * each.reshape(arrives), np.float64)), arrives

    return make


def if_(reset: str = "subtract", thresholds: Sequence[float] = (1.0,)) -> Part:
    """Neurons without leak."""

    def make(arrives: Shape) -> tuple[Any, Shape]:
        ones = np.ones(arrives, np.float32)
        each = np.resize(np.asarray(thresholds, np.float32), arrives)
        metadata = {"reset": reset, "spike_delay": 0}
        node = nir.IF(
            r=ones / np.float32(DT), v_threshold=each, v_reset=0 * ones, metadata=metadata
        )
        return node, arrives

    return make


def cuba(
    reset: str = "subtract",
    decays: Sequence[float] = (0.5,),
    thresholds: Sequence[float] = (1.0,),
    v_leak: float = 0.0,
) -> Part:
    """Neurons with a current and a membrane of the same decay; gain 1 for a step."""

    def make(arrives: Shape) -> tuple[Any, Shape]:
        ones = np.ones(arrives, np.float32)
        tau = np.asarray(DT / (1 - np.resize(np.asarray(decays), arrives)), np.float32)
        node = nir.CubaLIF(
            tau_syn=tau,
            tau_mem=tau,
            r=tau / np.float32(DT),
            w_in=tau / np.float32(DT),
            v_leak=np.float32(v_leak) * ones,
            v_threshold=np.resize(np.asarray(thresholds, np.float32), arrives),
            v_reset=0 * ones,
            metadata={"reset": reset, "spike_delay": 0},
        )
        return node, arrives

    return make


def lif(reset: str = "v_reset", decays: Sequence[float] = (0.5,), v_leak: float = 0.0) -> Part:
    """Neurons with a membrane that leaks; gain 1 for a step."""

    def make(arrives: Shape) -> tuple[Any, Shape]:
        ones = np.ones(arrives, np.float32)
        tau = np.asarray(DT / (1 - np.resize(np.asarray(decays), arrives)), np.float32)
        metadata = {"reset": reset, "spike_delay": 0}
        node = nir.LIF(
            tau=tau,
            r=tau / np.float32(DT),
            v_leak=np.float32(v_leak) * ones,
            v_threshold=ones,
            v_reset=0 * ones,
            metadata=metadata,
        )
        return node, arrives

    return make


def li(decay: float = 0.5) -> Part:
    """A leaky integrator, the readout; gain 1 for a step."""

    def make(arrives: Shape) -> tuple[Any, Shape]:
        tau = np.full(arrives, DT / (1 - decay), np.float32)
        return nir.LI(tau=tau, r=tau / np.float32(DT), v_leak=np.zeros_like(tau)), arrives

    return make


def recurrent(reset: str = "subtract") -> Part:
    """A population with weights back to itself, as a subgraph."""

    def make(arrives: Shape) -> tuple[Any, Shape]:
        neurons, _ = cuba(reset)(arrives)
        (count,) = arrives
        nodes = {
            "input": nir.Input(np.array(arrives)),
            "lif": neurons,
            "w_rec": nir.Linear(_random(count, count)),
            "output": nir.Output(np.array(arrives)),
        }
        edges = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
        return nir.NIRGraph(nodes, edges, type_check=False), arrives

    return make


class Net:
    """A network that grows from its `input`, node after node."""

    def __init__(self, *arrives: int) -> None:
        self.nodes: dict[str, Any] = {"input": nir.Input(np.array(arrives))}
        self.shapes: dict[str, Shape] = {"input": arrives}
        self.edges: list[tuple[str, str]] = []

    def add(self, sources: str | tuple[str, ...], *parts: Part) -> str:
        """Parts in a row behind `sources`, whose spikes are summed; the name of the last."""
        before = (sources,) if isinstance(sources, str) else sources
        for part in parts:
            node, shape = part(self.shapes[before[0]])
            name = f"{type(node).__name__.lower()}_{len(self.nodes)}"
            self.nodes[name], self.shapes[name] = node, shape
            self.edges += [(source, name) for source in before]
            before = (name,)
        return before[0]

    def graph(self, last: str) -> nir.NIRGraph:
        """With `last` as output."""
        nodes = {**self.nodes, "output": nir.Output(np.array(self.shapes[last]))}
        edges = [*self.edges, (last, "output")]
        return nir.NIRGraph(nodes, edges, dict(CONTRACT), type_check=False)


def chain(arrives: Shape, *parts: Part) -> nir.NIRGraph:
    """Parts in a row behind an input of this shape."""
    net = Net(*arrives)
    return net.graph(net.add("input", *parts))


def layers(inputs: int, *counts: int, neurons: Callable[[], Part] = cuba) -> nir.NIRGraph:
    """Matrices and populations of these sizes in a row."""
    parts = itertools.chain.from_iterable((dense(count), neurons()) for count in counts)
    return chain((inputs,), *parts)


def loihi_cuba() -> Part:
    return cuba("v_reset")


def loihi_if() -> Part:
    return if_("v_reset")


# ------------------------------------------------------------------------------------------- Xylo


def _residual(inputs: int, hidden: int, outputs: int) -> nir.NIRGraph:
    """A recurrent block with a way around it."""
    net = Net(inputs)
    first = net.add("input", dense(hidden), cuba())
    block = net.add(first, dense(hidden), recurrent())
    return net.graph(net.add((first, block), dense(outputs), cuba()))


def _straight_to_the_output() -> nir.NIRGraph:
    net = Net(4)
    hidden = net.add("input", dense(6), cuba())
    sums = net.add(hidden, dense(3)), net.add("input", dense(3))
    return net.graph(net.add(sums, cuba()))


def _two_ways_to_the_output() -> nir.NIRGraph:
    net = Net(4)
    first = net.add("input", dense(6), cuba())
    second = net.add(first, dense(5), cuba())
    sums = net.add(first, dense(3)), net.add(second, dense(3))
    return net.graph(net.add(sums, cuba()))


def _fed_twice() -> nir.NIRGraph:
    net = Net(4)
    first = net.add("input", dense(6), cuba())
    sums = net.add(first, dense(5)), net.add("input", dense(5))
    return net.graph(net.add(net.add(sums, cuba()), dense(3), cuba()))


def _two_synapses() -> nir.NIRGraph:
    """Two currents of different decay into one membrane."""
    net = Net(4)
    currents = net.add("input", dense(6), li(0.5)), net.add("input", dense(6), li(0.75))
    return net.graph(net.add(net.add(currents, lif("subtract")), dense(3), cuba()))


def _xylo(name: str, build: Callable[[], nir.NIRGraph], verdict: str, **more: Any) -> VendorGraph:
    more = {"target": "xylo-audio-2", "source": f"{XYLO_TESTS}, {name}", **more}
    return VendorGraph(name=f"xylo {name}", build=build, verdict=verdict, **more)


XYLO = [
    _xylo(
        "test_mapper",
        lambda: chain(
            (5,), dense(6), recurrent(), dense(6), cuba(), dense(8), recurrent(), dense(3), cuba()
        ),
        FITS,
        why="three hidden populations, two of them recurrent: rockpool maps them into one matrix",
    ),
    _xylo(
        "test_output_nodes_have_neurons_as_source",
        lambda: chain((2,), dense(3), cuba(), dense(4)),
        REFUSED,
        code="wiring",
        why="ends with weights: DRCError output_nodes_have_neurons_as_source",
    ),
    _xylo(
        "test_input_to_neurons_is_a_weight",
        lambda: chain((2,), dense(3), cuba(), cuba()),
        REFUSED,
        code="wiring",
        why="neurons into neurons without weights: DRCError input_to_neurons_is_a_weight",
    ),
    _xylo(
        "test_first_module_is_a_weight",
        lambda: chain((2,), cuba(), dense(3), cuba()),
        REFUSED,
        code="wiring",
        why="no weights behind the input: DRCError",
    ),
    _xylo(
        "test_le_16_input_channels",
        lambda: layers(32, 2, 3),
        REFUSED,
        code="inputs",
        why="32 inputs: DRCWarning, Xylo only supports up to 16 input channels",
    ),
    _xylo(
        "test_le_8_output_channels",
        lambda: layers(4, 2, 32),
        REFUSED,
        code="outputs",
        why="32 outputs of 8: DRCWarning, and no hardware resources",
    ),
    _xylo(
        "test_network_too_large, hidden",
        lambda: layers(2, 2000, 4),
        REFUSED,
        code="hidden-neurons",
        why="2000 hidden neurons of 1000: DRCError",
    ),
    _xylo(
        "test_network_too_large, outputs",
        lambda: layers(2, 3, 64),
        REFUSED,
        code="outputs",
        why="64 outputs of 8: DRCError",
    ),
    _xylo(
        "test_output_neurons_cannot_be_recurrent",
        lambda: chain((2,), dense(3), cuba(), dense(4), recurrent()),
        REFUSED,
        code="recurrence",
        why="the output is recurrent: DRCError",
    ),
    _xylo(
        "one layer of neurons",
        lambda: layers(2, 3),
        REFUSED,
        code="layers",
        source="rockpool 3.1.0 syns61201/xylo_mapper.py, at_least_two_neuron_layers_needed",
        why="one population: DRCError, two are needed",
    ),
    _xylo(
        "quick start",
        lambda: _residual(2, 4, 2),
        FITS,
        source="synsense/rockpool docs/devices/quick-xylo/deploy_to_xylo.ipynb, step 1",
        why="two hidden populations and a way around the second, the vendor's introduction",
    ),
    _xylo(
        "quick start on Audio 3",
        lambda: _residual(2, 4, 2),
        FITS,
        target="xylo-audio-3",
        source="synsense/rockpool tests of syns65302, test_config_from_specification",
        why="the same network; config_from_specification takes it",
    ),
    _xylo(
        "quick start on IMU",
        lambda: _residual(2, 4, 2),
        FITS,
        target="xylo-imu",
        source="synsense/rockpool docs/devices/quick-xylo/xylo-imu-intro.ipynb: the same core",
        asked=False,
        why="the same network needs one synapse and 8 hidden neurons; rockpool 3.1.0's mapper for IMU "
        "places a population twice that is fed and read, and fails: a bug of the mapper, no limit of "
        "the chip",
    ),
    _xylo(
        "SynNet with its default size",
        lambda: layers(16, 60, 8),
        FITS,
        source="rockpool 3.1.0 nn/networks/synnet.py: size_hidden_layers [60]",
        why="16-60-8, made to be deployed to Xylo",
    ),
    _xylo(
        "SynNet of three layers",
        lambda: layers(16, 24, 24, 24, 8),
        FITS,
        source="rockpool 3.1.0 nn/networks/synnet.py: any number of hidden layers",
        why="three hidden populations in a row",
    ),
    _xylo(
        "two ways to the output",
        _two_ways_to_the_output,
        FITS,
        source="rockpool 3.1.0 syns61201/xylo_mapper.py, loop over the weights",
        why="both hidden populations have rows of their own in the output's matrix",
    ),
    _xylo(
        "input to output",
        _straight_to_the_output,
        REFUSED,
        source="rockpool 3.1.0 syns61201/xylo_mapper.py: weights_in, weights_rec and weights_out",
        why="the chip has no weights from inputs to outputs; the mapper finds no source for them",
    ),
    _xylo(
        "input to both hidden populations",
        _fed_twice,
        FITS,
        source=f"{XYLO_TABLE}: input projection to 1000 hidden neurons",
        asked=False,
        why="weights_in reaches every hidden neuron; the mapper itself places one input matrix only",
    ),
    _xylo(
        "Braille of the NIR paper",
        lambda: chain((12,), dense(40), recurrent(), dense(7), cuba()),
        FITS,
        source="NIR paper, arXiv 2311.14641: 12-40-7 on Xylo",
        why="a recurrent hidden population of 40",
    ),
    _xylo(
        "60 recurrent neurons",
        lambda: chain((12,), dense(60), recurrent(), dense(7), cuba()),
        FITS,
        source=f"{XYLO_TABLE}; rockpool 3.1.0 syns61201/xa2_devkit_utils.py: recurrent_fanout_ram",
        why="fan-out 60 of 64 within the hidden neurons; there is no limit on the fan-in",
    ),
    _xylo(
        "12-128-7",
        lambda: layers(12, 128, 7),
        FITS,
        source=f"{XYLO_TABLE}: output projection from 1000 hidden neurons",
        why="an output reads all 128 hidden neurons; there is no limit on the fan-in",
    ),
    _xylo(
        "1000 hidden neurons",
        lambda: layers(4, 1000, 8),
        FITS,
        source=f"{XYLO_TABLE}: input projection to, output projection from 1000 hidden neurons",
        why="every hidden neuron is fed and read",
    ),
    _xylo(
        "1001 hidden neurons",
        lambda: layers(4, 1001, 8),
        REFUSED,
        code="hidden-neurons",
        source="rockpool 3.1.0 syns61201/xylo_mapper.py: max_hidden_neurons 1000",
        why="DRCError: Failed to allocate HW resources for hidden neurons",
    ),
    _xylo(
        "16 inputs, 8 outputs",
        lambda: layers(16, 10, 8),
        FITS,
        source="rockpool 3.1.0 syns61201/xylo_mapper.py, le_16_input_channels, le_8_output_channels",
        why="exactly at both limits",
    ),
    _xylo(
        "17 inputs",
        lambda: layers(17, 10, 8),
        REFUSED,
        code="inputs",
        source="rockpool 3.1.0 syns61201/xylo_mapper.py, le_16_input_channels",
        why="one input too many",
    ),
    _xylo(
        "9 outputs",
        lambda: layers(16, 10, 9),
        REFUSED,
        code="outputs",
        source="rockpool 3.1.0 syns61201/xylo_mapper.py, le_8_output_channels",
        why="one output too many",
    ),
    _xylo(
        "fan-out 64",
        lambda: layers(2, 10, 64, 4),
        FITS,
        source=f"{XYLO_TABLE}: max. fan-out 64",
        why="exactly at the limit",
    ),
    _xylo(
        "fan-out 70",
        lambda: layers(2, 10, 70, 4),
        REFUSED,
        code="fan-out",
        source=f"{XYLO_TABLE}: max. fan-out 64",
        asked=False,
        why="each of 10 hidden neurons feeds 70 others",
    ),
    _xylo(
        "fan-out 70 on Audio 3",
        lambda: layers(2, 10, 70, 4),
        FITS,
        target="xylo-audio-3",
        source=f"{XYLO_TABLE}: max. fan-out 1024",
        why="Audio 3 allows 1024",
    ),
    _xylo(
        "bias of the neurons",
        lambda: chain((4,), dense(6), cuba(v_leak=0.25), dense(3), cuba()),
        FITS,
        source="rockpool 3.1.0 nn/modules/torch/nir.py: v_leak becomes the bias; xylo_sim.py: bias",
        why="rockpool's importer and mapper pass v_leak on as v_mem_bias",
    ),
    _xylo(
        "bias in front of the neurons",
        lambda: chain((4,), dense(6, bias=True), cuba(), dense(3, bias=True), cuba()),
        FITS,
        source="rockpool 3.1.0 syns61201/xylo_samna.py: v_mem_bias; xylo_sim.py: bias, bias_out",
        why="every neuron has a bias; the mapper warns and drops a weight's, so it is given to the "
        "specification, as b / (1 - decay of the current) once that has settled",
    ),
    _xylo(
        "bias on Audio 3",
        lambda: chain((4,), dense(6, bias=True), cuba(), dense(3, bias=True), cuba()),
        FITS,
        target="xylo-audio-3",
        source="rockpool 3.1.0 syns65302/xylo_samna.py: v_mem_bias",
        why="as on Audio 2",
    ),
    _xylo(
        "bias on IMU",
        lambda: chain((4,), dense(6, bias=True), cuba(), dense(5), cuba(), dense(3), cuba()),
        FITS,
        target="xylo-imu",
        source="rockpool 3.1.0 syns63300/xylo_samna.py: v_mem_bias",
        why="as on Audio 2",
    ),
    _xylo(
        "LI readout",
        lambda: chain((4,), dense(6), cuba(), dense(3), li()),
        FITS,
        source="rockpool 3.1.0 syns61201/xylo_sim.py: output_mode Spike, Isyn or Vmem",
        asked=False,
        why="the current of an output neuron is a leaky integrator, and the chip shows it; the mapper "
        "requires neurons there, so the readout is a neuron that never reaches its threshold",
    ),
    _xylo(
        "reset to zero",
        lambda: chain((4,), dense(6), cuba("v_reset"), dense(3), cuba("v_reset")),
        REFUSED,
        code="reset",
        source="https://rockpool.ai/devices/xylo-overview.html: reset is performed by subtraction",
        asked=False,
        why="the importer ignores how a neuron resets; the chip subtracts",
    ),
    _xylo(
        "convolution",
        lambda: chain((1, 4, 4), conv(2, 3), flatten(), cuba(), dense(3), cuba()),
        REFUSED,
        code="node",
        source="rockpool 3.1.0 nn/modules/torch/nir.py: Cannot convert Conv2d",
        why="the importer has no convolution",
    ),
    _xylo(
        "16-128-8 on Audio 3",
        lambda: layers(16, 128, 8),
        FITS,
        target="xylo-audio-3",
        source=f"{XYLO_TABLE}: input projection to, output projection from 128 hidden neurons",
        why="exactly at both limits",
    ),
    _xylo(
        "16-200-8 on Audio 3",
        lambda: layers(16, 200, 8),
        REFUSED,
        target="xylo-audio-3",
        source=XYLO_128.format(65302),
        why="72 hidden neurons get no input, 72 others reach no output",
    ),
    _xylo(
        "300 hidden neurons on Audio 3",
        lambda: layers(8, 300, 4),
        REFUSED,
        target="xylo-audio-3",
        source=XYLO_128.format(65302),
        why="all 300 are fed and read",
    ),
    _xylo(
        "16-128-128-8 on Audio 3",
        lambda: layers(16, 128, 128, 8),
        FITS,
        target="xylo-audio-3",
        source="rockpool 3.1.0 syns65302/xylo_mapper.py: the fed population first, the read one last",
        why="inputs reach the first 128, outputs read the last 128",
    ),
    _xylo(
        "32 outputs on Audio 3",
        lambda: layers(16, 64, 32),
        FITS,
        target="xylo-audio-3",
        source=f"{XYLO_TABLE}: 32 output neurons",
        asked=False,
        why="the table and the mapper's allocation have 32, a design rule warns above 16",
    ),
    _xylo(
        "33 outputs on Audio 3",
        lambda: layers(16, 64, 33),
        REFUSED,
        code="outputs",
        target="xylo-audio-3",
        source="rockpool 3.1.0 syns65302/xylo_mapper.py: max_output_neurons 32",
        why="DRCError: Failed to allocate HW resources for output neurons",
    ),
    _xylo(
        "16-200-8 on IMU",
        lambda: layers(16, 200, 8),
        REFUSED,
        target="xylo-imu",
        source=XYLO_128.format(63300),
        asked=False,
        why="72 hidden neurons get no input, 72 others reach no output; the mapper fails for another "
        "reason, see `quick start on IMU`",
    ),
    _xylo(
        "four layers of 60 on IMU",
        lambda: layers(16, 60, 60, 60, 60, 8),
        FITS,
        target="xylo-imu",
        source=f"{XYLO_TABLE}: 496 hidden neurons, fan-out 512, 64 on average",
        why="240 hidden neurons, 60 fed, 60 read",
    ),
    _xylo(
        "five layers of 100 on IMU",
        lambda: layers(16, 100, 100, 100, 100, 100, 8),
        REFUSED,
        code="hidden-neurons",
        target="xylo-imu",
        source="rockpool 3.1.0 syns63300/xylo_mapper.py: max_hidden_neurons 496",
        why="500 hidden neurons of 496",
    ),
    _xylo(
        "two synapses on IMU",
        _two_synapses,
        REFUSED,
        code="node",
        target="xylo-imu",
        source="rockpool 3.1.0 syns63300/xylo_mapper.py, max_synapses_per_neuron",
        why="a neuron has one synaptic state; two currents of different decay need two",
    ),
]


# ------------------------------------------------------------------------------------------ Speck


def _speck_residual() -> nir.NIRGraph:
    net = Net(1, 16, 16)
    first = net.add("input", conv(2, 1), if_())
    second = net.add(first, conv(2, 1), if_())
    return net.graph(net.add((first, second), conv(4, 1), if_()))


def _two_convolutions() -> nir.NIRGraph:
    net = Net(1, 16, 16)
    first = net.add("input", conv(2, 1), if_())
    second = net.add(first, conv(2, 1), if_())
    sums = net.add(first, conv(4, 1)), net.add(second, conv(4, 3, padding=1))
    return net.graph(net.add(sums, if_()))


def _three_destinations() -> nir.NIRGraph:
    net = Net(1, 8, 8)
    first = net.add("input", conv(2, 1), if_())
    branches = tuple(net.add(first, conv(2, 1), if_()) for _ in range(3))
    return net.graph(net.add(branches, conv(2, 1), if_()))


def _residual_with_pooling(left: int, right: int, kernel: int, size: int) -> nir.NIRGraph:
    """sinabs' model_dummy_1: pooling `left` in front of the block and `right` around it."""
    net = Net(2, size, size)
    first = net.add("input", conv(10, 2), if_())
    around = net.add(first, pool(right))
    block = net.add(first, pool(left), conv(10, kernel), if_())
    third = net.add((around, block), conv(1, 2), if_())
    return net.graph(net.add(third, flatten(), dense(500), if_(), dense(10), if_()))


def _merge_and_split() -> nir.NIRGraph:
    """sinabs' model_dummy_2."""
    net = Net(2, 34, 34)
    b = net.add("input", conv(4, 2), if_(), conv(4, 2), if_(), pool(2))
    upper = net.add(b, conv(4, 2), if_(), pool(2), conv(4, 2), if_(), flatten())
    lower = net.add(b, conv(4, 2), if_(), pool(2), conv(4, 2), if_(), flatten())
    return net.graph(net.add((upper, lower), dense(10), if_()))


def _two_networks() -> nir.NIRGraph:
    """sinabs' model_dummy_3."""
    net = Net(2, 34, 34)
    halves = tuple(
        net.add(
            "input",
            conv(4, 2),
            if_(),
            conv(4, 2),
            if_(),
            pool(2),
            conv(4, 2),
            if_(),
            pool(2),
            flatten(),
        )
        for _ in range(2)
    )
    return net.graph(net.add(halves, dense(100), if_(), dense(100), if_(), dense(10), if_()))


def _speck(name: str, build: Callable[[], nir.NIRGraph], verdict: str, **more: Any) -> VendorGraph:
    more = {"target": "speck-2f", **more}
    return VendorGraph(name=f"speck {name}", build=build, verdict=verdict, **more)


SPECK = [
    _speck(
        "the basics",
        lambda: chain(
            (1, 28, 28),
            *(
                conv(20, 5),
                if_(),
                pool(2),
                conv(32, 5),
                if_(),
                pool(2),
                conv(128, 3),
                if_(),
                pool(2),
            ),
            *(flatten(), dense(500), if_(), dense(10), if_()),
        ),
        FITS,
        source="synsense/sinabs docs/speck/the_basics.md; tests/test_dynapcnn/test_auto_mapping.py",
        why="test_auto_mapping makes a configuration for Speck 2e and 2f",
    ),
    _speck(
        "small network",
        lambda: chain(
            (1, 28, 28),
            *(conv(3, 5), if_(), pool(2), conv(1, 5), if_(), pool(2), flatten(), dense(2), if_()),
        ),
        FITS,
        source="synsense/sinabs tests/test_dynapcnn/test_config_making.py, test_verify_working_config",
        why="is_compatible_with(device)",
    ),
    _speck(
        "nine cores",
        lambda: chain(
            (2, 128, 128),
            *(conv(16, 2, stride=2), if_(), conv(16, 3, padding=1), if_(), pool(2)),
            *(conv(32, 3, padding=1), if_(), pool(2), conv(32, 3, padding=1), if_(), pool(2)),
            *(conv(64, 3, padding=1), if_(), pool(2), conv(64, 3, padding=1), if_(), pool(2)),
            *(conv(256, 2), if_(), conv(128, 1), if_(), conv(1, 1), if_()),
        ),
        FITS,
        source="synsense/sinabs tests/test_dynapcnn/test_large_net.py, test_auto_config",
        why="needs a particular order of the nine cores",
        large=True,
    ),
    _speck(
        "too large",
        lambda: chain(
            (1, 28, 28),
            *(
                conv(3, 5),
                if_(),
                pool(2),
                conv(1, 5),
                if_(),
                pool(2),
                flatten(),
                dense(20000),
                if_(),
            ),
        ),
        REFUSED,
        code="channels",
        source=f"{SPECK_NETS}/test_failcases.py, test_too_large (999,999 there)",
        why="no core has the memory",
    ),
    _speck(
        "N-MNIST quick start",
        lambda: chain(
            (2, 34, 34),
            *(conv(8, 3, padding=1), if_(), pool(2), conv(16, 3, padding=1), if_(), pool(2)),
            *(conv(16, 3, stride=2, padding=1), if_(), flatten(), dense(10), if_()),
        ),
        FITS,
        source="synsense/sinabs docs/speck/notebooks/nmnist_quick_start.ipynb",
        why="the vendor's introduction, deployed to a board there",
    ),
    _speck(
        "with a class",
        lambda: chain((2, 16, 16), conv(4, 2, stride=2), if_()),
        FITS,
        source=f"{SPECK_CASES}, test_with_class",
        why="one core",
    ),
    _speck(
        "pooling first",
        lambda: chain((2, 16, 16), pool(2), conv(4, 2, stride=2), if_()),
        REFUSED,
        source=f"{SPECK_PAGE}: Conv2d -> spiking activation -> sum pooling, configured in this order",
        asked=False,
        why="a core pools what its own neurons send; in front of the first core only the preprocessing "
        "of the camera does (sinabs: DVSLayer, with dvs_input)",
    ),
    _speck(
        "uneven pooling first",
        lambda: chain((2, 16, 16), pool((2, 1)), conv(4, 2, stride=2), if_()),
        REFUSED,
        source=f"{SPECK_CASES}, test_initial_sumpooling (with dvs_input)",
        asked=False,
        why="as `pooling first`",
    ),
    _speck(
        "two poolings of 2",
        lambda: chain(
            (2, 16, 16), conv(4, 2, stride=2), if_(), pool(2), pool(2), conv(2, 1), if_()
        ),
        FITS,
        source=f"{SPECK_CASES}, test_sumpooling_consolidation",
        why="sinabs makes one pooling of 4 of them",
    ),
    _speck(
        "two poolings of 4",
        lambda: chain((2, 16, 16), conv(4, 1), if_(), pool(4), pool(4), conv(2, 1), if_()),
        REFUSED,
        source="synsense/sinabs tests/test_dynapcnn/test_compatible_layer_build.py; "
        f"{SPECK_PAGE}: sum pooling 1x1, 2x2, 4x4",
        asked=False,
        why="one pooling of 16, which a core does not have",
    ),
    _speck(
        "a map that is not square",
        lambda: chain((2, 16, 32), conv(4, 2, stride=2), if_(), pool(2), conv(2, 1), if_()),
        FITS,
        source=f"{SPECK_CASES}, test_different_xy_input",
        why="x and y have sizes of their own",
    ),
    _speck(
        "bias",
        lambda: chain(
            (2, 16, 32), conv(4, 2, stride=2, bias=True), if_(), pool(2), conv(2, 1), if_()
        ),
        REFUSED,
        code="bias",
        source=f"{SPECK_CASES}, test_bias_nobias; docs/speck/notebooks/leak_neuron.ipynb",
        asked=False,
        why="the toolchain takes it, but adds it at every cycle of a slow clock that is not the step "
        "and not accurate (docs/speck/overview.md): not what NIR says, so the chip's rule is right",
    ),
    _speck(
        "flatten and linear",
        lambda: chain((2, 16, 16), flatten(), dense(2), if_()),
        FITS,
        source=f"{SPECK_CASES}, test_flatten_linear",
        why="a matrix is a convolution with a kernel as large as the map, here 16",
    ),
    _speck(
        "no neurons at the end",
        lambda: chain((2, 16, 16), flatten(), dense(2)),
        REFUSED,
        code="wiring",
        source=f"{SPECK_CASES}, test_no_spk_ending",
        why="MissingLayer",
    ),
    _speck(
        "no neurons between two matrices",
        lambda: chain((2, 16, 16), flatten(), dense(10), dense(2), if_()),
        REFUSED,
        code="wiring",
        source=f"{SPECK_CASES}, test_no_spk_middle",
        why="InvalidEdge",
    ),
    _speck(
        "neurons first",
        lambda: chain((2, 28, 28), if_(), pool(2), conv(2, 1), if_()),
        REFUSED,
        code="wiring",
        source=f"{SPECK_NETS}/test_failcases.py, test_incorrect_model_start",
        why="InvalidGraphStructure",
    ),
    _speck(
        "LIF",
        lambda: chain((1, 28, 28), conv(3, 5), lif("subtract")),
        REFUSED,
        code="node",
        source=f"{SPECK_NETS}/test_failcases.py, test_unsupported_layers",
        why="UnsupportedLayerType: integrate and fire only",
    ),
    _speck(
        "LI readout",
        lambda: chain((1, 8, 8), conv(3, 5), if_(), flatten(), dense(2), li()),
        REFUSED,
        code="node",
        source="synsense/sinabs docs/speck/faqs/available_algorithmic_operation.md: IAFSqueeze",
        why="ExpLeakSqueeze is none of the available layers",
    ),
    _speck(
        "pooling that is not square",
        lambda: chain((2, 28, 28), conv(8, 3), if_(), pool((2, 3)), conv(2, 1), if_()),
        REFUSED,
        code="pooling",
        source="synsense/sinabs tests/test_dynapcnn/test_compatible_layer_build.py, "
        "test_non_square_pooling_kernel",
        why="ValueError: only square pooling kernels",
    ),
    _speck(
        "pooling of 3",
        lambda: _residual_with_pooling(3, 4, 4, 34),
        REFUSED,
        code="pooling",
        source=f"{SPECK_NETS}/model_dummy_1.py; {SPECK_PAGE}: sum pooling 1x1, 2x2, 4x4",
        asked=False,
        why="sinabs' simulation runs it, a core pools 1, 2 or 4",
    ),
    _speck(
        "residual with pooling",
        lambda: _residual_with_pooling(2, 4, 9, 33),
        FITS,
        source=f"{SPECK_NETS}/model_dummy_1.py, with pooling 2 and 4",
        why="one core has two destinations with poolings of their own",
    ),
    _speck(
        "residual block",
        _speck_residual,
        FITS,
        source=f"{SPECK_ARCH}: What If I Really Want to Use Residual Connection",
        why="two cores send to a third, which has one kernel",
    ),
    _speck(
        "merge and split",
        _merge_and_split,
        FITS,
        source=f"{SPECK_NETS}/model_dummy_2.py",
        why="one core has two destinations, two cores have the same",
    ),
    _speck(
        "two networks that merge",
        _two_networks,
        FITS,
        source=f"{SPECK_NETS}/model_dummy_3.py",
        why="nine cores, the input goes to two of them",
    ),
    _speck(
        "two convolutions into one population",
        _two_convolutions,
        REFUSED,
        source=f"{SPECK_ARCH}: in a layer, Conv -> IAF -> pool; sinabs 3.1.3 dynapcnn_layer.py: one conv",
        why="a core has one kernel",
    ),
    _speck(
        "three destinations",
        _three_destinations,
        REFUSED,
        code="destinations",
        source=f"{SPECK_ARCH}: each core can only define 2 destination cores",
        asked=False,
        why="one core sends to three",
    ),
    _speck(
        "kernel that is not square",
        lambda: chain((2, 16, 16), conv(4, (3, 5)), if_()),
        REFUSED,
        code="kernel",
        source="sinabs 3.1.3 backend/dynapcnn/dynapcnn_layer.py",
        why="ValueError: must have the same height and width",
    ),
    _speck(
        "matrix behind a map that is not square",
        lambda: chain((2, 8, 4), conv(2, 1), if_(), flatten(), dense(2), if_()),
        REFUSED,
        code="kernel",
        source="sinabs 3.1.3 backend/dynapcnn/dynapcnn_layer.py, convert_linear_to_conv",
        why="the matrix becomes a kernel of 8x4",
    ),
    _speck(
        "kernel of 16",
        lambda: chain((1, 20, 20), conv(2, 16), if_()),
        FITS,
        source=f"{SPECK_PAGE}: max convolutional kernel size 16x16",
        why="exactly at the limit",
    ),
    _speck(
        "kernel of 17",
        lambda: chain((1, 20, 20), conv(2, 17), if_()),
        REFUSED,
        code="kernel",
        source=f"{SPECK_PAGE}: max convolutional kernel size 16x16",
        asked=False,
        why="one too large",
    ),
    _speck(
        "stride (1, 2)",
        lambda: chain((2, 16, 16), conv(4, 3, stride=(1, 2)), if_()),
        FITS,
        source="https://synsense-sys-int.gitlab.io/samna/models/speckSeries/speck2e.html: "
        "stride {1, 2, 4, 8} independent in X/Y",
        why="x and y have strides of their own",
    ),
    _speck(
        "stride 3",
        lambda: chain((2, 16, 16), conv(4, 3, stride=3), if_()),
        REFUSED,
        code="strides",
        source=f"{SPECK_PAGE}: stride step 1, 2, 4, 8",
        asked=False,
        why="3 is none of them",
    ),
    _speck(
        "padding (1, 0)",
        lambda: chain((2, 16, 16), conv(4, 3, padding=(1, 0)), if_()),
        FITS,
        source="https://synsense-sys-int.gitlab.io/samna/models/speckSeries/speck2e.html: "
        "padding [0..7] independent in X/Y",
        why="x and y have a padding of their own",
    ),
    _speck(
        "padding 8",
        lambda: chain((2, 16, 16), conv(4, 16, padding=8), if_()),
        REFUSED,
        code="padding",
        source=f"{SPECK_PAGE}: padding 0 to 7",
        asked=False,
        why="one too large",
    ),
    _speck(
        "dilation",
        lambda: chain((2, 16, 16), conv(4, 3, dilation=2), if_()),
        REFUSED,
        code="kernel",
        source="sinabs 3.1.3 backend/dynapcnn/chips/dynapcnn.py, get_dynapcnn_layer_config_dict",
        asked=False,
        why="the configuration of a core has no dilation; sinabs does not check it",
    ),
    _speck(
        "groups",
        lambda: chain((2, 16, 16), conv(4, 3, groups=2), if_()),
        REFUSED,
        code="kernel",
        source="sinabs 3.1.3 backend/dynapcnn/chips/dynapcnn.py, get_dynapcnn_layer_config_dict",
        asked=False,
        why="the configuration of a core has no groups; sinabs does not check them",
    ),
    _speck(
        "return to zero",
        lambda: chain((2, 16, 16), conv(4, 3), if_("v_reset"), conv(2, 3), if_("v_reset")),
        FITS,
        source="synsense/sinabs docs/speck/faqs/tips_for_training.md: return_to_zero, for each layer; "
        "sinabs 3.1.3 chips/dynapcnn.py: MembraneReset",
        why="each layer returns to zero or subtracts",
    ),
    _speck(
        "weights above the threshold",
        lambda: chain((2, 16, 16), conv(4, 3, gain=4.0), if_()),
        FITS,
        warns=True,
        source="synsense/sinabs docs/speck/faqs/tips_for_training.md: weight clipping during training",
        why="a neuron spikes at most once an event and stays above its threshold: the vendor advises "
        "against it and does not refuse it",
    ),
    _speck(
        "a threshold for each neuron",
        lambda: chain((2, 4, 4), conv(4, 3), if_(thresholds=(1, 2))),
        REFUSED,
        code="threshold",
        source="sinabs 3.1.3 backend/dynapcnn/chips/dynapcnn.py: threshold_high is one number",
        why="int() of an array",
    ),
    _speck(
        "too many channels",
        lambda: chain((1, 2, 2), conv(1025, 1), if_()),
        REFUSED,
        code="channels",
        source=f"{SPECK_PAGE}: max channel number 1024",
        asked=False,
        why="one too many",
    ),
    _speck(
        "map of 128 by stride 2",
        lambda: chain((1, 128, 128), conv(2, 2, stride=2), if_()),
        FITS,
        source=f"{SPECK_ARCH}, Feature Map Size Constrains",
        why="exactly at both limits",
    ),
    _speck(
        "map of 129",
        lambda: chain((1, 129, 129), conv(2, 4, stride=4), if_()),
        REFUSED,
        code="input-size",
        source=f"{SPECK_PAGE}: max input dimension 128x128",
        asked=False,
        why="one too large",
    ),
    _speck(
        "output of 65",
        lambda: chain((1, 65, 65), conv(2, 1), if_()),
        REFUSED,
        code="output-size",
        source=f"{SPECK_PAGE}: max output feature map size 64x64",
        asked=False,
        why="one too large",
    ),
    _speck(
        "the overview's layer",
        lambda: chain((16, 64, 64), conv(32, 3, padding=1), if_()),
        REFUSED,
        code="neuron-memory",
        source=f"{SPECK_PAGE}: this layer CANNOT be deployed on the chip",
        why="128 Ki neurons, the largest core has 64 Ki",
    ),
    _speck(
        "ten layers",
        lambda: chain((1, 4, 4), *(part for _ in range(10) for part in (conv(1, 1), if_()))),
        REFUSED,
        code="placement",
        source=f"{SPECK_PAGE}: a single chip consists of 9 configurable computing cores",
        why="one too many",
    ),
]


# ------------------------------------------------------------------------------------------ Loihi


def _loihi_skip() -> nir.NIRGraph:
    net = Net(4)
    first = net.add("input", dense(6), loihi_cuba())
    second = net.add(first, dense(5), loihi_cuba())
    sums = net.add(first, dense(3)), net.add(second, dense(3)), net.add("input", dense(3))
    return net.graph(net.add(sums, loihi_cuba()))


def _all_to_all() -> nir.NIRGraph:
    """36 million synapses; a zero-strided weight, which takes no memory."""
    ones = np.ones(9000, np.float32)
    nodes = {
        "input": nir.Input(np.array([4000])),
        "weight": nir.Linear(np.broadcast_to(np.float32(0.5), (9000, 4000))),
        "neurons": nir.IF(
            r=ones / np.float32(DT),
            v_threshold=ones,
            v_reset=0 * ones,
            metadata={"reset": "v_reset", "spike_delay": 0},
        ),
        "output": nir.Output(np.array([9000])),
    }
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), dict(CONTRACT), type_check=False)


def _loihi(name: str, build: Callable[[], nir.NIRGraph], verdict: str, **more: Any) -> VendorGraph:
    more = {"target": "loihi", **more}
    return VendorGraph(name=f"loihi {name}", build=build, verdict=verdict, **more)


def _maps(size: int, *parts: Part) -> Callable[[], nir.NIRGraph]:
    """Two channels of `size` x `size`, and these parts."""
    return lambda: chain((2, size, size), *parts)


LOIHI = [
    _loihi(
        "MNIST tutorial",
        lambda: chain(
            (784,),
            *(dense(64, bias=True), loihi_if(), dense(64, bias=True), loihi_if()),
            *(dense(10, bias=True), loihi_if()),
        ),
        FITS,
        source="lava-nc/lava tutorials/end_to_end/tutorial01_mnist_digit_classification.ipynb",
        why="three layers with bias_mant, du 4095 and dv 0",
    ),
    _loihi(
        "MNIST tutorial without bias",
        lambda: layers(784, 64, 64, 10, neurons=loihi_if),
        FITS,
        source="lava-nc/lava tutorials/end_to_end/tutorial01_mnist_digit_classification.ipynb",
        why="the same without biases",
    ),
    _loihi(
        "LIF, Dense, LIF",
        lambda: layers(1, 1, 1, neurons=loihi_cuba),
        FITS,
        source="lava-nc/lava tests/lava/magma/core/process/test_lif_dense_lif.py",
        why="one neuron to one neuron",
    ),
    _loihi(
        "oxford",
        lambda: layers(200, 256, 200, neurons=loihi_cuba),
        FITS,
        source="lava-nc/lava-dl tutorials/lava/lib/dl/netx/oxford; tests/lava/lib/dl/netx/test_nir.py",
        why="two layers of CubaLIF",
    ),
    _loihi(
        "recurrent",
        lambda: chain((12,), dense(40), recurrent("v_reset"), dense(7), loihi_cuba()),
        FITS,
        source="lava-nc/lava tests/lava/proc/dense/test_models.py, recurrence; NIR paper: 12-40-7",
        why="a Dense from a population to itself",
    ),
    _loihi(
        "skip connections",
        _loihi_skip,
        FITS,
        source="lava-nc 0.10.0 magma/core/process/ports: what arrives at an InPort is summed",
        why="three Dense into one LIF",
    ),
    _loihi(
        "bias without input",
        lambda: chain((10,), dense(10, bias=True), lif()),
        FITS,
        source="lava-nc/lava tests/lava/proc/lif/test_models.py, test_bitacc_pm_no_decay",
        why="bias_mant drives the neurons",
    ),
    _loihi(
        "leak to a potential that is not 0",
        lambda: chain((10,), dense(10), lif(v_leak=0.5)),
        FITS,
        source=f"{LAVA_LIF}/models.py, subthr_dynamics: effective_bias is added in every step",
        asked=False,
        why="(dt / tau) v_leak in every step is a bias of the membrane",
    ),
    _loihi(
        "biases in front of a current",
        lambda: chain((4,), dense(6, bias=True), loihi_cuba(), dense(3), loihi_cuba()),
        FITS,
        source=f"{LAVA_LIF}/process.py: bias_mant, one for each neuron",
        why="bias_mant on the membrane, as b / (1 - decay of the current) once that has settled",
    ),
    _loihi(
        "bias of a convolution",
        _maps(8, conv(4, 3, padding=1, bias=True), loihi_if()),
        FITS,
        source=f"{LAVA_LIF}/process.py: bias_mant has the shape of the population",
        why="one bias for each neuron, the same within a channel",
    ),
    _loihi(
        "a kernel that is not square",
        lambda: chain((3, 12, 20), conv(8, (5, 3), padding=(2, 1)), loihi_if()),
        FITS,
        source="lava-nc/lava tests/lava/proc/conv/test_process.py (a smaller map)",
        why="kernel and padding are pairs",
    ),
    _loihi(
        "strides (2, 3)",
        _maps(12, conv(4, 3, stride=(2, 3)), loihi_if()),
        FITS,
        source=LAVA_CONV_TEST,
        why="the stride is a pair",
    ),
    _loihi(
        "groups",
        _maps(8, conv(4, 3, padding=1, groups=2), loihi_if()),
        FITS,
        source=f"{LAVA_CONV}: groups; {LAVA_CONV_TEST}",
        why="Conv has groups",
    ),
    _loihi(
        "depthwise convolution",
        _maps(8, conv(2, 3, padding=1, groups=2), loihi_if(), conv(4, 1), loihi_if()),
        FITS,
        source=f"{LAVA_CONV}: groups",
        why="as many groups as channels",
    ),
    _loihi(
        "dilation",
        _maps(10, conv(4, 3, dilation=2), loihi_if()),
        FITS,
        source=f"{LAVA_CONV}: dilation; {LAVA_CONV_TEST}",
        why="Conv has a dilation",
    ),
    _loihi(
        "dilation (1, 3), stride 2 and groups",
        _maps(13, conv(4, 3, stride=2, padding=1, dilation=(1, 3), groups=2), loihi_if()),
        FITS,
        source=LAVA_CONV_TEST,
        why="all at once, as the random convolutions of that test",
    ),
    _loihi(
        "same padding",
        _maps(8, conv(4, 3, padding="same"), loihi_if()),
        FITS,
        source=f"{LAVA_CONV}: padding is a number or a pair",
        why="for an odd kernel and stride 1 it is a number: 1",
    ),
    _loihi(
        "same padding of an even kernel",
        _maps(8, conv(4, 4, padding="same"), loihi_if()),
        REFUSED,
        source=f"{LAVA_CONV}: padding is a number or a pair",
        asked=False,
        why="the two sides differ, 1 and 2; Conv has one number for both",
    ),
    _loihi(
        "map of 9, pooling 2",
        _maps(9, conv(2, 1), loihi_if(), pool(2), conv(3, 3, padding=1), loihi_if()),
        FITS,
        source=f"{LAVA_CONV}: a pooling is a Conv with groups",
        why="the odd row and column are left out",
    ),
    _loihi(
        "map of 9, pooling 4",
        _maps(9, conv(2, 1), loihi_if(), pool(4), conv(3, 2), loihi_if()),
        FITS,
        source=f"{LAVA_CONV}: a pooling is a Conv with groups",
        why="the odd row and column are left out",
    ),
    _loihi(
        "overlapping pooling",
        _maps(9, conv(2, 1), loihi_if(), pool(3, 2), conv(3, 2), loihi_if()),
        REFUSED,
        source="lava-nc 0.10.0 proc: no pooling; utils/weightutils.py: 8 bits for a weight",
        asked=False,
        why="the windows and the next weights make one kernel whose entries are sums of weights, which "
        "rounding to 8 bits does not keep: the sums have to be trained as weights",
    ),
    _loihi(
        "delay in front of a matrix",
        lambda: chain((4,), delay(1, 2, 2, 4), dense(3), loihi_if()),
        FITS,
        source="lava-nc/lava tests/lava/proc/dense/test_models.py, DelayDense with delays [1, 2, 2, 4]",
        why="DelayDense has a delay for each synapse",
    ),
    _loihi(
        "delay behind a matrix",
        lambda: chain((4,), dense(3), delay(0, 1, 2), loihi_if()),
        FITS,
        source="lava-nc/lava tests/lava/proc/dense/test_models.py, DelayDense with delays [0, 1, 2]",
        why="DelayDense has a delay for each synapse",
    ),
    _loihi(
        "one delay between two layers",
        lambda: chain((4,), dense(3), loihi_if(), delay(2), dense(2), loihi_if()),
        FITS,
        source="lava-nc/lava tests/lava/proc/dense/test_models.py, DelayDense with delays 2",
        why="one delay for all synapses",
    ),
    _loihi(
        "LI readout",
        lambda: chain((4,), dense(6), loihi_cuba(), dense(3), li()),
        FITS,
        source=f"{LAVA_LIF}/process.py: v is a variable that can be read, vth has 17 bits",
        why="a LIF that never reaches its threshold",
    ),
    _loihi(
        "a decay for each neuron",
        lambda: chain((2,), dense(3), lif(decays=(0.5, 0.75, 0.875))),
        REFUSED,
        code="decay",
        source=f"{LAVA_LIF}/process.py: only a single decay can be set for the entire population; "
        f"{NIR_TESTS}, test_sequential: tau 10, 20, 30",
        asked=False,
        why="du and dv are one number each; the Python model broadcasts an array without a warning",
    ),
    _loihi(
        "a threshold for each neuron",
        lambda: chain((2,), dense(3), if_("v_reset", (1, 2, 3))),
        REFUSED,
        code="threshold",
        source=f"{LAVA_LIF}/process.py: only a single threshold can be set for the entire population; "
        f"{NIR_TESTS}, test_sequential: thresholds 1, 2, 3",
        asked=False,
        why="vth is one number; the Python model broadcasts an array without a warning",
    ),
    _loihi(
        "reset by subtraction",
        lambda: layers(4, 6, 3),
        REFUSED,
        code="reset",
        source=f"{LAVA_LIF}/models.py, reset_voltage: to 0",
        asked=False,
        why="the LIF process resets to 0",
    ),
    _loihi(
        "N-MNIST of the NIR paper",
        lambda: chain(
            (2, 34, 34),
            *(conv(16, 5, stride=2, padding=1), loihi_if(), conv(16, 3, padding=1), loihi_if()),
            *(pool(2), conv(8, 3, padding=1), loihi_if(), pool(2), flatten()),
            *(dense(256), loihi_if(), dense(10), loihi_if()),
        ),
        FITS,
        source="NIR paper, arXiv 2311.14641: the SCNN on Lava",
        why="convolutions, poolings and matrices",
    ),
    _loihi(
        "36 million synapses",
        _all_to_all,
        REFUSED,
        source="nengo/nengo-loihi nengo_loihi/block.py: 1,048,576 bits of synapses a core, of Loihi 1; "
        "no number of Loihi 2 is public",
        asked=False,
        large=True,
        why="36 million weights of 8 bits are 281 KiB for each of 128 cores, which have 128 KiB",
    ),
]

GRAPHS = [*XYLO, *SPECK, *LOIHI]
