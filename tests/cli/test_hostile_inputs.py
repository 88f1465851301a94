"""Metadata and data that claim, nest or say nothing: each command ends in an exit code and one line."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from old_files import clean, write

from spyx_nir.cli.main import main

DEEP = "[" * 100_000
DIGITS = "9" * 100_000
CONTRACT = {"contract_version": 2, "readout": "spike_count"}
# Metadata of the graph, and what `run` says to it: an error, a warning, or nothing.
METADATA: dict[str, tuple[dict[str, Any], str]] = {
    "classes nested deep": (
        {**CONTRACT, "classes": DEEP},
        "error: {path}: the contract's `classes` is no JSON list of names\n",
    ),
    "classes of one number of 100,000 digits": (
        {**CONTRACT, "classes": f"[{DIGITS}]"},
        "error: {path}: the contract's `classes` is no JSON list of names\n",
    ),
    "empty classes": (
        {**CONTRACT, "classes": ""},
        "error: {path}: the contract's `classes` is no JSON list of names\n",
    ),
    "an empty readout": ({**CONTRACT, "readout": ""}, ""),
    "an empty unit": ({**CONTRACT, "time_unit": ""}, ""),
    "a studio nested deep": ({"sc_neurocore.studio": DEEP}, ""),
    "an empty studio": ({"sc_neurocore.studio": ""}, ""),
    "a grid nested deep": ({"grid": DEEP}, ""),
    "an empty step": (
        {"dt": ""},
        "error: {path}: the contract's `dt` must be a finite number above 0, got ''\n",
    ),
    "an empty version": (
        {"contract_version": ""},
        "error: {path}: contract_version is ''; this reader knows up to 2\n",
    ),
    "an empty discretization": (
        {**CONTRACT, "discretization": ""},
        "error: {path}: discretization is ''; euler, exact are known\n",
    ),
    "an empty order": (
        {**CONTRACT, "flatten_order": ""},
        "error: {path}: flatten_order is ''; only CHW is known\n",
    ),
    "a note of a megabyte": ({"note": "x" * 2**20}, ""),
}


def commands(path: Path, folder: Path) -> list[list[str]]:
    return [
        ["inspect", str(path)],
        ["lint", str(path), "--contract"],
        ["fit", str(path), "--target", "xylo-audio-2"],
        ["upgrade", str(path), str(folder / "b.nir")],
        ["diff", str(path), str(path)],
        ["draw", str(path), "-o", str(folder / "b.svg")],
        ["adapt", str(path), str(folder / "c.nir"), "--reader", "snntorch"],
    ]


@pytest.mark.parametrize("what", METADATA)
def test_metadata_of_a_graph(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metadata, message = METADATA[what]
    path = Path(write(tmp_path / "a.nir", clean()))
    with h5py.File(path, "r+") as made:
        for name, value in metadata.items():
            if f"node/metadata/{name}" in made:
                del made[f"node/metadata/{name}"]
            made[f"node/metadata/{name}"] = value
    for arguments in commands(path, tmp_path):
        assert main(arguments) in (0, 1), arguments
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert all(line.startswith(("error: ", "warning: ")) for line in lines), lines
        assert all(len(line) < 2000 for line in lines), [line[:300] for line in lines]
        assert len(captured.out) < 20_000, arguments
    np.save(tmp_path / "x.npy", np.ones((2, 1, 3)))
    assert main(["run", str(path), str(tmp_path / "x.npy")]) == int(message.startswith("error"))
    said = capsys.readouterr().err
    assert said == message.format(path=path) or not message, said


def test_inspect_cuts_a_long_text_and_json_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.nir", clean())
    with h5py.File(path, "r+") as made:
        made["node/metadata/note"] = "x" * 10_000
    assert main(["inspect", path]) == 0
    assert f"note = {'x' * 200}... (10000 characters)" in capsys.readouterr().out
    assert main(["inspect", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["contract"]["note"] == "x" * 10_000


# ------------------------------------------------------------------------------------------- data


def npy(shape: tuple[int, ...], raw: bytes, kind: str = "<f8") -> bytes:
    """A .npy file that declares a shape and holds some bytes."""
    stream = io.BytesIO()
    head = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, head)
    return stream.getvalue() + raw


def npz(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return stream.getvalue()


NO_DATA = "no .npy or .npz file of numbers: "
# A file of data, and what `run` says of it.
DATA: dict[str, tuple[str, bytes, str]] = {
    "an array of 8 TB": ("a.npy", npy((10**9, 1000), b"12345678"), NO_DATA),
    "an array of 8 TB, packed": ("a.npz", npz({"x.npy": npy((10**9, 1000), b"1")}), NO_DATA),
    "more axes than NumPy has": ("a.npy", npy((1,) * 100, b"12345678"), NO_DATA),
    "a negative axis": ("a.npy", npy((-1, 3), b"12345678"), NO_DATA),
    "objects": ("a.npy", npy((1,), b"\x80\x04N.", "|O"), NO_DATA),
    "texts": ("a.npy", npy((1, 1, 3), b"abc", "|S1"), "input `input`: numbers are needed"),
    "nothing": ("a.npy", npy((0, 1, 3), b""), "input `input` has no time steps"),
    "no batch": ("a.npy", npy((1, 0, 3), b""), "input `input` has no batch"),
    "an empty archive": ("a.npz", npz({}), "holds the arrays (none); the graph's inputs are"),
    "an archive of a text": ("a.npz", npz({"x": b"hello"}), NO_DATA),
    "an empty file": ("a.npy", b"", NO_DATA),
    "a name that leads out": (
        "a.npz",
        npz({"../../x.npy": npy((1, 1, 4), bytes(32)), "b.npy": npy((1,), bytes(8))}),
        "holds the arrays ../../x, b; the graph's inputs are",
    ),
    "events without time": ("a.npy", npy((1,), b"\x01", "[('x', 'u1')]"), ""),
}


@pytest.mark.parametrize("what", DATA)
def test_data_of_a_run(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, raw, message = DATA[what]
    graph = write(tmp_path / "g.nir", clean())
    path = tmp_path / name
    path.write_bytes(raw.replace(b"\"[('x', 'u1')]\"", b"[('x', 'u1')]  "))
    assert main(["run", graph, str(path)]) in (1, 2)
    said = capsys.readouterr().err
    assert re.fullmatch(r"error: [^\n]*\n", said), said
    assert said.startswith(f"error: {path}: {message}") or not message, said
