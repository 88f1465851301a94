"""snn-mlir 1.0.0, `check` and `codegen`: a compiler's front end, measured:

- A step is the file's own: LIF needs r = tau/dt, IF r = 1, CubaLIF w_in = tau_syn/dt; v_reset 0.
- `codegen` writes MLIR and the C program around it. Running it needs LLVM tools that no package has,
  so there are no spikes to compare: it reads, or it says what it cannot.
"""

import tempfile
from pathlib import Path

import nir
import numpy as np
import snn_mlir

from pipeline.interop import protocol
from pipeline.interop.protocol import Refused


def generate(path, x):
    """Check the file, then generate code for the sample x, (T, *shape); how many lines of MLIR."""
    report = snn_mlir.check(nir.read(path))
    if not report.ok:
        raise Refused("check: " + "; ".join(finding.message for finding in report.errors))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.nir").write_bytes(Path(path).read_bytes())
        np.save(folder / "input.npy", x.reshape(len(x), -1).astype(np.int64))
        build = snn_mlir.codegen_folder(folder)
        return len((build / "network.mlir").read_text().splitlines())


def run(request: protocol.Request) -> protocol.Answer:
    """Check the file, then generate code for the first sample."""
    lines = generate(request.path, request.x[0])
    return protocol.Answer(notes=(f"codegen: {lines} lines of MLIR",))


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it: there is nothing to run."""
    (x,) = inputs.values()
    generate(path, x)


if __name__ == "__main__":
    protocol.serve(run, "snn-mlir", "nir")
