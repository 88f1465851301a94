"""Run cases through Lava's fixed-point models; in the vendors' environment, as run_xylosim.py.

By the program that bundles for Loihi have, `spyx_nir/hardware/families/loihi/on_lava.py`, which this
tests.
"""

import json
import sys

import cases
import numpy as np

from pipeline.interop import quirks

quirks.share_mutable_defaults()

from spyx_nir.hardware.families.loihi import on_lava  # noqa: E402

SUFFIXES = {"hidden": "", "out": "_out"}
LINKS = {"in": ("input", "hidden"), "rec": ("hidden", "hidden"), "out": ("hidden", "out")}
STATES = {"spikes": "{name}", "current": "current{suffix}", "membrane": "membrane{suffix}"}


def simulate(case):
    """One case's dictionary of arrays to its results; what `integer_vectors.npz` holds as it is."""
    if "network" in case:
        found = on_lava.run(case)
        return {key: value for key, value in found.items() if key.partition("/")[0] in STATES}
    v = {"input": case["input"].swapaxes(0, 1)}
    neurons, weights = [], []
    for name, suffix in SUFFIXES.items():
        neurons.append({"name": name, "shape": case[f"threshold{suffix}"].shape})
        for field in ("threshold", "decay_syn", "decay_mem"):
            values = np.unique(case[field + suffix])
            assert values.size == 1, f"{field}: Lava has one for a population, got {values}"
            v[f"{field}/{name}"] = values[0]
    for node, (source, target) in LINKS.items():
        v[f"weight/{node}"] = case[f"weights_{node}"].T
        shape = v[f"weight/{node}"].shape[:1]
        told = {"node": node, "source": source, "target": target, "pools": [], "shape": shape}
        weights.append(told)
    inputs = {"input": case["input"].shape[2:]}
    v["network"] = json.dumps({"inputs": inputs, "neurons": neurons, "weights": weights})
    found = on_lava.run(v)
    return {
        result.format(name=name, suffix=suffix): found[f"{kind}/{name}"].swapaxes(0, 1)
        for kind, result in STATES.items()
        for name, suffix in SUFFIXES.items()
    }


if __name__ == "__main__":
    cases.run(simulate, *sys.argv[1:])
