"""Plain data comes back; anything that could run code is refused before it runs."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.datasets import unpickle
from spyx_nir.errors import UserError

PLAIN = [{"letter": "A", "events": [[[0.5, 1.25], []], [[], [3]]], "n": 7, "b": b"\x00\xff"}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    if protocol < 3:  # bytes are rebuilt by a function there; the data sets have none
        path.write_bytes(pickle.dumps([{"letter": "A", "events": [[0.5], []]}], protocol))
        assert unpickle.load(path) == [{"letter": "A", "events": [[0.5], []]}]
    else:
        assert unpickle.load(path) == PLAIN


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_numpy_arrays_and_scalars(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps({"t": np.arange(3.0), "n": np.int64(4)}, protocol))
    value = unpickle.load(path)
    np.testing.assert_array_equal(value["t"], [0.0, 1.0, 2.0])
    assert value["n"] == 4


class Malicious:
    """Unpickled by the plain loader, this runs a command."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, r"(posix|nt)\.system"),
        (subprocess.check_call, r"subprocess\.check_call"),
        (eval, r"builtins\.eval"),
        (getattr, r"builtins\.getattr"),
        (np.load, r"numpy\.load"),
    ],
)
def test_a_malicious_pickle_is_refused_and_does_nothing(
    tmp_path: Path, function: Any, name: str
) -> None:
    path, trace = tmp_path / "bad.pkl", tmp_path / "trace"
    path.write_bytes(pickle.dumps([Malicious(function, f"touch {trace}")]))
    with pytest.raises(UserError, match=rf"bad\.pkl: refused, the pickle asks for {name}; only"):
        unpickle.load(path)
    assert not trace.exists()


def test_numpy_is_no_way_around(tmp_path: Path) -> None:
    # Names with dots reach attributes of what was allowed (protocol 4's STACK_GLOBAL).
    path = tmp_path / "dotted.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.")
    with pytest.raises(UserError, match=r"refused, the pickle asks for numpy\.ndarray\.__init__"):
        unpickle.load(path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(PLAIN)[:-20]])
def test_a_damaged_pickle_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "torn.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"torn\.pkl: not a readable pickle \(truncated\?\)"):
        unpickle.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        unpickle.load(tmp_path / "none.pkl")


def python2_array(values: list[float]) -> bytes:
    """What Python 2's pickle (protocol 2) writes for a float64 array: its bytes are a text there."""
    raw = struct.pack(f"<{len(values)}d", *values)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K"
        + bytes([len(values)])
        + b"\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        + b"J\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(raw)])
        + raw
        + b"tb"
    )


def test_arrays_of_python_2(tmp_path: Path) -> None:
    path = tmp_path / "old.pkl"
    # {"letter": "A", "t": array}; 1.25 is 00 .. f4 3f, which is no ASCII.
    path.write_bytes(b"\x80\x02}(U\x06letterU\x01AU\x01t" + python2_array([0.5, 1.25]) + b"u.")
    value = unpickle.load(path)
    assert value["letter"] == "A"
    assert value["t"].dtype == np.float64
    assert value["t"].tolist() == [0.5, 1.25]


def test_python_2_is_no_way_around(tmp_path: Path) -> None:
    path, trace = tmp_path / "old.pkl", tmp_path / "trace"
    for name, known in ((b"posix\nsystem", "posix"), (b"os\nsystem", "os"), (b"nt\nsystem", "nt")):
        command = f"touch {trace}".encode()
        path.write_bytes(b"\x80\x02c" + name + b"\nU" + bytes([len(command)]) + command + b"\x85R.")
        with pytest.raises(UserError, match=rf"asks for {known}\.system; only"):
            unpickle.load(path)
    path.write_bytes(
        b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\nNtR."
    )
    with pytest.raises(UserError, match=r"asks for copy_reg\._reconstructor; only"):
        unpickle.load(path)
    assert not trace.exists()


def test_links_and_folders_are_called_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "link.pkl").symlink_to("gone.pkl")
    with pytest.raises(UserError, match=r"link\.pkl: a link to gone\.pkl, which does not exist"):
        unpickle.load(tmp_path / "link.pkl")
    (tmp_path / "loop.pkl").symlink_to("loop.pkl")
    with pytest.raises(UserError, match=r"loop\.pkl: Too many levels of symbolic links"):
        unpickle.load(tmp_path / "loop.pkl")
    with pytest.raises(UserError, match=r": Is a directory"):
        unpickle.load(tmp_path)


def test_an_array_without_its_numbers(tmp_path: Path) -> None:
    """Ninety bytes that would take a gigabyte."""
    path = tmp_path / "large.pkl"
    array = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000\ntVb\ntR."
    path.write_bytes(array)
    with pytest.raises(UserError, match=r"refused.*an array of shape \(1000000000,\) without its"):
        unpickle.load(path)
    path.write_bytes(b"cnumpy\nndarray\n((I1000000000\nttR.")
    with pytest.raises(UserError, match=r"large\.pkl: "):
        unpickle.load(path)


def test_references_that_multiply(tmp_path: Path) -> None:
    """Thirty lists of the one before, twice: some two hundred bytes, 2^30 values for who reads them."""
    path, value = tmp_path / "laughs.pkl", ["x"]
    for _ in range(30):
        value = [value, value]
    path.write_bytes(pickle.dumps(value))
    assert path.stat().st_size < 400
    with pytest.raises(UserError, match=r"refused, the pickle asks for \d+ values by references"):
        unpickle.load(path)
    value = ["x"]
    value.append(value)
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(UserError, match="refused, the pickle asks for a list that holds itself"):
        unpickle.load(path)


def test_what_is_there_twice_is_read(tmp_path: Path) -> None:
    path, shared = tmp_path / "twice.pkl", list(range(1000))
    path.write_bytes(pickle.dumps([shared] * 50))
    assert unpickle.load(path) == [shared] * 50
