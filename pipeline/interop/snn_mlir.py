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


def run(request: protocol.Request) -> protocol.Answer:
    """Check the file, then generate code for the first sample."""
    graph = nir.read(request.path)
    report = snn_mlir.check(graph)
    if not report.ok:
        raise Refused("check: " + "; ".join(finding.message for finding in report.errors))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.nir").write_bytes(Path(request.path).read_bytes())
        np.save(folder / "input.npy", request.x[0].reshape(request.x.shape[1], -1).astype(np.int64))
        build = snn_mlir.codegen_folder(folder)
        lines = len((build / "network.mlir").read_text().splitlines())
    return protocol.Answer(notes=(f"codegen: {lines} lines of MLIR",))


if __name__ == "__main__":
    protocol.serve(run, "snn-mlir", "nir")
