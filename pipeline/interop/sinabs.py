"""sinabs 3.1.3, `sinabs.nir.from_nir(graph, batch_size=)`, measured:

- LIF decays by exp(-1/tau): tau counts steps. r is ignored.
- `v >= v_threshold`, several spikes in a step, reset by subtraction; `v_reset` is ignored.
- IF never goes below -v_threshold.
- CubaLIF silently becomes an identity, Linear without a bias too.
- It pins nir 1.0.4 or older and runs on 1.0.8 when installed without its pins.
"""

import nir
import numpy as np
import torch
from sinabs.nir import from_nir

from pipeline.interop import protocol
from pipeline.interop.by_steps import first, module, only


def run(request: protocol.Request) -> protocol.Answer:
    """All samples at once; its layers take samples and steps in one axis."""
    count, steps = request.x.shape[:2]
    model = from_nir(nir.read(request.path), batch_size=count)
    spikes = {}

    def keep(name):
        def hook(_, __, out):
            spikes[name] = out.unflatten(0, (count, steps)).numpy().astype(np.int32)

        return hook

    for name in request.nodes:
        module(model, name).register_forward_hook(keep(name))
    with torch.no_grad():
        model(torch.from_numpy(request.x.astype(np.float32)).flatten(0, 1))
    return protocol.Answer(spikes)


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it; sinabs counts time in steps."""
    model = from_nir(nir.read(path), batch_size=1)
    with torch.no_grad():
        return first(model(torch.from_numpy(only(inputs)))).numpy()


if __name__ == "__main__":
    protocol.serve(run, "sinabs", "nirtorch", "nir", "torch")
