"""Run integer_vectors.npz in Lava's fixed-point models; BRINGUP.md says how.

Needs NumPy, SciPy and lava-nc alone. Populations are flat here, in NIR's order (C, H, W); Lava's Conv has
(H, W, C), mirrors kernels (NIR does not), and has no pooling: a sum over windows and the kernel behind
it are one larger kernel. Where that kernel would meet what the pooling leaves out (a map that the window
does not divide, and padding behind), the connection is a Sparse matrix.
"""

import json
import math

import numpy as np
import scipy.sparse
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.monitor.process import Monitor
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode


def pooling(shape, size):
    """A sum over windows as a matrix (pooled places, places), and the shape that leaves."""
    c, h, w = shape
    pooled = (c, h // size, w // size)
    places = np.arange(c * h * w).reshape(shape)[:, : h // size * size, : w // size * size]
    places = places.reshape(c, h // size, size, w // size, size).transpose(0, 1, 3, 2, 4)
    rows = np.repeat(np.arange(math.prod(pooled)), size * size)
    ones = np.ones(places.size, np.int32)
    return scipy.sparse.csr_matrix(
        (ones, (rows, places.ravel())), (math.prod(pooled), c * h * w)
    ), pooled


def convolving(w, weight, shape):
    """A convolution of a map as a matrix (targets, places)."""
    (dy, dx), (sy, sx), (py, px) = w.get("dilation", (1, 1)), w["stride"], w["padding"]
    outputs, inputs, tall, wide = weight.shape
    places = np.full((shape[0], shape[1] + 2 * py, shape[2] + 2 * px), -1)
    places[:, py : py + shape[1], px : px + shape[2]] = np.arange(math.prod(shape)).reshape(shape)
    size = (dy * (tall - 1) + 1, dx * (wide - 1) + 1)
    taps = np.lib.stride_tricks.sliding_window_view(places, size, axis=(1, 2))
    taps = taps[:, ::sy, ::sx, ::dy, ::dx]  # (C, H, W, height, width)
    blocks = []
    for number, kernel in enumerate(weight):
        first = number * w.get("groups", 1) // outputs * inputs
        met = taps[first : first + inputs].transpose(1, 2, 0, 3, 4).reshape(-1, kernel.size)
        rows = np.repeat(np.arange(len(met)), kernel.size)
        values, columns = np.tile(kernel.ravel(), len(met)), met.ravel()
        inside = columns >= 0
        block = values[inside], (rows[inside], columns[inside])
        blocks.append(scipy.sparse.csr_matrix(block, (len(met), math.prod(shape))))
    return scipy.sparse.vstack(blocks, "csr")


def connect(w, weight, delay, source, target, shape, bits):
    """A Dense, Sparse or Conv from `source`, of `shape`, to `target`; w: its entry in `network`."""
    size = math.prod(w["pools"])
    whole = all(n % size == 0 for n in shape[1:]) if size > 1 else True
    options = {"sign_mode": SignMode.MIXED, "num_message_bits": bits}
    if weight.ndim == 2 or not (whole or w["padding"] == [0, 0]):
        matrix, pooled = None, shape
        for window in w["pools"]:
            one, pooled = pooling(pooled, window)
            matrix = one if matrix is None else one @ matrix
        last = weight if weight.ndim == 2 else convolving(w, weight, pooled)
        matrix = last if matrix is None else last @ matrix
        if delay is not None:
            delays = np.broadcast_to(delay, matrix.shape).astype(int)
            link = DelayDense(weights=matrix, delays=delays, **options)
        elif weight.ndim == 2:
            link = Dense(weights=matrix, **options)
        else:
            link = Sparse(weights=matrix, **options)
        source.s_out.connect(link.s_in)
        link.a_out.connect(target.a_in)
        return link.a_buff
    dilation = w.get("dilation", (1, 1))
    if size > 1:
        spread = [d * (n - 1) + 1 for d, n in zip(dilation, weight.shape[2:], strict=True)]
        kernel = np.zeros((*weight.shape[:2], *spread), np.int32)
        kernel[:, :, :: dilation[0], :: dilation[1]] = weight
        weight, dilation = np.kron(kernel, np.ones((1, 1, size, size), np.int32)), (1, 1)
    link = Conv(
        weight=weight[:, :, ::-1, ::-1].transpose(0, 2, 3, 1),
        input_shape=(*shape[1:], shape[0]),
        stride=tuple(size * n for n in w["stride"]),
        padding=tuple(size * n for n in w["padding"]),
        dilation=tuple(dilation),
        groups=w.get("groups", 1),
        num_message_bits=bits,
    )
    source.s_out.reshape(shape).transpose((1, 2, 0)).connect(link.s_in)
    link.a_out.transpose((2, 0, 1)).flatten().connect(target.a_in)
    return link.a_buf


def biased(bias, shape):
    """bias_mant (13 bits) and bias_exp of a LIF process."""
    exponent = 0
    while np.abs(bias >> exponent).max() > 4095:
        exponent += 1
    return {"bias_mant": np.broadcast_to(bias >> exponent, shape).ravel(), "bias_exp": exponent}


def neurons(n, v, every):
    """A LIF process; every: the steps after which it sets its states to 0, None for never."""
    name, size = n["name"], math.prod(n["shape"])
    numbers = {
        "shape": (size,),
        "vth": int(v[f"threshold/{name}"]),
        "du": 4095 - int(v.get(f"decay_syn/{name}", 0)),
        "dv": 4096 - int(v.get(f"decay_mem/{name}", 4096)),
    }
    if f"bias/{name}" in v:
        numbers |= biased(v[f"bias/{name}"], n["shape"])
    if every is None:
        return LIF(**numbers)
    return LIFReset(**numbers, reset_interval=every, reset_offset=1)


class Sender:
    """Recordings (steps, N, *shape), one after the other; `s_out` as of a population."""

    def __init__(self, data, shape, mapped, chip):
        data = data.swapaxes(0, 1).reshape(data.shape[0] * data.shape[1], -1).T.astype(int)
        if not chip:
            self.s_out = Source(data=data).s_out
            return
        from lava.proc import embedded_io  # of lava-loihi

        if mapped:  # a convolution takes spikes as (H, W, C)
            data = data.reshape(*shape, -1).transpose(1, 2, 0, 3)
            adapter = embedded_io.spike.PyToN3ConvAdapter(shape=data.shape[:3], num_message_bits=8)
        else:
            adapter = embedded_io.spike.PyToNxAdapter(shape=data.shape[:1], num_message_bits=8)
        Source(data=data).s_out.connect(adapter.inp)
        self.s_out = adapter.out.transpose((2, 0, 1)).flatten() if mapped else adapter.out


def held(n, v, lif):
    """The numbers that a LIF process holds, by the keys of v."""
    names = "vth", "du", "dv", "bias_mant", "bias_exp"
    vth, du, dv, mantissa, exponent = (getattr(lif, name).get().astype(np.int64) for name in names)
    numbers = {
        "threshold": vth,
        "decay_syn": 4095 - du,
        "decay_mem": 4096 - dv,
        "bias": (mantissa << exponent).reshape(n["shape"]),
    }
    keys = {f"{what}/{n['name']}": value for what, value in numbers.items()}
    return {key: value for key, value in keys.items() if key in v}


def watch(lif, key, v, steps, chip):
    """Kind -> a function that gives what a population did, (steps, neurons)."""
    if chip:  # spikes alone: a membrane is 128 there after a spike, in Lava 0 (lava-nc/lava#282)
        from lava.proc import embedded_io
        from lava.proc.io.sink import RingBuffer as Sink

        adapter = embedded_io.spike.NxToPyAdapter(shape=lif.s_out.shape, num_message_bits=0)
        sink = Sink(shape=lif.s_out.shape, buffer=steps)
        lif.s_out.connect(adapter.inp)
        adapter.out.connect(sink.a_in)
        return {"spikes": lambda: sink.data.get().T}
    kinds = {"current": lif.u, "membrane": lif.v, "spikes": lif.s_out}
    if f"decay_syn/{key}" not in v:
        del kinds["current"]
    found = {}
    for kind, seen in kinds.items():
        monitor = Monitor()
        monitor.probe(seen, steps)
        found[kind] = lambda monitor=monitor: next(
            iter(next(iter(monitor.get_data().values())).values())
        )
    return found


def run(v, reset="states", chip=False):
    """What v, the arrays of integer_vectors.npz, has of `spikes/`, `current/`, `membrane/`; and of
    `threshold/`, `decay_syn/`, `decay_mem/`, `bias/`, as Lava's processes hold them.

    reset: how neurons forget a recording before the next: "states", this program sets all states to 0;
    "LIFReset", neurons set theirs to 0 at the start of the first step of each; None: not at all.
    chip: on a Loihi 2, which needs lava-loihi, and gives spikes alone.
    """
    network = json.loads(str(v["network"]))
    steps, samples = v["input"].shape[:2]
    ((first, shape),) = network["inputs"].items()
    fed = [v[f"weight/{w['node']}"] for w in network["weights"] if w["source"] == first]
    mapped = any(weight.ndim == 4 for weight in fed)
    populations = {first: Sender(v["input"], shape, mapped, chip)}
    shapes = {first: tuple(shape)}
    states, watched = [], {}
    for n in network["neurons"]:
        name = n["name"]
        lif = populations[name] = neurons(n, v, steps if reset == "LIFReset" else None)
        shapes[name] = tuple(n["shape"])
        states += [lif.u, lif.v]
        for kind, read in watch(lif, name, v, samples * steps, chip).items():
            watched[f"{kind}/{name}"] = read
    for w in network["weights"]:
        source, target = populations[w["source"]], populations[w["target"]]
        weight = v[f"weight/{w['node']}"].astype(np.int32)
        delay = v.get(f"delay/{w['node']}")
        bits = 8 if w["source"] == first else 0  # counts of events, or plain spikes
        states.append(connect(w, weight, delay, source, target, shapes[w["source"]], bits))
    config = Loihi2HwCfg() if chip else Loihi2SimCfg(select_tag="fixed_pt")
    found: dict[str, np.ndarray] = {}
    try:
        for sample in range(samples):
            lif.run(condition=RunSteps(num_steps=steps), run_cfg=config)
            if reset == "states" and sample < samples - 1:
                for state in states:
                    state.set(np.zeros(state.shape, np.int32))
        for n in [] if chip else network["neurons"]:
            found |= held(n, v, populations[n["name"]])
        for key, read in watched.items():
            shape = shapes[key.partition("/")[2]]
            found[key] = np.asarray(read()).reshape(samples, steps, *shape).swapaxes(0, 1)
    finally:
        lif.stop()  # otherwise Lava's processes, and this program, wait for ever
    return found


if __name__ == "__main__":
    v = dict(np.load("test_data_set_0/integer_vectors.npz"))
    found = run(v | {"input": v["input"][:, :1]})  # the first sample; Lava hands out states slowly
    for key in sorted(found):
        expected = v[key][:, :1] if found[key].ndim > 2 else v[key]
        print(f"{key}: {(found[key] != expected).sum()} of {found[key].size} differ")
