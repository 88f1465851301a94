"""Run the chip's integer rule on this bundle's samples and compare every spike and every state.

Needs Python 3.10 or newer and numpy; nothing of the project that made the bundle. Exit code 0: all as in
test_data_set_0/integer_vectors.npz. 1: something differs, and is named. 2: numpy is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

try:
    import numpy as np
except ImportError as missing:
    print(f"error: verify_integers.py needs numpy: {missing}", file=sys.stderr)
    sys.exit(2)

# <reference>
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.simulate import run

# </reference>

VECTORS = Path("test_data_set_0") / "integer_vectors.npz"
EVENTS = VECTORS.with_name("events.npz")  # where the chip takes events


class Chip(dict[str, Any]):
    """The chip's numbers, as the simulator asks for them."""

    name: str
    integer_semantics: str


def network_of(arrays: dict[str, np.ndarray]) -> IntegerNetwork:
    """The network that a file of integer vectors describes."""
    content = json.loads(str(arrays["network"]))
    chip: Any = Chip(content["chip"])
    chip.name, chip.integer_semantics = content["target"], content["rule"]

    def whole(key: str) -> Any:
        return arrays[key].astype(np.int64) if key in arrays else None

    populations = [
        Population(
            n["name"],
            tuple(n["shape"]),
            whole(f"threshold/{n['name']}"),
            whole(f"decay_syn/{n['name']}"),
            whole(f"decay_mem/{n['name']}"),
            n["reset"],
            n["output"],
        )
        for n in content["neurons"]
    ]
    weights = [
        Weight(
            w["source"],
            w["target"],
            w["node"],
            whole(f"weight/{w['node']}"),
            *(tuple(w[key]) for key in ("shape", "pools", "stride", "padding")),
        )
        for w in content["weights"]
    ]
    inputs = {name: tuple(shape) for name, shape in content["inputs"].items()}
    return IntegerNetwork(chip, inputs, tuple(populations), tuple(weights))


def read(folder: Path, name: Path = VECTORS) -> dict[str, np.ndarray]:
    """The arrays of an .npz file of the bundle."""
    with open(folder / name, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return dict(archive)


def output(folder: Path, x: np.ndarray) -> np.ndarray:
    """What the chip's rule answers to recordings of one's own.

    x: (steps, recordings, *shape), counts of spikes. Steps without input, which let late spikes through,
    are added. The result: (steps and those, recordings, classes), counts of spikes.
    """
    arrays = read(folder)
    network = network_of(arrays)
    (name,) = network.inputs
    silent = json.loads(str(arrays["network"]))["silent_steps"]
    x = np.concatenate([x, np.zeros((silent, *x.shape[1:]), np.int64)]).astype(np.int64)
    (shown,) = (population.name for population in network.populations if population.output)
    return run(network, {name: x}).spikes[shown]


def frames(stored: dict[str, np.ndarray]) -> np.ndarray:
    """The events of events.npz, counted by bins: (steps, recordings, *shape)."""
    events, start = stored["events"], stored["start"]
    steps, *shape = stored["shape"].tolist()
    height = shape[-2] if len(shape) == 3 else 1
    found = np.zeros((steps, len(start) - 1, *shape), np.int64)
    cells = found.reshape(steps, len(start) - 1, -1, height, shape[-1])
    recording = np.repeat(np.arange(len(start) - 1), np.diff(start))
    step = events["t"] // stored["bin_us"]
    np.add.at(cells, (step, recording, events["p"], events["y"], events["x"]), 1)
    return found


def check(folder: Path) -> list[str]:
    """A line for every population whose spikes or states differ, and for events beside the input."""
    arrays = read(folder)
    network = network_of(arrays)
    (name,) = network.inputs
    found = run(network, {name: arrays["input"].astype(np.int64)}, record=True)
    kinds = {"spikes": found.spikes, "membrane": found.membranes, "current": found.currents}
    problems = []
    for key, expected in arrays.items():
        kind, _, neurons = key.partition("/")
        if kind not in kinds:
            continue
        differs = kinds[kind][neurons] != expected
        if differs.any():
            first = tuple(int(i) for i in np.argwhere(differs)[0])
            problems.append(
                f"{key}: {int(differs.sum())} of {differs.size} entries differ, the first at (step, "
                f"sample, neuron...) = {first}"
            )
    if (folder / EVENTS).exists():
        counted = frames(read(folder, EVENTS))
        if (counted != arrays["input"][: len(counted)]).any():
            problems.append(f"{EVENTS.name}: counted by bins, its events are not the input")
    return problems


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Check a chip's integers: every spike and every state of the golden samples.",
        epilog="Needs numpy. Exit code 0: pass, 1: something differs, 2: numpy is missing.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(__file__)
        .absolute()
        .parent,  # not resolved: DVC may link every file to its cache
        help="the bundle; default: where this file lies",
    )
    folder = parser.parse_args().folder
    if folder.is_absolute() and folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    try:
        problems = check(folder)
    except Exception as error:  # a broken file must become a line, whatever breaks
        problems = [f"{VECTORS}: not to be run ({type(error).__name__}: {error})"]
    for problem in problems:
        print(f"differs: {problem}", file=sys.stderr)
    print(f"{'FAIL' if problems else 'pass'}: {folder}: integer vectors")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
