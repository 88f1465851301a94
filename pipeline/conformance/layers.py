"""Cases of nodes without state, and of Delay: input -> node -> output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.conformance.case import DT, Case, NodeDict, Shape, chain, floats, linear, weights


def cases() -> Iterator[Case]:
    """Every node that is no neuron, with every parameter that it has."""
    yield from _dense()
    yield from _pointwise()
    yield from _delays()
    yield from _flattened()
    yield from _convolutions_1d()
    yield from _convolutions_2d()
    yield from _pooled()


def single(
    name: str, node: NodeDict, tests: str, shape: Shape, out: Shape, prefix: str = "", **own: Any
) -> Case:
    """A case of one node that takes `shape` and gives `out`."""
    kind = node["type"]
    content = chain(shape, out, node=node)
    return Case(f"{kind.lower()}-{name}", (kind,), tests, content, {"input": shape}, **own)


def _dense() -> Iterator[Case]:
    content = chain((3,), (3,))
    yield Case(
        "input-output", ("Input", "Output"), "a graph without a node", content, {"input": (3,)}
    )
    yield single("basic", linear(2, 3), "weight is (out, in)", (3,), (2,))
    yield single("square", linear(3, 3), "weight is (out, in), not its transpose", (3,), (3,))
    affine = {"type": "Affine", "weight": weights(2, 3), "bias": floats(0.5, -0.25)}
    yield single("basic", affine, "the bias is added in every step", (3,), (2,))


def _pointwise() -> Iterator[Case]:
    for kind, field in (("Scale", "scale"), ("Threshold", "threshold")):
        various = {"type": kind, field: floats(0.5, -0.25, 0.8125)}
        yield single("per-neuron", various, f"a {field} for each element", (3,), (3,))
        image = {"type": kind, field: weights(2, 2, 3, seed=3, scale=0.53125)}
        yield single(
            "image", image, f"a {field} for each element of (C, H, W)", (2, 2, 3), (2, 2, 3)
        )
        alike = {"type": kind, field: floats(0.40625)}
        yield single("single", alike, f"a {field} of shape (1,) for all elements", (3,), (3,))
    yield single(
        "at-threshold", {"type": "Threshold", "threshold": floats(0.5, 0.5)},
        "an input that equals the threshold gives 0: x > threshold", (2,), (2,),
        values={"input": [[0.5, 0.625], [0.375, 0.5], [1.0, 0.0]]}, exact=True,
    )  # fmt: skip


def _delays() -> Iterator[Case]:
    def delay(*steps: int, dt: float = DT) -> NodeDict:
        return {"type": "Delay", "delay": floats(*(count * dt for count in steps))}

    yield single("one-step", delay(1, 1, 1), "the input of the step before", (3,), (3,))
    yield single("per-neuron", delay(0, 1, 3), "delays of 0, 1 and 3 steps", (3,), (3,))
    steps = delay(2, 2, 2, dt=1.0)
    yield single("dt-1", steps, "a delay of 2 in steps: dt is 1", (3,), (3,), dt=1.0)
    long = "a delay that is longer than the run: nothing but zeros but for the first element"
    yield single("long", delay(2, 40), long, (2,), (2,))


def _flattened() -> Iterator[Case]:
    shape = (2, 2, 3)

    def flatten(start: int, end: int) -> NodeDict:
        return {
            "type": "Flatten", "start_dim": np.int64(start), "end_dim": np.int64(end),
            "input_type": np.array(shape),
        }  # fmt: skip

    yield single("all", flatten(0, -1), "(C, H, W) becomes one axis, W runs fastest", shape, (12,))
    yield single("tail", flatten(1, 2), "axes 1 and 2 become one: (C, H * W)", shape, (2, 6))
    yield single("head", flatten(0, 1), "axes 0 and 1 become one: (C * H, W)", shape, (4, 3))
    content = chain(shape, (3,), flatten=flatten(0, -1), fc=linear(3, 12, scale=0.5))
    tests = "the columns of a Linear behind a Flatten are in the order (C, H, W)"
    yield Case("flatten-linear", ("Flatten", "Linear"), tests, content, {"input": shape})


def _convolution(kind: str, size: Shape, **changes: Any) -> NodeDict:
    fields = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **changes}
    rank = int(kind[4])
    node: NodeDict = {"type": kind, "weight": weights(*size, seed=5)}
    for name, value in fields.items():
        if name == "groups" or isinstance(value, str):
            node[name] = value if isinstance(value, str) else np.int64(value)
        elif name == "bias":
            node[name] = value
        else:
            pair = np.ravel(value)
            node[name] = np.int64(pair[0]) if rank == 1 else np.broadcast_to(pair, 2).copy()
    node.setdefault("bias", np.zeros(size[0], np.float32))
    return node


def _convolutions_1d() -> Iterator[Case]:
    def conv(name: str, tests: str, size: Shape, out: Shape, **changes: Any) -> Case:
        channels = size[1] * changes.get("groups", 1)
        node = _convolution("Conv1d", size, **changes)
        node["input_shape"] = np.int64(7)
        return single(name, node, tests, (channels, 7), out)

    yield conv("basic", "cross-correlation: the kernel is not turned around", (3, 2, 3), (3, 5))
    bias = floats(0.5, -0.25, 0.125)
    yield conv("bias", "a bias for each output channel", (3, 2, 3), (3, 5), bias=bias)
    yield conv("stride", "a stride of 2", (3, 2, 3), (3, 3), stride=2)
    yield conv("padding", "2 zeros at both ends", (3, 2, 3), (3, 9), padding=2)
    yield conv("dilation", "a dilation of 2", (3, 2, 3), (3, 3), dilation=2)
    yield conv("groups", "2 groups of channels", (4, 1, 3), (4, 5), groups=2)
    yield conv("valid", "padding 'valid' is none", (3, 2, 3), (3, 5), padding="valid")
    yield conv("same", "padding 'same' keeps the length", (3, 2, 3), (3, 7), padding="same")
    even = "padding 'same' of an even kernel has the odd zero at the end"
    yield conv("same-even", even, (3, 2, 4), (3, 7), padding="same")
    yield conv(
        "all", "stride, padding, dilation, groups and bias at once", (4, 2, 3), (4, 4),
        stride=2, padding=2, dilation=2, groups=2, bias=floats(0.5, 0, -0.5, 0.25),
    )  # fmt: skip


def _convolutions_2d() -> Iterator[Case]:
    def conv(name: str, tests: str, size: Shape, out: Shape, **changes: Any) -> Case:
        channels = size[1] * changes.get("groups", 1)
        node = _convolution("Conv2d", size, **changes)
        node["input_shape"] = np.array([5, 6])
        return single(name, node, tests, (channels, 5, 6), out)

    yield conv(
        "basic", "cross-correlation: the kernel is not turned around", (3, 2, 3, 3), (3, 3, 4)
    )
    bias = floats(0.5, -0.25, 0.125)
    yield conv("bias", "a bias for each output channel", (3, 2, 3, 3), (3, 3, 4), bias=bias)
    yield conv("stride", "a stride of 2", (3, 2, 3, 3), (3, 2, 2), stride=2)
    uneven = "strides of 2 along H and 1 along W"
    yield conv("stride-uneven", uneven, (3, 2, 3, 3), (3, 2, 4), stride=(2, 1))
    yield conv(
        "padding", "one row or column of zeros on every side", (3, 2, 3, 3), (3, 5, 6), padding=1
    )
    uneven = "2 rows of zeros above and below, none left and right"
    yield conv("padding-uneven", uneven, (3, 2, 3, 3), (3, 7, 4), padding=(2, 0))
    yield conv("dilation", "a dilation of 2", (3, 2, 3, 3), (3, 1, 2), dilation=2)
    uneven = "dilations of 1 along H and 2 along W"
    yield conv("dilation-uneven", uneven, (3, 2, 3, 3), (3, 3, 2), dilation=(1, 2))
    yield conv("kernel-uneven", "a kernel of 2 rows and 4 columns", (3, 2, 2, 4), (3, 4, 3))
    yield conv("groups", "2 groups of channels", (4, 2, 3, 3), (4, 3, 4), groups=2)
    yield conv("depthwise", "a kernel for each channel", (2, 1, 3, 3), (2, 3, 4), groups=2)
    yield conv("valid", "padding 'valid' is none", (3, 2, 3, 3), (3, 3, 4), padding="valid")
    yield conv("same", "padding 'same' keeps the size", (3, 2, 3, 3), (3, 5, 6), padding="same")
    even = "padding 'same' of an even kernel has the odd zeros at the end"
    yield conv("same-even", even, (3, 2, 2, 2), (3, 5, 6), padding="same")
    numbers = conv(
        "numbers",
        "stride, padding and dilation as single numbers",
        (3, 2, 3, 3),
        (3, 3, 3),
        stride=2,
        padding=1,
    )
    for name in ("stride", "padding", "dilation"):
        numbers.graph["nodes"]["node"][name] = numbers.graph["nodes"]["node"][name][0]
    yield numbers
    yield conv(
        "all", "stride, padding, dilation, groups and bias at once", (4, 2, 3, 2), (4, 3, 8),
        stride=(2, 1), padding=(2, 2), dilation=(2, 2), groups=2,
        bias=floats(0.5, 0, -0.5, 0.25),
    )  # fmt: skip


def _pooled() -> Iterator[Case]:
    def pool(kind: str, kernel: Any, stride: Any, padding: Any = 0) -> NodeDict:
        sizes = {"kernel_size": kernel, "stride": stride, "padding": padding}
        return {
            "type": kind,
            **{name: np.broadcast_to(np.array(size), 2).copy() for name, size in sizes.items()},
        }

    image = (2, 5, 6)
    for kind, does in (("SumPool2d", "sum"), ("AvgPool2d", "mean")):
        yield single(
            "basic",
            pool(kind, 2, 2),
            f"the {does} of 2 x 2, the rest is left out",
            image,
            (2, 2, 3),
        )
        yield single(
            "overlap", pool(kind, 3, 1), "windows overlap: stride below size", image, (2, 3, 4)
        )
        yield single("stride", pool(kind, 2, 3), "stride above size", image, (2, 2, 2))
        padded = "zeros on every side count" + (" in the divisor" if kind == "AvgPool2d" else "")
        yield single("padding", pool(kind, 2, 2, 1), padded, image, (2, 3, 4))
        uneven = "kernel, stride and padding differ along H and W"
        yield single("uneven", pool(kind, (3, 2), (1, 2), (1, 0)), uneven, image, (2, 5, 3))
