"""SpikingJelly 2.0.0, `nir_exchange.import_from_nir(graph, dt=)`, measured:

- Forward Euler; a spike leaves in its step; `v >= v_threshold`; reset to `v_reset`.
- One set of parameters per layer, gain 1 in front of the membrane: IF needs r = 1/dt, LIF r = 1 or
  tau/dt, CubaLIF r = tau_mem/dt and w_in = tau_syn/dt. What does not fit is an error.
- The recurrent weight gives nothing in the first step: a bias in it is missing there.
- nirtorch reads SumPool2d for it.
"""

import nir
from spikingjelly.activation_based import nir_exchange

from pipeline.interop import by_steps, protocol


def run(request: protocol.Request) -> protocol.Answer:
    """All samples at once, step by step."""
    model = nir_exchange.import_from_nir(nir.read(request.path), dt=request.dt)
    return by_steps.run(model, request)


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it."""
    return by_steps.output(nir_exchange.import_from_nir(nir.read(path), dt=dt), inputs)


if __name__ == "__main__":
    protocol.serve(run, "spikingjelly", "nirtorch", "nir", "torch")
