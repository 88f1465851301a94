"""What a link does to spikes on their way: pooling, a convolution's sizes, delays.

One rule for the constraint check and for quantisation, which both call `geometry`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spyx_nir.hardware import registry
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Misfit, against
from spyx_nir.hardware.topology import Link, Topology
from spyx_nir.meaning.equations import conv_numbers, delay_steps, whole


def geometry(
    graph: Topology, link: Link, profile: Profile, dt: float | None = None
) -> dict[str, Any]:
    """The fields of `network.Weight` that say how its values are used.

    Args:
        dt: the step; None leaves delays out.

    Raises:
        Misfit: a pooling, a convolution or a delay that the chip does not have; names the node.
    """
    (name,) = graph.weights(link)
    pools = [path for path in link.path if graph.kind(path) == "SumPool2d"]
    delays = [path for path in link.path if graph.kind(path) == "Delay"]
    found: dict[str, Any] = {"pools": tuple(_window(graph, path, profile) for path in pools)}
    if graph.kind(name) == "Conv2d":
        found |= _convolution(graph, name, profile)
    if delays:
        _check_delays(graph, link, delays, bool(pools), profile)
        if dt is not None:
            found["delay"] = _delay(graph, link, delays, dt, profile)
    return found


def _refuse(profile: Profile, path: str, why: str, fix: str, number: Any, limit: Any) -> Misfit:
    found = against(profile, "graph.nodes", "wiring", path, why, fix, number=number, limit=limit)
    return Misfit.of(found)


def _window(graph: Topology, path: str, profile: Profile) -> int:
    node = graph.plan.nodes[path]
    kernel, stride = whole(node, "kernel_size", 2), whole(node, "stride", 2)
    padding = whole(node, "padding", 2)
    if len({*kernel, *stride}) == 1 and not any(padding):
        return kernel[0]
    why = (
        f"windows {kernel} with stride {stride} and padding {padding}: with the weight behind it, other "
        "windows than square ones side by side make a kernel of sums of weights, which rounding does "
        "not keep"
    )
    fix = "pool with square windows, stride as large as the window, no padding; or a trained Conv2d"
    raise _refuse(profile, path, why, fix, f"{kernel}, {stride}", "stride as large as the window")


def _convolution(graph: Topology, path: str, profile: Profile) -> dict[str, Any]:
    node = graph.plan.nodes[path]
    stride, dilation, pads = conv_numbers(node, 2)
    (groups,) = whole(node, "groups", 1)
    if any(low != high for low, high in pads):
        why = f"padding {node['padding']!r} of this kernel is {pads}: more on one side than on the other"
        fix = "train with padding that is the same on both sides"
        raise _refuse(profile, path, why, fix, str(pads), "one number for both sides")
    for what, value, is_one in (
        ("groups", groups, groups == 1),
        ("dilation", dilation, set(dilation) == {1}),
    ):
        if not is_one and what not in registry.family(profile).convolutions:
            why, fix = f"{what} is {value}, the target has 1", f"train with {what} 1"
            raise _refuse(profile, path, why, fix, str(value), 1)
    padding = tuple(low for low, _ in pads)
    found = {"stride": tuple(stride), "padding": padding, "dilation": tuple(dilation)}
    return {**found, "groups": groups}


def _check_delays(
    graph: Topology, link: Link, delays: list[str], pooled: bool, profile: Profile
) -> None:
    (name,) = graph.weights(link)
    what = "a convolution" if graph.kind(name) == "Conv2d" else "a pooling" if pooled else ""
    what = "a recurrence" if link.closes else what
    if what:
        why = f"a Delay on the way through {what}: only matrices without either delay on the target"
        raise _refuse(profile, delays[0], why, "train without the Delay", "Delay", "a matrix")


def _delay(
    graph: Topology, link: Link, delays: list[str], dt: float, profile: Profile
) -> np.ndarray:
    """The steps of every synapse; broadcasts to (targets, sources)."""
    (name,) = graph.weights(link)
    at = link.path.index(name)
    total = np.zeros((1, 1), np.int64)
    for path in delays:
        steps = delay_steps(graph.plan.nodes[path]["delay"], dt)
        steps = np.broadcast_to(steps, graph.plan.shapes[path]).ravel()
        total = total + (steps[None] if link.path.index(path) < at else steps[:, None])
    key = "delay.steps"
    if total.max() > profile[key]:
        why = f"a delay of {total.max()} steps"
        fix = f"train with {profile[key]} steps at most"
        number = int(total.max())
        raise Misfit.of(against(profile, key, "delay", delays[0], why, fix, number=number))
    return total
