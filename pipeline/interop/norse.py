"""Norse 1.1.0, `norse.torch.from_nir(graph, dt=)`, measured:

- Forward Euler; a spike leaves in its step; `v > v_threshold`; reset to 0 whatever `v_reset` says.
- CubaLIF: w_in and r are used. LIF and IF: r is taken as 1 (with a warning).
- The recurrent weight gives nothing in the first step: a bias in it is missing there.
- Flatten counts its axes with the batch axis, so samples run one by one, without one.
- LI, CubaLI and AvgPool2d silently become identities.
"""

import nir
import norse.torch

from pipeline.interop import by_steps, protocol


def run(request: protocol.Request) -> protocol.Answer:
    """All samples, one by one."""
    model = norse.torch.from_nir(nir.read(request.path), dt=request.dt)
    return by_steps.run(model, request, batched=False)


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it."""
    model = norse.torch.from_nir(nir.read(path), dt=dt)
    return by_steps.output(model, inputs, batched=False)


if __name__ == "__main__":
    protocol.serve(run, "norse", "nirtorch", "nir", "torch")
