"""Files that claim more than they hold: refused before they cost memory; the line says the limit."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from child import after

from spyx_nir import limits
from spyx_nir.cli.inspect import inspect
from spyx_nir.cli.main import main, whole_parser
from spyx_nir.converter import file, hdf5
from spyx_nir.converter.repair import planned, repair
from spyx_nir.errors import GraphError
from spyx_nir.limits import raised_limits
from spyx_nir.meaning import equations, reference
from spyx_nir.meaning.plan import make_plan

Nodes = dict[str, dict[str, Any]]
Edges = list[tuple[str, str]]
MEMORY = 2**30 + 2**29  # address space of a command: Python with NumPy and HDF5 takes half a GiB
SECONDS = 20  # of processor time; a command takes one, and the claims below take minutes


def port(kind: str, *shape: int) -> dict[str, Any]:
    return {"type": kind, "shape": np.array(shape)}


def lif(*shape: int) -> dict[str, Any]:
    return {"type": "LIF", "tau": np.full(shape, 2, np.float32)} | {
        name: np.full(shape, value, np.float32)
        for name, value in (("r", 1), ("v_leak", 0), ("v_threshold", 1), ("v_reset", 0))
    }


def graph(nodes: Nodes, edges: Edges, **metadata: Any) -> dict[str, Any]:
    nodes = {"i": port("Input", 2), **nodes, "o": port("Output", 2)}
    return {"type": "NIRGraph", "nodes": nodes, "edges": edges, "metadata": {"dt": 1.0, **metadata}}


def chain(count: int) -> dict[str, Any]:
    names = [f"n{number:05d}" for number in range(count)]
    scale = {"type": "Scale", "scale": np.ones(2, np.float32)}
    path = ["i", *names, "o"]
    nodes = {name: scale if number % 2 else lif(2) for number, name in enumerate(names)}
    return graph(nodes, list(itertools.pairwise(path)))


def write(path: Path, content: dict[str, Any], change: Callable[[Any], None] | None = None) -> Path:
    def put(group: h5py.Group, part: dict[str, Any]) -> None:
        for name, value in part.items():
            if isinstance(value, dict):
                put(group.create_group(name), value)
            elif isinstance(value, list):
                pairs = np.array(value, object).reshape(-1, 2)
                group.create_dataset(name, data=pairs, dtype=h5py.string_dtype())
            else:
                group.create_dataset(name, data=value)

    with h5py.File(path, "w") as made:
        made["version"] = "1.0.8"
        put(made.create_group("node"), content)
        if change is not None:
            change(made)
    return path


def zeros(place: str, shape: tuple[int, ...]) -> Callable[[Any], None]:
    """An array of zeros in the place of another, packed a thousand to one."""

    def change(made: h5py.File) -> None:
        if place in made:
            del made[place]
        chunks = (min(2**22, shape[0]), *shape[1:])
        array = made.create_dataset(place, shape, "f4", chunks=chunks, compression="gzip")
        packed = zlib.compress(bytes(4 * math.prod(chunks)), 9)
        for start in range(0, shape[0], chunks[0]):
            array.id.write_direct_chunk((start, *(0,) * (len(shape) - 1)), packed)

    return change


SIMPLE: Edges = [("i", "n"), ("n", "o")]


def subgraphs(depth: int) -> dict[str, Any]:
    inner = graph({"n": lif(2)}, SIMPLE)
    for _ in range(depth):
        inner = graph({"n": inner}, SIMPLE)
    return inner


def ladder(count: int) -> dict[str, Any]:
    """Neurons with edges both ways: cycles in cycles, one level for each neuron."""
    made = chain(count)
    return {**made, "edges": made["edges"] + [(b, a) for a, b in made["edges"][1:-1]]}


def crossed(count: int) -> dict[str, Any]:
    """Layers of two that are all connected: 2^layers paths from the input to the neuron."""
    scale = {"type": "Scale", "scale": np.ones(2, np.float32)}
    nodes: Nodes = {f"{side}{n}": scale for n in range(count) for side in "ab"}
    edges = [("i", "a0"), ("i", "b0")]
    edges += [(f"{x}{n - 1}", f"{y}{n}") for n in range(1, count) for x in "ab" for y in "ab"]
    edges += [(f"{x}{count - 1}", "n") for x in "ab"]
    return graph({**nodes, "n": lif(2)}, [*edges, ("n", "o")])


def wide(size: int) -> dict[str, Any]:
    nodes = {"i": port("Input", size), "n": {"type": "Delay", "delay": np.full(size, 1e6)}}
    return {"nodes": {**nodes, "o": port("Output", size)}}


def delay(steps: float) -> dict[str, Any]:
    return graph({"n": {"type": "Delay", "delay": np.full(2, steps)}}, SIMPLE)


WEIGHT = {"type": "Linear", "weight": np.zeros((2, 2), np.float32)}
RAISE = r"; at most {} are allowed \(`--max-{}` raises that\)"
Claim = tuple[dict[str, Any], Callable[[Any], None] | None, str]
# What no command reads: a file's graph, what is changed in the file, the message.
UNREAD: dict[str, Claim] = {
    "4 GiB of zeros in float64": (
        graph({"n": WEIGHT}, SIMPLE),
        zeros("node/nodes/n/weight", (2**28, 2)),
        r"`/node/nodes/n/weight` has shape \(268435456, 2\): the file claims 536870920 values or "
        "more, 4294967360 bytes as float64" + RAISE.format(2**31, "bytes"),
    ),
    "half a GiB of zeros": (
        graph({"n": WEIGHT}, SIMPLE),
        zeros("node/nodes/n/weight", (2**26, 2)),
        r"the arrays unpack to 5368\d+ bytes, from a file of 5\d+" + RAISE.format(64, "ratio"),
    ),
    "100,000 times one edge": (
        graph({"n": lif(2)}, SIMPLE * 50_000),
        None,
        "`/node/edges` holds 100000 texts or pairs of texts" + RAISE.format(2**16, "edges"),
    ),
    "subgraphs 17 deep": (subgraphs(17), None, "is nested 17 deep" + RAISE.format(16, "depth")),
    "20 MB of text": (
        graph({"n": lif(2)}, SIMPLE, note="x" * 20_000_000),
        None,
        "`/node/metadata/note`: 20000004 bytes of text" + RAISE.format(2**24, "text"),
    ),
}
# What `inspect` shows and `run` refuses.
UNRUN: dict[str, Claim] = {
    "cycles in cycles": (
        ladder(1600),
        None,
        "the graph has cycles in cycles in cycles" + RAISE.format(2**20, "cycles"),
    ),
    "a delay without end": (
        delay(1e8),
        None,
        r"Delay node `n`: `delay` is 1e\+08; .* from 0 to a million",
    ),
    "a delay of many neurons": (
        {**delay(1e6), **wide(200)},
        None,
        "Delay node `n`: a delay of 1000000 steps keeps 200000200" + RAISE.format(2**27, "delay"),
    ),
}
TARGET = ("--target", "xylo-audio-2")


LIMITED = (
    f"resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY})); "
    f"resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))"
)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command of `spyx-nir` that dies where it takes more memory or processor time."""
    line = after(LIMITED, sys.executable, "-m", "spyx_nir", *map(str, arguments))
    return subprocess.run(line, capture_output=True, text=True)


@pytest.mark.parametrize("what", UNREAD)
def test_no_command_pays_for_what_a_file_claims(what: str, tmp_path: Path) -> None:
    content, change, message = UNREAD[what]
    path = write(tmp_path / "a.nir", content, change)
    for arguments in (["inspect", path], ["lint", path], ["fit", path, *TARGET]):
        found = command(*arguments)
        line = f"error: {re.escape(str(path))}: .*{message}\n"
        assert found.returncode == 1 and re.fullmatch(line, found.stderr), found.stderr


@pytest.mark.parametrize("what", UNRUN)
def test_no_run_pays_for_what_a_graph_claims(what: str, tmp_path: Path) -> None:
    content, change, message = UNRUN[what]
    path = write(tmp_path / "a.nir", content, change)
    size = int(content["nodes"]["i"]["shape"][0])
    np.save(tmp_path / "x.npy", np.ones((3, 1, size), np.float32))
    assert command("inspect", path).returncode == 0
    assert command("lint", path).returncode in (0, 1)
    found = command("run", path, tmp_path / "x.npy")
    line = f"error: {re.escape(str(path))}: .*{message}\n"
    assert found.returncode == 1 and re.fullmatch(line, found.stderr), found.stderr


def test_paths_that_double_at_every_node_are_refused_by_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nir", crossed(40))
    found = command("fit", path, *TARGET)
    message = "too many paths between populations" + RAISE.format(10_000, "paths")
    assert found.returncode == 1 and re.search(message, found.stderr), found.stderr


@pytest.mark.parametrize("arguments", [["lint"], ["upgrade", "b.nir"]])
def test_single_numbers_for_millions_of_neurons_are_not_written_out(
    arguments: list[str], tmp_path: Path
) -> None:
    """Sixty neurons of five numbers each where 2^24 arrive: 40 GB."""
    size = 2**24
    names = [f"n{number}" for number in range(60)]
    one: dict[str, Any] = {name: array[0] for name, array in lif(1).items() if name != "type"}
    nodes = {name: {"type": "LIF", **one} for name in names}
    content = graph(nodes, list(itertools.pairwise(["i", *names, "o"])))
    content["nodes"] |= {"i": port("Input", size), "o": port("Output", size)}
    path = write(tmp_path / "a.nir", content)
    name, *rest = arguments
    found = command(name, path, *(tmp_path / part for part in rest))
    message = r"node `n\d+`: the parameters of the graph take \d+ bytes in float64"
    line = f"error: {re.escape(str(path))}: {message}{RAISE.format(2**31, 'bytes')}\n"
    assert found.returncode == 1 and re.fullmatch(line, found.stderr), found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.nir"]


@pytest.mark.parametrize(
    ("content", "name", "enough"),
    [(subgraphs(17), "depth", 17), (graph({"n": lif(2)}, SIMPLE, note="x" * 2**25), "text", 2**26)],
    ids=["depth", "text"],
)
def test_a_limit_is_raised_by_its_flag(
    content: dict[str, Any], name: str, enough: int, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.nir", content)
    assert main(["inspect", str(path)]) == 1
    assert main(["inspect", str(path), f"--max-{name}", str(enough)]) == 0
    assert main(["inspect", str(path)]) == 1  # for this call alone
    with raised_limits(**{name: enough}):
        file.read(path)
    with pytest.raises(GraphError) as caught:
        file.read(path)
    assert caught.value.code == "too-large"


def test_a_limit_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    for most in ("0", "-1", "many", "9" * 30):
        with pytest.raises(SystemExit):
            main(["lint", "a.nir", "--max-nodes", most])
        assert "must be a whole number from 1 to 2^63, got" in capsys.readouterr().err
    for wrong in ({"nodes": 0}, {"node": 1}):
        with (
            pytest.raises(GraphError, match=r"limit node.*one of bytes, ratio, nodes"),
            raised_limits(**wrong),
        ):
            pass


def test_every_limit_has_a_flag() -> None:
    text = whole_parser().format_help()
    assert "inspect" in text
    flags = {
        option
        for action in whole_parser()._subparsers._group_actions[0].choices.values()  # type: ignore
        for option in action._option_string_actions
        if option.startswith("--max-")
    }
    assert flags == {f"--max-{name}" for name in limits.LIMITS}


# ------------------------------------------------------------------------------ what is not refused


def test_a_chain_of_two_thousand_nodes_is_read_planned_and_run(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nir", chain(2000))
    found = file.read_dict(path)
    plan = make_plan(found)
    assert len(plan.order) == 2002
    # An LIF of tau 2 and threshold 1 halves what arrives; 8 makes 4, which is a spike.
    result = reference.run(plan, np.full((2, 1, 2), 8.0))
    assert result.spikes["n00000"].tolist() == [[[1, 1]], [[1, 1]]]


def test_the_work_on_edges_grows_with_their_number() -> None:
    """Counted: how often names are compared, for twice as many edges."""

    class Name(str):
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other)

    def work(count: int) -> int:
        middle = [f"n{number}" for number in range(count)]
        nodes = {Name(name): lif(2) for name in middle}
        edges = [(Name("i"), Name(name)) for name in middle]
        edges += [(Name(name), Name("o")) for name in middle]
        Name.compared = 0
        content = graph(nodes, [*edges, *edges])
        _, faults = repair(content)
        assert sum(fault.code == "duplicate-edge" for fault in faults) == 2 * count
        return Name.compared

    assert work(400) < 2.5 * work(200)


def test_a_delay_costs_the_same_in_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: how many numbers NumPy is asked to look at in a step, early and late."""
    node = {"type": "Delay", "delay": np.array([0.0, 300.0])}
    state: dict[str, Any] = {}
    sizes = []
    where = np.where

    def counted(condition: Any, *rest: Any) -> Any:
        sizes.append(np.size(condition))
        return where(condition, *rest)

    take = np.take_along_axis

    def taken(array: Any, index: Any, axis: int) -> Any:
        sizes.append(np.size(index))
        return take(array, index, axis)

    monkeypatch.setattr(equations.np, "where", counted)
    monkeypatch.setattr(equations.np, "take_along_axis", taken)
    x = np.random.default_rng(0).normal(size=(700, 1, 2))
    work, out = [], []
    for row in x:
        sizes.clear()
        y, state = equations.step_delay(node, row, state, 1.0)
        work.append(sum(sizes))
        out.append(y)
    assert set(work) == {2}
    late = np.concatenate([np.zeros((300, 1)), x[:400, :, 1]])
    np.testing.assert_array_equal(np.stack(out)[..., 1], late)
    np.testing.assert_array_equal(np.stack(out)[..., 0], x[..., 0])


# --------------------------------------------------------------------------------- what inspect reads


def big(tmp_path: Path, weight: np.ndarray, **options: Any) -> Path:
    nodes = {"i": port("Input", 2), "o": port("Output", len(weight))}
    nodes["n"] = {"type": "Linear", "weight": np.zeros((2, 2), np.float32)}
    content = {"type": "NIRGraph", "nodes": nodes, "edges": SIMPLE, "metadata": {"dt": 1.0}}

    def change(made: h5py.File) -> None:
        del made["node/nodes/n/weight"]
        made.create_dataset("node/nodes/n/weight", data=weight, **options)

    return write(tmp_path / "big.nir", content, change)


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (1000, 1), "compression": "gzip"}, {"chunks": (2**18, 2), "shuffle": True}],
    ids=["contiguous", "columns", "rows"],
)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "i2"])
def test_a_survey_says_what_reading_says(
    options: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    weight = np.random.default_rng(1).normal(size=(2**18 + 7, 2)) * 1000
    path = big(tmp_path, weight.astype(dtype), **options)
    whole = hdf5.read(path)
    survey, digest = hdf5.survey(path)
    assert digest == file.content_digest(whole) == file.digest(path)
    found, kept = (c["node"]["nodes"]["n"]["weight"] for c in (survey, whole))
    assert (found.shape, found.dtype) == (kept.shape, kept.dtype)
    assert hdf5.ends(found) == (kept.min(), kept.max())
    assert found.strides == (0, 0)  # it takes no memory
    del whole, kept


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_a_survey_keeps_what_a_message_names(value: float, tmp_path: Path) -> None:
    weight = np.zeros((2**18, 2))
    weight[1000, 1] = value
    path = big(tmp_path, weight)
    refused = inspect(path)["refused"]
    expected = planned(file.read_dict(path))
    assert isinstance(expected, GraphError) and refused == str(expected)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: Linux tells the peak")
def test_inspect_takes_no_memory_for_weights(tmp_path: Path) -> None:
    """96 MiB of weights, beside a file of none: the peaks of both, as the system counts them."""
    program = (
        "import sys; from pathlib import Path; from spyx_nir.cli.main import main;"
        "main(['inspect', sys.argv[1]]); print(Path('/proc/self/status').read_text())"
    )

    def peak(path: Path) -> int:
        line = [sys.executable, "-c", program, str(path)]
        said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
        (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", said)
        return 1024 * int(kilobytes)

    small = peak(write(tmp_path / "small.nir", graph({"n": WEIGHT}, SIMPLE)))
    weight = np.random.default_rng(0).integers(-9, 9, (2**24 * 3, 2), np.int8)
    large = peak(big(tmp_path, weight))
    assert large - small < weight.nbytes / 2  # eight MiB are read at a time
