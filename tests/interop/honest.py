"""A reader that reads rightly: the reference, asked in a process of its own."""

import numpy as np

from pipeline.interop import protocol
from spyx_nir.converter import file
from spyx_nir.meaning import reference


def run(request: protocol.Request) -> protocol.Answer:
    result = reference.run(file.read_dict(request.path), request.x.swapaxes(0, 1), request.dt)
    return protocol.Answer({n: np.swapaxes(result.spikes[n], 0, 1) for n in request.nodes})


if __name__ == "__main__":
    protocol.serve(run, "numpy")
