"""`bench.events`: the counts of a network that follow from algebra, in C and in NumPy; the refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import events
from spyx_nir.errors import UserError
from spyx_nir.files import write_text
from spyx_nir.hardware import profile
from spyx_nir.hardware.families.integer import verify_c
from spyx_nir.hardware.families.integer.c_code import c_files
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

needs_cc = pytest.mark.skipif(
    verify_c.compiler() is None, reason="no C compiler: apt-get install gcc"
)
STEPS, THRESHOLD = 10, 4
WEIGHTS = np.array([3, 2])  # of the input at channel 0, row 1, column 2, the only one that is not 0


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    """Two neurons without leak, with reset by subtraction, on an input of (2, 3, 4)."""
    neurons = Population("n", (2,), np.asarray(THRESHOLD), output=True)
    values = np.zeros((2, 2, 3, 4), np.int64)
    values[:, 0, 1, 2] = WEIGHTS
    link = Weight("input", "n", "w", values.reshape(2, -1), (2, 3, 4))
    chip = profile.load("cortex-m")
    return IntegerNetwork(chip, {"input": (2, 3, 4)}, (neurons,), (link,))


@pytest.fixture(scope="module")
def program(network: IntegerNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in C."""
    folder = tmp_path_factory.mktemp("tiny")
    for name, text in c_files(network).items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_text(folder / name, text)
    events.compiled(folder / "c", folder / "program")
    return folder / "program"


def spikes(steps: int) -> np.ndarray:
    """How often the neurons spike in so many steps of one event each.

    A spike takes the threshold from a membrane above it, which leaves it in (0, threshold]: behind the
    sum s of what came there were ceil(s / threshold) - 1 spikes.
    """
    return -(-WEIGHTS * steps // THRESHOLD) - 1


def recordings(folder: Path, count: int, stream: bool = False) -> events.Recordings:
    """One event in every step of the even recordings; the odd ones have what is not connected."""
    x = np.zeros((count, STEPS, 2, 3, 4), np.uint8)
    x[0::2, :, 0, 1, 2] = 1
    x[1::2, :, 1, 1, 2] = 1
    return events.stored(folder, f"{count}", x, stream)


@needs_cc
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_counts_are_those_of_algebra_whatever_process_has_them(
    network: IntegerNetwork, program: Path, tmp_path: Path, processes: int
) -> None:
    expected = np.zeros((5, 2), int)
    expected[0::2] = spikes(STEPS)
    assert spikes(STEPS).tolist() == [7, 4]
    given = recordings(tmp_path, 5)
    assert (events.in_c(program, given, processes) == expected).all()
    assert (events.in_numpy(network, given, 0, 5) == expected).all()
    assert (events.in_numpy(network, given, 3, 2) == expected[3:]).all()


@needs_cc
def test_a_stream_goes_on_without_a_reset(
    network: IntegerNetwork, program: Path, tmp_path: Path
) -> None:
    """The third recording has the spikes that 20 steps have more than 10."""
    expected = np.array([spikes(STEPS), [0, 0], spikes(2 * STEPS) - spikes(STEPS)])
    assert expected[2].tolist() == [7, 5]
    given = recordings(tmp_path, 3, stream=True)
    assert (events.in_c(program, given, 1) == expected).all()
    assert (events.in_numpy(network, given, 0, 3) == expected).all()


@needs_cc
def test_a_count_is_so_many_events(program: Path, tmp_path: Path) -> None:
    """Two steps of one event each, at once: a neuron spikes at most once in a step."""
    x = np.zeros((1, 1, 2, 3, 4), np.uint8)
    x[0, 0, 0, 1, 2] = 2
    assert events.in_c(program, events.stored(tmp_path, "two", x), 1).tolist() == [[1, 0]]


@needs_cc
def test_a_file_that_is_too_short_is_refused(program: Path, tmp_path: Path) -> None:
    given = recordings(tmp_path, 2)
    given.path.write_bytes(given.path.read_bytes()[:-1])
    with pytest.raises(UserError, match="FILE ends too early"):
        events.in_c(program, given, 2)


def test_shares_are_all_recordings_once() -> None:
    assert events.shares(5, 2) == [(0, 2), (2, 3)]
    assert events.shares(1, 2) == [(0, 1)]


def test_random_events_have_the_activity_that_was_asked_for() -> None:
    """Of n = 480,000 places 5 % are 24,000; six standard deviations are 6 sqrt(n p (1 - p)) = 906."""
    found = events.random_events((200, 100, 2, 3, 4), 0.05)
    assert found.dtype == np.uint8 and found.max() == 1
    assert abs(int(found.sum()) - 24_000) < 906
    assert (found == events.random_events((200, 100, 2, 3, 4), 0.05)).all()


def test_the_first_count_that_differs_is_named() -> None:
    ours = np.array([[1, 2], [3, 4]])
    assert events.differing(ours, ours) is None
    expected = "recording 1, class 0: 3 spikes in C, 5 in NumPy"
    assert events.differing(ours, np.array([[1, 2], [5, 4]])) == expected
    assert "(2, 2) and (2,)" in str(events.differing(ours, ours[0]))


def test_no_bundle_and_no_compiler_are_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"no model\.c; run make repro"):
        events.compiled(tmp_path, tmp_path / "program")
    with pytest.raises(UserError, match="no bundle"):
        events.network_of(tmp_path)
    (tmp_path / "model.c").touch()
    monkeypatch.setattr(verify_c, "compiler", lambda: None)
    with pytest.raises(UserError, match="no C compiler: install gcc"):
        events.compiled(tmp_path, tmp_path / "program")
    monkeypatch.setattr(verify_c, "compiler", lambda: "no-such-cc")
    with pytest.raises(UserError, match="no-such-cc: No such file"):
        events.compiled(tmp_path, tmp_path / "program")
