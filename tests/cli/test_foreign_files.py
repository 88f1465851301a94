"""Files as other programs write them: read where nothing has to be guessed, or repaired by `upgrade`.

Expected are the same nodes written out in full, run by the reference, or another program's own step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import old_files
import pytest
from old_files import both, put

from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference

DT = 2.0**-13
Nodes = dict[str, nir.NIRNode]


def neurons(*shape: int, kind: type = nir.LIF) -> nir.NIRNode:
    """Neurons that each have their own leak, so that a parameter in the wrong place is seen."""
    count = int(np.prod(shape))
    tau = (DT * (2 + np.arange(count) % 5)).reshape(shape).astype(np.float32)
    zero, one = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    if kind is nir.CubaLIF:
        return nir.CubaLIF(tau, 2 * tau, 2 * tau / np.float32(DT), zero, one, zero, one)
    return nir.LIF(tau, tau / np.float32(DT), zero, one, zero)


def row(nodes: Nodes, path: Path, change: Callable[[h5py.File], None] | None = None) -> str:
    names = list(nodes)
    edges = list(itertools.pairwise(names))
    return old_files.write(path, nir.NIRGraph(nodes, edges, {"dt": DT}, type_check=False), change)


def image(random: np.random.Generator) -> Nodes:
    """Two convolutions, pooling, Flatten and a Linear: (2, 8, 8) to 3."""
    first, second = random.normal(size=(4, 2, 3, 3)), random.normal(size=(6, 4, 3, 3))
    pair, none, one = np.array([2, 2]), np.array([0, 0]), np.array([1, 1])
    return {
        "input": nir.Input(np.array([2, 8, 8])),
        "c": nir.Conv2d((8, 8), first.astype("f4"), (1, 1), one, one, 1, np.zeros(4, "f4")),
        "n": neurons(4, 8, 8),
        "p": nir.SumPool2d(pair, pair, none),
        "d": nir.Conv2d((4, 4), second.astype("f4"), (1, 1), one, one, 1, np.zeros(6, "f4")),
        "m": neurons(6, 4, 4),
        "f": nir.Flatten({"input": np.array([6, 4, 4])}, 0, -1),
        "l": nir.Linear(random.normal(size=(3, 96)).astype("f4")),
        "o": neurons(3),
        "output": nir.Output(np.array([3])),
    }


def spikes(path: str, *shape: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(5).integers(0, 2, (12, 2, *shape))
    result = reference.run(file.read(path).to_dict(), x)
    assert all(found.any() for found in result.spikes.values())
    return result.spikes


def same(broken: str, whole: str, *shape: int) -> None:
    """Every spike of `broken` is that of `whole`, and nir reads it with its type check."""
    expected = spikes(whole, *shape)
    found = spikes(broken, *shape)
    assert {p: (found[p] != expected[p]).sum() for p in expected} == dict.fromkeys(expected, 0)


def upgraded(path: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """The repaired file, and one line for each change."""
    out = path.replace(".nir", "-up.nir")
    assert main(["upgrade", path, out]) == 0, capsys.readouterr().err
    lines = capsys.readouterr().out.splitlines()
    assert main(["upgrade", out, out]) == 0
    assert capsys.readouterr().out == f"{out}: as before\n"
    nir.read(out)
    return out, lines[:-1]


def adapted(path: str, reader: str) -> str:
    out = path.replace(".nir", f"-{reader}.nir")
    assert main(["adapt", path, out, "--reader", reader]) == 0
    return out


NOTHING = [np.zeros(0), np.zeros(0, "i8"), h5py.Empty("f4"), np.zeros(2, "i8")]


@pytest.mark.parametrize("nothing", NOTHING, ids=["none", "none, whole", "no space", "zeros"])
def test_fields_that_say_nothing_are_absent(
    nothing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`input_shape` and `input_type` of snnTorch 0.9.4 with nir 1.0.4; zeros are sinabs'."""
    whole = row(image(np.random.default_rng(0)), tmp_path / "whole.nir")
    fields = ["c/input_shape", "d/input_shape", "f/input_type"]
    change = both(*(put(f"node/nodes/{name}", None) for name in fields))
    bare = row(image(np.random.default_rng(0)), tmp_path / "bare.nir", change)
    change = both(*(put(f"node/nodes/{name}", nothing) for name in fields))
    empty = row(image(np.random.default_rng(0)), tmp_path / "empty.nir", change)
    same(bare, whole, 2, 8, 8)
    same(empty, whole, 2, 8, 8)
    assert main(["diff", bare, empty]) == 0
    same(adapted(empty, "sinabs"), adapted(whole, "sinabs"), 2, 8, 8)
    capsys.readouterr()
    out, lines = upgraded(empty, capsys)
    same(out, whole, 2, 8, 8)
    assert lines == [
        "empty-field: `c`: `input_shape` is there and says nothing; it is now (8, 8)",
        "empty-field: `d`: `input_shape` is there and says nothing; it is now (4, 4)",
        "empty-field: `f`: `input_type` is there and says nothing; it is now (6, 4, 4)",
    ]
    assert main(["diff", whole, out]) == 0


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("l/weight", h5py.Empty("f4"), "`weight` holds nothing at all"),
        ("o/tau", np.zeros(0), "`tau` holds nothing at all"),
        ("input/shape", np.zeros(0), "`shape` holds nothing at all"),
    ],
)
def test_a_field_that_is_needed_must_say_something(
    place: str, value: Any, words: str, tmp_path: Path
) -> None:
    change = put(f"node/nodes/{place}", value)
    path = row(image(np.random.default_rng(0)), tmp_path / "a.nir", change)
    with pytest.raises(GraphError, match=words):
        file.read(path)


def test_ports_that_say_nothing_are_filled_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def small() -> Nodes:
        weight = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
        ports = nir.Input(np.array([3])), nir.Output(np.array([4]))
        return {"input": ports[0], "l": nir.Linear(weight), "o": neurons(4), "output": ports[1]}

    whole = row(small(), tmp_path / "whole.nir")
    names = ("input", "output")
    change = both(*(put(f"node/nodes/{n}/shape", np.zeros(0)) for n in names))
    out, lines = upgraded(row(small(), tmp_path / "a.nir", change), capsys)
    same(out, whole, 3)
    assert [line.split("; ")[1] for line in lines] == ["it is now (3,)", "it is now (4,)"]


def recurrent(w_in: bool = True, inside: int = 38) -> nir.NIRGraph:
    """12 -> Linear -> 38 recurrent current-based neurons -> Linear -> 7."""
    random = np.random.default_rng(2)

    def weight(rows: int, columns: int) -> nir.Linear:
        return nir.Linear(random.normal(size=(rows, columns)).astype("f4"))

    cell = neurons(38, kind=nir.CubaLIF)
    inner = {
        "input": nir.Input(np.array([inside])),
        "lif": cell,
        "w_rec": weight(38, 38),
        "output": nir.Output(np.array([38])),
    }
    rec = nir.NIRGraph(inner, old_files.INNER, type_check=False)
    nodes = {
        "input": nir.Input(np.array([12])),
        "fc1": weight(38, 12),
        "rec": rec,
        "fc2": weight(7, 38),
        "lif2": neurons(7),
        "output": nir.Output(np.array([7])),
    }
    edges = list(itertools.pairwise(nodes))
    return nir.NIRGraph(nodes, edges, {"dt": DT}, type_check=False)


def test_a_recurrent_file_of_rockpool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No `w_in`, for which nir's own class takes 1, and an inner Input of 12 where 38 arrive."""
    own = nir.CubaLIF(*(np.ones(2) for _ in range(5)))
    assert (own.w_in == 1).all()
    whole = old_files.write(tmp_path / "whole.nir", recurrent())
    cell = "node/nodes/rec/nodes/lif"
    less = old_files.write(tmp_path / "less.nir", recurrent(), put(f"{cell}/w_in", None))
    same(less, whole, 12)
    broken = old_files.write(tmp_path / "a.nir", recurrent(inside=12), put(f"{cell}/w_in", None))
    with pytest.raises(GraphError, match=r"`rec.input`: .*\(12,\), but \(38,\) arrives"):
        spikes(broken, 12)
    out, lines = upgraded(broken, capsys)
    same(out, whole, 12)
    assert len(lines) == 2
    assert lines[0].startswith("missing-field: `rec.lif`: `w_in` is missing; nir takes 1; Rockpool")
    assert lines[1] == (
        "declared-shape: `rec.input`: declares `shape` (12,), but (38,) arrives, which the next node "
        "takes; `shape` is now (38,)"
    )


@pytest.mark.parametrize(
    "command", [["run", "{0}", "{1}"], ["fit", "{0}", "--target", "loihi"], ["adapt", "{0}", "{2}"]]
)
def test_a_refusal_says_where_upgrade_helps(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(tmp_path / name) for name in ("a.nir", "x.npy", "out.nir")]
    np.save(names[1], np.zeros((3, 1, 12), np.uint8))
    arguments = [word.format(*names) for word in command]
    arguments += ["--reader", "sinabs"] if command[0] == "adapt" else []
    old_files.write(Path(names[0]), recurrent(inside=12))
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {names[0]}: Input node `rec.input`: ")
    assert said.endswith(", but (38,) arrives; `upgrade` repairs that\n")
    old_files.write(Path(names[0]), recurrent(inside=12), put("node/nodes/lif2/tau", np.ones(3)))
    assert main(arguments) == 1
    assert "upgrade" not in capsys.readouterr().err


def test_an_inner_port_that_nobody_confirms_is_left(tmp_path: Path) -> None:
    """The neuron wants 38 where 12 arrive: which of both is wrong is not known."""
    graph = recurrent(inside=38)
    graph.nodes["fc1"].weight = graph.nodes["fc1"].weight[:12]
    path = old_files.write(tmp_path / "a.nir", graph)
    assert main(["upgrade", path, str(tmp_path / "out.nir")]) == 1
    assert not (tmp_path / "out.nir").exists()


def named(edges: Callable[[str], str]) -> Callable[[h5py.File], None]:
    """Every name in the outer edges as `edges` gives it."""

    def change(f: h5py.File) -> None:
        found = [[edges(end.decode()) for end in edge] for edge in f["node/edges"][()]]
        put("node/edges", found)(f)

    return change


@pytest.mark.parametrize("node", ["rec", "fc1", "output"])
def test_edges_to_another_name_of_the_one_loose_node(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = old_files.write(tmp_path / "whole.nir", recurrent())
    change = named(lambda end: "lif" if end == node else end)
    broken = old_files.write(tmp_path / "a.nir", recurrent(), change)
    out, lines = upgraded(broken, capsys)
    same(out, whole, 12)
    assert lines == [
        f"dangling-edge: edges name `lif`, which is no node, and `{node}` is in none; `lif` in them is "
        f"now `{node}`"
    ]


def test_inside_a_subgraph_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = old_files.write(tmp_path / "whole.nir", recurrent())
    edges = [[end.replace("lif", "lif1") for end in edge] for edge in old_files.INNER]
    broken = old_files.write(tmp_path / "a.nir", recurrent(), put("node/nodes/rec/edges", edges))
    out, lines = upgraded(broken, capsys)
    same(out, whole, 12)
    assert lines[0].startswith(
        "dangling-edge: `rec`: edges name `lif1`, which is no node, and `lif`"
    )


@pytest.mark.parametrize(
    "names",
    [
        {"rec": "lif", "fc2": "fc"},  # two names, two loose nodes: which is which?
        {"lif2": "rec"},  # a name that is a node's
    ],
)
def test_what_could_be_either_is_left(names: dict[str, str], tmp_path: Path) -> None:
    change = named(lambda end: names.get(end, end))
    broken = old_files.write(tmp_path / "a.nir", recurrent(), change)
    assert main(["upgrade", broken, str(tmp_path / "out.nir")]) == 1


# ------------------------------------------------------------------------------ an axis for a batch


def ahead(*names: str) -> Callable[[h5py.File], None]:
    """A leading axis of 1 for all parameters and declared shapes of these nodes."""

    def change(f: h5py.File) -> None:
        for name in names:
            group = f[f"node/nodes/{name}"]
            for key in sorted(set(group) & {"tau", "r", "v_leak", "v_threshold", "v_reset"}):
                put(f"node/nodes/{name}/{key}", group[key][()][None])(f)
            for key in sorted(set(group) & {"shape", "input_type"}):
                put(f"node/nodes/{name}/{key}", np.array([1, *group[key][()]]))(f)

    return change


DIMS = {"start_dim": 1, "end_dim": 3}
BATCH: dict[str, Callable[[h5py.File], None]] = {
    "neurons": ahead("n"),
    "neurons behind a Linear": ahead("o"),
    "all neurons and ports": ahead("input", "n", "m", "o", "output"),
    "Flatten": both(ahead("f"), put("node/nodes/f/start_dim", 1)),
    "Flatten from the third last": both(ahead("f"), put("node/nodes/f/start_dim", -3)),
    "Flatten to an axis": both(ahead("f"), *(put(f"node/nodes/f/{n}", d) for n, d in DIMS.items())),
    "Flatten of the batch, too": both(ahead("f"), put("node/nodes/f/end_dim", 3)),
    "Flatten that says nothing": both(
        put("node/nodes/f/input_type", np.zeros(0)), put("node/nodes/f/start_dim", 1)
    ),
    "sinabs' Flatten": both(
        put("node/nodes/f/input_type", np.zeros(4, "i8")), put("node/nodes/f/start_dim", 1)
    ),
    "nir's own start_dim": both(ahead("f"), put("node/nodes/f/start_dim", None)),
    "everything, and nothing says so": both(
        ahead("input", "n", "m", "f", "o", "output"),
        put("node/nodes/f/start_dim", 1),
        put("node/nodes/c/input_shape", None),
        put("node/nodes/d/input_shape", None),
    ),
    "convolution with channels": put("node/nodes/c/input_shape", np.array([2, 8, 8])),
    "convolution with channels and batch": put("node/nodes/d/input_shape", np.array([1, 4, 4, 4])),
}


@pytest.mark.parametrize("what", BATCH)
def test_an_axis_for_a_batch_goes(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = row(image(np.random.default_rng(0)), tmp_path / "whole.nir")
    broken = row(image(np.random.default_rng(0)), tmp_path / "a.nir", BATCH[what])
    out, lines = upgraded(broken, capsys)
    same(out, whole, 2, 8, 8)
    assert lines and all(line.split(":")[0] in NAMED for line in lines), lines


NAMED = {"batch-axis", "declared-shape", "empty-field", "missing-field"}


def test_the_axes_of_a_flatten_change_with_its_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = row(image(np.random.default_rng(0)), tmp_path / "a.nir", BATCH["Flatten"])
    assert upgraded(broken, capsys)[1] == [
        "declared-shape: `f`: declares `input_type` (1, 6, 4, 4), but (6, 4, 4) arrives; `input_type` is "
        "now (6, 4, 4)",
        "batch-axis: `f`: start_dim 1 counts an axis for a batch; start_dim is now 0",
    ]


def test_an_image_without_a_weight_that_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """(1, 2, 8, 8) -> pooling -> Flatten(1, -1) -> Linear(32): only without the 1 it fits."""

    def small(batch: tuple[int, ...], start: int) -> Nodes:
        pair, none = np.array([2, 2]), np.array([0, 0])
        weight = np.random.default_rng(0).normal(size=(3, 32)).astype("f4")
        return {
            "input": nir.Input(np.array([*batch, 2, 8, 8])),
            "p": nir.SumPool2d(pair, pair, none),
            "f": nir.Flatten({"input": np.array([*batch, 2, 4, 4])}, start, -1),
            "l": nir.Linear(weight),
            "o": neurons(3),
            "output": nir.Output(np.array([3])),
        }

    whole = row(small((), 0), tmp_path / "whole.nir")
    broken = row(small((1,), 1), tmp_path / "a.nir")
    out, lines = upgraded(broken, capsys)
    same(out, whole, 2, 8, 8)
    assert lines[0].startswith(
        "batch-axis: `input`: declares `shape` (1, 2, 8, 8), whose first axis"
    )


@pytest.mark.parametrize("shape", [(1, 6), (1, 1, 6), (1, 4, 4)])
def test_an_axis_of_1_that_fits_stays(
    shape: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One channel is one channel."""
    ports = nir.Input(np.array(shape)), nir.Output(np.array(shape))
    path = row({"input": ports[0], "n": neurons(*shape), "output": ports[1]}, tmp_path / "a.nir")
    assert main(["upgrade", path, path]) == 0
    assert capsys.readouterr().out == f"{path}: as before\n"


def test_a_flatten_that_keeps_channels_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = {
        "input": nir.Input(np.array([6, 4, 4])),
        "f": nir.Flatten({"input": np.array([6, 4, 4])}, 1, -1),
        "n": neurons(6, 16),
        "output": nir.Output(np.array([6, 16])),
    }
    path = row(nodes, tmp_path / "a.nir")
    assert main(["upgrade", path, path]) == 0
    assert capsys.readouterr().out == f"{path}: as before\n"


# ------------------------------------------------------------------------- what the messages promise


def test_ports_without_a_shape_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = old_files.write(tmp_path / "whole.nir", recurrent())
    ports = ("input", "output", "rec/nodes/input", "rec/nodes/output")
    change = both(*(put(f"node/nodes/{name}/shape", None) for name in ports))
    broken = old_files.write(tmp_path / "a.nir", recurrent(), change)
    assert main(["lint", broken]) == 1
    assert capsys.readouterr().out.count("`shape` is missing") >= 4
    out, lines = upgraded(broken, capsys)
    same(out, whole, 12)
    assert [line.split("; ")[-1] for line in lines] == [
        f"it is now ({n},)" for n in (12, 7, 38, 38)
    ]


def test_a_shape_that_nothing_says_is_not_made_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Behind the Input a single number for any count of neurons."""
    scalar = {name: np.float32(1) for name in ("tau", "r", "v_leak", "v_threshold")}
    nodes = {
        "input": nir.Input(np.array([3])),
        "n": neurons(3),
        "output": nir.Output(np.array([3])),
    }
    change = both(
        put("node/nodes/n/v_reset", None),
        put("node/nodes/input/shape", np.zeros(0)),
        put("node/nodes/output/shape", np.zeros(0)),
        *(put(f"node/nodes/n/{name}", value) for name, value in scalar.items()),
    )
    path = row(nodes, tmp_path / "a.nir", change)
    assert main(["upgrade", path, str(tmp_path / "out.nir")]) == 1
    assert capsys.readouterr().err.endswith("Input node `input`: the field `shape` is missing\n")


def test_one_parameter_for_a_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """(C, 1, 1) as PyTorch spreads it; (C,) could be anything."""

    def network(threshold: np.ndarray) -> str:
        nodes = image(np.random.default_rng(0))
        place = put("node/nodes/n/v_threshold", threshold)
        return row(nodes, tmp_path / f"{threshold.ndim}-{threshold.size}.nir", place)

    each = np.array([0.5, 1, 2, 4], np.float32)
    whole = network(np.repeat(each, 64).reshape(4, 8, 8))
    out, lines = upgraded(network(each.reshape(4, 1, 1)), capsys)
    same(out, whole, 2, 8, 8)
    assert lines == [
        "scalar-parameter: `n`: `v_threshold` of shape (4, 1, 1) where (4, 8, 8) arrives; written out to "
        "(4, 8, 8)"
    ]
    assert main(["upgrade", network(each), str(tmp_path / "out.nir")]) == 1


def test_an_empty_w_in_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = put("node/nodes/rec/nodes/lif/w_in", np.zeros(0))
    broken = old_files.write(tmp_path / "a.nir", recurrent(), empty)
    absent = put("node/nodes/rec/nodes/lif/w_in", None)
    whole = old_files.write(tmp_path / "whole.nir", recurrent(), absent)
    out, lines = upgraded(broken, capsys)
    same(out, whole, 12)
    assert [line.split("; ")[0] for line in lines] == [
        "missing-field: `rec.lif`: `w_in` is missing"
    ]


def test_upgrade_is_named_only_where_it_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file has something to repair, and the command another reason to refuse it."""
    nodes = {
        "input": nir.Input(np.array([3])),
        "n": neurons(3),
        "output": nir.Output(np.array([3])),
    }
    silent = both(put("node/metadata/dt", None), put("node/nodes/n/r", np.float32(4)))
    path = row(nodes, tmp_path / "a.nir", silent)
    out = str(tmp_path / "out.nir")
    assert main(["adapt", path, out, "--reader", "snntorch"]) == 1
    assert capsys.readouterr().err.endswith("`upgrade --dt DT` writes one\n")
    assert main(["upgrade", path, out, "--dt", str(DT)]) == 0
    assert main(["adapt", out, out, "--reader", "snntorch"]) == 0


def test_the_reference_speaks_before_nirs_constructors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch of 4 is no axis of 1: whoever made the file has to say what it is."""
    change = both(
        put("node/nodes/input/shape", np.array([4, 2, 8, 8])),
        put("node/nodes/c/input_shape", np.array([1, 8, 8])),
    )
    path = row(image(np.random.default_rng(0)), tmp_path / "a.nir", change)
    np.save(tmp_path / "x.npy", np.zeros((3, 1, 2, 8, 8), np.uint8))
    assert main(["run", path, str(tmp_path / "x.npy")]) == 1
    said = capsys.readouterr().err
    assert "Conv2d node `c`: `weight` (4, 2, 3, 3) on (4, 2, 8, 8)" in said
    assert "nir refuses" not in said


def test_metadata_of_others_in_groups_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(name: str, last: int) -> str:
        notes = put("node/metadata/notes/sizes", np.array([1, 2, last]))
        return old_files.write(tmp_path / name, recurrent(), notes)

    assert main(["diff", made("a.nir", 3), made("b.nir", 3)]) == 0
    assert main(["diff", made("a.nir", 3), made("c.nir", 5)]) == 1
    assert "sizes: 1 of 3 values, by at most 2" in capsys.readouterr().out


def test_classes_of_others_are_no_reason_to_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = old_files.write(tmp_path / "a.nir", recurrent(), put("node/metadata/classes", "a, b"))
    np.save(tmp_path / "x.npy", np.zeros((3, 1, 12), np.uint8))
    assert main(["run", path, str(tmp_path / "x.npy")]) == 0
    assert "`classes` of the file is no JSON list of names" in capsys.readouterr().err


def test_the_largest_dt_is_that_of_all_neurons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step that the message allows is allowed."""
    first, second = neurons(3, kind=nir.CubaLIF), neurons(3)
    second.tau = second.tau / 8
    nodes = {"input": nir.Input(np.array([3])), "a": first, "b": second}
    path = row(
        {**nodes, "output": nir.Output(np.array([3]))},
        tmp_path / "a.nir",
        put("node/metadata/dt", None),
    )
    np.save(tmp_path / "x.npy", np.zeros((3, 1, 3), np.uint8))
    assert main(["run", path, str(tmp_path / "x.npy"), "--dt", "1"]) == 1
    allowed = capsys.readouterr().err.partition("the largest dt allowed is ")[2].partition(";")[0]
    assert float(allowed) == pytest.approx(2 * DT / 8, rel=1e-5)
    assert main(["run", path, str(tmp_path / "x.npy"), "--dt", str(2 * DT / 8)]) == 0
