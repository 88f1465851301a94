"""encode.py of a bundle: formats by other writers, real recordings, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from end_to_end import GUARD, ROOT

sys.path.insert(0, str(ROOT / "tests" / "datasets"))
from real_data import BRAILLE, NMNIST, needs_braille, needs_nmnist

from spyx_nir.bundle import events
from spyx_nir.bundle.templates import encode

GOLDEN = Path(__file__).parent / "golden"
CAMERA = events.Encoding((34, 34, 2), (2, 34, 34), ["OFF", "ON"], 15, 21_000)
TAXELS = events.Encoding((12, 1, 2), (12,), ["any"], 256, 5_000, silent=1, merge=True)


def made(folder: Path, how: events.Encoding, recordings: list[np.ndarray]) -> Path:
    """A folder with `events/` of two layers."""
    folder.mkdir(exist_ok=True)
    neurons = {"hidden": (4,), "out": (2,)}
    addresses = events.address_map(how, neurons, {"hidden": 3}, ["a", "b"])
    events.write(folder / "events", recordings, addresses)
    return folder / "events"


def call(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """encode.py in a Python that can import the standard library and NumPy alone."""
    command = [sys.executable, "-I", "-c", GUARD.replace(', "h5py"', ""), place / "encode.py"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True)


def some(fields: str, **values: list[int]) -> np.ndarray:
    found = np.zeros(len(values["t"]), [(name, np.int64) for name in fields])
    for name, numbers in values.items():
        found[name] = numbers
    return found


# ------------------------------------------------------------------------------- events to input


def test_a_camera_event_is_counted_in_its_cell(tmp_path):
    taken = some("txyp", t=[0, 20_999, 21_000, 314_999, 315_000], x=[1, 1, 0, 33, 0],
                 y=[2, 2, 0, 33, 0], p=[1, 1, 0, 1, 0])  # fmt: skip
    place = made(tmp_path / "b", CAMERA, [taken])
    np.save(tmp_path / "one.npy", taken)
    done = call(place, tmp_path / "one.npy", tmp_path / "out.npy")
    assert (done.returncode, done.stderr) == (0, "")
    expected = np.zeros((15, 2, 34, 34), np.uint8)
    expected[0, 1, 2, 1] = 2  # two events of one pixel in the first 21 ms
    expected[1, 0, 0, 0] = expected[14, 1, 33, 33] = 1  # the event at 315 ms is behind the last bin
    assert (np.load(tmp_path / "out.npy") == expected).all()
    assert done.stdout == f"{tmp_path / 'out.npy'}: (15, 2, 34, 34), 4 events\n"
    addresses = json.loads((place / "address_map.json").read_text())
    assert addresses["input"]["address"] == "1156 * p + 34 * y + x"
    assert addresses["layers"][0] == {"neurons": "hidden", "shape": [4], "core": 3}
    assert addresses["output"]["classes"][1] == {"neuron": 1, "class": "b"}


def test_merged_polarities_are_one_and_silent_steps_follow(tmp_path):
    taken = some("txp", t=[5_000, 5_001, 9_999], x=[7, 7, 11], p=[0, 1, 1])
    place = made(tmp_path / "b", TAXELS, [taken])
    np.save(tmp_path / "one.npy", taken)
    assert call(place, tmp_path / "one.npy", tmp_path / "out.npy").returncode == 0
    found = np.load(tmp_path / "out.npy")
    assert found.shape == (257, 12) and found.sum() == 2
    assert found[1, 7] == found[1, 11] == 1


def test_more_than_255_events_of_a_cell_are_255(tmp_path):
    taken = some("txyp", t=[0] * 300, x=[0] * 300, y=[0] * 300, p=[0] * 300)
    place = made(tmp_path / "b", CAMERA, [taken])
    np.save(tmp_path / "one.npy", taken)
    call(place, tmp_path / "one.npy", tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").max() == 255


def test_for_a_chip_that_takes_events_they_stay_events_in_order(tmp_path):
    how = events.Encoding((34, 34, 2), (2, 34, 34), ["OFF", "ON"], 15, 21_000, singly=True)
    taken = some("txyp", t=[9, 400_000, 4], x=[1, 2, 3], y=[4, 5, 6], p=[0, 1, 1])
    place = made(tmp_path / "b", how, [taken])
    np.save(tmp_path / "one.npy", taken)
    done = call(place, tmp_path / "one.npy", tmp_path / "out.npy")
    assert done.stdout == f"{tmp_path / 'out.npy'}: 2 events\n"
    assert np.load(tmp_path / "out.npy").tolist() == [(4, 3, 6, 1), (9, 1, 4, 0)]
    merged = events.Encoding((12, 1, 2), (12,), ["any"], 15, 21_000, merge=True, singly=True)
    addresses = events.address_map(merged, {"out": (2,)}, {}, ["a", "b"])
    found = encode.chip_input(some("txp", t=[5, 3], x=[1, 2], p=[1, 1]), addresses)
    assert found.tolist() == [(3, 2, 0), (5, 1, 0)]


@pytest.mark.parametrize("sensor", [(3, 1, 1), (3, 1, 2), (3, 4, 2)])
def test_made_up_events_give_their_counts_again(sensor):
    columns, rows, polarities = sensor
    shape = (columns,) if polarities == rows == 1 else (polarities, columns)
    shape = (polarities, rows, columns) if rows > 1 else shape
    how = events.Encoding(sensor, shape, [""] * polarities, 5, 200)
    x = np.random.default_rng(3).integers(0, 4, (5, *shape)).astype(np.uint8)
    x[1].flat[0] = 255
    addresses = events.address_map(how, {"out": (2,)}, {}, ["a", "b"])
    taken = events.of_frames(x, how)
    assert (encode.counted(taken, addresses) == x).all()
    # By hand: 3 events in the bin from 400 us on come after 1/6, 3/6 and 5/6 of it.
    one = np.zeros((3, *shape), np.uint8)
    one[2].flat[-1] = 3
    assert events.of_frames(one, how)["t"].tolist() == [400 + 33, 400 + 100, 400 + 166]


# ----------------------------------------------------------------------------------- the formats


def test_uncompressed_aedat4_of_its_vendor_is_read(tmp_path):
    with np.load(GOLDEN / "expected.npz") as stored:
        expected = dict(stored)
    found = encode.from_aedat4(GOLDEN / "none.aedat4")
    assert (found["t"] == expected["t"] - expected["t"][0]).all()
    assert all((found[field] == expected[field]).all() for field in "xyp")
    place = made(tmp_path / "b", CAMERA, [found])
    done = call(place, GOLDEN / "none.aedat4", tmp_path / "out.npy")
    assert (done.returncode, done.stderr) == (0, "")
    assert np.load(tmp_path / "out.npy").sum() == 40


@pytest.mark.parametrize(("file", "name"), [("lz4", "LZ4"), ("zstd", "Zstandard")])
def test_compressed_aedat4_is_refused_by_the_name_of_the_compression(tmp_path, file, name):
    place = made(tmp_path / "b", CAMERA, [some("txyp", t=[0], x=[0], y=[0], p=[0])])
    done = call(place, GOLDEN / f"{file}.aedat4", tmp_path / "out.npy")
    assert done.returncode == 1 and not (tmp_path / "out.npy").exists()
    assert f"{file}.aedat4: compressed ({name}), and numpy alone" in done.stderr
    assert "pip install aedat" in done.stderr and done.stderr.count("\n") == 1


def test_a_truncated_or_foreign_aedat4_is_one_line(tmp_path):
    content = (GOLDEN / "none.aedat4").read_bytes()
    file = tmp_path / "a.aedat4"
    table = content.index(b"FTAB") - 8  # the table of packets, behind the last of them
    for cut in range(table):
        file.write_bytes(content[:cut])
        with pytest.raises(encode.Refused, match=r"truncated|no AEDAT4 file"):
            encode.from_aedat4(file)
    random = np.random.default_rng(5)
    for _ in range(300):  # one byte is another: events, or one line
        other = bytearray(content)
        other[random.integers(14, table)] ^= int(random.integers(1, 256))
        file.write_bytes(other)
        try:
            encode.from_aedat4(file)
        except encode.Refused as error:
            assert "\n" not in str(error)


def test_an_nmnist_file_is_read_as_tonic_reads_it(tmp_path):
    import tonic

    # x 5, y 7, p 1, t 0x010203; a mark (y 240); x 33, y 0, p 0, t 1, to which the mark adds 2^13 us.
    words = bytes([5, 7, 0x81, 2, 3, 0, 240, 0, 0, 0, 33, 0, 0, 0, 1])
    (tmp_path / "a.bin").write_bytes(words)
    found = encode.from_nmnist(tmp_path / "a.bin")
    assert found.tolist() == [(0x010203, 5, 7, 1), (2**13 + 1, 33, 0, 0)]
    theirs = tonic.io.read_mnist_file(tmp_path / "a.bin", tonic.datasets.NMNIST.dtype)
    assert all((theirs[field] == found[field]).all() for field in "txyp")


# -------------------------------------------------------------------------------- real recordings


@needs_nmnist
def test_real_nmnist_gives_what_tonic_bins(tmp_path):
    from tonic.datasets import NMNIST as Theirs
    from tonic.io import read_mnist_file
    from tonic.transforms import ToFrame

    files = sorted((NMNIST / "Test" / "3").glob("*.bin"))[:5]
    assert files
    place = made(tmp_path / "b", CAMERA, [encode.read(file) for file in files])
    count = ToFrame((34, 34, 2), time_window=21_000, start_time=0, end_time=15 * 21_000)
    for file in files:
        found = encode.encode(file, place)
        assert (found == count(read_mnist_file(file, Theirs.dtype))).all() and found.sum() > 1000
    (tmp_path / "b" / "test_data_set_0").mkdir()
    x = np.stack([encode.encode(file, place) for file in files], axis=1)
    np.savez(tmp_path / "b" / "test_data_set_0" / "vectors.npz", input=x)
    done = call(place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "pass: recordings.npz gives the input of test_data_set_0/vectors.npz\n"
    x[3, 1, 0, 5, 5] += 1
    np.savez(tmp_path / "b" / "test_data_set_0" / "vectors.npz", input=x)
    done = call(place)
    line = "differs: recording 1: 1 of 34680 counts differ from test_data_set_0/vectors.npz\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, line, "FAIL\n")


@needs_braille
def test_real_braille_gives_what_tonic_bins_with_polarities_merged(tmp_path):
    from tonic.transforms import ToFrame

    from pipeline.datasets.braille import Braille

    dataset = Braille(BRAILLE, window_us=256 * 5_000)
    taken = [dataset[i][0] for i in range(5)]
    place = made(tmp_path / "b", TAXELS, taken)
    count = ToFrame((12, 1, 2), time_window=5_000, start_time=0, end_time=256 * 5_000)
    for one in taken:
        np.save(tmp_path / "one.npy", one)
        found = encode.encode(tmp_path / "one.npy", place)
        assert (found[:256] == (count(one).reshape(256, 2, 12).sum(axis=1) > 0)).all()
        assert found.sum() > 50 and not found[256:].any()


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"t": [0], "x": [34], "y": [0], "p": [0]}, "event 0 has x = 34; 0 to 33 is allowed"),
        ({"t": [5, -1], "x": [0, 0], "y": [0, 0], "p": [0, 0]}, "event 1 has t = -1; 0 or more"),
        ({"t": [0], "x": [0], "y": [0]}, "events without `p`; needed are t, x, y, p"),
        (
            {"t": [400_000], "x": [0], "y": [0], "p": [0]},
            "the first event is at 400000 us, the last",
        ),
    ],
)
def test_events_off_the_sensor_are_one_line(tmp_path, values, why):
    place = made(tmp_path / "b", CAMERA, [some("txyp", t=[0], x=[0], y=[0], p=[0])])
    np.save(tmp_path / "one.npy", some("".join(values), **values))
    done = call(place, tmp_path / "one.npy", tmp_path / "out.npy")
    assert done.returncode == 1 and done.stderr.startswith(f"error: {tmp_path / 'one.npy'}: {why}")
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out.npy").exists()


def test_rows_of_a_camera_do_not_become_taxels():
    addresses = events.address_map(TAXELS, {"out": (2,)}, {}, ["a", "b"])
    with pytest.raises(encode.Refused, match="the sensor has one row"):
        encode.on_sensor(some("txyp", t=[0], x=[3], y=[1], p=[0]), addresses)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.txt", b"", "`.txt` is not known; there are: .bin, .npy, .aedat4"),
        ("a.bin", b"1234567", "7 bytes are no whole number of 5-byte events"),
        ("a.bin", b"", "0 bytes are no whole number of 5-byte events"),
        ("a.npy", b"no array", "not an array that numpy.save wrote"),
        ("a.aedat4", b"#!AER-DAT3.1\r\n", "does not start with #!AER-DAT4.0"),
    ],
)
def test_files_of_another_kind_are_one_line(tmp_path, name, content, why):
    place = made(tmp_path / "b", CAMERA, [some("txyp", t=[0], x=[0], y=[0], p=[0])])
    (tmp_path / name).write_bytes(content)
    done = call(place, tmp_path / name, tmp_path / "out.npy")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and why in done.stderr
    assert sorted(os.listdir(tmp_path)) == [name, "b"] or sorted(os.listdir(tmp_path)) == [
        "b",
        name,
    ]


def test_a_recording_that_is_not_there_and_a_missing_name_are_one_line(tmp_path):
    place = made(tmp_path / "b", CAMERA, [some("txyp", t=[0], x=[0], y=[0], p=[0])])
    done = call(place, tmp_path / "a.bin", tmp_path / "out.npy")
    assert done.stderr == f"error: {tmp_path / 'a.bin'}: No such file or directory\n"
    done = call(place, tmp_path / "a.bin")
    assert (done.returncode, done.stderr.count("\n")) == (
        1,
        1,
    ) and "OUT.npy is needed" in done.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[" * 100_000, "RecursionError: "),
        ("{", "JSONDecodeError: "),
        ("[]", "KeyError: 'sensor'"),
        ('{"sensor": {"fields": 3}}', "TypeError: "),
        (None, "ValueError: larger than 16777216 bytes"),
    ],
)
def test_a_damaged_address_map_is_one_line(tmp_path: Path, content: str | None, why: str) -> None:
    """None: zeros without end, which take no space on the disk."""
    place = made(tmp_path / "b", CAMERA, [some("txyp", t=[0], x=[0], y=[0], p=[0])])
    np.save(tmp_path / "one.npy", some("txyp", t=[0], x=[0], y=[0], p=[0]))
    path = place / "address_map.json"
    if content is None:
        os.truncate(path, 2**40)
    else:
        path.write_text(content)
    done = call(place, tmp_path / "one.npy", tmp_path / "out.npy")
    said = "address_map.json beside encode.py is not as it was made "
    assert done.stderr.startswith(f"error: {tmp_path / 'one.npy'}: {said}({why}")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "out.npy").exists()
    done = call(place)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "FAIL\n", 1)


def test_an_array_that_claims_terabytes_and_a_name_with_escapes_are_one_line(
    tmp_path: Path,
) -> None:
    place = made(tmp_path / "b", CAMERA, [some("txyp", t=[0], x=[0], y=[0], p=[0])])
    header = "{'descr': [('t', '<i8')], 'fortran_order': False, 'shape': (10000000000000,), }"
    path = tmp_path / "a\x1b[2J\u202e.npy"
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117).encode() + b"\n"
    )
    done = call(place, path, tmp_path / "out.npy")
    said = "not enough memory for it (Unable to allocate 72.8 TiB for an array with shape"
    assert done.stderr.startswith(f"error: {tmp_path}/a\\x1b[2J\\u202e.npy: {said}")
    assert done.stderr.endswith("; take a shorter recording\n")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("function", ["read", "on_sensor", "chip_input"])
def test_a_recording_too_large_for_the_memory_is_not_blamed_on_the_address_map(
    tmp_path: Path, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    place = made(tmp_path / "b", CAMERA, [some("txyp", t=[0], x=[0], y=[0], p=[0])])
    np.save(tmp_path / "one.npy", some("txyp", t=[0], x=[0], y=[0], p=[0]))
    monkeypatch.setattr(encode, function, full)
    with pytest.raises(encode.Refused) as refused:
        encode.encode(tmp_path / "one.npy", place)
    assert str(refused.value) == "not enough memory for it; take a shorter recording"
