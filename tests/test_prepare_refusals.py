"""What prepare refuses of recordings: clocks, units, empty and repeated ones, broken promises of a task.

Every recording is written by hand; what is allowed follows from the bins, 10 of 1000 us.
"""

from __future__ import annotations

import dataclasses
import pickle
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline import params, schema, tasks
from pipeline import prepare as stage
from pipeline.datasets import prepared
from pipeline.datasets.nmnist import to_bytes
from spyx_nir.errors import UserError, exit_status

ROOT = Path(__file__).parents[1]
DTYPE = np.dtype([("t", np.int64), ("x", np.int64)])
# Recordings a, a, a, a, b, b, b, b of five events; one is read, validated and tested of each class.
TIMES = [
    np.array([500, 2500, 4500, 6500, 8500 + 10 * number], dtype=np.int64) for number in range(8)
]
LOADED = params.load("braille", ROOT / "params.yaml")
NAMES = ["a"] * 4 + ["b"] * 4


def events(times: Any, x: Any = 0, dtype: np.dtype = DTYPE) -> np.ndarray:
    made = np.zeros(len(times), dtype)
    made["t"], made["x"] = times, x
    return made


class Listed:
    """A data set of the arrays that it is given."""

    def __init__(self, recordings: list[Any]):
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, item: int) -> Any:
        found = self.recordings[item]
        return (found, 0) if isinstance(found, np.ndarray) else found


def task(**changes: Any) -> schema.Task:
    data = dataclasses.replace(
        LOADED.data,
        **{
            "source": "folder", "path": ".", "classes": ("a", "b"), "bins": 10, "bin_us": 1000,
            "merge_polarity": True, "validation": 0.25, "test": 0.25, **changes,
        },
    )  # fmt: skip
    return dataclasses.replace(LOADED, data=data)


@pytest.fixture
def prepare(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs the stage on a task that has the given recordings; its exit code and its lines."""

    def run(*given: list[Any], names: Any = None, **changes: Any) -> tuple[int, list[str]]:
        sets = [Listed(recordings) for recordings in given or [[events(t) for t in TIMES]]]
        found = tasks.Recordings(
            datasets=sets, names=[NAMES] * len(sets) if names is None else names
        )
        module = types.SimpleNamespace(SENSOR=(4, 1, 1), recordings=lambda data, folder: found)
        monkeypatch.setattr(tasks, "find", lambda name: module)
        file = tmp_path / "data" / "prepared" / "braille.h5"
        file.unlink(missing_ok=True)
        code = exit_status(lambda: stage.prepare(task(**changes), tmp_path))
        said = capsys.readouterr().err.splitlines()
        assert file.exists() == (code == 0)
        return code, [line for line in said if not line.startswith("binning")]

    return run


def refused(result: tuple[int, list[str]]) -> str:
    code, lines = result
    assert code == 1
    assert len(lines) == 1
    return lines[0].removeprefix("error: ")


def test_good_recordings_are_read_as_they_are(prepare: Any, tmp_path: Path) -> None:
    assert prepare() == (0, [])
    made = prepared.read(tmp_path / "data" / "prepared" / "braille.h5")
    train, _ = made.subset("train")
    assert len(train) == 4
    expected = np.zeros((10, 4), np.uint8)
    expected[[0, 2, 4, 6, 8], 0] = 1
    for recording in train:
        np.testing.assert_array_equal(recording, expected)


def test_the_order_of_times_and_narrow_types_change_nothing(prepare: Any, tmp_path: Path) -> None:
    assert prepare()[0] == 0
    file = tmp_path / "data" / "prepared" / "braille.h5"
    before = file.read_bytes()
    narrow = np.dtype([("t", np.uint16), ("x", np.uint8)])
    for given in (
        [events(t[::-1]) for t in TIMES],
        [events(t, dtype=narrow) for t in TIMES],
        [events(t, dtype=np.dtype([("x", np.int8), ("t", np.uint64)])) for t in TIMES],
    ):
        assert prepare(given) == (0, [])
        assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("times", "words"),
    [
        # t + 5 s, t * 1000, t * 1e6, and a recording four times as long as the bins.
        ([t + 5_000_000 for t in TIMES], ["from 5000500 to 5008500 us", "subtract the time"]),
        ([t * 1000 for t in TIMES], ["from 500000 to 8500000", "divided by 1000", "nanoseconds"]),
        ([t * 10**6 for t in TIMES], ["divided by 1000000", "microseconds were read as seconds"]),
        # From 500 to 8500 us are 8000; times 1.5 they are 12,000, which needs bin 12.
        ([t * 3 // 2 + 10**15 for t in TIMES], ["not to start at 0", "then data.bins 13,"]),
        ([t + 5000 for t in TIMES], ["if their clocks do not start at 0", "data.bins 14,"]),
        ([t * 4 for t in TIMES], ["32 of 40 events", "data.bins 35", "data.bin_us 3429"]),
        ([t // 1000 for t in TIMES], ["class `a`", "before 9 us", "milliseconds"]),
    ],
)
def test_clocks_and_units(prepare: Any, times: list[np.ndarray], words: list[str]) -> None:
    said = refused(prepare([events(t) for t in times]))
    for word in words:
        assert word in said


def test_the_bins_that_are_named_do_hold_all(prepare: Any) -> None:
    # The last event is at 4 * 8570 = 34,280 us: bin 34 of 1000 us, and 10 * 3429 us reach it.
    given = [events(t * 4) for t in TIMES]
    assert refused(prepare(given))
    assert prepare(given, bins=35) == (0, [])
    assert refused(prepare(given, bin_us=3000))
    assert prepare(given, bin_us=3429) == (0, [])


def test_one_class_in_another_unit(prepare: Any) -> None:
    given = [events(t if number < 4 else t // 1000) for number, t in enumerate(TIMES)]
    assert "class `b`: all events are before 9 us" in refused(prepare(given))


def test_one_late_recording_is_named(prepare: Any) -> None:
    given = [events(t + (number == 5) * 20_000) for number, t in enumerate(TIMES)]
    said = refused(prepare(given))
    assert said.startswith("recording 5: the 5 events are from 20500 to 28550 us, none of them in")


def test_a_tenth_is_too_much_and_less_is_not(prepare: Any) -> None:
    # 40 events: 3 past the last bin are left out and counted, 4 are a tenth.
    def late(count: int) -> list[np.ndarray]:
        ends = [10_000] * count + [9_999] * (8 - count)
        return [events(np.append(TIMES[n][:-1] + n, end)) for n, end in enumerate(ends)]

    assert prepare(late(3)) == (0, [])
    assert "4 of 40 events are past the 10 bins of 1000 us" in refused(prepare(late(4)))


def test_recordings_without_events_are_named(prepare: Any) -> None:
    given = [events(t if number not in (2, 6) else []) for number, t in enumerate(TIMES)]
    assert refused(prepare(given)).startswith("recording 2 (and 1 more: recording 6): no events")


def test_all_at_the_first_step_is_a_warning(prepare: Any) -> None:
    # A code in which everything comes at once is odd, and no unit would spread it.
    code, lines = prepare([events([0, 0, 0], [n % 4, 1, n // 4]) for n in range(8)])
    assert code == 0
    assert lines == [
        "warning: all events are in the first of 10 bins of 1000 us, at most at 0 us; t counts in "
        "microseconds"
    ]


def test_a_recording_in_two_splits_or_two_classes(prepare: Any) -> None:
    given = [events(t) for t in TIMES]
    test = [events(t + 1) for t in TIMES]
    assert prepare(given, test) == (0, [])
    code, lines = prepare(given, [*test[:6], given[6], given[7]])
    assert code == 0
    assert len(lines) == 1
    assert lines[0].startswith(
        "warning: recording 6 of datasets[1] (`b`, test) has the same events as recording 6 of "
    )
    assert ", and 1 more are such copies; accuracies count what was trained on" in lines[0]
    code, (said,) = prepare([*given[:7], given[0]], test)
    assert code == 0
    assert said.startswith("warning: recording 7 of datasets[0] (`b`, ")
    assert "has the same events as recording 0 of datasets[0] (`a`, " in said
    assert "a recording belongs to one class" in said
    # Twice in one split of one class is neither.
    assert prepare(given, [*test[:7], test[6]]) == (0, [])


@pytest.mark.parametrize(
    ("recording", "words"),
    [
        (events([1.5], dtype=np.dtype([("t", float), ("x", int)])), "`t` of the events is float64"),
        (
            events([1], np.nan, np.dtype([("t", int), ("x", float)])),
            "`x` of the events is float64; whole numbers are needed",
        ),
        (events([-1]), "event 0 is at x = 0, t = -1, outside the 4x1 sensor"),
        (events([1, 2], [0, 4]), "event 1 is at x = 4, t = 2, outside the 4x1 sensor"),
        (events([1], -1), "event 0 is at x = -1"),
        (
            events([2**63 + 5], dtype=np.dtype([("t", np.uint64), ("x", int)])),
            "event 0 is at x = 0, t = 9223372036854775813",
        ),
        (np.zeros(3), "events without `x`; needed are x, t"),
        (np.zeros((2, 2), DTYPE), "events must be a structured array (n,) with x, t, got shape"),
        (([1, 2], 0), "events must be a structured array (n,) with x, t, got list"),
        ((events([1]), 0, 0), "must be (events, target), got tuple of 3"),
        (None, "must be (events, target), got NoneType"),
    ],
)
def test_what_is_no_recording(prepare: Any, recording: Any, words: str) -> None:
    given = [recording, *[events(t) for t in TIMES[1:]]]
    said = refused(prepare(given))
    assert said.startswith("recording 0: ")
    assert words in said


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([NAMES[:7]], "datasets[0] has 8 recordings, names[0] 7; every recording needs the name"),
        ([[*NAMES, "b"]], "datasets[0] has 8 recordings, names[0] 9"),
        ([NAMES, NAMES], "1 datasets and 2 lists of names"),
        ([[0] * 4 + [1] * 4], "names[0][0] must be text, as `data.classes` writes it, got 0"),
        ([["a"] * 8], "no recordings of class `b`; it holds a"),
        (
            [["a"] * 7 + ["b"]],
            "1 recording of class `b` are too few to split: 2 would be held back",
        ),
    ],
)
def test_names_that_do_not_fit(prepare: Any, names: Any, words: str) -> None:
    assert words in refused(prepare([events(t) for t in TIMES], names=names))


def test_names_may_be_an_array(prepare: Any) -> None:
    given = [events(t) for t in TIMES]
    assert prepare(given, names=[np.array(NAMES)])[0] == 0
    other = [events(t + 1) for t in TIMES]
    assert prepare([*given, *other], names=[np.array([*NAMES, *"cccccccc"])])[0] == 0


def test_more_bins_than_memory_holds(prepare: Any) -> None:
    # 10^9 bins of 4 columns.
    assert "a recording of (1000000000, 4) is 4000000000 cells" in refused(prepare(bins=10**9))


def test_a_class_that_the_test_set_lacks(prepare: Any) -> None:
    given = [events(t) for t in TIMES]
    test = [events(t + 1) for t in TIMES[:4]]
    said = refused(prepare(given, test, names=[NAMES, ["a"] * 4]))
    assert "in test, no recordings of class `b`; it holds a" in said


def test_recordings_that_are_no_recordings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(data: Any, folder: Path) -> Any:
        return open(folder / "labels.csv", encoding="utf-8")

    for function, words in (
        (lambda data, folder: [1, 2], "`recordings` must return a Recordings, got list"),
        (lost, "labels.csv: No such file or directory"),
        (
            lambda data, folder: tasks.Recordings([iter([])], [NAMES]),
            "datasets[0] must have `len` and `dataset[i]`, got list_iterator",
        ),
    ):
        module = types.SimpleNamespace(SENSOR=(4, 1, 1), recordings=function)
        monkeypatch.setattr(tasks, "find", lambda name, module=module: module)
        assert exit_status(lambda: stage.prepare(task(), tmp_path)) == 1
        assert words in capsys.readouterr().err


def braille(folder: Path, scale: float) -> schema.Task:
    """Published events, 40 of them from 0.1 to 1.2 s, in seconds times `scale`."""
    rows = []
    for number in range(16):
        times = np.linspace(0.1, 1.2, 40) + number / 1000
        taxels = [[(times * scale).tolist(), []], *[[[], []]] * 11]
        rows.append({"letter": "AB"[number % 2], "events": taxels})
    (folder / "data_braille_letters_th_1.pkl").write_bytes(pickle.dumps(rows))
    loaded = params.load("braille", ROOT / "params.yaml")
    data = dataclasses.replace(
        loaded.data, source="folder", path=str(folder), classes=("A", "B"), bins=256, bin_us=5000
    )
    return dataclasses.replace(loaded, data=data)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (1, None),
        (1e3, "milliseconds as seconds"),
        (1e6, "microseconds were read as seconds"),
        (1e9, "nanoseconds were read as seconds"),
        (1e-3, "class `A`: all events are before 1215 us"),
    ],
)
def test_units_of_published_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scale: float, words: str | None
) -> None:
    made = braille(tmp_path, scale)
    code = exit_status(lambda: stage.prepare(made, tmp_path / "made"))
    said = capsys.readouterr().err
    assert code == (words is not None)
    if words is not None:
        assert words in said


def nmnist(folder: Path, change: Any) -> schema.Task:
    """Two digits, four recordings in Train and two in Test, of 40 events over 315 ms."""
    dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    for place, (split, digit) in enumerate(
        (split, digit) for split, many in (("Train", 4), ("Test", 2)) for digit in "01" * many
    ):
        made = np.zeros(40, dtype)
        made["t"] = np.linspace(0, 314_000, 40) + place
        made["x"] = np.arange(40) % 34
        file = folder / split / digit / f"{place:05}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        made["t"] = change(made["t"])
        file.write_bytes(to_bytes(made))
    loaded = params.load("nmnist", ROOT / "params.yaml")
    data = dataclasses.replace(
        loaded.data, source="folder", path=str(folder), classes=("0", "1"), validation=0.25
    )
    return dataclasses.replace(loaded, data=data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t, None),
        (lambda t: t // 1000, "class `0`: all events are before 315 us"),
        (lambda t: t + 5_000_000, "Train/0/00000.bin (and 11 more: "),
        (lambda t: (t + 2**23 - 100_000) % 2**23, "started again within the recording"),
    ],
)
def test_clocks_of_nmnist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, words: str | None
) -> None:
    made = nmnist(tmp_path / "raw", change)
    code = exit_status(lambda: stage.prepare(made, tmp_path))
    said = [line for line in capsys.readouterr().err.splitlines() if "binning" not in line]
    assert code == (words is not None)
    if words is None:
        assert said == []
    else:
        assert len(said) == 1
        assert words in said[0]


def test_a_file_in_train_and_in_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = nmnist(tmp_path / "raw", lambda t: t)
    copied = (tmp_path / "raw" / "Train" / "1" / "00001.bin").read_bytes()
    (tmp_path / "raw" / "Test" / "1" / "00100.bin").write_bytes(copied)
    assert exit_status(lambda: stage.prepare(made, tmp_path)) == 0
    said = capsys.readouterr().err
    assert "warning: " in said
    assert "Test/1/00100.bin (`1`, test) has the same events as" in said
    assert "Train/1/00001.bin (`1`, " in said
    (tmp_path / "raw" / "Test" / "1" / "00100.bin").rename(
        tmp_path / "raw" / "Test" / "0" / "1.bin"
    )
    assert exit_status(lambda: stage.prepare(made, tmp_path)) == 0
    said = capsys.readouterr().err
    assert "Test/0/1.bin (`0`, test) has the same events as" in said
    assert "a recording belongs to one class" in said


def test_a_task_that_cannot_be_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, code, words in (
        (
            "lost",
            "import numpy\nimport nowhere_to_be_found\n",
            "lost.py:2: ModuleNotFoundError: No",
        ),
        ("wrong", "\n\nSENSOR = (COLUMNS, 1, 1)\n", "wrong.py:3: NameError: name 'COLUMNS' is not"),
        ("cut", "SENSOR = (12, 1", "cut.py:1: '(' was never closed"),
    ):
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setattr(tasks, "HERE", tmp_path)
        monkeypatch.setattr(tasks, "__path__", [str(tmp_path)])
        with pytest.raises(UserError) as refused:
            tasks.find(name)
        assert words in str(refused.value)


def test_a_seed_below_0_is_refused_where_it_stands(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["tasks"]["braille"]["data"]["seed"] = -1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=r"tasks\.braille\.data\.seed must be at least 0, got -1"):
        params.load("braille", tmp_path / "params.yaml")
