"""Rates, latency, disturbances and errors by layer, on networks small enough to count by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import graphs
import nir
import numpy as np
import pytest

from spyx_nir.hardware import latency, perturb, profile, rates
from spyx_nir.hardware.layer_errors import Agreement, layer_errors
from spyx_nir.hardware.network import IntegerNetwork, Population, Run, Weight
from spyx_nir.hardware.topology import planned

XYLO, LOIHI, SPECK = (profile.load(name) for name in ("xylo-audio-2", "loihi", "speck-2f"))
MATRIX = np.array([[1, 0], [2, 3]])


def matrix(chip: profile.Profile, values: np.ndarray, *more: Weight, **fields: Any):
    """Inputs, one matrix, neurons `n`."""
    targets, sources = values.shape
    neurons = Population(
        "n", (targets,), np.asarray(fields.pop("threshold", 5)), output=True, **fields
    )
    weights = (Weight("input", "n", "w", values, (sources,)), *more)
    return IntegerNetwork(chip, {"input": (sources,)}, (neurons,), weights)


def run_of(**spikes: Any) -> Run:
    """A run with these spikes, (T, neurons) each, of one recording."""
    return Run({name: np.array(given)[:, None] for name, given in spikes.items()}, {}, {}, {})


# ----------------------------------------------------------------------------------------------- rates


def test_a_spike_reaches_the_weights_that_are_not_zero_of_a_matrix() -> None:
    assert rates.fan_out(Weight("a", "b", "w", MATRIX, (2,)), (2,)).tolist() == [2, 1]


def test_a_spike_reaches_every_tap_of_a_kernel_that_is_on_the_map() -> None:
    """2 kernels of 3x3, padding 1, on 3x3: 4 places from a corner, 6 from an edge, 9 from the middle."""
    kernel = np.zeros((2, 1, 3, 3), np.int64)  # zeros too: a kernel's taps are all stored
    weight = Weight("a", "b", "w", kernel, (1, 3, 3), padding=(1, 1))
    assert rates.fan_out(weight, (1, 3, 3)).tolist() == [[[8, 12, 8], [12, 18, 12], [8, 12, 8]]]


def test_a_spike_in_front_of_a_pooling_reaches_what_its_window_does() -> None:
    """5x5 pooled by 2 is 2x2: the last row and column are in no window. One kernel of 1x1."""
    weight = Weight("a", "b", "w", np.ones((1, 1, 1, 1), np.int64), (1, 2, 2), pools=(2,))
    expected = np.ones((5, 5))
    expected[4] = expected[:, 4] = 0
    assert (rates.fan_out(weight, (1, 5, 5)) == expected).all()


def test_rates_count_each_spike_in_the_step_in_which_it_arrives() -> None:
    """Input (1, 2): 1*2 + 2*1 at once; the first spike of `n`: 1, a step later; its last ones: none."""
    back = Weight("n", "n", "r", np.array([[0, 1], [1, 1]]), (2,))
    meter = rates.RateMeter(matrix(XYLO, MATRIX, back), steps=3, step_s=0.5)
    x = {"input": np.array([[1, 2], [0, 0], [0, 0]])[:, None]}
    meter.add(x, run_of(n=[[1, 0], [0, 0], [0, 3]]))
    found = meter.result()
    assert (found.events.mean, found.events.peak) == (3 / 1.5, 3 / 0.5)
    assert found.synops.mean == pytest.approx((4 + 1) / 1.5)
    assert found.synops.peak == 4 / 0.5
    assert found.layers == {"n": found.synops}


def test_a_weights_own_delay_moves_its_operations() -> None:
    """Weights 1 and 2 at once, 3 two steps later: from (1, 1), 2 operations and then 1."""
    network = matrix(LOIHI, 2 * MATRIX)
    (weight,) = network.weights
    slow = dataclasses.replace(weight, delay=np.array([[0, 0], [0, 2]]))
    network = dataclasses.replace(network, weights=(slow,))
    sent = {"input": np.array([[1, 1], [0, 0], [0, 0], [0, 0]])[:, None], "n": np.zeros((4, 1, 2))}
    # Loihi delivers everything one step later besides.
    assert rates.operations(network, sent)["n"].ravel().tolist() == [0, 2, 0, 1]


def test_a_spike_reaches_its_own_group_alone_and_dilated_taps() -> None:
    """Kernels of 1x2, taps 2 apart, on 1x4: two outputs; each of the four places meets one tap."""
    weight = Weight(
        "a", "b", "w", np.ones((4, 1, 1, 2), np.int64), (2, 1, 4), dilation=(1, 2), groups=2
    )
    assert rates.fan_out(weight, (2, 1, 4)).tolist() == [[[2, 2, 2, 2]]] * 2


def test_rates_are_means_over_recordings_and_the_peak_of_any() -> None:
    meter = rates.RateMeter(matrix(XYLO, MATRIX), steps=1, step_s=0.01)
    for events in ([1, 0], [0, 1], [0, 0], [1, 1]):
        meter.add({"input": np.array(events).reshape(1, 1, 2)}, run_of(n=[[0, 0]]))
    assert meter.result().synops.mean == pytest.approx((2 + 1 + 0 + 3) / 4 / 0.01)
    assert meter.result().synops.peak == pytest.approx(3 / 0.01)


def test_more_input_spikes_than_the_chip_takes_are_not_counted() -> None:
    """Xylo takes 15 in a step; a matrix of ones into one neuron: 15 operations."""
    meter = rates.RateMeter(matrix(XYLO, np.array([[1]])), steps=1, step_s=1)
    meter.add({"input": np.full((1, 1, 1), 20)}, run_of(n=[[0]]))
    assert (meter.result().events.peak, meter.result().synops.peak) == (15, 15)


def test_rates_of_no_run_are_refused() -> None:
    with pytest.raises(ValueError, match="no run"):
        rates.RateMeter(matrix(XYLO, MATRIX), 1, 1).result()


# --------------------------------------------------------------------------------------------- latency


def output(*recordings: list[tuple[int, int]]) -> np.ndarray:
    """(T, B, 2): each recording as pairs of spikes of the two classes."""
    return np.array(recordings, np.uint16).swapaxes(0, 1)


def test_a_recording_is_decided_when_its_class_stays() -> None:
    """The first of equals counts: 1:0, 1:1 (class 0), 1:2 (class 1) is decided in step 3."""
    found = output(
        [(1, 0), (0, 1), (0, 1), (0, 0)],
        [(0, 0), (0, 0), (0, 0), (0, 0)],
        [(0, 1), (0, 0), (0, 0), (0, 0)],
        [(0, 0), (0, 0), (0, 0), (1, 0)],
    )
    assert latency.decisions(found).T.tolist() == [
        [0, 0, 1, 1], [-1, -1, -1, -1], [1, 1, 1, 1], [-1, -1, -1, 0],
    ]  # fmt: skip
    assert latency.decided_in(found).tolist() == [3, 0, 1, 4]


def test_percentiles_are_nearest_ranks_of_the_decided() -> None:
    """Of 1 to 20 the 10th is the median, the 19th the 95th percentile."""
    steps = np.array([0, *range(20, 0, -1), 0])
    assert latency.summary(steps) == latency.Latency(10, 19, 2)
    assert latency.summary(np.zeros(3, int)) == latency.Latency(None, None, 3)


def test_accuracy_over_time_waits_for_the_chips_delay() -> None:
    """10 steps and a silent one: the spike of class 1 that comes in step 4 is of input step 3."""
    spikes = np.zeros((11, 1, 2), np.int64)
    spikes[3, 0, 1] = 1
    spikes[10, 0, 0] = 2
    assert latency.over_time(spikes, 10)[:, 0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 1, 0]


def test_tenths_of_a_recording_round_up() -> None:
    assert latency.input_steps(15) == [2, 3, 5, 6, 8, 9, 11, 12, 14, 15]


# ---------------------------------------------------------------------------------------- disturbances


def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def test_events_are_lost_with_their_probability() -> None:
    events = np.full((10, 100, 50), 2, np.uint8)
    assert (perturb.lose_events(events, 0.0, generator()) == events).all()
    assert not perturb.lose_events(events, 1.0, generator()).any()
    left = int(perturb.lose_events(events, 0.1, generator()).sum(dtype=np.int64))
    # Binomial with n = 100 000 and p = 0.9: a standard deviation of 95; 5 of them.
    assert abs(left - 90_000) < 475
    assert events.sum(dtype=np.int64) == 100_000


def test_jitter_moves_each_event_by_up_to_its_width() -> None:
    events = np.zeros((1, 9, 2), np.uint8)
    events[0, 4] = 90, 30
    assert (perturb.jitter(events, 0, generator(), 255) == events).all()
    moved = perturb.jitter(events, 2, generator(), 255)
    assert moved.sum(axis=(0, 1)).tolist() == [90, 30]
    assert not moved[:, [0, 1, 7, 8]].any()
    assert (moved[:, 2:7, 0] > 0).all()  # a step without one of 90: (4/5)^90, 2e-9
    assert perturb.jitter(events, 2, generator(), 1).max() == 1


def test_jitter_keeps_events_in_the_recording() -> None:
    events = np.full((1, 2, 1), 50, np.uint8)
    assert perturb.jitter(events, 1, generator(), 255).sum() == 100


def test_hot_channels_have_an_event_in_every_step() -> None:
    events = np.zeros((3, 4, 2, 5), np.uint8)
    events[:, 1] = 7
    hot = perturb.hot_channels(events, 2, generator())
    always = (hot > 0).all(axis=(0, 1))
    assert always.sum() == 2
    assert (hot[:, :, ~always] == events[:, :, ~always]).all()
    assert (hot[:, 1] == 7).all()
    assert (hot[:, 0, always] == 1).all()


@pytest.mark.parametrize(
    ("chip", "weight", "flipped"), [(XYLO, 5, -6), (SPECK, -1, 0), (LOIHI, 10, -12)]
)
def test_all_bits_flipped_are_the_complement(chip, weight, flipped) -> None:
    """-w - 1 in two's complement; Loihi stores 10 as 5, whose complement is -6."""
    network = matrix(chip, np.full((3, 2), weight))
    found, bits = perturb.flip_bits(network, 1.0, generator())
    assert found.weights[0].values.tolist() == [[flipped] * 2] * 3
    assert bits == 6 * 8
    assert (network.weights[0].values == weight).all()


def test_flipped_bits_are_those_that_are_counted() -> None:
    values = np.arange(-128, 128).reshape(16, 16)
    found, bits = perturb.flip_bits(matrix(XYLO, values), 0.05, generator())
    changed = values.astype(np.int8) ^ found.weights[0].values.astype(np.int8)
    assert np.unpackbits(changed.view(np.uint8)).sum() == bits
    assert 0 < bits < 2048 / 4  # 102 are expected
    assert perturb.flip_bits(matrix(XYLO, values), 0.0, generator())[1] == 0
    found.check()


# --------------------------------------------------------------------------------------- errors by layer

REAL = np.array([[1.0, -0.5], [0.25, 0.75]])


def errors(chip: profile.Profile, neurons: Any, values: Any, threshold: Any, **fields: Any):
    """Of integers against `REAL` and the neurons' thresholds."""
    dt = 1.0 if isinstance(neurons, nir.IF) else graphs.DT
    graph = planned(graphs.chain((2,), ("w", nir.Linear(REAL)), ("n", neurons), dt=dt))
    network = matrix(chip, np.asarray(values), threshold=threshold, **fields)
    return layer_errors(graph, network)["n"]


def test_a_common_factor_is_no_error() -> None:
    found = errors(SPECK, graphs.if_(2), [[100, -50], [25, 75]], 100)
    assert (found.weight_snr_db, found.at_bound) == (None, 0)
    assert (found.threshold_error, found.threshold_error_max) == (0, 0)


def test_a_threshold_is_off_by_what_the_weights_factor_leaves() -> None:
    found = errors(SPECK, graphs.if_(2), [[100, -50], [25, 75]], 110)
    assert found.threshold_error == pytest.approx(0.1)


def test_the_signal_to_noise_ratio_is_that_of_the_best_factor() -> None:
    """W w = 127 + 25 + 6.25 + 56.25, w w = 1.875; 127 is the largest weight of the chip: 1 of 4."""
    whole = np.array([[127, -50], [25, 75]])
    scale = 214.5 / 1.875
    noise = ((whole / scale - REAL) ** 2).sum()
    found = errors(SPECK, graphs.if_(2), whole, 100)
    assert found.weight_snr_db == pytest.approx(10 * np.log10(1.875 / noise))
    assert found.threshold_error == pytest.approx(abs(100 - scale) / scale)
    assert found.at_bound == 1 / 4


def test_a_chip_with_a_scale_for_each_neuron_has_a_factor_for_each() -> None:
    """Rows of 100 and 80 times the weights. Xylo decays after adding: thresholds are half as large."""
    neurons = graphs.cuba(2, 0.5, 0.5)
    fields = {"decay_syn": np.asarray(1), "decay_mem": np.asarray(1)}
    found = errors(XYLO, neurons, [[100, -50], [20, 60]], [50, 42], **fields)
    # Time constants are float32 in a file: the factors are off by 1e-7, the noise is 1e-14 of all.
    assert found.weight_snr_db is None or found.weight_snr_db > 120
    assert found.threshold_error == pytest.approx(0.05 / 2, rel=1e-5)
    assert found.threshold_error_max == pytest.approx(0.05, rel=1e-5)


def test_neurons_without_weights_count_as_noise_and_have_no_threshold_error() -> None:
    """The second row is gone: its 0.25^2 + 0.75^2 = 0.625 are noise, the first row has none."""
    fields = {"decay_syn": np.asarray(1), "decay_mem": np.asarray(1)}
    found = errors(XYLO, graphs.cuba(2, 0.5, 0.5), [[100, -50], [0, 0]], [50, 1], **fields)
    assert found.weight_snr_db == pytest.approx(10 * np.log10(1.875 / 0.625), rel=1e-5)
    assert found.threshold_error_max == pytest.approx(0, abs=1e-5)


def test_agreement_compares_from_each_ones_own_delay_on() -> None:
    """Loihi is a step behind. 3 steps of 2 neurons: 5 entries agree; neuron 0 spikes as often in all."""
    network = matrix(LOIHI, np.array([[2, 0], [0, 2]]), threshold=4)
    agreement = Agreement(network)
    ours = np.array([[9, 9], [1, 0], [0, 1], [0, 1]])[:, None]
    theirs = np.array([[1, 0], [0, 1], [0, 0], [7, 7]])[:, None]
    agreement.add({"n": ours}, {"n": theirs}, {"n": 0}, 3)
    agreement.add({"n": ours}, {"n": ours}, {"n": 1}, 3)
    assert dict(agreement.layers["n"]) == {
        "entries": 12, "equal": 11, "neurons": 4, "equal_counts": 3,
    }  # fmt: skip
