"""Run cases through XyloSim; in the vendors' environment: python run_xylosim.py CASES.npz RESULTS.npz

CASES holds, per case c, `c/weights_in` (sources, targets) and so on, and `c/input` (N, T, sources).
RESULTS holds spikes and states, (N, T, neurons).
"""

import sys
import types
import warnings

import numpy as np

# Modules of rockpool that drive boards and import samna, which is not installed and not needed.
for name in (
    "syns65302.afe_samna_pdm",
    "syns65302.xylo_samna_pdm",
    "syns63300.power_cycles_model",
):
    full = f"rockpool.devices.xylo.{name}"
    sys.modules[full] = types.ModuleType(full)
warnings.simplefilter("ignore")

from rockpool.devices.xylo.syns61201.xylo_sim import XyloSim  # noqa: E402

RECORDS = {
    "hidden": "Spikes",
    "current": "Isyn",
    "membrane": "Vmem",
    "current_out": "Isyn_out",
    "membrane_out": "Vmem_out",
}


def simulate(case):
    """One case's dictionary of arrays to its results."""
    module = XyloSim.from_specification(
        weights_in=case["weights_in"],
        weights_rec=case["weights_rec"],
        weights_out=case["weights_out"],
        dash_syn=case["decay_syn"],
        dash_mem=case["decay_mem"],
        dash_syn_out=case["decay_syn_out"],
        dash_mem_out=case["decay_mem_out"],
        threshold=case["threshold"],
        threshold_out=case["threshold_out"],
        dt=1e-3,
    )
    found = {key: [] for key in ("out", *RECORDS)}
    for sample in case["input"]:
        module.reset_state()
        out, _, record = module(sample, record=True)
        found["out"].append(np.asarray(out))
        for key, name in RECORDS.items():
            found[key].append(np.asarray(record[name]))
    return {key: np.stack(value) for key, value in found.items()}


def main(source, target):
    cases = {}
    with np.load(source, allow_pickle=False) as loaded:
        for key in loaded.files:
            name, _, field = key.partition("/")
            cases.setdefault(name, {})[field] = loaded[key]
    results = {}
    for name, case in cases.items():
        results |= {f"{name}/{key}": value for key, value in simulate(case).items()}
    np.savez_compressed(target, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
