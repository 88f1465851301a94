"""Cases of single neurons and integrators: input -> neuron -> output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.conformance.case import DT, Case, GraphDict, Shape, by_channel, chain, neuron

SPIKING = ("IF", "LIF", "CubaLIF")
ANALOGUE = ("I", "LI", "CubaLI")
IMAGE = (2, 2, 3)


def cases() -> Iterator[Case]:
    """Every neuron with every parameter, shape of parameters and reset."""
    for kind in (*SPIKING, *ANALOGUE):
        yield from _parameters(kind)
        yield from _shapes(kind)
    for kind in SPIKING:
        yield from _firing(kind)
        yield from _resets(kind)


def single(
    name: str, kind: str, tests: str, shape: Shape = (3,), dt: float = DT, **changes: Any
) -> Case:
    """A case of one neuron node; `changes` are the fields of the node or of the case, by name."""
    own = {key: changes.pop(key) for key in tuple(changes) if key in Case.__dataclass_fields__}

    def content(fields: dict[str, Any]) -> GraphDict:
        return chain(shape, shape, neuron=neuron(kind, shape, dt, **fields))

    fewer = ({k: v for k, v in changes.items() if k != left_out} for left_out in changes)
    others = () if "exact" in own else tuple(content(fields) for fields in fewer)
    name = f"{kind.lower()}-{name}"
    every = content(dict(changes))
    return Case(name, (kind,), tests, every, {"input": shape}, dt, others=others, **own)


def _parameters(kind: str) -> Iterator[Case]:
    leaks, current = kind not in ("I", "IF"), kind.startswith("Cuba")
    yield single("basic", kind, "the plain equation, gain 1, all neurons alike, dt 1e-4")
    yield single("dt-1", kind, "time constants in steps: dt is 1", dt=1.0)
    yield single("dt-1ms", kind, "a step of 1e-3", dt=1e-3)
    gain = 0.5 / DT if not leaks else 5.0
    yield single("gain", kind, "r is a gain of its own, not what gives an input of 1 a 1", r=gain)
    if kind in ("LIF", "LI"):
        unit: dict[str, Any] = {"v_threshold": 0.15625} if kind == "LIF" else {}
        yield single("unit-gain", kind, "r is 1: an input of 1 adds dt/tau", r=1.0, **unit)
    if leaks:
        leak = "the membrane starts at 0 and relaxes to v_leak, which is 0.375"
        yield single("leak", kind, leak, v_leak=0.375)
        fast: dict[str, Any] = {"tau_mem" if current else "tau": 2 * DT, "r": 2.0}
        yield single("fast", kind, "a time constant of two steps: exp(-dt/tau) differs", **fast)
    if current:
        yield single("input-gain", kind, "w_in is a gain of its own", w_in=2.5)
        equal: dict[str, Any] = {"tau_syn": 8 * DT, "w_in": 8.0}
        yield single("equal-taus", kind, "tau_syn equals tau_mem", **equal)


def _various(kind: str, values: Any) -> dict[str, Any]:
    """Fields of `kind` that differ by neuron or channel; `values` spreads three or two numbers."""
    fields = {"r": values(6.0, 8.0, 11.0)}
    if kind in ("I", "IF"):
        fields = {"r": values(0.75, 1.0, 1.25) / DT}
    elif kind.startswith("Cuba"):
        fields |= {"tau_mem": values(5.0, 8.0, 13.0) * DT, "tau_syn": values(2.0, 3.0, 5.0) * DT}
        fields |= {"w_in": values(3.0, 4.0, 3.5), "v_leak": values(0.0, 0.125, -0.25)}
    else:
        fields |= {"tau": values(5.0, 8.0, 13.0) * DT, "v_leak": values(0.0, 0.125, -0.25)}
    if kind in SPIKING:
        fields |= {
            "v_threshold": values(0.71875, 1.03125, 1.46875),
            "v_reset": values(0.0, -0.25, 0.125),
        }
    return fields


def _shapes(kind: str) -> Iterator[Case]:
    each = _various(kind, lambda *numbers: np.array(numbers))
    yield single("per-neuron", kind, "every neuron has parameters of its own", **each)
    channels = _various(kind, lambda *numbers: by_channel(numbers[:2], IMAGE))
    yield single(
        "per-channel", kind, "an image (C, H, W), parameters alike in a channel", IMAGE, **channels
    )
    yield single("image", kind, "an image (C, H, W), all parameters alike", IMAGE)
    for name, shape, what in (("single", (1,), "(1,)"), ("scalar", (), "()")):
        case = single(name, kind, f"parameters of shape {what} stand for all three neurons")
        node = case.graph["nodes"]["neuron"]
        for field, value in node.items():
            if isinstance(value, np.ndarray):
                node[field] = np.full(shape, value.flat[0])
        yield case


def _firing(kind: str) -> Iterator[Case]:
    zero = "after a spike the membrane is v_reset"
    yield single("reset-below", kind, f"{zero}, -0.375", v_reset=-0.375)
    yield single("reset-above", kind, f"{zero}, 0.375", v_reset=0.375)
    yield single(
        "strong", kind, "inputs of several thresholds: at most one spike a step", scale=4.0
    )
    yield single("inhibited", kind, "membranes far below minus the threshold", scale=-2.0)
    yield single("threshold", kind, "the threshold is 2.5, not 1", v_threshold=2.5, scale=2.0)
    # v reaches exactly 1, the threshold, and 1.125 one step later; all numbers are exact in binary.
    steps = [[0.5], [0.5], [0.125], [0.0], [1.0], [1.5]] if kind == "IF" else [[1.0], [0.25], [0.0]]
    more = {"tau": 8.0, "r": 8.0} if kind == "LIF" else {"v_threshold": 1.0}
    if kind == "CubaLIF":  # the current is x, the membrane half of it more each step
        more = {"tau_syn": 1.0, "w_in": 1.0, "tau_mem": 2.0, "r": 2.0}
        steps = [[1.0], [0.5], [0.5], [0.75], [0.0]]
    yield single(
        "at-threshold", kind, "a membrane that equals the threshold does not spike: v > v_threshold",
        (1,), 1.0, values={"input": steps}, exact=True, **more,
    )  # fmt: skip


def _resets(kind: str) -> Iterator[Case]:
    rules = {
        "subtract": "the threshold is subtracted in the step of the spike",
        "subtract_after_decay": "the threshold is subtracted in the next step, after its decay",
    }
    for rule, tests in rules.items():
        name = rule.replace("_", "-")
        metadata = {"reset": rule}
        yield single(name, kind, tests, metadata=metadata, needs_contract=True, scale=1.5)
    delayed = {"reset": "subtract", "spike_delay": 1}
    what = "spikes leave one step after the threshold was crossed"
    yield single("spike-delay", kind, what, metadata={"spike_delay": 1}, needs_contract=True)
    yield single(
        "subtract-delay", kind, f"{what}; the threshold is subtracted at once",
        metadata=delayed, needs_contract=True,
    )  # fmt: skip
    if kind != "IF":
        start = "the membrane starts at v_leak, 0.375"
        metadata = {"v_init": "v_leak"}
        yield single(
            "start-at-leak", kind, start, v_leak=0.375, metadata=metadata, needs_contract=True
        )
