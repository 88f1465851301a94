"""A stand-in for the part of lava-nc that `on_lava.py` uses, so that its lines run without it.

Only what they call: every process with one step of fixed-point arithmetic, run in the order in which
they were made. It is not Lava; test_vendors_live.py runs the same lines there. On `chip` the adapters
of lava-loihi pass spikes on and nothing else.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest


class Port:
    """What a process sends or receives: `source` gives the array of this step."""

    def __init__(self, shape: tuple[int, ...], read: Any = None):
        self.shape, self.read, self.sources = tuple(shape), read, []

    def connect(self, other: Port) -> None:
        other.sources.append(self)

    def value(self) -> np.ndarray:
        if self.read is not None:
            return np.asarray(self.read())
        return sum((source.value() for source in self.sources), np.zeros(self.shape, np.int64))

    def _view(self, change: Any) -> Port:
        return Port(change(np.zeros(self.shape)).shape, lambda: change(self.value()))

    def reshape(self, shape: tuple[int, ...]) -> Port:
        return self._view(lambda x: x.reshape(shape))

    def transpose(self, axes: tuple[int, ...]) -> Port:
        return self._view(lambda x: x.transpose(axes))

    def flatten(self) -> Port:
        return self._view(lambda x: x.reshape(-1))


class Var:
    """A state or a number of a process."""

    def __init__(self, value: Any):
        self.data = np.atleast_1d(np.array(value))
        self.shape = self.data.shape

    def get(self) -> np.ndarray:
        return self.data.astype(float)

    def set(self, value: np.ndarray) -> None:
        self.data[...] = value


MADE: list[Any] = []
CONFIGS: list[Any] = []


class Process:
    def __init__(self) -> None:
        MADE.append(self)

    def run(self, condition: Any, run_cfg: Any) -> None:
        CONFIGS.append(run_cfg)
        for _ in range(condition.num_steps):
            STEP[0] += 1
            for phase in ("neurons", "receive", "look"):
                for process in MADE:
                    getattr(process, phase, lambda step: None)(STEP[0])

    def stop(self) -> None:
        MADE.clear()
        STEP[0] = 0


STEP = [0]


class Source(Process):
    def __init__(self, data: np.ndarray):
        super().__init__()
        self.data, self.now = data, np.zeros(data.shape[:-1], np.int64)
        self.s_out = Port(data.shape[:-1], lambda: self.now)

    def neurons(self, step: int) -> None:
        self.now = self.data[..., (step - 1) % self.data.shape[-1]]


class Sink(Process):
    def __init__(self, shape: tuple[int, ...], buffer: int):
        super().__init__()
        self.a_in, self.data = Port(shape), Var(np.zeros((*shape, buffer)))

    def look(self, step: int) -> None:
        self.data.data[..., step - 1] = self.a_in.value()


class LIF(Process):
    def __init__(
        self, shape: Any, vth: int, du: int, dv: int, bias_mant: Any = 0, bias_exp: int = 0
    ):
        super().__init__()
        self.u, self.v = Var(np.zeros(shape, np.int64)), Var(np.zeros(shape, np.int64))
        self.vth, self.du, self.dv = Var(vth), Var(du), Var(dv)
        self.bias_mant = Var(np.broadcast_to(bias_mant, shape))
        self.bias_exp = Var(np.full(shape, bias_exp))
        self.spikes = np.zeros(shape, np.int64)
        self.a_in, self.s_out = Port(shape), Port(shape, lambda: self.spikes)

    def reset(self, step: int) -> None: ...

    def neurons(self, step: int) -> None:
        self.reset(step)
        u, v = self.u.data, self.v.data
        keep, leak = 4095 - self.du.data, 4096 - self.dv.data
        u[:] = np.sign(u) * (np.abs(u) * keep >> 12) + (self.a_in.value() << 6)
        v[:] = (
            np.sign(v) * (np.abs(v) * leak >> 12) + u + (self.bias_mant.data << self.bias_exp.data)
        )
        self.spikes = (v > self.vth.data << 6).astype(np.int64)
        v[self.spikes > 0] = 0


class LIFReset(LIF):
    def __init__(self, reset_interval: int, reset_offset: int, **numbers: Any):
        super().__init__(**numbers)
        self.interval, self.offset = reset_interval, reset_offset % reset_interval

    def reset(self, step: int) -> None:
        if step % self.interval == self.offset:
            self.u.data[:] = self.v.data[:] = 0


class Dense(Process):
    def __init__(self, weights: Any, sign_mode: Any, num_message_bits: int):
        super().__init__()
        self.weights, self.plain = weights, num_message_bits == 0
        self.a_buff = Var(np.zeros(weights.shape[0], np.int64))
        self.s_in = Port((weights.shape[1],))
        self.a_out = Port((weights.shape[0],), lambda: self.a_buff.data)

    def arriving(self) -> np.ndarray:
        x = self.s_in.value()
        return (x != 0).astype(np.int64) if self.plain else x

    def receive(self, step: int) -> None:
        self.a_buff.data[:] = self.weights @ self.arriving()


class DelayDense(Dense):
    def __init__(self, weights: Any, delays: np.ndarray, **options: Any):
        super().__init__(weights, **options)
        self.delays, self.a_buff = delays, Var(np.zeros((len(weights), delays.max() + 1), np.int64))
        self.a_out = Port((len(weights),), lambda: self.a_buff.data[:, 0])

    def receive(self, step: int) -> None:
        kept = np.roll(self.a_buff.data, -1, axis=1)
        kept[:, -1] = 0
        for delay in range(kept.shape[1]):
            kept[:, delay] += np.where(self.delays == delay, self.weights, 0) @ self.arriving()
        self.a_buff.data[:] = kept


class Conv(Process):
    def __init__(self, weight, input_shape, stride, padding, dilation, groups, num_message_bits):
        super().__init__()
        self.kernel, self.plain = (
            weight[:, ::-1, ::-1],
            num_message_bits == 0,
        )  # Lava mirrors kernels
        self.numbers = stride, padding, dilation, groups
        self.s_in = Port(input_shape)
        self.a_buf = Var(self._convolved(np.zeros(input_shape, np.int64)))
        self.a_out = Port(self.a_buf.shape, lambda: self.a_buf.data)

    def _convolved(self, x: np.ndarray) -> np.ndarray:
        (sy, sx), (py, px), (dy, dx), groups = self.numbers
        x = np.pad(x, [(py, py), (px, px), (0, 0)])
        filters, tall, wide, inputs = self.kernel.shape
        h = (x.shape[0] - dy * (tall - 1) - 1) // sy + 1
        w = (x.shape[1] - dx * (wide - 1) - 1) // sx + 1
        found = np.zeros((h, w, filters), np.int64)
        for f in range(filters):
            first = f * groups // filters * inputs
            for i in range(tall):
                for j in range(wide):
                    seen = x[i * dy :, j * dx :, first : first + inputs][::sy, ::sx][:h, :w]
                    found[:, :, f] += seen @ self.kernel[f, i, j]
        return found

    def receive(self, step: int) -> None:
        x = self.s_in.value()
        self.a_buf.data[:] = self._convolved((x != 0).astype(np.int64) if self.plain else x)


class Monitor(Process):
    def probe(self, seen: Any, steps: int) -> None:
        self.seen, self.kept = seen, []

    def look(self, step: int) -> None:
        value = self.seen.data if isinstance(self.seen, Var) else self.seen.value()
        self.kept.append(np.array(value))

    def get_data(self) -> dict[str, dict[str, np.ndarray]]:
        return {"process": {"var": np.array(self.kept)}}


class Adapter:
    """Of lava-loihi: from or to the chip."""

    def __init__(self, shape: tuple[int, ...], num_message_bits: int):
        self.inp = Port(shape)
        self.out = Port(shape, lambda: self.inp.value())


class RunSteps:
    def __init__(self, num_steps: int):
        self.num_steps = num_steps


class Loihi2SimCfg:
    def __init__(self, select_tag: str):
        assert select_tag == "fixed_pt"


class Loihi2HwCfg: ...


class SignMode:
    MIXED = 1


def install(monkeypatch: pytest.MonkeyPatch, called: list[str] | None = None) -> None:
    """Put it in Lava's place until the test ends; `called` notes how a board is asked for."""
    asked = [] if called is None else called
    loihi = types.SimpleNamespace(
        ChipGeneration=types.SimpleNamespace(N3B3="N3B3"),
        use_slurm_host=lambda loihi_gen: asked.append(loihi_gen),
    )
    spike = types.SimpleNamespace(
        PyToNxAdapter=Adapter, PyToN3ConvAdapter=Adapter, NxToPyAdapter=Adapter
    )
    contents: dict[str, dict[str, Any]] = {
        "lava.magma.core.run_conditions": {"RunSteps": RunSteps},
        "lava.magma.core.run_configs": {"Loihi2HwCfg": Loihi2HwCfg, "Loihi2SimCfg": Loihi2SimCfg},
        "lava.proc": {"embedded_io": types.SimpleNamespace(spike=spike)},
        "lava.proc.conv.process": {"Conv": Conv},
        "lava.proc.dense.process": {"Dense": Dense, "DelayDense": DelayDense},
        "lava.proc.io.source": {"RingBuffer": Source},
        "lava.proc.io.sink": {"RingBuffer": Sink},
        "lava.proc.lif.process": {"LIF": LIF, "LIFReset": LIFReset},
        "lava.proc.monitor.process": {"Monitor": Monitor},
        "lava.proc.sparse.process": {"Sparse": Dense},
        "lava.utils": {"loihi": loihi},
        "lava.utils.weightutils": {"SignMode": SignMode},
    }
    for name, content in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("lava", "lava.magma", "lava.magma.core", *(f"lava.proc.{m}" for m in
                 ("conv", "dense", "io", "lif", "monitor", "sparse"))):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    MADE.clear()
    CONFIGS.clear()
    STEP[0] = 0
