"""The parity stage: what counts as a difference, what explains it, and what is refused.

Expected values are worked out by hand on tiny arrays; the end-to-end run is in test_deploy.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import parity, schema
from pipeline.evaluation import raster_plot
from pipeline.evaluation.backends import Recording, channels_first
from pipeline.evaluation.rounding_ties import Layer, explain

LIMITS = schema.Parity(max_differing_fraction=0.5, max_tie_distance=1e-4)


def layer(name: str, *, delay: int = 0, recurrent: bool = False, threshold: float = 2.0) -> Layer:
    return Layer(name, np.asarray(threshold), delay, recurrent)


def spikes(*at: tuple[int, int, int], shape=(6, 2, 3)) -> np.ndarray:
    """uint8 (T, B, N), 1 at the places given."""
    z = np.zeros(shape, np.uint8)
    for place in at:
        z[place] = 1
    return z


def flat(value: float, shape=(6, 2, 3)) -> np.ndarray:
    return np.full(shape, value)


def test_a_near_tie_explains_what_follows_downstream_and_later():
    # Layer a: neuron 1 of sample 0 spikes at step 2 in the model alone, then its later spikes move.
    # Layer b: differs in the same sample from step 2 on: a consequence.
    model = {"a": spikes((2, 0, 1), (4, 0, 1)), "b": spikes((3, 0, 0))}
    reference = {"a": spikes((5, 0, 1)), "b": spikes()}
    membranes = {"a": flat(0.0), "b": flat(0.0)}
    membranes["a"][2, 0, 1] = 2.0 - 1e-5
    ties = explain([layer("a"), layer("b")], model, reference, membranes, limit=1e-4)
    assert (ties.starts, ties.following, ties.unexplained) == (1, 3, 0)
    # |u - threshold| / threshold
    assert ties.largest_distance == pytest.approx(1e-5 / 2)


def test_a_difference_far_from_threshold_is_unexplained():
    membranes = {"a": flat(1.0)}
    ties = explain([layer("a")], {"a": spikes((0, 1, 2))}, {"a": spikes()}, membranes, limit=1e-4)
    assert (ties.starts, ties.unexplained) == (1, 1)
    assert ties.largest_distance == pytest.approx(0.5)


def test_a_difference_before_or_beside_its_supposed_cause_stands_alone():
    # Layer b differs one step before layer a does, and in the other sample: nothing explains it.
    model = {"a": spikes((3, 0, 0)), "b": spikes((2, 0, 0), (4, 1, 0))}
    reference = {"a": spikes(), "b": spikes()}
    membranes = {"a": flat(2.0), "b": flat(1.0)}
    ties = explain([layer("a"), layer("b")], model, reference, membranes, limit=1e-4)
    assert (ties.starts, ties.following, ties.unexplained) == (3, 0, 2)


def test_neighbours_explain_each_other_only_in_a_recurrent_layer():
    model, reference = {"a": spikes((1, 0, 0), (2, 0, 1))}, {"a": spikes()}
    membranes = {"a": flat(1.0)}
    membranes["a"][1, 0, 0] = 2.0
    alone = explain([layer("a")], model, reference, membranes, limit=1e-4)
    assert (alone.starts, alone.unexplained) == (2, 1)
    joined = explain([layer("a", recurrent=True)], model, reference, membranes, limit=1e-4)
    assert (joined.starts, joined.following, joined.unexplained) == (1, 1, 0)


def test_a_delayed_spike_was_decided_one_step_earlier():
    # The spike leaves at step 3; the membrane that decided it is that of step 2.
    membranes = {"a": flat(0.0)}
    membranes["a"][2, 0, 0] = 2.0
    model, reference = {"a": spikes((3, 0, 0))}, {"a": spikes()}
    ties = explain([layer("a", delay=1)], model, reference, membranes, limit=1e-4)
    assert (ties.starts, ties.unexplained, ties.largest_distance) == (1, 0, 0.0)


def test_a_delayed_spike_at_the_first_step_has_no_membrane_behind_it():
    model, reference = {"a": spikes((0, 0, 0))}, {"a": spikes()}
    ties = explain([layer("a", delay=1)], model, reference, {"a": flat(2.0)}, limit=1e-4)
    assert ties.unexplained == 1
    assert ties.largest_distance == np.inf


def test_delay_also_applies_to_the_cause():
    # b leaves at step 3 and was decided at step 2, when a (first difference at step 3) agreed.
    model, reference = (
        {"a": spikes((3, 0, 0)), "b": spikes((3, 0, 0))},
        {"a": spikes(), "b": spikes()},
    )
    membranes = {"a": flat(2.0), "b": flat(0.0)}
    ties = explain([layer("a"), layer("b", delay=1)], model, reference, membranes, limit=1e-4)
    assert (ties.starts, ties.unexplained) == (2, 1)


def test_channels_move_in_front_of_space():
    a = np.zeros((5, 2, 34, 33, 16))
    assert channels_first(a).shape == (5, 2, 16, 34, 33)
    assert channels_first(np.zeros((5, 2, 16))).shape == (5, 2, 16)


def recorder(change=lambda z: z, u: float = 0.0):
    """A backend whose neuron i spikes wherever input i has an event."""

    def execute(events: np.ndarray) -> Recording:
        z = change(np.swapaxes(events, 0, 1).copy())
        return Recording(z.astype(float), {"a": z}, {"a": np.full(z.shape, u)})

    return execute


def events_of(n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, 6, 3)) < 0.4).astype(np.uint8)


def compared(n=5, chunk=2, events=None, **changed):
    same = {"trained": recorder(), "reimported": recorder(), "reference": recorder()}
    events = events_of(n) if events is None else events
    labels = events.sum(axis=1).argmax(axis=-1)
    report, *_ = parity.compare(same | changed, [layer("a")], events, labels, LIMITS, chunk)
    return report


def test_three_equal_backends_pass_and_the_filled_up_chunk_counts_no_padding():
    report = compared(n=5, chunk=2)
    assert report["verdict"] == "pass"
    assert report["reasons"] == []
    assert report["differing_spikes"]["entries"] == 5 * 6 * 3
    assert report["layers"][0]["spike_rate"] == events_of(5).mean()
    assert report["accuracy"]["trained"]["correct"] == 5
    assert report["accuracy"]["trained"]["n"] == 5
    # Wilson's interval for 5 of 5: 5 / (5 + z^2).
    assert report["accuracy"]["trained"]["wilson95"] == pytest.approx([5 / (5 + 1.959964**2), 1.0])


def test_one_differing_spike_of_the_reimported_model_fails():
    def flip(z):
        z[0, 0, 0] ^= 1
        return z

    report = compared(n=2, chunk=2, reimported=recorder(flip))
    assert report["verdict"] == "fail"
    assert report["reasons"][0].startswith("1 of 36 spike entries differ between the trained and")
    assert report["differing_samples"] == [0]


def test_a_tie_in_the_reference_passes_and_is_counted():
    def flip(z):
        z[5, 1, 2] ^= 1
        return z

    # Class 0 wins by four spikes, so that one spike more or less does not change the vote.
    events = np.zeros((2, 6, 3), np.uint8)
    events[:, 1:5, 0] = 1
    report = compared(events=events, reference=recorder(flip, u=2.0 * (1 + 5e-5)))
    assert report["verdict"] == "pass"
    assert report["differing_spikes"]["reference"] == 1
    assert report["ties"]["starts"] == 1
    assert report["ties"]["largest_distance"] == pytest.approx(5e-5)
    assert report["differing_samples"] == [1]


def test_a_silent_reference_fails_for_three_reasons():
    report = compared(n=2, chunk=2, reference=recorder(np.zeros_like))
    assert report["verdict"] == "fail"
    text = " | ".join(report["reasons"])
    assert "predicted classes differ between the trained model and the reference one" in text
    assert "farther from threshold than max_tie_distance 0.0001" in text


def test_too_many_ties_fail():
    def flip(z):
        z[:, 0] ^= 1
        return z

    report = compared(n=1, chunk=1, reference=recorder(flip, u=2.0))
    assert any("max_differing_fraction 0.5" in reason for reason in report["reasons"])


def test_membranes_are_compared_where_known_and_where_spikes_agree():
    def with_membrane(u):
        def execute(events):
            z = np.swapaxes(events, 0, 1)
            membrane = np.where(z != 0, np.nan, u)
            return Recording(z.astype(float), {"a": z}, {"a": membrane})

        return execute

    report = compared(trained=with_membrane(0.25), reimported=with_membrane(0.25))
    gaps = report["layers"][0]["max_membrane_difference"]
    assert gaps == {"reimported": 0.0, "reference": 0.25}


def test_the_picture_has_the_same_bytes_twice(tmp_path):
    z = spikes((1, 0, 1), (2, 0, 2), shape=(6, 1, 3))
    other = spikes((1, 0, 1), shape=(6, 1, 3))
    recordings = {
        "trained": Recording(z, {"a": z}, {}),
        "reimported": Recording(z, {"a": z}, {}),
        "reference": Recording(other, {"a": other}, {}),
    }
    for name in ("one.png", "two.png"):
        raster_plot.write(tmp_path / name, "braille", recordings, ["a"])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_draws_a_missing_spike_hollow_and_no_larger_than_an_extra_one():
    """Of three spikes one is missing, at step 2 of neuron 2, and one is more, at step 3 of neuron 1."""
    z = spikes((1, 0, 1), (2, 0, 2), (4, 0, 0), shape=(6, 1, 3))
    other = spikes((1, 0, 1), (4, 0, 0), (3, 0, 1), shape=(6, 1, 3))
    recordings = {
        "trained": Recording(z, {"a": z}, {}),
        "other": Recording(other, {"a": other}, {}),
    }
    _, panel = raster_plot.drawn("braille", recordings, ["a"]).axes
    both, extra, missing = panel.lines
    assert sorted(zip(*both.get_data(), strict=True)) == [(1, 1), (4, 0)]
    assert list(zip(*extra.get_data(), strict=True)) == [(3, 1)]
    assert list(zip(*missing.get_data(), strict=True)) == [(2, 2)]
    assert missing.get_fillstyle() == "none" and extra.get_markersize() == both.get_markersize()
    assert panel.get_title() == "other: 1 missing, 1 more"


def test_the_picture_shows_neurons_that_differ_before_busy_ones():
    busy = np.ones((4, raster_plot.MOST_NEURONS + 10), np.uint8)
    busy[:, -1] = 0
    other = busy.copy()
    other[0, -1] = 1
    assert raster_plot.MOST_NEURONS + 9 in raster_plot.neurons([busy, other])
