"""snnTorch 1.0.0, `import_from_nir(graph)`, measured:

- Forward Euler with dt = 1e-4, whatever the file's dt; a spike leaves in its step; `v > v_threshold`.
- LIF: r is folded into the threshold. CubaLIF needs r = tau_mem/dt. Both reset to 0.
- IF becomes a leaky neuron with decay 0.9 that resets by subtraction, r must be 1.
- Flatten counts its axes with the batch axis, so samples run one by one, without one.
"""

import nir
from snntorch.import_nir import import_from_nir

from pipeline.interop import by_steps, protocol


def forget(model):
    """Membranes of the sample before."""
    for module in model.modules():
        if hasattr(module, "reset_mem"):
            module.reset_mem()


def run(request: protocol.Request) -> protocol.Answer:
    """All samples, one by one."""
    model = import_from_nir(nir.read(request.path))
    return by_steps.run(model, request, batched=False, reset=forget)


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it; dt is snnTorch's own."""
    model = import_from_nir(nir.read(path))
    forget(model)
    return by_steps.output(model, inputs, batched=False)


if __name__ == "__main__":
    protocol.serve(run, "snntorch", "nirtorch", "nir", "torch")
