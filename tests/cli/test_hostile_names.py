"""Names from a file: escapes, bidirectional marks, markup and formulas do nothing where shown."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from markdown_it import MarkdownIt

from pipeline import train
from pipeline.report import sources
from spyx_nir.bundle import markdown, vectors
from spyx_nir.bundle.templates import shared
from spyx_nir.cli.main import main
from spyx_nir.errors import UserError, printable

NAMES = [
    "a\x1b[2J\x1b[31mb",  # clears a terminal
    "a\x9b31mb",  # the same in one character
    "safe\u202eexe.piz",  # reads backwards from there
    "a\u2066b\u2069",
    "a\rb",
    "a\nb",
    "a\u2028b",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b",
    "`a`",
    "*a* _b_ [c](http://d)",
    "=cmd|' /C calc'!A0",
    "&lt;b&gt;",
]


def graph(name: str, place: Path) -> str:
    """A file with a node of this name, if it may have it, a node of this type and such metadata."""
    ones, text = np.ones(2), name
    # A slash makes a group of HDF5; what is not printable is refused as a name.
    name = name.replace("/", "-") if name.isprintable() else "n"
    nodes = {
        "input": nir.Input(np.array([2])),
        name: nir.LIF(tau=2 * ones, r=2 * ones, v_leak=0 * ones, v_threshold=ones),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", name), (name, "output")]
    path = place / "graph.nir"
    nir.write(path, nir.NIRGraph(nodes, edges, metadata={"who": text, "dt": 1.0}))
    return str(path)


def retyped(path: str, kind: str) -> str:
    """A copy of the file whose output node is of this type."""
    copy = f"{path}-retyped.nir"
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        del file["node/nodes/output/type"]
        file["node/nodes/output/type"] = kind
    return copy


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shows_names_as_text(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = graph(name, tmp_path)
    np.save(tmp_path / "x.npy", np.ones((3, 1, 2), np.uint8))
    for arguments in (
        ["inspect", path],
        ["lint", path],
        ["fit", path, "--target", "loihi"],
        ["run", path, str(tmp_path / "x.npy")],
        ["diff", path, path],
        ["upgrade", path, str(tmp_path / "b.nir"), "--dt", "1"],
        ["inspect", other := retyped(path, name)],
        ["lint", other],
        ["fit", other, "--target", "loihi"],
        ["diff", path, other],
    ):
        main(arguments)
        captured = capsys.readouterr()
        said = captured.out + captured.err
        assert all(c.isprintable() or c in "\n\t" for c in said), (arguments, said)
        if arguments[0] == "inspect":
            assert printable(name) in said
    main(["inspect", other, "--json"])
    assert name in [node["type"] for node in json.loads(capsys.readouterr().out)["nodes"]]


def test_a_file_s_own_name_is_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path / "a\x1b[2Jb.nir")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}/a\\x1b[2Jb.nir: no such file\n"


@pytest.mark.parametrize("name", NAMES)
def test_names_in_markdown_are_their_own_text(name: str) -> None:
    """By CommonMark with tables: a name is the text of one cell, and there is no tag and no link."""
    read = MarkdownIt("commonmark", {"html": True}).enable("table").parse
    text = (
        f"| a | b | c |\n|---|---|---|\n| {markdown.text(name)} | `{markdown.code(name)}` | 1 |\n"
    )
    cells = [token for token in read(text) if token.type == "inline"][3:]
    assert len(cells) == 3
    kinds = {child.type for cell in cells for child in cell.children or []}
    assert kinds <= {"text", "code_inline", "text_special"}
    shown = "".join(child.content for child in cells[0].children or [])
    assert shown == printable(name)
    (code,) = cells[1].children or []
    assert code.content.replace("\\x60", "`") == printable(name)
    assert cells[2].content == "1"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_with_hostile_names_has_the_blocks_of_one_without(name: str, tmp_path: Path) -> None:
    from spyx_nir.bundle import card

    def blocks(used: str) -> list[str]:
        facts = {
            "neurons": 2, "synapses": 4, "classes": [used, "b"], "plain_nir_is_enough": True,
            "dt": 1.0, "n_steps": 3, "silent_steps": 0, "input_shape": [2], "input_bin_s": 0.1,
            "input_values": "counts", "input_channels": [used, "c"], "output_shape": [2],
            "time_unit": used, "nodes": [{"node": used, "type": used, "output_shape": [2]}],
            "not_in_nir": [{"what": "readout", "here": f"one of {used}"}],
            "metrics": {"neurobench": {
                "Footprint": 1, "ParameterCount": 1, "SynapticOperations": {}, "MembraneUpdates": 1,
            }},
        }  # fmt: skip
        read = MarkdownIt("commonmark", {"html": True}).enable("table").parse
        found = read(card.common(facts))
        inner = {child.type for token in found for child in token.children or []}
        assert not inner & {"html_inline", "link_open", "image", "em_open"}
        return [token.type for token in found]

    assert blocks(name) == blocks("plain")


@pytest.mark.parametrize("name", [name for name in NAMES if "\r" not in name])
def test_tables_of_classes_are_read_back_and_hold_no_formula(name: str, tmp_path: Path) -> None:
    rows = [(name, "left, fast"), ('say "a"', name), ("-1.5", "'quoted")]
    text = train._table(("actual", "predicted"), rows)
    (tmp_path / "confusion.csv").write_text(text, newline="")
    found = sources.table(tmp_path / "confusion.csv")
    assert [(row["actual"], row["predicted"]) for row in found or []] == rows
    for row in csv.reader(io.StringIO(text, newline="")):
        assert not any(cell.startswith(("=", "+", "@")) for cell in row)


def test_tables_of_ordinary_classes_are_as_before() -> None:
    assert (
        train._table(("a", "b"), [("Space", "1.5"), ("-1e-3", "E")]) == "a,b\nSpace,1.5\n-1e-3,E\n"
    )


@pytest.mark.parametrize("name", ["file", "allow_pickle", "args", "kwds", "self"])
def test_a_node_may_have_the_name_of_an_argument_of_numpy(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = graph(name, tmp_path)
    np.save(tmp_path / "x.npy", np.ones((3, 1, 2), np.uint8))
    out = tmp_path / "out.npz"
    assert main(["run", path, str(tmp_path / "x.npy"), "--output", str(out)]) == 0
    assert set(shared.read(out)) == {"output", name}
    x = np.ones((3, 1, 2), np.uint8)
    vectors.write_npz(tmp_path / "v.npz", x, x, {name: x})
    assert set(shared.read(tmp_path / "v.npz")) == {"input", "output", name}


def test_arrays_are_written_as_numpy_does(tmp_path: Path) -> None:
    x, y = np.arange(24, dtype=np.uint8).reshape(4, 2, 3), np.ones((4, 2, 2), np.uint8)
    vectors.write_npz(tmp_path / "ours.npz", x, y, {"a.b": y})
    with open(tmp_path / "numpys.npz", "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, input=x, output=y, **{"a.b": y})
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpys.npz").read_bytes()


def test_metadata_may_have_a_key_called_edges(tmp_path: Path) -> None:
    """verify.py's short reader takes it for the metadata's own."""
    from spyx_nir.bundle.templates import verify

    path = graph("n", tmp_path)
    loaded = nir.read(path)
    loaded.metadata["edges"] = "many"
    nir.write(path, loaded)
    found = verify.read_graph(Path(path))
    assert found["metadata"]["edges"] == "many"
    assert ("input", "n") in found["edges"]


def test_what_is_printable_stays() -> None:
    assert printable("Ünïcode 漢字 10\u202f000 a\u00a0b") == "Ünïcode 漢字 10\u202f000 a\u00a0b"
    assert printable("\x00\x7f\u200b\ud800") == "\\x00\\x7f\\u200b\\ud800"
    assert str(UserError("a\nb")) == "a b"
