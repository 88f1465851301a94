"""Fuzz readers, tools, reference and importer: `python -m bench.fuzz --seconds 600`.

A case is a small good file, damaged either byte by byte or as a graph: fields, values, edges, types and
metadata are changed for hostile ones and written again. It must be refused by a GraphError of one line,
or it must mean something: every tool handles it, the reference runs it, and (for some of the cases, for
compiling takes time) the imported JAX model agrees with the reference. Every fourth case is a damaged
bundle or release; see `bench.bundles`.

Cases depend on --seed and their number alone; --case N repeats one. They run in a process of their own,
so that a crash of the HDF5 library or a hang is noticed, named and survived. Exit code 1: a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import multiprocessing
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spyx_nir.errors import exit_status

PER_CASE = 60.0  # seconds until a case counts as a hang; on a busy machine compiling takes several
MEMORY = 12 * 2**30  # address space of a worker; JAX reserves several GiB without using them
BUNDLE_EVERY = 4
JAX_EVERY = 25  # accepted cases per comparison with JAX
BIG = 200_000  # elements that one run may touch
TIE = 1e-4  # of the threshold: what float32 may round away, as the limit of the parity stage


# ------------------------------------------------------------------------------------------- seeds


def seeds() -> list[dict[str, Any]]:
    """Small good graphs as dictionaries: every kind of node, chains, recurrence, branches."""
    import nir

    from spyx_nir.converter.registry import KINDS
    from spyx_nir.meaning.equations import EQUATIONS
    from tests.converter.node_examples import examples

    rng = np.random.default_rng(0)
    made = []
    for name in sorted(KINDS):
        if name in ("Input", "Output"):
            continue
        for node, shape in examples(name, rng):
            fields = {k: v for k, v in node.to_dict().items() if k != "metadata"}
            out = EQUATIONS[name].shape(fields, shape) if name in EQUATIONS else shape
            nodes = {"i": nir.Input(np.array(shape)), "n": node, "o": nir.Output(np.array(out))}
            made.append(
                nir.NIRGraph(nodes, [("i", "n"), ("n", "o")], {"dt": 1.0}, type_check=False)
            )
    (lif, shape), _ = examples("LIF", rng)
    weight = nir.Affine(rng.normal(size=(3, 3)).astype("f4"), rng.normal(size=3).astype("f4"))
    ends = {"i": nir.Input(np.array(shape)), "o": nir.Output(np.array(shape))}
    flat = [("i", "n"), ("n", "w"), ("w", "n"), ("n", "o")]
    skip = [("i", "n"), ("n", "w"), ("i", "w"), ("w", "o"), ("n", "o")]
    for edges in (flat, skip):
        nodes = {**ends, "n": copy.deepcopy(lif), "w": copy.deepcopy(weight)}
        made.append(nir.NIRGraph(nodes, edges, {"dt": 1.0}, type_check=False))
    return [graph.to_dict() for graph in made]


def write(path: Path, graph: dict[str, Any]) -> None:
    """A graph's dictionary as a file, whatever it holds."""

    def put(group: h5py.Group, content: dict[str, Any]) -> None:
        for name, value in content.items():
            if isinstance(value, dict):
                put(group.create_group(name), value)
            elif name == "edges":
                with contextlib.suppress(ValueError):
                    array = np.array([list(e) for e in value], object)
                    group.create_dataset(name, data=array, dtype=h5py.string_dtype())
            elif value is not None:
                group.create_dataset(name, data=value)

    with h5py.File(path, "w") as file:
        file["version"] = "1.0.8"
        put(file.create_group("node"), graph)


# ------------------------------------------------------------------------------------------ damage


def damage_bytes(rng: np.random.Generator, raw: bytearray) -> bytearray:
    """One to eight changes of single bytes, numbers, or the length."""
    for _ in range(int(rng.integers(1, 9))):
        place = int(rng.integers(len(raw)))
        what = rng.integers(6)
        if what == 0:
            raw[place] ^= 1 << int(rng.integers(8))
        elif what == 1:
            raw[place] = int(rng.integers(256))
        elif what == 2:
            width = int(rng.choice([2, 4, 8]))
            number = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**15, 2**16 - 1]))
            raw[place : place + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")
        elif what == 3:
            other, size = int(rng.integers(len(raw))), int(rng.integers(1, 64))
            raw[place : place + size] = raw[other : other + size]
        elif what == 4 and rng.random() < 0.3:
            del raw[place:]
            raw = raw or bytearray(1)
        else:
            raw[place : place + 8] = int(rng.integers(len(raw))).to_bytes(8, "little")
    return raw


NUMBERS = [
    0,
    -0.0,
    1,
    -1,
    0.5,
    1e-4,
    1e-30,
    1e30,
    1e38,
    1e300,
    -1e300,
    np.nan,
    np.inf,
    -np.inf,
    2**31,
]
TEXTS = [
    "",
    "LIF",
    "NIRGraph",
    "Input",
    "Izhikevich",
    "v_leak",
    "subtract",
    "same",
    "\n",
    "ü",
    "x" * 99,
]


def value_for(rng: np.random.Generator, old: Any) -> Any:
    """Something to put in a value's place."""
    array = np.asarray(old) if not isinstance(old, (dict, list)) else np.zeros(2)
    numeric = array.dtype.kind in "biuf" and array.size > 0
    number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    what = rng.integers(9)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if what <= 2 and numeric:
            changed = array.astype(np.float64 if rng.random() < 0.5 else np.float32).copy()
            changed.reshape(-1)[int(rng.integers(changed.size))] = number
            return changed
        if what == 3 and numeric:
            return array * (rng.random() * 4 - 1)
        if what == 4 and numeric:
            return array.reshape((1,) * int(rng.integers(3)) + array.shape)
        if what == 5 and numeric:
            return array.ravel()[: int(rng.integers(array.size + 1))]
        if what == 6:
            return TEXTS[int(rng.integers(len(TEXTS)))]
        if what == 7:
            return np.full(tuple(int(n) for n in rng.integers(0, 4, rng.integers(4))), number)
        return float(number)


def _whole(graph: Any) -> bool:
    """Whether a graph still has nodes and edges to be damaged."""
    return (
        isinstance(graph, dict)
        and isinstance(graph.get("nodes"), dict)
        and isinstance(graph.get("edges"), list)
    )


def damage_graph(rng: np.random.Generator, graph: dict[str, Any]) -> dict[str, Any]:
    """One to four changes of fields, nodes, edges or metadata; mostly one, which gets further."""
    for _ in range(min(4, int(rng.geometric(0.7)))):
        parts = [graph] if _whole(graph) else []
        for part in parts:
            parts += [node for node in part["nodes"].values() if _whole(node)]
        if not parts:
            break  # nothing is left that could be damaged further
        part = parts[int(rng.integers(len(parts)))]
        nodes, edges = part["nodes"], part["edges"]
        names = [*nodes, "gone", "n"]
        name = list(nodes)[int(rng.integers(len(nodes)))] if nodes else "n"
        node = nodes.get(name, {})
        node = node if isinstance(node, dict) else {}
        what = rng.integers(12)
        if what <= 4 and node:
            field = list(node)[int(rng.integers(len(node)))]
            node[field] = value_for(rng, node[field])
        elif what == 5 and len(node) > 1:
            del node[list(node)[int(rng.integers(len(node)))]]
        elif what == 6:
            node[TEXTS[int(rng.integers(1, len(TEXTS)))].replace("\n", "n")] = value_for(rng, 1.0)
        elif what == 7:
            ends = rng.integers(0, len(names), 2)
            edges.append((names[int(ends[0])], names[int(ends[1])]))
        elif what == 8 and edges:
            edges.pop(int(rng.integers(len(edges))))
        elif what == 9 and len(nodes) > 1:
            other = names[int(rng.integers(len(nodes)))]
            nodes[name], nodes[other] = copy.deepcopy(nodes[other]), nodes[name]
        elif what == 10:
            metadata = {"dt": 1.0, "contract_version": 1, "reset": "subtract", "spike_delay": 1}
            metadata |= {
                "v_init": "v_leak",
                "time_unit": "s",
                "output_order": "HWC",
                "classes": "[1",
            }
            key = list(metadata)[int(rng.integers(len(metadata)))]
            where = node if rng.random() < 0.5 else graph
            new = metadata[key] if rng.random() < 0.5 else value_for(rng, metadata[key])
            if isinstance(where.setdefault("metadata", {}), dict):
                where["metadata"][key] = new
        elif name in nodes:
            nodes[f"{name}2"] = copy.deepcopy(node)
            edges += [(f"{name}2" if s == name else s, t) for s, t in edges if s == name]
            edges += [(s, f"{name}2") for s, t in edges[:] if t == name]
    return graph


def make(path: Path, seed: int, case: int, good: list[dict[str, Any]], raw: list[bytes]) -> str:
    """Write case number `case`; returns what kind of damage it is."""
    rng = np.random.default_rng([seed, case])
    index = int(rng.integers(len(good)))
    if rng.random() < 0.4:
        path.write_bytes(damage_bytes(rng, bytearray(raw[index])))
        return "bytes"
    try:
        write(path, damage_graph(rng, copy.deepcopy(good[index])))
    except (ValueError, TypeError, OSError):
        path.write_bytes(b"")  # HDF5 itself cannot hold it
    return "graph"


# ------------------------------------------------------------------------------------------- check


def check(path: Path, jax: bool, rng: np.random.Generator) -> str:
    """What became of a file: "refused", "refused to run", "ran", "agreed" or "tie".

    Raises:
        AssertionError, or whatever was not meant to escape: a failure.
    """
    from spyx_nir.cli.inspect import inspect
    from spyx_nir.converter import file, hdf5
    from spyx_nir.converter.lint import lint
    from spyx_nir.converter.upgrade import upgrade
    from spyx_nir.errors import GraphError, UsageError
    from spyx_nir.meaning import reference
    from spyx_nir.meaning.plan import make_plan, step_dt

    try:
        raw = hdf5.read(path)
        content = file.outline(raw, path)
    except GraphError as error:
        return _refused(error, "refused")
    file.content_digest(raw)
    json.dumps(inspect(path), default=str)
    found = lint(content, target="nir-1.0.4")
    with contextlib.suppress(GraphError):
        graph, _ = upgrade(content)
        make_plan(graph.to_dict())
    try:
        graph = file.build(content)
    except GraphError as error:
        assert any(f.severity == "error" or f.code == "scalar-parameter" for f in found), error
        return _refused(error, "refused")
    try:
        plan = make_plan(graph.to_dict())
    except GraphError as error:
        assert any(f.severity == "error" for f in found), error
        return _refused(error, "refused to run")
    if sum(int(np.prod(shape)) for shape in plan.arrives.values()) > BIG or _work(plan) > 100 * BIG:
        return "too large to run here"
    x = {p: rng.integers(0, 3, (5, 2, *plan.shapes[p])).astype(np.float32) for p in plan.inputs}
    try:
        dt = step_dt(plan, None) if "dt" in plan.metadata else 1.0
        with np.errstate(all="ignore"):
            result = reference.run(plan, x, dt)
    except (GraphError, UsageError) as error:
        _refuses_too(graph, plan.metadata.get("dt", 1.0), error)
        return _refused(error, "refused to run")
    return _compare(graph, plan, x, dt, result) if jax else "ran"


def _work(plan: Any) -> int:
    """Multiplications of one step, roughly: what a stride-1 convolution of this size takes."""
    return sum(
        np.size(node.get("weight", 0)) * int(np.prod(plan.shapes[path][1:]))
        for path, node in plan.nodes.items()
    )


def _refused(error: Exception, how: str) -> str:
    text = str(error)
    assert "\n" not in text and len(text) < 2000, f"not one line: {text[:3000]!r}"
    return how


def _refuses_too(graph: Any, dt: Any, error: Exception) -> None:
    from spyx_nir import converter
    from spyx_nir.errors import GraphError

    try:
        converter.load(graph, dt)
    except GraphError:
        return
    raise AssertionError(f"the reference refuses ({error}), the importer does not")


def _compare(graph: Any, plan: Any, x: dict[str, Any], dt: float, result: Any) -> str:
    """The imported model against the reference: float32 against float64."""
    from spyx_nir import converter
    from spyx_nir.converter.layout import to_first, to_last

    graph.metadata.pop("output_order", None)  # Spyx's order of the output instead of NIR's
    loaded = converter.load(graph, dt)
    data = {name: np.asarray(to_last(a, a.ndim - 2)) for name, a in x.items()}
    only = len(plan.inputs) == 1
    outputs, _ = converter.run(loaded.model, data[plan.inputs[0]] if only else data)
    named = outputs if isinstance(outputs, dict) else {plan.outputs[0]: outputs}
    limit = np.finfo(np.float32).max / 1e6
    numbers = [*result.outputs.values(), *result.membranes.values()]
    if any(not (np.abs(n) < limit).all() for n in numbers):
        return "beyond float32"
    for path, expected in result.outputs.items():
        got = to_first(np.asarray(named[path], np.float64), expected.ndim - 2)
        assert got.shape == expected.shape, f"{path}: {got.shape}, reference {expected.shape}"
        scale = max(1.0, *(float(np.abs(n).max()) for n in numbers))
        # Float32 has seven digits; five steps of sums, gains and decays may use up three of them.
        if not np.allclose(got, expected, rtol=1e-4, atol=1e-5 * scale):
            assert _tied(plan, result), f"{path}: JAX and the reference differ: {got} {expected}"
            return "tie"
    return "agreed"


def _tied(plan: Any, result: Any) -> bool:
    """Whether a membrane came so close to its threshold that float32 may decide otherwise."""
    for path, u in result.membranes.items():
        node = plan.nodes[path]
        theta = np.asarray(node.get("v_threshold", node.get("threshold")), np.float64)
        theta = theta.reshape(()) if theta.size == 1 else theta
        near = TIE * np.maximum(np.abs(theta), np.abs(u).max() * 1e-2)
        if (np.abs(u - theta) <= near).any():
            return True
    return False


# --------------------------------------------------------------------------------------- processes


def work(seed: int, first: int, now: Any, started: Any, queue: Any, last: int | None) -> None:
    """Run cases from `first` on and report each; the parent ends it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    good = seeds()
    from spyx_nir import converter  # with JAX: importing is no case's fault

    converter.run  # noqa: B018
    from bench.bundles import Bundles

    with tempfile.TemporaryDirectory() as folder:
        bundles = Bundles(Path(folder) / "bundles")
        raw = []
        for graph in good:
            write(Path(folder) / "seed.nir", graph)
            raw.append((Path(folder) / "seed.nir").read_bytes())
        path = Path(folder) / "case.nir"
        case = first
        accepted = 0
        while last is None or case <= last:
            now.value, started.value = case, time.monotonic()
            bundle = case % BUNDLE_EVERY == BUNDLE_EVERY - 1
            kind = "bundle" if bundle else make(path, seed, case, good, raw)
            jax = accepted % JAX_EVERY == 0 or last == first
            stderr = io.StringIO()
            try:
                if bundle:
                    changed = bundles.make(np.random.default_rng([seed, case]))
                    fate = ", ".join(bundles.check(changed))
                else:
                    with contextlib.redirect_stderr(stderr), warnings.catch_warnings():
                        warnings.simplefilter("error")
                        warnings.filterwarnings("ignore", message="subgraph .* legacy wiring")
                        fate = check(path, jax, np.random.default_rng([seed, case, 1]))
                accepted += fate in ("ran", "agreed", "tie")
            except Exception:
                fate = traceback.format_exc()
            queue.put((case, kind, fate))
            case += 1
        started.value = time.monotonic() + 1e9
        queue.put((None, "", ""))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, help="stop after so many instead")
    parser.add_argument("--case", type=int, help="run this one only")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    now, started = context.Value("q", 0), context.Value("d", time.monotonic())
    first = arguments.case or 0
    last = arguments.cases - 1 if arguments.cases else arguments.case
    counts: Counter[str] = Counter()
    failures: list[str] = []
    end = time.monotonic() + arguments.seconds
    done = False

    def drain() -> None:
        nonlocal done
        while not queue.empty():
            case, kind, fate = queue.get()
            if case is None:
                done = True
            elif "\n" in fate:  # of a stack trace
                counts[f"{kind}: FAILED"] += 1
                failures.append(f"case {case} ({kind}):\n{fate}")
            else:
                counts[f"{kind}: {fate}"] += 1

    while not done and (arguments.cases or arguments.case is not None or time.monotonic() < end):
        started.value = time.monotonic() + 120  # importing takes its time
        worker = context.Process(
            target=work, args=(arguments.seed, first, now, started, queue, last), daemon=True
        )
        worker.start()
        while worker.is_alive() and not done:
            time.sleep(0.1)
            drain()
            if time.monotonic() - started.value > PER_CASE:
                failures.append(f"case {now.value}: hangs (more than {PER_CASE:g} s)")
                break
            if last is None and time.monotonic() > end:
                break
        else:
            drain()
            if not done:
                failures.append(f"case {now.value}: the process ended with {worker.exitcode}")
        worker.kill()
        worker.join()
        first = now.value + 1
    drain()
    total = sum(counts.values())
    for name, count in sorted(counts.items()):
        print(f"{count:8}  {name}")
    for failure in failures[:20]:
        print(failure, file=sys.stderr)
    print(f"seed {arguments.seed}: {total} cases, {len(failures)} failures")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(exit_status(main))
