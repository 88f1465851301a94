"""The simulated fingertip: physics that can be stated, and closeness to real recordings."""

from __future__ import annotations

import numpy as np
import pytest
from real_data import BRAILLE, needs_braille

from pipeline.datasets import simulate_braille as sim
from pipeline.datasets.braille import Braille


def pressure(letter: str, count: int = 20) -> np.ndarray:
    """(count, T, 12): distance from no contact."""
    return 255.0 - sim.simulate(letter, count, seed=1)


def test_recordings_depend_on_their_own_seed_only() -> None:
    few, many = sim.simulate("A", 2, seed=1), sim.simulate("A", 5, seed=1)
    np.testing.assert_array_equal(few, many[:2])
    assert (sim.simulate("A", 2, seed=2) != few).any()
    assert few.shape == (2, sim.SAMPLES, 12)
    assert few.dtype == np.uint8


def test_every_letter_has_its_own_dots() -> None:
    assert set(sim.DOTS) == set(Braille.classes)
    assert len(set(sim.DOTS.values())) == 27
    # The cells of ISO 17049 by example, and the rule that K to T are A to J with dot 3.
    assert sim.DOTS["A"] == (1,)
    assert sim.DOTS["Y"] == (1, 3, 4, 5, 6)
    for first, later in zip("ABCDEFGHIJ", "KLMNOPQRST", strict=True):
        assert set(sim.DOTS[later]) == set(sim.DOTS[first]) | {3}


def test_without_dots_there_is_only_noise() -> None:
    space = pressure("Space")
    # Five standard deviations of noise and half a unit of rounding on either side.
    assert np.ptp(space, axis=1).max() <= 2 * (5 * sim.NOISE + 0.5)


def test_the_right_column_is_felt_later_by_the_pitch_over_the_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Dots 1 and 4 lie in the same row, 2.5 mm apart: at 20 mm/s and 40 Hz, 5 samples.
    left = pressure("A", 200).mean(0)
    monkeypatch.setitem(sim.DOTS, "A", (4,))
    right = pressure("A", 200).mean(0)
    rest = pressure("Space", 200).mean((0, 1))
    taxel = int(np.argmax((left - rest).max(0)))
    first, second = left[:, taxel] - rest[taxel], right[:, taxel] - rest[taxel]
    similarity = np.correlate(second, first, mode="full")
    assert similarity.argmax() - (sim.SAMPLES - 1) == 5


def test_a_dot_lifts_the_skin_around_it() -> None:
    rest, A = pressure("Space", 50).mean((0, 1)), pressure("A", 50).mean(0)
    loaded = rest > 10
    assert (A[:, loaded].max(0) > rest[loaded] + 5).any()
    assert (A[:, loaded].min(0) < rest[loaded] - 5).any()


@needs_braille
def test_values_and_event_counts_are_like_the_real_ones() -> None:
    letters = ("Space", "A", "E", "I", "O", "U", "Y")
    dataset = Braille(BRAILLE, window_us=1_280_000)
    real = [
        len(dataset[i][0]) for i, t in enumerate(dataset.targets) if dataset.classes[t] in letters
    ]
    with np.load(BRAILLE / "taxels_40Hz.npz") as file:
        highest = 255 - file["taxels"][file["taxels"] > 0].min()
    simulated = np.concatenate([pressure(letter) for letter in letters])
    # A model, not a copy: the same order of magnitude is what it claims.
    assert 0.7 * highest < simulated.max() < 1.3 * highest
    changes = np.abs(np.diff(simulated, axis=1)).sum((1, 2))  # one event per unit of change
    assert 0.5 * np.mean(real) < changes.mean() < 2.5 * np.mean(real)
