"""What goes over the serial port and what comes back, as c/serial.h has it; and what differs.

Needs Python 3.10 or newer and numpy; nothing of the project that made the bundle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

VECTORS = Path("test_data_set_0") / "integer_vectors.npz"
WORD = 32
KINDS = ("current", "membrane", "spikes")


def commands(x: np.ndarray, most: int, states: int | None = None) -> bytes:
    """Recordings (T, N, *shape) of counts as c/serial.h has them: R, for each step E ... S V, then C.

    most: counts above it are taken as that. states: of how many recordings states are read; None: all.
    """
    found = []
    for n in range(x.shape[1]):
        end = b"SV" if states is None or n < states else b"S"
        found.append(b"R")
        for counts in x[:, n]:
            found += [events(counts, most), end]
        found.append(b"C")
    return b"".join(found)


def events(counts: np.ndarray, most: int) -> bytes:
    """The counts of a step, of the shape of the input, as commands E.

    most: counts above it are taken as that.
    """
    where = np.nonzero(counts)
    times = np.minimum(counts[where], most).astype(np.int64)
    places = np.zeros((len(times), 3), "<u2")
    # (channels,), (channels, width) or (channels, height, width)
    axes = {1: (0,), 2: (0, 2), 3: (0, 1, 2)}[counts.ndim]
    for axis, index in zip(axes, where, strict=True):
        places[:, axis] = index
    found = np.empty(len(times), np.dtype([("command", "S1"), ("place", "<u2", 3)]))
    found["command"], found["place"] = b"E", places
    return np.repeat(found, times).tobytes()


def step_layout(network: dict[str, Any], states: bool) -> np.dtype[Any]:
    """What comes back of a step: the answer to S, and with `states` that to V."""
    sizes = {n["name"]: int(np.prod(n["shape"])) for n in network["neurons"]}
    words = sum(-(-size // WORD) for size in sizes.values())
    step: list[Any] = [("S", "S1"), ("events", "<u4"), ("ticks", "<u4"), ("spikes", "<u4", words)]
    if states:
        currents = sum(sizes[name] for name in network["currents"])
        step += [
            ("V", "S1"),
            ("current", "<i4", currents),
            ("membrane", "<i4", sum(sizes.values())),
        ]
    return np.dtype(step)


def layouts(network: dict[str, Any], steps: int) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """What comes back of a recording with states, and of one without."""
    whole, without = (
        np.dtype(
            [
                ("R", "S1"),
                ("step", step_layout(network, states), steps),
                ("C", "S1"),
                ("class", "<u4"),
            ]
        )
        for states in (True, False)
    )
    return whole, without


def answers(
    data: bytes, network: dict[str, Any], steps: int, samples: int, states: int | None = None
) -> dict[str, np.ndarray]:
    """What came back, by the keys of integer_vectors.npz; besides `events`, `ticks` (T, N), `class` (N,).

    States are those of the first `states` recordings. network: as `network_of` gives it.

    Raises:
        RuntimeError: too much or too little came back, or something else.
    """
    states = samples if states is None else states
    whole, without = layouts(network, steps)
    due = states * whole.itemsize + (samples - states) * without.itemsize
    if len(data) != due:
        raise RuntimeError(f"{len(data)} bytes came back, {due} are due")
    first = np.frombuffer(data[: states * whole.itemsize], whole)
    rest = np.frombuffer(data[states * whole.itemsize :], without)
    marks = [(part[key], key) for part in (first, rest) for key in "RC"]
    marks += [(part["step"]["S"], "S") for part in (first, rest)] + [(first["step"]["V"], "V")]
    if any((said != key.encode()).any() for said, key in marks):
        raise RuntimeError("the answers are not in step with the commands: a byte was lost")
    found = {
        key: np.concatenate([first["step"][key], rest["step"][key]]).swapaxes(0, 1)
        for key in ("events", "ticks", "spikes")
    }
    bits = np.unpackbits(found.pop("spikes").copy().view(np.uint8), axis=-1, bitorder="little")
    flat = {kind: first["step"][kind].swapaxes(0, 1) for kind in ("current", "membrane")}
    flat["spikes"] = bits
    at = dict.fromkeys(flat, 0)
    for n in network["neurons"]:
        name, shape, size = n["name"], tuple(n["shape"]), int(np.prod(n["shape"]))
        for kind, array in flat.items():
            if kind == "current" and name not in network["currents"]:
                continue
            part = array[..., at[kind] : at[kind] + size]
            at[kind] += -(-size // WORD) * WORD if kind == "spikes" else size
            last = part.reshape(*part.shape[:2], *shape[1:], shape[0])  # channels last
            found[f"{kind}/{name}"] = np.moveaxis(last, -1, 2)
    return found | {"class": np.concatenate([first["class"], rest["class"]])}


def differences(found: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> list[str]:
    """A line for every population whose spikes or states are not those of `arrays`.

    States are compared for as many recordings as were read.
    """
    problems = []
    for key in sorted(k for k in arrays if k.partition("/")[0] in KINDS):
        differs = found[key] != arrays[key][:, : found[key].shape[1]]
        if differs.any():
            first = tuple(int(i) for i in np.argwhere(differs)[0])
            problems.append(
                f"{key}: {int(differs.sum())} of {differs.size} entries differ, the first at (step, "
                f"sample, neuron...) = {first}"
            )
    return problems


def network_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The `network` of integer_vectors.npz, with `currents`."""
    network: dict[str, Any] = json.loads(str(arrays["network"]))
    names = [n["name"] for n in network["neurons"]]
    return {**network, "currents": [name for name in names if f"decay_syn/{name}" in arrays]}
