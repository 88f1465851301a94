"""Run cases through XyloSim; in the vendors' environment:

    python run_xylosim.py CASES.npz RESULTS.npz [GRAPH.nir DT]

CASES holds, per case c, `c/weights_in` (sources, targets) and so on, and `c/input` (N, T, sources); or,
with `c/mode`, the arguments of `XyloSim.from_specification` by rockpool's names, and `output_mode`.
RESULTS holds spikes and states, (N, T, neurons). With GRAPH, `read_*` in RESULTS is what rockpool's own
importer and mapper make of that file: floats that nothing has scaled, and integer decays.
"""

import sys
import warnings

import cases
import numpy as np

from pipeline.interop import quirks

quirks.leave_out_samna()
warnings.simplefilter("ignore")

from rockpool.devices.xylo.syns61201.xylo_sim import XyloSim  # noqa: E402

RECORDS = {
    "hidden": "Spikes",
    "current": "Isyn",
    "membrane": "Vmem",
    "current_out": "Isyn_out",
    "membrane_out": "Vmem_out",
}


# What rockpool calls it -> what CASES calls it.
SPECIFICATION = {
    "weights_in": "weights_in",
    "weights_rec": "weights_rec",
    "weights_out": "weights_out",
    "dash_syn": "decay_syn",
    "dash_mem": "decay_mem",
    "dash_syn_out": "decay_syn_out",
    "dash_mem_out": "decay_mem_out",
    "threshold": "threshold",
    "threshold_out": "threshold_out",
}


def imported(path, dt):
    """A graph as rockpool reads and maps it; its quantiser would scale integers anew."""
    import nir
    from rockpool.devices.xylo.syns61201.xylo_mapper import mapper
    from rockpool.nn.modules.torch.nir import from_nir

    model = from_nir(nir.read(path))
    for _, module in model.named_modules():
        if hasattr(module, "dt"):
            module.dt = dt  # rockpool guesses it from r
    found = mapper(model.as_graph())
    shaped = {f"read_{name}": np.asarray(found[key]) for key, name in SPECIFICATION.items()}
    return {k: v[:, :, 0] if v.ndim == 3 else v for k, v in shaped.items()}


def simulate(case):
    """One case's dictionary of arrays to its results."""
    if "mode" in case:
        given = {key: value for key, value in case.items() if key not in ("mode", "input")}
        given["output_mode"] = str(case["mode"])
    else:
        given = {theirs: case[name] for theirs, name in SPECIFICATION.items()}
    module = XyloSim.from_specification(**given, dt=1e-3)
    found = {key: [] for key in ("out", *RECORDS)}
    for sample in case["input"]:
        module.reset_state()
        out, _, record = module(sample, record=True)
        found["out"].append(np.asarray(out))
        for key, name in RECORDS.items():
            found[key].append(np.asarray(record[name]))
    return {key: np.stack(value) for key, value in found.items()}


def main(source, target, graph=None, dt=None):
    def with_import(case):
        return simulate(case) | ({} if graph is None else imported(graph, float(dt)))

    cases.run(with_import, source, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
