"""integer_vectors.npz: a chip's integers, and what its rule makes of the golden vectors' samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.hardware import simulate
from pipeline.hardware.network import Network, Run

NAME = "integer_vectors.npz"


def write(path: Path, network: Network, x: np.ndarray) -> Run:
    """Write the file; the simulation that it holds.

    Keys: `input` (T, N, *shape); `weight/<node>` (targets, sources) or (F, C, height, width);
    `threshold/<neurons>`, and where they have one `decay_syn/`, `decay_mem/`: one number, or one for
    each neuron; `spikes/<neurons>` (T, N, *shape), counts; `membrane/` and, where there is one,
    `current/`, the states after every step, the membranes after the reset.

    Args:
        x: (T, N, *shape) counts of spikes, the silent steps for late spikes included.
    """
    (name,) = network.inputs
    run = simulate.run(network, {name: x}, record=True)
    arrays: dict[str, Any] = {"input": x.astype(np.uint8)}
    arrays |= {f"weight/{w.node}": w.values.astype(np.int16) for w in network.weights}
    for p in network.populations:
        arrays[f"threshold/{p.name}"] = p.threshold.astype(np.int32)
        for field in ("decay_syn", "decay_mem"):
            if (value := getattr(p, field)) is not None:
                arrays[f"{field}/{p.name}"] = value.astype(np.int32)
        arrays[f"spikes/{p.name}"] = run.spikes[p.name]
        arrays[f"membrane/{p.name}"] = run.membranes[p.name]
        if p.decay_syn is not None:
            arrays[f"current/{p.name}"] = run.currents[p.name]
    with open(path, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    return run
