"""Files: what is written is stable and read back; what is hostile is refused in one line."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from node_examples import examples

from spyx_nir.cli.main import main
from spyx_nir.converter import file, load
from spyx_nir.converter.registry import KINDS
from spyx_nir.errors import GraphError
from spyx_nir.limits import raised_limits

TEXT = h5py.string_dtype()
SHARED = Path(__file__).parents[3] / "shared" / "graphs"


def example(kind: str) -> nir.NIRGraph:
    """Input, the first example of a kind of node, Output."""
    node, shape = examples(kind, np.random.default_rng(3))[0]
    nodes = {"in": nir.Input(np.array(shape)), "node": node, "out": nir.Output(np.array(shape))}
    return nir.NIRGraph(nodes, [("in", "node"), ("node", "out")], {"dt": 0.5}, type_check=False)


def same(a: object, b: object, place: str = "") -> None:
    """Equal nested dictionaries, arrays by value and type."""
    if isinstance(a, dict):
        assert isinstance(b, dict) and sorted(a) == sorted(b), place
        for key in a:
            same(a[key], b[key], f"{place}/{key}")
    elif place.endswith("edges"):
        assert sorted(map(tuple, a)) == sorted(map(tuple, b)), place  # type: ignore[call-overload]
    else:
        assert np.array_equal(np.asarray(a), np.asarray(b)), place
        assert np.asarray(a).dtype.kind == np.asarray(b).dtype.kind, place


NAMES = sorted(name for name, kind in KINDS.items() if name != "Input")


@pytest.mark.parametrize("kind", NAMES)
def test_reads_what_nir_wrote(kind: str, tmp_path: Path) -> None:
    """Our reader gives what nir's own gives for the same file."""
    nir.write(tmp_path / "a.nir", example(kind))
    ours = file.read(tmp_path / "a.nir")
    same(ours.to_dict(), nir.read(tmp_path / "a.nir", type_check=False).to_dict())


@pytest.mark.parametrize("kind", NAMES)
def test_nir_reads_what_we_write_and_twice_is_the_same_bytes(kind: str, tmp_path: Path) -> None:
    graph = example(kind)
    file.write(tmp_path / "a.nir", graph)
    same(nir.read(tmp_path / "a.nir", type_check=False).to_dict(), graph.to_dict())
    first = (tmp_path / "a.nir").read_bytes()
    turned = nir.NIRGraph(
        dict(reversed(graph.nodes.items())), graph.edges[::-1], graph.metadata, type_check=False
    )
    time.sleep(0.01)
    file.write(tmp_path / "b.nir", turned)
    assert (tmp_path / "b.nir").read_bytes() == first
    file.write(tmp_path / "c.nir", file.read(tmp_path / "a.nir"))
    assert (tmp_path / "c.nir").read_bytes() == first


@pytest.mark.parametrize(
    "name", ["edges", "metadata", "nodes", "v_reset", "type", "ein gläs", "a.b"]
)
def test_any_node_name(name: str, tmp_path: Path) -> None:
    graph = example("LIF")
    nodes = {name if key == "node" else key: node for key, node in graph.nodes.items()}
    named = nir.NIRGraph(nodes, [("in", name), (name, "out")], type_check=False)
    file.write(tmp_path / "a.nir", named)
    same(file.read(tmp_path / "a.nir").to_dict(), named.to_dict())


def test_digest_is_of_the_content(tmp_path: Path) -> None:
    """Written out by hand: sorted paths, types, shapes and little-endian bytes, joined by zeros."""
    import hashlib

    with h5py.File(tmp_path / "a.nir", "w") as f:
        f["b/x"] = np.array([1.0, 2.0], ">f4")
        f["a"] = "text"
    expected = hashlib.sha256(b"a\0text\0()\0text\0")
    expected.update(b"b/x\0<f4\0(2,)\0" + np.array([1.0, 2.0], "<f4").tobytes() + b"\0")
    assert file.digest(tmp_path / "a.nir") == expected.hexdigest()
    with h5py.File(tmp_path / "b.nir", "w") as f:
        f.create_dataset("a", data="text", dtype=h5py.string_dtype(length=4))
        f.create_dataset("b/x", data=np.array([1.0, 2.0], ">f4"), compression="gzip")
    assert file.digest(tmp_path / "b.nir") == expected.hexdigest()


def test_older_version_has_no_v_reset(tmp_path: Path) -> None:
    graph = example("LIF")
    graph.nodes["node"].v_reset[:] = 0
    file.write(tmp_path / "a.nir", graph, "1.0.4")
    with h5py.File(tmp_path / "a.nir") as f:
        assert "v_reset" not in f["node/nodes/node"]
        assert f["version"][()] == b"1.0.4"
    graph.nodes["node"].v_reset[1] = -0.25
    with pytest.raises(
        GraphError, match=r"node `node`: v_reset is -0.25; nir 1.0.4 can only say 0"
    ):
        file.write(tmp_path / "b.nir", graph, "1.0.4")
    assert not (tmp_path / "b.nir").exists()
    with pytest.raises(GraphError, match=r"node `node`: nir 1.0.4 has no CubaLI"):
        file.write(tmp_path / "b.nir", example("CubaLI"), "1.0.4")
    graph = example("AvgPool2d")
    graph.nodes["node"].metadata["note"] = "x"
    with pytest.raises(
        GraphError, match=r"`node`: AvgPool2d has no metadata in nir 1.0.4, remove note"
    ):
        file.write(tmp_path / "b.nir", graph, "1.0.4")
    with pytest.raises(GraphError, match=r"`nir_version` must be one of .*1.0.8.*got '9'"):
        file.write(tmp_path / "b.nir", graph, "9")


def test_a_dt_that_differs_is_said_as_a_plain_number(tmp_path: Path) -> None:
    file.write(tmp_path / "a.nir", example("LIF"))
    graph = file.read(tmp_path / "a.nir")  # its dt is a NumPy number
    with pytest.raises(GraphError) as error:
        load(graph, 0.25)
    assert (
        str(error.value) == "dt = 0.25 differs from the contract's dt = 0.5: give that one, or none"
    )


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_single_numbers_among_parameters_are_written_out(shape, tmp_path: Path) -> None:
    """snnTorch writes one threshold and a beta for each neuron; nir's class wants one shape."""
    path = good(tmp_path / "a.nir")
    whole = file.read(path)
    with h5py.File(path, "r+") as f:
        for name in ("v_threshold", "v_leak"):
            value = f["node/nodes/lif"][name][0]
            del f["node/nodes/lif"][name]
            f["node/nodes/lif"][name] = np.full(shape, value)
    found = file.read(path).nodes["lif"]
    for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        expected = getattr(whole.nodes["lif"], name)
        assert getattr(found, name).shape == (2,) and (getattr(found, name) == expected).all()


def test_a_size_may_be_a_single_number(tmp_path: Path) -> None:
    path = good(tmp_path / "a.nir")
    for name, size in (("in", 3), ("out", 2)):
        with h5py.File(path, "r+") as f:
            put(f[f"node/nodes/{name}"], "shape", size)
    graph = file.read(path)
    assert graph.nodes["in"].input_type["input"].tolist() == [3]
    file.write(tmp_path / "b.nir", graph)
    nir.read(tmp_path / "b.nir")


def test_writing_what_no_file_holds(tmp_path: Path) -> None:
    graph = example("LIF")
    graph.metadata["odd"] = object()
    with pytest.raises(GraphError, match=r"`/metadata/odd` is object .*a file holds numbers"):
        file.write(tmp_path / "a.nir", graph)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files stands for it: HDF5 1.14, writing by itself, dies of either."""
    path = tmp_path / "a.nir"
    file.write(path, example("LIF"))
    before = path.read_bytes()
    # Python would cut off the bytecode of what is imported here, too, and keep it.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            file.write(path, example("LI"))
        assert main(["upgrade", str(path), str(tmp_path / "b.nir")]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.fullmatch(r"error: \S+: File too large\n", capsys.readouterr().err)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/graphs is not here")
@pytest.mark.parametrize("name", ["lif_norse", "braille_noDelay_noBias_subtract"])
def test_published_files(name: str) -> None:
    ours = file.read(SHARED / f"{name}.nir")
    same(ours.to_dict(), nir.read(SHARED / f"{name}.nir", type_check=False).to_dict())


# ----------------------------------------------------------------------------------- hostile files


def put(group: h5py.Group, name: str, value: object) -> None:
    """Put `value` at `name`, whatever was there."""
    if name in group:
        del group[name]
    group[name] = value


def gigantic(f: h5py.File) -> None:
    put_space(f["node/nodes/fc"], "weight", (2**20, 2**20))


def put_space(group: h5py.Group, name: str, shape: tuple[int, ...], **how: object) -> None:
    """An array that claims a shape and stores nothing."""
    del group[name]
    group.create_dataset(name, shape, "f4", **how)


def many_big(f: h5py.File) -> None:
    for i in range(5):
        f.create_dataset(f"node/metadata/x{i}", (2**26,), "u1")


def unstored(f: h5py.File) -> None:
    put_space(f["node/nodes/fc"], "weight", (2**13, 2**13))


def big_chunk(f: h5py.File) -> None:
    put_space(f["node/nodes/fc"], "weight", (2, 3), chunks=(2**14, 2**15), maxshape=(None, None))


def external_storage(f: h5py.File) -> None:
    Path(f.filename).with_name("other.raw").write_bytes(bytes(24))
    where = [(str(Path(f.filename).with_name("other.raw")), 0, 24)]
    put_space(f["node/nodes/fc"], "weight", (2, 3), external=where)


def virtual(f: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (2, 3))
    del f["node/nodes/fc/weight"]
    f["node/nodes/fc"].create_virtual_dataset("weight", layout)


def cyclic(f: h5py.File) -> None:
    f["node/nodes/fc/again"] = f["node"]


def laughs(f: h5py.File) -> None:
    """Groups of which each holds the next one ten times: 10^12 paths."""
    for i in range(12):
        inner = f.require_group(f"g{i + 1}")
        for k in range(10):
            f.require_group(f"g{i}")[str(k)] = inner


def deep(f: h5py.File) -> None:
    group = f["node/metadata"]
    for _ in range(2000):
        group = group.create_group("a")


def many(f: h5py.File) -> None:
    for i in range(200):
        f[f"node/metadata/a{i}"] = h5py.SoftLink("/node")


def bad_name(f: h5py.File) -> None:
    h5py.h5g.create(f["node/nodes"].id, b"\xff\xfe")


def newline_name(f: h5py.File) -> None:
    f.create_group("node/nodes/a\nerror: b")


def long_name(f: h5py.File) -> None:
    f.create_group("node/nodes/" + "a" * 1000)


def records(f: h5py.File) -> None:
    put(f["node/nodes/fc"], "weight", np.zeros(3, [("a", "f4"), ("b", "i4")]))


def references(f: h5py.File) -> None:
    del f["node/nodes/fc/weight"]
    f["node/nodes/fc"].create_dataset("weight", data=f["node"].ref, dtype=h5py.ref_dtype)


def ragged(f: h5py.File) -> None:
    del f["node/nodes/fc/weight"]
    f["node/nodes/fc"].create_dataset("weight", (2,), h5py.vlen_dtype(np.float32))


def unknown_filter(f: h5py.File) -> None:
    put_space(f["node/nodes/fc"], "weight", (4, 3), scaleoffset=2, chunks=(4, 3))


def much_text(f: h5py.File) -> None:
    """Names of 20 MB in all."""
    put(f["node"], "edges", np.full((10, 2), "x" * 2**20, object))


def unwritten_text(f: h5py.File) -> None:
    del f["node/edges"]
    f.create_dataset("node/edges", (20000, 2), TEXT, chunks=(20000, 2), fillvalue="x" * 2**20)


def lost_text(f: h5py.File) -> None:
    """An edge's name at an address far outside."""
    place = f["node/edges"].id.get_offset()
    f.flush()
    with open(f.filename, "r+b") as raw:
        raw.seek(place + 4)
        raw.write((2**40).to_bytes(8, "little"))


def long_text(f: h5py.File) -> None:
    """An edge's name that claims to be longer than it is: the library would read past it."""
    place = f["node/edges"].id.get_offset()
    f.flush()
    with open(f.filename, "r+b") as raw:
        raw.seek(place)
        raw.write((2**20).to_bytes(4, "little"))


def looping_heap(f: h5py.File) -> None:
    """A first object of index 0 and size 0 in every collection: the library never gets past it."""
    f.flush()
    content = Path(f.filename).read_bytes()
    at = content.find(b"GCOL\x01")
    with open(f.filename, "r+b") as raw:
        while at >= 0:
            raw.seek(at + 16)
            raw.write(bytes(16))
            at = content.find(b"GCOL\x01", at + 1)


def nested(f: h5py.File) -> None:
    group = f["node"]
    for _ in range(18):
        group = (
            group.create_group("nodes/sub")
            if "nodes" not in group
            else group["nodes"].create_group("sub")
        )
        group["type"] = "NIRGraph"
        group["edges"] = np.zeros(0)
    group.create_group("nodes")


def many_nodes(f: h5py.File) -> None:
    for i in range(50):
        f.create_group(f"node/nodes/n{i}")["type"] = "Linear"


def field(node: str, name: str, value: object) -> Callable[[h5py.File], None]:
    return lambda f: put(f[f"node/nodes/{node}"] if node else f["node"], name, value)


def group_for_numbers(f: h5py.File) -> None:
    del f["node/nodes/fc/weight"]
    f.create_group("node/nodes/fc/weight")


def without(name: str) -> Callable[[h5py.File], None]:
    def change(f: h5py.File) -> None:
        del f[name]

    return change


HOSTILE: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "gigantic": (gigantic, r"`/node/nodes/fc/weight` has shape \(1048576, 1048576\): .* at most"),
    "many big": (
        many_big,
        r"`/node/metadata/x3` .*268435463 values or more, .*; at most 2147483648 are allowed",
    ),
    "claims more than is stored": (
        unstored,
        r"the arrays claim 2684\d+ bytes, more than a file of",
    ),
    "big chunk": (big_chunk, r"`/node/nodes/fc/weight` .*the file claims .*; at most"),
    "external link": (
        lambda f: put(f["node/nodes"], "fc", h5py.ExternalLink("/etc/passwd", "/x")),
        r"`/node/nodes/fc` is a link to a file; only data is read",
    ),
    "soft link": (
        lambda f: put(f["node/nodes"], "fc", h5py.SoftLink("/node")),
        r"`/node/nodes/fc` is a soft link; only data is read",
    ),
    "external storage": (external_storage, r"`/node/nodes/fc/weight` is in another file"),
    "virtual": (virtual, r"`/node/nodes/fc/weight` is put together from other arrays"),
    "cycle": (cyclic, r"`/node/nodes/fc/again` and `/node` are one object: a cycle"),
    "billion laughs": (laughs, r"`/g0[/0]*/1` and `/g0[/0]*/0` are one object"),
    "deep": (
        deep,
        r"groups nested 40 deep, .*; at most 16 are allowed \(`--max-depth` raises that\)",
    ),
    "many objects": (many, r"`/node/metadata/` has 201 members; at most 50 are .*`--max-nodes`"),
    "name not UTF-8": (bad_name, r"`/node/nodes/` has the name b'\\xff\\xfe'; names are printable"),
    "name of two lines": (newline_name, r"has the name b'a\\nerror: b'; names are printable"),
    "long name": (long_name, r"`/node/nodes/` has a name of 1000 characters; 256 are read"),
    "records": (records, r"`/node/nodes/fc/weight` holds records of a, b; numbers"),
    "references": (references, r"`/node/nodes/fc/weight` holds references; numbers"),
    "ragged": (ragged, r"`/node/nodes/fc/weight` holds arrays of different lengths; numbers"),
    "complex": (
        field("fc", "weight", np.zeros((2, 3), complex)),
        r"`/node/nodes/fc/weight` holds values of type complex128; numbers",
    ),
    "named type": (
        lambda f: put(f["node/nodes/fc"], "weight", np.dtype("f4")),
        r"`/node/nodes/fc/weight` is a named type; only groups",
    ),
    "no data": (
        field("fc", "weight", h5py.Empty("f4")),
        r"Linear node `fc`: `weight` holds nothing at all; numbers are needed",
    ),
    "filter": (unknown_filter, r"`/node/nodes/fc/weight` is packed with filter 6; known are gzip"),
    "much text": (
        much_text,
        r"`/node/edges`: 17825792 bytes of text; at most 16777216 are .*`--max-text`",
    ),
    "text never written": (unwritten_text, r"`/node/edges` stores its texts in a way that is not"),
    "text elsewhere": (lost_text, r"`/node/edges` is outside the file"),
    "text too long": (long_text, r"`/node/edges` points to a text that is not in the file"),
    "text in a loop": (looping_heap, r"`/\S+` points to a text that is not in the file"),
    "text not UTF-8": (
        field("fc", "type", np.bytes_(b"\xff\xff")),
        r"`/node/nodes/fc/type` holds b'\\xff\\xff', which is no UTF-8 text",
    ),
    "no node": (without("node"), r"no NIR graph: the group `node` is missing"),
    "several types": (
        field("", "type", np.array(["NIRGraph", "NIRGraph"], object)),
        r"`node` is of type array\(\['NIRGraph', 'NIRGraph'\].*; a NIRGraph is needed",
    ),
    "not a graph": (field("", "type", "LIF"), r"`node` is of type 'LIF'; a NIRGraph is needed"),
    "no nodes": (without("node/nodes"), r"the graph: the group `nodes` is missing"),
    "nodes is an array": (field("", "nodes", 3), r"the graph: the group `nodes` is missing"),
    "metadata is an array": (field("", "metadata", 3), r"the graph: `metadata` is no group"),
    "no edges": (without("node/edges"), r"the graph: `edges` is missing"),
    "edges of numbers": (
        field("", "edges", np.ones((3, 2))),
        r"`edges` is float64 of shape \(3, 2\); \(edges, 2\) names of nodes are needed",
    ),
    "edges of three": (
        lambda f: put(f["node"], "edges", np.array([["a", "b", "c"]], object)),
        r"`edges` is object of shape \(1, 3\); \(edges, 2\) names",
    ),
    "edges of many axes": (
        lambda f: put(f["node"], "edges", np.full((2, 2, 2), "a", object)),
        r"`/node/edges` holds texts in shape \(2, 2, 2\); pairs are read",
    ),
    "node is an array": (field("", "nodes/fc", 3), r"node `fc` has no `type` that is text"),
    "type is a number": (field("fc", "type", 3), r"node `fc` has no `type` that is text"),
    "unknown type": (
        field("fc", "type", "Izhikevich"),
        r"node `fc`: unknown type 'Izhikevich'; known are Affine, AvgPool2d, ",
    ),
    "missing field": (
        without("node/nodes/lif/tau"),
        r"LIF node `lif`: the field `tau` is missing",
    ),
    "unknown field": (
        field("fc", "gamma", 1.0),
        r"Linear node `fc`: the field `gamma` has no meaning here; remove it",
    ),
    "unknown field of the graph": (
        field("", "type_check", 1),
        r"the graph: the field `type_check` has no meaning here",
    ),
    "text for numbers": (
        field("fc", "weight", "many"),
        r"Linear node `fc`: `weight` is 'many'; numbers are needed",
    ),
    "group for numbers": (
        group_for_numbers,
        r"Linear node `fc`: `weight` is no array of numbers",
    ),
    "flat weight": (
        field("fc", "weight", np.ones(3)),
        r"Linear node `fc`: `weight` has shape \(3,\); 2 axes are needed",
    ),
    "shapes differ": (
        field("lif", "tau", np.ones(7)),
        r"LIF node `lif`: nir refuses it: All parameters must have the same shape",
    ),
    "shape of fractions": (
        field("in", "shape", np.array([1.5])),
        r"Input node `in`: `shape` is \[1.5\]; whole numbers are needed",
    ),
    "shape of NaN": (
        field("in", "shape", np.array([np.nan])),
        r"Input node `in`: `shape` is \[nan\]; whole numbers are needed",
    ),
    "gigantic shape": (
        field("in", "shape", np.array([2**62])),
        r"Input node `in`: `shape` is \[4611686018427387904\]; at most 2\^31",
    ),
    "long shape": (
        field("in", "shape", np.ones(1000, int)),
        r"Input node `in`: `shape` has shape \(1000,\); a few numbers are needed",
    ),
    "nested graphs": (
        nested,
        r"is nested 17 deep; at most 16 are allowed \(`--max-depth` raises that\)",
    ),
    "many nodes": (
        many_nodes,
        r"`/node/nodes/` has 54 members; at most 50 are allowed \(`--max-nodes` raises",
    ),
}


def good(path: Path) -> Path:
    lif = {name: np.ones(2, np.float32) for name in ("tau", "r", "v_threshold")}
    lif |= {name: np.zeros(2, np.float32) for name in ("v_leak", "v_reset")}
    nodes = {
        "in": nir.Input(np.array([3])),
        "fc": nir.Linear(np.ones((2, 3), np.float32)),
        "lif": nir.LIF(**lif),
        "out": nir.Output(np.array([2])),
    }
    edges = [("in", "fc"), ("fc", "lif"), ("lif", "out")]
    file.write(path, nir.NIRGraph(nodes, edges, {"dt": 1.0}))
    return path


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files(
    what: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    change, message = HOSTILE[what]
    path = good(tmp_path / "a.nir")
    file.read(path)
    with h5py.File(path, "r+") as f:
        change(f)
    # Files at the real limit of nodes take seconds to make.
    with raised_limits(nodes=50), pytest.raises(GraphError) as caught:
        file.read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and re.search(message, text), text
    assert "\n" not in text and len(text) < len(str(path)) + 600
    assert capfd.readouterr().err == ""


def test_truncated_and_changed_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = good(tmp_path / "a.nir")
    whole = path.read_bytes()
    for length in (8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(GraphError, match=r"a.nir: (not to be read|damaged HDF5): \S"):
            file.read(path)
    path.write_bytes(b"")
    with pytest.raises(GraphError, match=r"a.nir: no HDF5 file \(0 bytes\)"):
        file.read(path)
    path.write_bytes(b"\x89PNG and so on")
    with pytest.raises(GraphError, match=r"a.nir: no HDF5 file"):
        file.read(path)
    for read in (file.digest, file.read_dict):
        with pytest.raises(GraphError, match=r"a.nir: no HDF5 file"):
            read(path)
    assert capfd.readouterr().err == ""


def test_places_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"nothing.nir: no such file"):
        file.read(tmp_path / "nothing.nir")
    with pytest.raises(GraphError, match=r": no regular file"):
        file.read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GraphError, match=r"pipe: no regular file"):
        file.read(tmp_path / "pipe")


def test_no_error_stack_in_threads(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """HDF5 prints its error stack once per thread unless it is told not to."""
    path = good(tmp_path / "a.nir")
    path.write_bytes(path.read_bytes()[:600])
    caught: list[BaseException] = []

    def work() -> None:
        try:
            file.read(path)
        except GraphError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 1
    assert capfd.readouterr().err == ""


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """Refusing the biggest claims takes no more memory than reading a good file."""
    if sys.platform != "linux":
        pytest.skip("address space is limited on Linux only")
    for name, change in {"a": gigantic, "b": unstored, "c": big_chunk, "d": laughs}.items():
        with h5py.File(good(tmp_path / f"{name}.nir"), "r+") as f:
            change(f)
    program = (
        "import resource, sys\n"
        "from spyx_nir.converter import file\n"
        "from spyx_nir.errors import GraphError\n"
        "file.read(sys.argv[1])\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))\n"
        "for path in sys.argv[2:]:\n"
        "    try:\n"
        "        file.read(path)\n"
        "    except GraphError as error:\n"
        "        print(error)\n"
    )
    paths = [str(tmp_path / f"{name}.nir") for name in "abcd"]
    done = subprocess.run(
        [sys.executable, "-c", program, str(good(tmp_path / "good.nir")), *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 4
    assert "MemoryError" not in done.stdout


def test_reads_without_jax() -> None:
    program = (
        "import sys; from spyx_nir.converter import file\n"
        "from spyx_nir.converter.registry import KINDS\n"
        "KINDS; print(sorted({'jax', 'flax', 'spyx', 'tonic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------- read by another version


@pytest.fixture(scope="module")
def nir_1_0_4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment of its own with nir 1.0.4."""
    folder = tmp_path_factory.mktemp("nir-1.0.4")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--retries", "1", "nir==1.0.4"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"nir 1.0.4 cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return python


OLDER = """
import json, sys
import nir, numpy as np
from importlib.metadata import version

def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value

assert version("nir") == "1.0.4"
print(json.dumps({path: plain(nir.read(path).to_dict()) for path in sys.argv[1:]}))
"""


@pytest.mark.full
def test_nir_1_0_4_reads_the_variant(nir_1_0_4: Path, tmp_path: Path) -> None:
    """Every kind of node that 1.0.4 has, metadata included; and it fails on the current form."""
    import json

    expected = {}
    for kind in NAMES:
        if kind == "CubaLI":
            continue
        graph = example(kind)
        if kind not in file.BARE:
            graph.nodes["node"].metadata["note"] = "kept"
        for part in (graph, graph.nodes["node"]):
            for node in getattr(part, "nodes", {}).values():
                if hasattr(node, "v_reset"):
                    node.v_reset = np.zeros_like(node.v_reset)
        path = str(tmp_path / f"{kind}.nir")
        file.write(path, graph, "1.0.4")
        expected[path] = graph.to_dict()
    done = subprocess.run(
        [nir_1_0_4, "-c", OLDER, *expected], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for path, found in json.loads(done.stdout).items():
        _same_but_reset(found, expected[path], Path(path).stem)
    current = str(tmp_path / "current.nir")
    file.write(current, example("LIF"))
    done = subprocess.run(
        [nir_1_0_4, "-c", OLDER, current], capture_output=True, text=True, check=False
    )
    assert "unexpected keyword argument 'v_reset'" in done.stderr


def _same_but_reset(found: dict, expected: dict, place: str) -> None:
    """`found` is JSON; `v_reset` is what the older version lacks; None and empty are left out."""

    def said(node: dict) -> dict:
        empty = {k for k, v in node.items() if v is None or (k == "metadata" and not v)}
        return {k: v for k, v in node.items() if k != "v_reset" and k not in empty}

    wanted, kept = said(expected), said(found)
    assert sorted(kept) == sorted(wanted), place
    for name, value in wanted.items():
        if isinstance(value, dict):
            _same_but_reset(kept[name], value, f"{place}/{name}")
        elif name == "edges":
            assert sorted(map(tuple, kept[name])) == sorted(value), place
        else:
            assert np.array_equal(np.asarray(kept[name]), np.asarray(value)), f"{place}/{name}"


@pytest.mark.parametrize("name", ["a/b", "/", ".", ""])
def test_a_name_that_a_file_cannot_hold_is_refused(name, tmp_path):
    """HDF5 reads "/" as a step down, so such a node would be another one in the file."""
    ends = {"i": nir.Input(np.array([3])), "o": nir.Output(np.array([3]))}
    scale = nir.Scale(np.ones(3, np.float32))
    whole = nir.NIRGraph({**ends, name: scale}, [("i", name), (name, "o")], type_check=False)
    with pytest.raises(GraphError, match=r"the name .* rename it"):
        file.write(tmp_path / "model.nir", whole)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("whole", [None, {}, "model.nir"])
def test_only_a_graph_is_written(whole, tmp_path):
    with pytest.raises(GraphError, match=r"a nir\.NIRGraph is needed"):
        file.write(tmp_path / "model.nir", whole)
