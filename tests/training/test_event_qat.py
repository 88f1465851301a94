"""Training event by event: recordings with their times, their augmentation, and gradients along a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from pipeline import params, prepare
from pipeline.datasets import prepared, recordings
from pipeline.datasets.binning import to_bins
from pipeline.datasets.nmnist import to_bytes
from pipeline.training.augmentation import augment, augment_events
from spyx_nir.errors import UserError
from spyx_nir.hardware import profile
from spyx_nir.hardware.families.speck import qat
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

ROOT = Path(__file__).parent.parent.parent
TASK = params.load("nmnist", ROOT / "params.yaml")
SENSOR = (34, 34, 2)
EVENT = [("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.int16)]


def random_events(random: np.random.Generator, count: int = 800) -> np.ndarray:
    found = np.empty(count, EVENT)
    for field, size in (("x", 34), ("y", 34), ("p", 2), ("t", 15 * 21_000)):
        found[field] = random.integers(0, size, count)
    return found[np.argsort(found["t"], kind="stable")]


def counted(recording: np.ndarray) -> np.ndarray:
    return to_bins(recording, SENSOR, 15, 21_000, False)[0]


def test_events_are_warped_as_their_counts_are() -> None:
    """The same draws give the same image, whether its counts are moved or its events."""
    random = np.random.default_rng(0)
    several = [random_events(random) for _ in range(5)]
    found = augment_events(several, TASK, (2, 34, 34), np.random.default_rng(7))
    frames = augment(np.stack([*map(counted, several)]), TASK, np.random.default_rng(7))
    assert (frames != np.stack([*map(counted, several)])).any()
    assert (np.stack([*map(counted, found)]) == frames).all()
    assert all((np.diff(recording["t"]) >= 0).all() for recording in found)


def test_times_are_shifted_and_events_dropped() -> None:
    settings = dataclasses.replace(
        TASK.train, max_rotation=0, max_scale=0, max_shear=0, max_shift=0, elastic_alpha=0,
        max_time_shift=2, event_drop_rate=0.5,
    )  # fmt: skip
    task = dataclasses.replace(TASK, train=settings)
    one = random_events(np.random.default_rng(1), 4000)
    (found,) = augment_events([one], task, (2, 34, 34), np.random.default_rng(2))
    # Half of 4000, give or take 6 standard deviations of 31.6; a shift of 2 of 15 bins loses 13 %.
    assert 2000 * 0.86 - 190 < len(found) < 2190
    assert found["t"].min() >= 0 and found["t"].max() < 15 * 21_000


def test_gradients_along_a_run() -> None:
    """A neuron that spikes in every step: n = (v + w s) / threshold, and the membrane behind the spike
    does not depend on w; so dn/dw = s / threshold in each step, whatever the membranes are."""
    weight = Weight("input", "n", "w", np.array([[3.0]]), (1,))
    neuron = Population("n", (1,), np.asarray(4), output=True)
    network = IntegerNetwork(profile.load("speck-2f"), {"input": (1,)}, (neuron,), (weight,))
    s = np.array([2, 5, 1, 4])
    seen = {
        "input": s.reshape(1, 4, 1),
        "spikes/n": np.array([1, 3, 2, 2]).reshape(1, 4, 1),
        "membrane/n": np.array([2, 5, 0, 4]).reshape(1, 4, 1),
    }

    def total(w: jax.Array) -> jax.Array:
        changed = dataclasses.replace(network, weights=(dataclasses.replace(weight, values=w),))
        return qat.run_along(changed, seen, 1.0)["n"].sum()

    value, gradient = jax.value_and_grad(total)(np.array([[3.0]], np.float32))
    assert value == 8
    assert gradient == pytest.approx(s.sum() / 4)


def test_recordings_are_those_that_were_prepared(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for part in ("Train", "Test"):
        for digit in range(10):
            for number in range(2):
                place = tmp_path / "digits" / part / str(digit) / f"{number}.bin"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(to_bytes(random_events(random)))
    data = dataclasses.replace(TASK.data, source="folder", path=str(tmp_path / "digits"))
    task = dataclasses.replace(TASK, data=data)
    prepare.prepare(task, tmp_path)
    stored = prepared.read(tmp_path / "data" / "prepared" / "nmnist.h5")
    for split in ("train", "test"):
        frames, _ = stored.subset(split)
        found = recordings.read(task, stored, split, tmp_path)
        assert len(found) == len(frames) == 20
        assert (np.stack([*map(counted, found[::3])]) == frames[::3]).all()
    place = tmp_path / "digits" / "Test" / "3" / "1.bin"
    place.write_bytes(place.read_bytes()[::-1][:5] + place.read_bytes()[5:])
    with pytest.raises(UserError, match="from other recordings than those"):
        recordings.read(task, stored, "test", tmp_path)


def test_counts_alone_get_times_that_are_made_up(tmp_path: Path) -> None:
    """A prepared file that no recordings belong to; addresses count to its frames again."""
    shape = (2, 34, 34)
    frames = np.random.default_rng(4).integers(0, 3, (6, 15, *shape)).astype(np.uint8)
    split, labels = np.repeat([0, 2], 3).astype(np.uint8), np.arange(6)
    about = {"classes": list("abcdef"), "bins": 15, "bin_us": 21_000, "source": "random"}
    path = tmp_path / "some.h5"
    prepared.write(path, iter(frames), frames.shape, labels, split, about, {})
    stored = prepared.read(path)
    for recording, expected in zip(
        recordings.read(TASK, stored, "test")[:], frames[3:], strict=True
    ):
        found = np.zeros((15, int(np.prod(shape))), np.uint8)
        np.add.at(found, (recording["t"] // 21_000, recordings.addresses(recording, shape)), 1)
        assert (found == expected.reshape(15, -1)).all()
