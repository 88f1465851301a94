"""Discretise layers with sinabs and run them: python run_sinabs.py CASES.npz RESULTS.npz

CASES holds, per case c, layers k = 0, 1, ...: `c/weight{k}` (F, C, height, width) and
`c/threshold{k}` as floats, `c/stride{k}`, `c/padding{k}`, `c/pool{k}` (before the convolution), and
`c/input` (N, T, C, H, W). RESULTS holds, per layer, the integers of sinabs and the spikes
(N, T, F, H, W).
"""

import importlib.util
import sys
from pathlib import Path

import cases
import numpy as np
import sinabs
import sinabs.layers as sl
import torch

# The package around this module imports samna, which is not installed; the module itself does not.
_place = Path(sinabs.__file__).parent / "backend" / "dynapcnn" / "discretize.py"
_spec = importlib.util.spec_from_file_location("discretize", _place)
discretize = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(discretize)


def simulate(case):
    """One case's dictionary of arrays to its results."""
    x = torch.from_numpy(case["input"].astype(np.float32))
    samples, steps = x.shape[:2]
    found, k = {}, 0
    while f"weight{k}" in case:
        weight = torch.from_numpy(case[f"weight{k}"].astype(np.float32))
        convolution = torch.nn.Conv2d(
            weight.shape[1],
            weight.shape[0],
            tuple(weight.shape[2:]),
            stride=tuple(case[f"stride{k}"].tolist()),
            padding=tuple(case[f"padding{k}"].tolist()),
            bias=False,
        )
        convolution.weight.data = weight
        threshold = float(case[f"threshold{k}"])
        # As sinabs makes it of an IF node of NIR: min_v_mem is minus the threshold.
        neurons = sl.IAF(spike_threshold=threshold, min_v_mem=-threshold)
        convolution, neurons = discretize.discretize_conv_spike(convolution, neurons, to_int=True)
        found[f"weight{k}"] = convolution.weight.detach().numpy().astype(np.int64)
        found[f"threshold{k}"] = np.asarray(int(neurons.spike_threshold))
        with torch.no_grad():
            flat = x.flatten(0, 1)
            for size in case[f"pool{k}"].tolist():
                flat = torch.nn.functional.avg_pool2d(flat, size, divisor_override=1)
            x = neurons(convolution(flat).unflatten(0, (samples, steps)))
        found[f"spikes{k}"] = x.numpy().astype(np.int64)
        k += 1
    return found


if __name__ == "__main__":
    cases.run(simulate, *sys.argv[1:])
