"""Speck event by event: the rule by hand, in NumPy, compiled, and against the simulator in steps."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from spyx_nir.errors import GraphError
from spyx_nir.hardware import profile, simulate
from spyx_nir.hardware.families.speck import event_kernel, event_rule
from spyx_nir.hardware.families.speck.event_rule import Trains
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

CHIP = profile.load("speck-2f")
RULES = {
    "numpy": event_rule.run_events,
    "compiled": lambda network, addresses: event_kernel.Program(network).run(addresses),
}


def one_neuron(weights: list[int], threshold: int, reset: str = "subtract") -> IntegerNetwork:
    """As many input channels as weights, into one neuron."""
    values = np.array([weights])
    population = Population("n", (1,), np.asarray(threshold), reset=reset, output=True)
    weight = Weight("input", "n", "w", values, (len(weights),))
    return IntegerNetwork(CHIP, {"input": (len(weights),)}, (population,), (weight,))


def spikes_of(rule: str, network: IntegerNetwork, addresses: list[int]) -> dict[str, Trains]:
    return RULES[rule](network, {"input": np.array(addresses, np.int64)})


@pytest.mark.parametrize("rule", RULES)
def test_a_neuron_spikes_once_an_event_and_keeps_the_rest(rule: str) -> None:
    """Weight 3, threshold 2: 3, spike, 1; 4, spike, 2; 5, spike, 3. In one step: 9 // 2 = 4 spikes."""
    network = one_neuron([3], 2)
    found = spikes_of(rule, network, [0, 0, 0])["n"]
    assert found.event.tolist() == [0, 1, 2]
    assert (found.synops, found.held, found.saturated) == (3, 2, 0)
    in_a_step = simulate.run(network, {"input": np.full((1, 1, 1), 3)})
    assert in_a_step.spikes["n"].tolist() == [[[4]]]


@pytest.mark.parametrize("rule", RULES)
def test_what_stays_above_the_threshold_spikes_with_the_next_event(rule: str) -> None:
    """Weights 5 and -1, threshold 2: 5, spike, 3; 3 - 1 = 2, spike, 0; -1."""
    found = spikes_of(rule, one_neuron([5, -1], 2), [0, 1, 1])["n"]
    assert found.event.tolist() == [0, 1]


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_events_decides(rule: str) -> None:
    network = one_neuron([2, -2], 2)
    assert spikes_of(rule, network, [0, 1])["n"].event.tolist() == [0]
    assert spikes_of(rule, network, [1, 0])["n"].event.tolist() == []


@pytest.mark.parametrize("rule", RULES)
def test_a_membrane_stops_at_minus_the_threshold(rule: str) -> None:
    """Weights -9 and 2, threshold 2: three times -9 leave -2, two times 2 bring it to 2."""
    found = spikes_of(rule, one_neuron([-9, 2], 2), [0, 0, 0, 1, 1])["n"]
    assert found.event.tolist() == [4]


@pytest.mark.parametrize("rule", RULES)
def test_a_reset_to_zero_keeps_nothing(rule: str) -> None:
    """Weights 3 and 1, threshold 2: 3, spike, 0; 1; 2, spike. Subtracting: 3, spike, 1; 2, spike, 0."""
    assert spikes_of(rule, one_neuron([3, 1], 2, "v_reset"), [0, 1, 1])["n"].event.tolist() == [
        0,
        2,
    ]
    assert spikes_of(rule, one_neuron([3, 1], 2), [0, 1, 1])["n"].event.tolist() == [0, 1]


@pytest.mark.parametrize("rule", RULES)
def test_no_event_gives_no_spike(rule: str) -> None:
    found = spikes_of(rule, one_neuron([3], 2), [])["n"]
    assert found.event.tolist() == [] and found.synops == 0


@pytest.mark.parametrize("rule", RULES)
def test_pooling_divides_coordinates_and_leaves_out_the_edge(rule: str) -> None:
    """A 3x3 map pooled by 2 is 1x1: four pixels count, five lie in windows that are not whole."""
    population = Population("n", (1,), np.asarray(1), output=True)
    weight = Weight("input", "n", "w", np.array([[1]]), (1,), pools=(2,))
    network = IntegerNetwork(CHIP, {"input": (1, 3, 3)}, (population,), (weight,))
    found = spikes_of(rule, network, list(range(9)))["n"]
    assert found.event.tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("stride", "padding", "size"), [((1, 1), (0, 0), 3), ((2, 1), (1, 2), 5), ((4, 2), (0, 1), 2)]
)
def test_one_event_adds_the_kernel_where_a_convolution_does(
    rule: str, stride: tuple[int, int], padding: tuple[int, int], size: int
) -> None:
    """Of threshold 1 every neuron spikes that a positive weight reaches: where the convolution of one
    pixel, `Weight.currents`, is above 0."""
    random = np.random.default_rng(0)
    kernel = random.integers(-3, 4, (4, 2, size, size))
    weight = Weight("input", "n", "w", kernel, (2, 7, 6), (), stride, padding)
    shape = weight.currents(np.zeros((1, 2, 7, 6))).shape[1:]
    population = Population("n", shape, np.asarray(1), output=True)
    network = IntegerNetwork(CHIP, {"input": (2, 7, 6)}, (population,), (weight,))
    for place in range(2 * 7 * 6):
        pixel = np.zeros((1, 2, 7, 6))
        pixel.flat[place] = 1
        expected = np.flatnonzero(weight.currents(pixel).ravel() >= 1)
        found = spikes_of(rule, network, [place])["n"]
        assert sorted(found.neuron.tolist()) == expected.tolist()
        y, x, f = (np.unravel_index(found.neuron, shape)[axis] for axis in (1, 2, 0))
        assert (np.lexsort((f, x, y)) == np.arange(len(f))).all()


def by_definition(
    network: IntegerNetwork, addresses: list[int]
) -> dict[str, list[tuple[int, int]]]:
    """Every neuron and every tap of it asked, for every event: slow, and other code than the rule."""
    sent = {"input": list(enumerate(addresses))}
    shapes = dict(network.inputs) | {p.name: p.shape for p in network.populations}
    for p in network.populations:
        count, rows, columns = event_rule.cube(p.shape)
        v = dict.fromkeys(itertools.product(range(rows), range(columns), range(count)), 0)
        into = network.into(p)
        arriving = sorted(
            (event, k, number, place)
            for k, weight in enumerate(into)
            for number, (event, place) in enumerate(sent[weight.source])
        )
        sent[p.name] = []
        for event, k, _, place in arriving:
            weight = into[k]
            channels, height, width = event_rule.cube(shapes[weight.source])
            c, y, x = np.unravel_index(place, (channels, height, width))
            for pool in weight.pools:
                height, width, y, x = height // pool, width // pool, y // pool, x // pool
            if y >= height or x >= width:
                continue
            for row, column, f in v:
                if weight.values.ndim == 2:
                    w = int(weight.values[f, (c * height + y) * width + x])
                else:
                    ky = y + weight.padding[0] - row * weight.stride[0]
                    kx = x + weight.padding[1] - column * weight.stride[1]
                    if not (0 <= ky < weight.values.shape[2] and 0 <= kx < weight.values.shape[3]):
                        continue
                    w = int(weight.values[f, c, ky, kx])
                threshold = int(p.threshold)
                u = max(v[row, column, f] + w, -threshold)
                if u >= threshold:
                    u = u - threshold if p.reset == "subtract" else 0
                    sent[p.name].append((event, (f * rows + row) * columns + column))
                v[row, column, f] = u
    return sent


@pytest.mark.parametrize("seed", range(6))
def test_three_implementations_agree_on_random_networks(seed: int) -> None:
    """A skip, pooling of odd maps, both resets, strides that differ: every spike in the same place."""
    random = np.random.default_rng(seed)
    reset = ("subtract", "v_reset")[seed % 2]

    def weight(
        source: str, target: str, values: np.ndarray, shape: tuple[int, ...], **more: object
    ) -> Weight:
        return Weight(source, target, f"{source}-{target}", values, shape, **more)

    maps = random.integers(-20, 40, (3, 2, 3, 3))
    first = weight("input", "a", maps, (2, 9, 7), stride=(2, 1), padding=(1, 1))
    shape = first.currents(np.zeros((1, 2, 9, 7))).shape[1:]
    again = weight("a", "b", random.integers(-20, 40, (3, 3, 3, 3)), shape, padding=(1, 1))
    pooled = (3, shape[1] // 2, shape[2] // 2)
    out = [
        weight(source, "c", random.integers(-30, 50, (4, int(np.prod(pooled)))), (36,), pools=(2,))
        for source in ("a", "b")
    ]
    populations = (
        Population("a", shape, np.asarray(60), reset=reset),
        Population("b", shape, np.asarray(25), reset=reset),
        Population("c", (4,), np.asarray(45), reset=reset, output=True),
    )
    network = IntegerNetwork(CHIP, {"input": (2, 9, 7)}, populations, (first, again, *out))
    addresses = random.integers(0, 2 * 9 * 7, 150).tolist()
    expected = by_definition(network, addresses)
    assert expected["c"]
    for rule in RULES:
        found = spikes_of(rule, network, addresses)
        for name in "abc":
            pairs = list(zip(found[name].event.tolist(), found[name].neuron.tolist(), strict=True))
            assert pairs == expected[name], (rule, name)
    one, other = (spikes_of(rule, network, addresses) for rule in RULES)
    for name in "abc":
        for what in ("synops", "saturated", "held"):
            assert getattr(one[name], what) == getattr(other[name], what)


def test_one_layer_with_one_event_a_step_is_the_simulator_in_steps() -> None:
    """With weights below the threshold, and one event a step, there is nothing to be in order."""
    random = np.random.default_rng(1)
    kernel = random.integers(-128, 128, (5, 2, 3, 3))
    weight = Weight("input", "n", "w", kernel, (2, 6, 6), (), (1, 1), (1, 1))
    population = Population("n", (5, 6, 6), np.asarray(130), output=True)
    network = IntegerNetwork(CHIP, {"input": (2, 6, 6)}, (population,), (weight,))
    addresses = random.integers(0, 72, 400)
    x = np.zeros((400, 1, 2, 6, 6), np.int64)
    x.reshape(400, -1)[np.arange(400), addresses] = 1
    expected = simulate.run(network, {"input": x}).spikes["n"].reshape(400, -1)
    found = event_kernel.Program(network).run({"input": addresses})["n"]
    counted = np.zeros_like(expected)
    np.add.at(counted, (found.event, found.neuron), 1)
    assert expected.sum() and (counted == expected).all()


def test_membranes_are_shown_before_the_events_that_are_asked_for() -> None:
    program = event_kernel.Program(one_neuron([1], 9))
    found = program.run({"input": np.zeros(4, np.int64)}, np.array([0, 3, 4]))["n"]
    assert found.membranes is not None and found.membranes.ravel().tolist() == [0, 3, 4]


@pytest.mark.parametrize("rule", RULES)
def test_states_beyond_the_chips_bits_are_counted(rule: str) -> None:
    """Weight 127, threshold 1: a membrane gains 126 an event, and passes 2^15 - 1 in event 261."""
    network = one_neuron([127], 1)
    assert spikes_of(rule, network, [0] * 260)["n"].saturated == 0
    assert spikes_of(rule, network, [0] * 261)["n"].saturated == 1


@pytest.mark.parametrize("rule", RULES)
def test_what_is_no_event_of_the_input_is_refused(rule: str) -> None:
    with pytest.raises(GraphError, match="from 0 to 0"):
        spikes_of(rule, one_neuron([1], 1), [1])
    with pytest.raises(GraphError, match="one input is needed"):
        RULES[rule](one_neuron([1], 1), {"other": np.array([0])})


@pytest.mark.parametrize("rule", RULES)
def test_a_bias_is_refused(rule: str) -> None:
    network = one_neuron([1], 1)
    biased = dataclasses.replace(network.populations[0], bias=np.asarray(1))
    with pytest.raises(GraphError, match="`n`: no event adds a bias"):
        spikes_of(rule, dataclasses.replace(network, populations=(biased,)), [0])


@pytest.mark.parametrize("rule", RULES)
def test_recurrence_is_refused(rule: str) -> None:
    network = one_neuron([1], 1)
    back = dataclasses.replace(network.weights[0], source="n", node="back")
    with pytest.raises(GraphError, match="no recurrence"):
        spikes_of(rule, dataclasses.replace(network, weights=(*network.weights, back)), [0])
