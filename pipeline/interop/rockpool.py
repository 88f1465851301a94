"""Rockpool 3.1.0, `rockpool.nn.modules.torch.nir.from_nir(graph)`, measured:

- Decays by exp(-dt/tau); dt is guessed from r and put right here. w_in and r are ignored.
- Input is added to the current, which then decays; `v >= v_threshold`, up to 2^16 spikes in a step,
  reset by subtraction; `v_reset` is ignored.
- Recurrent only as a nested subgraph; flat wiring is silently wrong. No Conv2d; LIF does not load.
- It names nir 1.0.4, so it is given the file for that version.
"""

import nir
import numpy as np
import torch

from pipeline.interop import protocol, quirks
from pipeline.interop.by_steps import first, only

quirks.leave_out_samna()

from rockpool.nn.modules.torch.nir import from_nir  # noqa: E402


def run(request: protocol.Request) -> protocol.Answer:
    """All samples at once, all steps at once: modules take (N, T, neurons)."""
    model = from_nir(nir.read(request.path))
    spikes: dict[str, np.ndarray] = {}

    def keep(path):
        return lambda _, __, out: spikes.__setitem__(path, first(out).numpy())

    for path in request.nodes:
        inner = model.get_submodule(path.split(".")[0])  # a recurrent subgraph is one module
        inner.dt = request.dt
        inner.register_forward_hook(keep(path))
    with torch.no_grad():
        model(torch.from_numpy(request.x.astype(np.float32)))
    return protocol.Answer({path: s.astype(np.int32) for path, s in spikes.items()})


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it; the dt that it guesses is put right."""
    model = from_nir(nir.read(path))
    for inner in model.modules():
        if hasattr(inner, "dt"):
            inner.dt = dt
    with torch.no_grad():
        return first(model(torch.from_numpy(only(inputs)[None]))).numpy()[0]


if __name__ == "__main__":
    protocol.serve(run, "rockpool", "nirtorch", "nir", "torch")
