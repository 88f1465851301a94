"""Run cases through Lava's fixed-point models; in the vendors' environment, as run_xylosim.py.

Decays are n of n/4096: du = 4095 - n for the current, dv = 4096 - n for the membrane. All samples of
a case run side by side, as blocks on the diagonal.
"""

import sys

import cases
import numpy as np

from pipeline.peers import quirks

quirks.share_mutable_defaults()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.dense.process import Dense  # noqa: E402
from lava.proc.io.sink import RingBuffer as Sink  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402
from lava.proc.monitor.process import Monitor  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402


def dense(weights, blocks, bits=0):
    """(sources, targets) on `blocks` diagonal blocks; `bits` of a graded spike, 0 for plain ones."""
    matrix = np.kron(np.eye(blocks, dtype=np.int32), np.asarray(weights, np.int32).T)
    return Dense(weights=matrix, sign_mode=SignMode.MIXED, num_message_bits=bits)


def lif(case, suffix, blocks):
    """A population of `blocks` copies."""
    one = {}
    for name in ("threshold", "decay_syn", "decay_mem"):
        values = np.unique(case[name + suffix])
        assert values.size == 1, f"{name}: Lava has one for a population, got {values}"
        one[name] = int(values[0])
    return LIF(
        shape=(case["threshold" + suffix].size * blocks,),
        du=4095 - one["decay_syn"],
        dv=4096 - one["decay_mem"],
        vth=one["threshold"],
    )


def simulate(case):
    """One case's dictionary of arrays to its results."""
    samples, steps, channels = case["input"].shape
    data = case["input"].transpose(0, 2, 1).reshape(samples * channels, steps)
    source = Source(data=data.astype(int))
    hidden, out = lif(case, "", samples), lif(case, "_out", samples)
    links = [
        dense(case[f"weights_{which}"], samples, bits)
        for which, bits in (("in", 8), ("rec", 0), ("out", 0))
    ]
    ends = ((source, hidden), (hidden, hidden), (hidden, out))
    for link, (start, end) in zip(links, ends, strict=True):
        start.s_out.connect(link.s_in)
        link.a_out.connect(end.a_in)
    sinks = [Sink(shape=population.s_out.shape, buffer=steps) for population in (hidden, out)]
    probes = {}
    for population, sink, suffix in zip((hidden, out), sinks, ("", "_out"), strict=True):
        population.s_out.connect(sink.a_in)
        for state, name in ((population.u, "current"), (population.v, "membrane")):
            probe = Monitor()
            probe.probe(state, steps)
            probes[name + suffix] = probe
    config = Loihi2SimCfg(select_tag="fixed_pt")
    hidden.run(condition=RunSteps(num_steps=steps), run_cfg=config)

    def split(values):  # (T, samples * neurons) to (samples, T, neurons)
        return np.asarray(values).reshape(steps, samples, -1).transpose(1, 0, 2).astype(np.int64)

    found = {name: split(s.data.get().T) for name, s in zip(("hidden", "out"), sinks, strict=True)}
    for name, probe in probes.items():
        ((values,),) = (tuple(inner.values()) for inner in probe.get_data().values())
        found[name] = split(values)
    hidden.stop()
    return found


if __name__ == "__main__":
    cases.run(simulate, *sys.argv[1:])
