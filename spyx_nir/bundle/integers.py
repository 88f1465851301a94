"""integer_vectors.npz: a chip's integers, and what its rule makes of the golden vectors' samples.

verify_integers.py in the bundle runs them again with NumPy alone. It is `templates/verify_integers.py`
with the text of the chip's simulator in it.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import errors, files
from spyx_nir.bundle import standalone
from spyx_nir.hardware import grid, network, registry, simulate
from spyx_nir.hardware.network import IntegerNetwork, Population, Run, Weight
from spyx_nir.hardware.profile import KEYS, Profile

NAME = "integer_vectors.npz"


def write(path: Path, chips: IntegerNetwork, x: np.ndarray) -> Run:
    """Write the file; the simulation that it holds.

    Keys: `input` (T, N, *shape); `weight/<node>` (targets, sources) or (F, C, height, width);
    `threshold/<neurons>`, and where they have one `decay_syn/`, `decay_mem/`, `bias/`: one number, or
    one for each neuron; `delay/<node>`, the further steps of a weight's spikes; `spikes/<neurons>`
    (T, N, *shape), counts; `membrane/` and, where there is one, `current/`, the states after every
    step, the membranes after the reset; `network`, JSON: the chip's numbers, the neurons, which
    weight leads where, and the count of steps without input, in which delayed spikes arrive.

    Args:
        x: (T, N, *shape) counts of spikes, the silent steps for delayed spikes included.
    """
    (name,) = chips.inputs
    run = simulate.run(chips, {name: x}, record=True)
    arrays: dict[str, Any] = {"network": json.dumps(structure(chips), sort_keys=True)}
    arrays["input"] = x.astype(np.uint8)
    arrays |= {f"weight/{w.node}": w.values.astype(np.int16) for w in chips.weights}
    arrays |= {
        f"delay/{w.node}": w.delay.astype(np.int32) for w in chips.weights if w.delay is not None
    }
    for p in chips.populations:
        arrays[f"threshold/{p.name}"] = p.threshold.astype(np.int32)
        for field in ("decay_syn", "decay_mem", "bias"):
            if (value := getattr(p, field)) is not None:
                arrays[f"{field}/{p.name}"] = value.astype(np.int32)
        arrays[f"spikes/{p.name}"] = run.spikes[p.name]
        arrays[f"membrane/{p.name}"] = run.membranes[p.name]
        if p.decay_syn is not None:
            arrays[f"current/{p.name}"] = run.currents[p.name]
    with open(path, "wb") as stream:
        files.write_npz(stream, arrays)
    return run


def structure(chips: IntegerNetwork) -> dict[str, Any]:
    """What of a network is no array."""
    profile = chips.profile
    numbers = arithmetic(profile)
    biased = any(p.bias is not None for p in chips.populations)
    return {
        "target": profile.name,
        "rule": profile.integer_semantics,
        "silent_steps": max(simulate.delays(chips).values()),
        "chip": {**numbers, "neuron.bias": biased},
        "inputs": chips.inputs,
        "neurons": [_neurons(population) for population in chips.populations],
        "weights": [_weight(weight) for weight in chips.weights],
    }


def arithmetic(profile: Profile) -> dict[str, Any]:
    """The facts of a chip that its integers are computed by."""
    sections, asked = ("neuron.", "weights.", "state."), registry.family(profile).simulated
    numbers = {key: profile[key] for key in KEYS if key.startswith(sections)}
    return numbers | {key: profile[key] for key in asked if profile[key] is not None}


def _neurons(p: Population) -> dict[str, Any]:
    about = {"name": p.name, "shape": p.shape, "reset": p.reset, "output": p.output}
    return {**about, "membrane": True} if p.membrane else about


def _weight(w: Weight) -> dict[str, Any]:
    """Groups and dilation only where there are any."""
    plain = ("source", "target", "node", "shape", "pools", "stride", "padding")
    about = {key: getattr(w, key) for key in plain}
    if w.dilation != (1, 1):
        about["dilation"] = w.dilation
    if w.groups != 1:
        about["groups"] = w.groups
    return about


def source(chip: Profile) -> str:
    """The text of a verify_integers.py, which needs no module of ours, for networks of a chip."""
    family = registry.family(chip)
    by_event = "run_events: Any = None  # the chip takes counts of a step"
    if family.run_events is not None:
        by_event = inspect.getsource(sys.modules[family.run_events.__module__])
    simulator = sys.modules[family.run.__module__]
    parts = (errors.UserError, errors.GraphError, grid.weight_range, network, simulator)
    texts = [inspect.getsource(part) for part in parts]
    return standalone.source("verify_integers.py", *texts, by_event)
