"""The simulated event sensor: reproducible, physical, and close to the real recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import real_data

from pipeline.datasets import simulate_nmnist as sim
from pipeline.datasets.nmnist import NMNIST, to_bytes


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return sim.mnist()


def test_the_images_are_mnist(images: np.ndarray) -> None:
    assert images.shape == (5000, 28, 28)
    assert images.dtype == np.uint8
    # MNIST centres digits by their mass in 28 x 28 pixels (LeCun et al. 1998).
    mass = images.astype(float).sum(0)
    centre = (mass.sum(1) * np.arange(28)).sum() / mass.sum()
    assert centre == pytest.approx(14, abs=0.5)


def test_the_last_images_of_each_digit_are_shown() -> None:
    assert sim.image_indices(0, 2).tolist() == [498, 499]
    assert sim.image_indices(9, 500).tolist() == list(range(4500, 5000))


def test_a_recording_depends_on_its_image_and_seed_only(images: np.ndarray) -> None:
    chosen = images[[10, 700, 4000]]
    together = sim.simulate(chosen, [(1, 10), (1, 700), (1, 4000)])
    alone = sim.simulate(chosen[1:2], [(1, 700)])
    assert to_bytes(together[1]) == to_bytes(alone[0])
    other = sim.simulate(chosen[1:2], [(2, 700)])
    assert to_bytes(other[0]) != to_bytes(alone[0])


def test_events_are_ordered_on_the_sensor_and_within_the_saccades(images: np.ndarray) -> None:
    (events,) = sim.simulate(images[:1], [(1, 0)])
    assert (np.diff(events["t"]) >= 0).all()
    assert events["x"].max() < 34
    assert events["y"].max() < 34
    assert events["t"].min() >= 0
    assert events["t"].max() < 3 * 105_000


def test_a_blank_image_leaves_only_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    (events,) = sim.simulate(np.zeros((1, 28, 28), np.uint8), [(1, 0)])
    expected = (sim.NOISE_HZ * 34 * 34 + sim.HOT_HZ) * 0.315
    assert len(events) == pytest.approx(expected, abs=5 * np.sqrt(expected))  # Poisson
    monkeypatch.setattr(sim, "NOISE_HZ", 0.0)
    monkeypatch.setattr(sim, "HOT_HZ", 0.0)
    (events,) = sim.simulate(np.zeros((1, 28, 28), np.uint8), [(1, 0)])
    assert len(events) == 0


def test_a_pixel_is_silent_for_its_refractory_time(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim, "NOISE_HZ", 0.0)
    monkeypatch.setattr(sim, "HOT_HZ", 0.0)
    (events,) = sim.simulate(images[:1], [(1, 0)])
    pixel = events["y"].astype(int) * 34 + events["x"]
    order = np.lexsort((events["t"], pixel))
    gaps = np.diff(events["t"][order])[np.diff(pixel[order]) == 0]
    assert gaps.min() >= sim.REFRACTORY_US


def test_the_edge_that_leads_is_off(images: np.ndarray) -> None:
    # The strokes are dark, so light falls where they arrive. In the third saccade they move to
    # smaller x: OFF events lie left of ON events, as in the real recordings.
    for events in sim.simulate(images[::500], [(1, i) for i in range(10)]):
        late = events[(events["t"] > 235_000) & (events["t"] < 280_000)]
        assert late["x"][late["p"] == 0].mean() < late["x"][late["p"] == 1].mean() - 1


def test_train_and_test_show_different_digits(tmp_path: Path) -> None:
    sim.write(tmp_path, (3, 8), per_digit=5, test=0.4, seed=1)
    train = {path.name for path in tmp_path.glob("Train/*/*.bin")}
    test = {path.name for path in tmp_path.glob("Test/*/*.bin")}
    assert (len(train), len(test)) == (6, 4)
    assert not train & test
    assert len(NMNIST(tmp_path, train=True)) == 6


@real_data.needs_nmnist
def test_statistics_are_close_to_the_real_recordings(images: np.ndarray) -> None:
    dataset = NMNIST(real_data.NMNIST, train=False)
    real = [dataset[i][0] for i in range(len(dataset))]
    # As many of each digit as there are in the real folder, but other images.
    wanted = np.concatenate(
        [sim.image_indices(d, count) for d, count in enumerate(np.bincount(dataset.targets))]
    )
    simulated = sim.simulate(images[wanted], [(1, int(i)) for i in wanted])
    counts = [np.array([len(events) for events in part]) for part in (real, simulated)]
    # The standard error of the mean over 150 recordings of other digits is about 2.5 %.
    assert counts[1].mean() == pytest.approx(counts[0].mean(), rel=0.1)
    for percentile in (5, 50, 95):
        ratio = np.percentile(counts[1], percentile) / np.percentile(counts[0], percentile)
        assert 0.85 < ratio < 1.15
    on = [np.mean([events["p"].mean() for events in part]) for part in (real, simulated)]
    assert on[1] == pytest.approx(on[0], abs=0.02)
    # Over time, in 15 ms: the same rise and fall in each saccade.
    rates = [
        np.mean([np.bincount(np.minimum(e["t"] // 15_000, 20), minlength=21) for e in part], axis=0)
        for part in (real, simulated)
    ]
    assert np.corrcoef(*rates)[0, 1] > 0.97
    # And over space: where on the sensor events fall.
    maps = []
    for part in (real, simulated):
        image = np.zeros((34, 34))
        for events in part:
            np.add.at(image, (events["y"], events["x"]), 1)
        maps.append(image.ravel())
    assert np.corrcoef(*maps)[0, 1] > 0.95
