"""Run cases through SANA-FE's Loihi 1: python run_sanafe.py CASES.npz RESULTS.npz

CASES as for run_lava.py; every sample runs alone, each population on a core of its own. RESULTS holds
spikes (N, T, neurons), and per sample `energy` in joules and `latency` in seconds, of SANA-FE's own
model of the chip, which is no measurement.
"""

import sys

import cases
import numpy as np
import sanafe


def population(network, name, case, suffix):
    """A group of neurons; decays are n of n/4096."""
    one = {f: case[f + suffix].ravel()[0] for f in ("threshold", "decay_syn", "decay_mem")}
    attributes = {
        "threshold": float(one["threshold"]),
        "reset": 0.0,
        "reset_mode": "hard",
        "input_decay": float(one["decay_syn"]) / 4096,
        "leak_decay": float(one["decay_mem"]) / 4096,
    }
    group = network.create_neuron_group(
        name, case["threshold" + suffix].size, model_attributes=attributes, log_spikes=True
    )
    for neuron in group:
        neuron.set_attributes(
            soma_hw_name="loihi_lif", default_synapse_hw_name="loihi_dense_synapse"
        )
    return group


def connect(source, target, weights):
    """(sources, targets); a weight of 0 is no synapse."""
    for i, j in np.argwhere(weights):
        source[int(i)].connect_to_neuron(target[int(j)], {"weight": float(weights[i, j])})


def simulate(case):
    """One case's dictionary of arrays to its results."""
    found = {"hidden": [], "out": [], "energy": [], "latency": []}
    for sample in case["input"]:
        steps, channels = sample.shape
        arch, network = sanafe.load_loihi(), sanafe.Network()
        inputs = network.create_neuron_group("input", channels)
        for i, neuron in enumerate(inputs):
            neuron.set_attributes(
                soma_hw_name=f"loihi_inputs[{i}]",
                model_attributes={"spikes": [bool(s) for s in sample[:, i]]},
            )
        hidden = population(network, "hidden", case, "")
        out = population(network, "out", case, "_out")
        connect(inputs, hidden, case["weights_in"])
        connect(hidden, hidden, case["weights_rec"])
        connect(hidden, out, case["weights_out"])
        cores = [core for tile in arch.tiles for core in tile.cores]
        for number, group in enumerate((inputs, hidden, out)):
            for neuron in group:
                neuron.map_to_core(cores[number])
        chip = sanafe.SpikingChip(arch)
        chip.load(network)
        result = chip.sim(steps, spike_trace=True)
        spikes = {
            name: np.zeros((steps, len(g)), np.int64)
            for name, g in (("hidden", hidden), ("out", out))
        }
        for step, fired in enumerate(result["spike_trace"]):
            for address in fired:
                if address.group_name in spikes:
                    spikes[address.group_name][step, address.neuron_offset] = 1
        for name, counts in spikes.items():
            found[name].append(counts)
        energy = result["energy"]
        found["energy"].append(energy["total"] if isinstance(energy, dict) else energy)
        found["latency"].append(result["sim_time"])
    return {key: np.stack(value) for key, value in found.items()}


if __name__ == "__main__":
    cases.run(simulate, *sys.argv[1:])
