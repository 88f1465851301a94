"""Scales and thresholds from recorded activity, and fine-tuning on labels."""

from __future__ import annotations

import dataclasses

import graphs
import nir
import numpy as np
import pytest

from spyx_nir.errors import GraphError
from spyx_nir.hardware import calibrate, finetune, grid, judge, profile, quantise, simulate
from spyx_nir.hardware.topology import planned


def chain(weight: np.ndarray, threshold: float = 1.0, reset: str = "v_reset") -> dict:
    """Input -> Linear -> IF, without decays."""
    weight = np.asarray(weight, np.float32)
    neurons = graphs.if_(len(weight), threshold, reset)
    return graphs.chain((weight.shape[1],), ("w", nir.Linear(weight)), ("n", neurons), dt=1.0)


def test_a_large_weight_of_a_silent_source_is_clipped() -> None:
    """Its source never spikes, so the others may have the finest of the grids: half its size is 127."""
    loihi = profile.load("loihi")
    rng = np.random.default_rng(0)
    weights = np.concatenate([np.ones((1, 1)), rng.uniform(-0.5, 0.5, (1, 50))], axis=1)
    silent = np.concatenate([[0.0], np.ones(50)])
    clip = calibrate._clip(weights, silent, loihi)
    assert clip < 1

    def error(factor: float) -> float:
        scale = grid.weight_range(8, loihi["weights.step"])[1] / factor
        rounded = grid.weights_on_grid(weights, scale, 8, loihi["weights.step"]) / scale
        return float(((weights - rounded)[0, 1:] ** 2).sum())

    assert error(float(clip)) < error(1.0)


def test_weights_that_are_on_the_grid_are_left_alone() -> None:
    """Even numbers up to 126, the chip's own with signs: rounding loses nothing, whatever is silent."""
    loihi = profile.load("loihi")
    weights = np.arange(-126, 127, 6).reshape(1, -1) / 126
    assert calibrate._clip(weights, np.ones(weights.shape[1]), loihi) == 1


def test_each_neuron_has_its_own_clip_where_the_chip_has_a_scale_for_each() -> None:
    xylo = profile.load("xylo-audio-2")
    assert xylo["weights.scale_per"] == "neuron"
    rng = np.random.default_rng(0)
    rest = rng.uniform(-0.5, 0.5, 50)
    weights = np.stack([np.concatenate([[1.0], rest]), np.arange(51) / 50 * 127 // 1 / 127])
    clips = calibrate._clip(weights, np.concatenate([[0.0], np.ones(50)]), xylo)
    assert clips.shape == (2,)
    assert clips[0] < 1
    assert clips[1] == 1  # multiples of 1 / 127, the largest 1


def test_thresholds_rise_where_the_chip_spikes_several_times() -> None:
    """A weight of three thresholds: NIR's neuron, set to 0, spikes once an event, the chip's thrice."""
    speck = profile.load("speck-2f")
    graph = planned(chain([[3.0]]))
    found = judge.admit(graph, speck)
    assert found.network is not None and found.start is not None
    events = (np.random.default_rng(0).random((4, 200, 1)) < 0.3).astype(np.uint8)
    per_recording = events.sum() / 4
    made = calibrate.calibrated(found.start, found.network, graph.plan, 1.0, events)
    # The integers are 127 and 42: each event leaves 1 of 42 for a further spike.
    assert 2 * per_recording <= made.distance[0] <= 2.05 * per_recording
    assert made.distance[1] < 0.1 * per_recording
    (low, high) = made.thresholds["n"]
    assert low == high and 2.5 < low < 3.5
    # The graph with these integers gives them back.
    assert made.network.populations[0].threshold > found.network.populations[0].threshold
    quantise.check_recovery(quantise.on_grid(found.start, made.network), made.network)


def test_what_does_not_help_is_dropped() -> None:
    """Every event is more than a threshold, in floats and rounded: no other threshold is nearer."""
    cortex = profile.load("cortex-m")
    graph = planned(chain([[1.5, 3.0]]))
    found = judge.admit(graph, cortex)
    assert found.network is not None and found.start is not None
    events = (np.random.default_rng(1).random((2, 100, 2)) < 0.2).astype(np.uint8)
    made = calibrate.calibrated(found.start, found.network, graph.plan, 1.0, events)
    assert made.distance == (0, 0)
    assert (made.clips, made.thresholds) == ({}, {})
    assert made.network is found.network


def test_every_fifth_recording_of_a_class_is_held_out() -> None:
    labels = np.array([0] * 10 + [1] * 4)
    train, held = finetune.split(labels)
    assert held.tolist() == [4, 9]
    assert sorted([*train, *held]) == list(range(14))
    with pytest.raises(GraphError, match="fewer than 5 of every class"):
        finetune.split(np.array([0, 0, 1, 1]))


def test_fine_tuning_learns_what_the_labels_say() -> None:
    """Both outputs have the same weights at first, so that every answer is the first class.

    They are little above the threshold: an output that is to spike less often gets a weight below it.
    """
    loihi = profile.load("loihi")
    graph = planned(chain([[1.05, 1.05], [1.05, 1.05]]))
    found = judge.admit(graph, loihi)
    assert found.network is not None
    labels = np.arange(40) % 2
    events = np.zeros((40, 20, 2), np.uint8)
    events[np.arange(40), :, labels] = np.random.default_rng(0).random((40, 20)) < 0.5
    train, held = finetune.split(labels)
    data = finetune.Labelled(events, labels)
    lines: list[str] = []
    made = finetune.finetuned(found.network, data[train], data[held], 30, lines.append)
    assert made.correct[0] == len(held) / 2
    assert max(made.correct) == made.n == len(held)
    assert made.correct[made.epoch] == made.n
    assert len(lines) == 30
    # The integers answer so, in the simulator of the chip too.
    (x,) = simulate.padded(made.network, events[held]).values()
    run = simulate.run(made.network, {"input": x})
    assert (run.spikes["n"].sum(axis=0).argmax(axis=1) == labels[held]).all()
    made.network.check()
    assert made.network.weights[0].values.dtype == np.int64
    assert dataclasses.replace(made.network, weights=found.network.weights) == found.network
