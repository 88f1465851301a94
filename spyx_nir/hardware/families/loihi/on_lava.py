"""Run integer_vectors.npz in Lava's fixed-point models. Its text is the code of BRINGUP.md.

Of NumPy and lava-nc alone. Populations are flat here, in NIR's order (C, H, W); Lava's Conv has
(H, W, C), mirrors kernels (NIR does not), and has no pooling: a sum over windows and the kernel behind
it are one larger kernel.
"""

import json
import math

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF
from lava.proc.monitor.process import Monitor
from lava.utils.weightutils import SignMode


def connect(w, weight, source, target, shape, bits):
    """A Dense or Conv from `source`, of `shape`, to `target`; w: its entry in `network`."""
    size = math.prod(w["pools"])
    if size > 1 and weight.ndim == 2:
        weight = weight.reshape(-1, shape[0], shape[1] // size, shape[2] // size)
    if size > 1:
        weight = np.kron(weight, np.ones((1, 1, size, size), np.int32))
    if len(w["shape"]) == 1 and weight.ndim == 4:
        rest = [(0, shape[axis] - weight.shape[axis + 1]) for axis in (1, 2)]
        weight = np.pad(weight, [(0, 0), (0, 0), *rest]).reshape(len(weight), -1)
    if weight.ndim == 2:
        link = Dense(weights=weight, sign_mode=SignMode.MIXED, num_message_bits=bits)
        source.s_out.connect(link.s_in)
        link.a_out.connect(target.a_in)
        return link.a_buff
    link = Conv(
        weight=weight[:, :, ::-1, ::-1].transpose(0, 2, 3, 1),
        input_shape=(*shape[1:], shape[0]),
        stride=tuple(size * n for n in w["stride"]),
        padding=tuple(size * n for n in w["padding"]),
        num_message_bits=bits,
    )
    source.s_out.reshape(shape).transpose((1, 2, 0)).connect(link.s_in)
    link.a_out.transpose((2, 0, 1)).flatten().connect(target.a_in)
    return link.a_buf


def run(v):
    """v: the arrays of integer_vectors.npz. What it has of `spikes/`, `current/`, `membrane/`."""
    network = json.loads(str(v["network"]))
    steps, samples = v["input"].shape[:2]
    ((name, shape),) = network["inputs"].items()
    # Sample after sample, states set to 0 between them.
    data = v["input"].swapaxes(0, 1).reshape(samples * steps, -1).T
    populations, shapes = {name: Source(data=data.astype(int))}, {name: tuple(shape)}
    states, probes = [], {}
    for n in network["neurons"]:
        name, shape = n["name"], tuple(n["shape"])
        lif = populations[name] = LIF(
            shape=(math.prod(shape),),
            vth=int(v[f"threshold/{name}"]),
            du=4095 - int(v.get(f"decay_syn/{name}", 0)),
            dv=4096 - int(v.get(f"decay_mem/{name}", 4096)),
        )
        shapes[name] = shape
        states += [lif.u, lif.v]
        kinds = {"current": lif.u, "membrane": lif.v, "spikes": lif.s_out}
        for kind, seen in kinds.items():
            if kind != "current" or f"decay_syn/{name}" in v:
                probe = probes[f"{kind}/{name}"] = Monitor()
                probe.probe(seen, samples * steps)
    for w in network["weights"]:
        source, target = populations[w["source"]], populations[w["target"]]
        weight = v[f"weight/{w['node']}"].astype(np.int32)
        bits = 8 if w["source"] in network["inputs"] else 0  # counts of events, or plain spikes
        states.append(connect(w, weight, source, target, shapes[w["source"]], bits))
    for sample in range(samples):
        lif.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        if sample < samples - 1:
            for state in states:
                state.set(np.zeros(state.shape, np.int32))
    found = {}
    for key, probe in probes.items():
        ((values,),) = (tuple(inner.values()) for inner in probe.get_data().values())
        shape = shapes[key.partition("/")[2]]
        found[key] = values.reshape(samples, steps, *shape).swapaxes(0, 1)
    lif.stop()
    return found


if __name__ == "__main__":
    v = dict(np.load("test_data_set_0/integer_vectors.npz"))
    found = run(v | {"input": v["input"][:, :1]})  # the first sample; Lava returns states slowly
    for key in sorted(found):
        print(f"{key}: {(found[key] != v[key][:, :1]).sum()} of {found[key].size} differ")
