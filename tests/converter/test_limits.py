"""Files that claim more than they hold: refused before they cost memory, in a line that says the limit."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

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
    return graph(nodes, list(zip(path, path[1:], strict=False)))


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


def delay(steps: float) -> dict[str, Any]:
    return graph({"n": {"type": "Delay", "delay": np.full(2, steps)}}, SIMPLE)


WEIGHT = {"type": "Linear", "weight": np.zeros((2, 2), np.float32)}
# A file, and what every command says of it.
CLAIMS: dict[str, tuple[dict[str, Any], Callable[[Any], None] | None, str]] = {
    "4 GiB of zeros as float64": (
        graph({"n": WEIGHT}, SIMPLE),
        zeros("node/nodes/n/weight", (2**28, 2)),
        "`/node/nodes/n/weight` has shape (268435456, 2): the file claims 536870914 values or more, "
        "4294967312 bytes as float64; at most 2147483648 are allowed (`--max-bytes` raises that)",
    ),
    "1 GiB of zeros": (
        graph({"n": WEIGHT}, SIMPLE),
        zeros("node/nodes/n/weight", (2**27, 2)),
        "at most 64 are allowed (`--max-ratio` raises that)",
    ),
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "spyx_nir", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, preexec_fn=limited)
