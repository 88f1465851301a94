"""What the metrics of a chip's network say, on a network whose answers are its inputs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.evaluation import chip_metrics
from pipeline.evaluation.chip_metrics import Disturbance, Recordings
from spyx_nir.hardware import profile
from spyx_nir.hardware.evaluate_events import Stream, assess_events, in_a_stream
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

SPECK = profile.load("speck-2f")
CLASSES = 4


def identity() -> IntegerNetwork:
    """Each class spikes as often as its input."""
    neurons = Population("n", (CLASSES,), np.asarray(10), output=True)
    weight = Weight("input", "n", "w", 10 * np.eye(CLASSES, dtype=np.int64), (CLASSES,))
    return IntegerNetwork(SPECK, {"input": (CLASSES,)}, (neurons,), (weight,))


class Events(list[np.ndarray]):
    """Recordings as events, indexed as `datasets.recordings.Events` is."""

    def __getitem__(self, index: object) -> list[np.ndarray]:  # type: ignore[override]
        return [list.__getitem__(self, i) for i in np.arange(len(self))[index]]  # type: ignore[index]


def recordings(number: int, by_event: bool = False) -> Recordings:
    """Of 6 steps; recording i has one event of class i % 4 in steps 2 and 4."""
    labels = np.arange(number) % CLASSES
    events = np.zeros((number, 6, CLASSES), np.uint8)
    for step in (1, 3):
        events[np.arange(number), step, labels] = 1
    kind = [("t", np.int64), ("x", np.int16)]
    streams = Events(np.array([(600, label), (1500, label)], kind) for label in labels)
    return Recordings(events, labels, 500, 1, streams if by_event else None)


in_both = pytest.mark.parametrize("by_event", [False, True], ids=["in steps", "event by event"])


@pytest.mark.parametrize("number", [1, 99, 100, 101, 250, 1000])
def test_the_chosen_are_spread_evenly_and_all_where_there_are_few(number) -> None:
    chosen = recordings(number).chosen
    assert len(chosen) == min(number, 100)
    gaps = np.diff([*chosen, number])
    assert gaps.min(initial=1) >= 1
    assert gaps.max() - gaps.min() <= 1


@in_both
def test_robustness_counts_right_answers_with_their_interval(by_event: bool) -> None:
    given = recordings(100, by_event)
    disturbed = chip_metrics.disturb_all(identity(), given)
    found = chip_metrics.robustness_metrics(given, given.labels.tolist(), disturbed)
    assert found["n"] == 100
    rows = {(row["kind"], row["level"]): row for row in found["disturbances"]}
    assert rows["none", 0]["correct"] == 100
    assert rows["none", 0]["wilson95"] == [pytest.approx(100 / (100 + 1.96**2), rel=1e-4), 1.0]
    assert rows["jitter_steps", 1]["correct"] == 100  # the order of events decides nothing here
    # A hot channel has 6 events, more than any other. Of 25 recordings 6 or 7 are of its class.
    assert 4 * 6 <= rows["hot_channels", 1]["correct"] <= 4 * 7
    assert set(rows) == {
        ("none", 0), ("lost_events", 0.01), ("lost_events", 0.05), ("lost_events", 0.1),
        ("jitter_steps", 1), ("flipped_bits", 1e-5), ("flipped_bits", 1e-4), ("hot_channels", 1),
    }  # fmt: skip


@in_both
def test_all_events_lost_leave_the_first_class_and_all_bits_flipped_the_complement(
    by_event: bool,
) -> None:
    given = recordings(30, by_event)
    lost = chip_metrics.disturb(identity(), given, Disturbance("lost_events", 1.0))
    assert not lost.predicted.any()
    # 10 becomes -11 and 0 becomes -1: nothing spikes. 16 weights of 8 bits, in 2 parts.
    flipped = chip_metrics.disturb(identity(), given, Disturbance("flipped_bits", 1.0))
    assert not flipped.predicted.any()
    assert flipped.flipped_bits == 2 * 16 * 8


@in_both
def test_the_same_seed_disturbs_alike_and_parts_differ(by_event: bool) -> None:
    given = recordings(100, by_event)
    hot = Disturbance("hot_channels", 1)
    first, again = (chip_metrics.disturb(identity(), given, hot) for _ in range(2))
    assert (first.predicted == again.predicted).all()
    parts = first.predicted.reshape(4, chip_metrics.PART)
    assert (parts == parts[:, :1]).all()


def test_a_run_event_by_event_is_seen_in_steps_and_goes_on_in_a_stream() -> None:
    given = recordings(8, by_event=True)
    streams = given.taken(np.arange(8))
    seen = []
    found = assess_events(identity(), streams, 6, lambda *run: seen.append(run))
    assert found.predicted == given.labels.tolist()
    ((first, x, run),) = seen
    assert first == 0
    assert (x["input"] == given.events.swapaxes(0, 1)).all()
    assert (run.spikes["n"] == x["input"]).all()  # a spike for each event, in its step
    assert run.saturated == {"n": 0}
    assert in_a_stream(identity(), streams) == given.labels.tolist()
    # 6 of 10 after one event and 12 after two: a spike, and 2 left for the next recording's.
    weak = dataclasses.replace(identity().weights[0], values=6 * np.eye(CLASSES, dtype=np.int64))
    network = dataclasses.replace(identity(), weights=(weak,))
    one = streams[3]  # its events are of channel 3
    assert in_a_stream(network, [one] * 3) == [3, 3, 3]
    lonely = Stream(one.address[:1], one.step[:1])
    # One event a recording: 6, 12, 8, 14: silence is class 0, then 3, 0, 3.
    assert in_a_stream(network, [lonely] * 4) == [0, 3, 0, 3]


def test_latency_is_in_steps_and_in_milliseconds_of_the_recording() -> None:
    """One spike of the right class in step 2 of 6, of 0.5 ms; the second changes nothing."""
    given = recordings(8)
    found = chip_metrics.latency_metrics(given.events.swapaxes(0, 1), given)
    assert (found["median_steps"], found["median_ms"], found["p95_ms"]) == (2, 1.0, 1.0)
    assert (found["recording_steps"], found["undecided"]) == (6, 0)
    over_time = [(row["steps"], row["ms"], row["correct"]) for row in found["accuracy_over_time"]]
    # Before the first spike the answer is class 0: 2 of 8.
    assert over_time[0] == (1, 0.5, 2)
    assert over_time[1:] == [(k, k / 2, 8) for k in (2, 2, 3, 3, 4, 5, 5, 6, 6)]
