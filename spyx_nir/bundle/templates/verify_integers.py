"""Run the chip's integer rule on this bundle's samples and compare every spike and every state.

Needs Python 3.10 or newer and numpy; nothing of the project that made the bundle. Exit code 0: all as in
test_data_set_0/integer_vectors.npz. 1: something differs, and is named. 2: numpy is missing.
events/encode.py checks the recordings that the samples were made of.
"""

from __future__ import annotations

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
from spyx_nir.bundle.templates.shared import compared, difference, main, read, read_json
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.simulate import run, run_events

# </reference>

VECTORS = Path("test_data_set_0") / "integer_vectors.npz"
EVENTS = Path("events") / "recordings.npz"
ADDRESSES = Path("events") / "address_map.json"
NUMBERS = ("weight/", "threshold/", "decay_syn/", "decay_mem/", "bias/", "delay/")  # of the network


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
            bias=whole(f"bias/{n['name']}"),
            membrane=n.get("membrane", False),
        )
        for n in content["neurons"]
    ]
    weights = [
        Weight(
            w["source"],
            w["target"],
            w["node"],
            whole(f"weight/{w['node']}"),
            **{key: tuple(w[key]) for key in ("shape", "pools", "stride", "padding")},
            dilation=tuple(w.get("dilation", (1, 1))),
            groups=w.get("groups", 1),
            delay=whole(f"delay/{w['node']}"),
        )
        for w in content["weights"]
    ]
    inputs = {name: tuple(shape) for name, shape in content["inputs"].items()}
    return IntegerNetwork(chip, inputs, tuple(populations), tuple(weights))


def output(folder: Path, x: np.ndarray) -> np.ndarray:
    """What the chip's rule answers to recordings of one's own.

    x: (steps, recordings, *shape), counts of spikes. Steps without input, in which delayed spikes
    arrive, are added. The result: (steps and those, recordings, classes), counts of spikes, or the
    membranes where those are read.
    """
    arrays = read(folder / VECTORS)
    network = network_of(arrays)
    (name,) = network.inputs
    silent = json.loads(str(arrays["network"]))["silent_steps"]
    x = np.concatenate([x, np.zeros((silent, *x.shape[1:]), np.int64)]).astype(np.int64)
    (shown,) = (population for population in network.populations if population.output)
    return run(network, {name: x}).shown(shown)


def check(folder: Path) -> list[str]:
    """A line for every population whose spikes or states differ."""
    try:
        return _differences(folder)
    except Exception as error:  # a broken file must become a line, whatever breaks
        return [f"{VECTORS}: not to be run ({type(error).__name__}: {error})"]


def _differences(folder: Path) -> list[str]:
    arrays = read(folder / VECTORS)
    network = network_of(arrays)
    (name,) = network.inputs
    if problems := _incomplete(network, arrays):
        return problems
    found = run(network, {name: arrays["input"].astype(np.int64)}, record=True)
    kinds = {"spikes": found.spikes, "membrane": found.membranes, "current": found.currents}
    for key, expected in arrays.items():
        kind, _, neurons = key.partition("/")
        if kind not in kinds:
            continue
        if neurons not in kinds[kind]:
            problems.append(f"{VECTORS}: has {key}, of which the network has none")
        elif (got := kinds[kind][neurons]).shape != expected.shape:
            problems.append(f"{key}: has shape {expected.shape}, the network gives {got.shape}")
        elif (differs := got != expected).any():
            problems.append(f"{key}: {difference(differs)}")
    stored = read(folder / EVENTS) if (folder / EVENTS).exists() else {}  # verify.py misses it
    if any(key.startswith("count/") for key in stored):
        problems += check_events(network, stored, read_json(folder / ADDRESSES))
    return problems


def _incomplete(network: IntegerNetwork, arrays: dict[str, np.ndarray]) -> list[str]:
    """A line for what must be in the file for a comparison to show anything."""
    due = {f"{kind}/{p.name}" for p in network.populations for kind in ("spikes", "membrane")}
    due |= {f"current/{p.name}" for p in network.populations if p.decay_syn is not None}
    if missing := sorted(due - set(arrays)):
        return [f"{VECTORS}: has no `{missing[0]}`"]
    if not arrays["input"].size:
        return [f"{VECTORS}: holds no sample, so nothing is compared"]
    return []


def check_events(
    network: IntegerNetwork, stored: dict[str, np.ndarray], addresses: dict[str, Any]
) -> list[str]:
    """What the chip makes of the events one by one, beside the counts of spikes in recordings.npz."""
    problems = []
    (name,) = network.inputs
    start = stored["start"]
    for n in range(len(start) - 1):
        events = stored["events"][start[n] : start[n + 1]]
        place = sum(
            stride * events[field].astype(np.int64)
            for field, stride in addresses["input"]["strides"].items()
        )
        if addresses["input"]["merge_polarity"]:  # a channel's first event in a bin is the only one
            cells = np.stack([events["t"] // addresses["time"]["bin_us"], place])
            place = place[np.sort(np.unique(cells, axis=1, return_index=True)[1])]
        for neurons, spikes in run_events(network, {name: place}).items():
            expected = stored[f"count/{neurons}"][n].ravel()
            found = np.bincount(spikes.neuron, minlength=expected.size)
            if (found != expected).any():
                problems.append(
                    f"{EVENTS}: recording {n}, {neurons}: event by event "
                    f"{int((found != expected).sum())} of {found.size} neurons spike more or less often"
                )
    return problems


def passed(folder: Path) -> str:
    """What was seen where `check` finds nothing."""
    arrays = read(folder / VECTORS)
    spikes = [array for key, array in arrays.items() if key.startswith("spikes/")]
    states = sum(
        array.size for key, array in arrays.items() if key.startswith(("membrane/", "current/"))
    )
    integers = sum(array.size for key, array in arrays.items() if key.startswith(NUMBERS))
    return f"integer vectors ({compared(spikes, 'entries')}, {states} states; {integers} integers)"


if __name__ == "__main__":
    about = "Check a chip's integers: every spike and state of the golden samples. Needs numpy."
    sys.exit(main(check, passed, about))
