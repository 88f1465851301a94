"""Layers on DynapCNN cores: which fits where, and an assignment if there is one.

A core holds a convolution, its neurons and the pooling behind them; it has one kernel, whoever sends to
it. A Linear is a convolution whose
kernel is the whole map. Memory, with rounding up to powers of two (source: sinabs 3.1.3
backend/dynapcnn/dynapcnn_layer.py, memory_summary):

    kernel = c * 2^(ceil(log2(kh*kw)) + ceil(log2(f)))     neuron = f * 2^(ceil(log2 h) + ceil(log2 w))
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Finding, against
from spyx_nir.hardware.placement import place
from spyx_nir.hardware.topology import Link, Topology
from spyx_nir.meaning.equations import conv_numbers


@dataclass(frozen=True)
class Layer:
    """What a core has to hold: (C, H, W) in, (F, H, W) out, kernel (height, width)."""

    path: str
    arrives: tuple[int, int, int]
    leaves: tuple[int, int, int]
    kernel: tuple[int, int]
    biases: int

    @property
    def kernel_memory(self) -> int:
        """Entries of kernel memory."""
        return self.arrives[0] * 2 ** (_log2(math.prod(self.kernel)) + _log2(self.leaves[0]))

    @property
    def neuron_memory(self) -> int:
        """Entries of neuron memory."""
        return self.leaves[0] * 2 ** (_log2(self.leaves[1]) + _log2(self.leaves[2]))


def _log2(n: int) -> int:
    return (n - 1).bit_length()  # ceil(log2 n), exact


def place_on_cores(graph: Topology, profile: Profile) -> tuple[list[dict[str, Any]], list[Finding]]:
    """A row for each core in use, and what does not fit."""
    layers: dict[str, Layer] = {}
    found: list[Finding] = []
    for path in graph.populations:
        into = graph.into(path)
        if not into or any(len(graph.weights(link)) != 1 for link in into):
            continue  # the wiring is reported already
        layers[path] = _layer(graph, path, into[0])
        found += _convolution(graph, path, into, layers[path], profile)
        found += [*_one_kernel(graph, path, into, profile), *_one_spike(graph, path, into, profile)]
        targets = {link.target for link in graph.out_of(path)}
        if len(targets) > profile["cores.destinations"]:
            key, count, fix = "cores.destinations", len(targets), "let fewer layers read it"
            why = f"feeds {count} layers, a core at most {profile[key]}"
            found.append(against(profile, key, "destinations", path, why, fix, number=count))
    sizes = {
        "kernel": {path: layer.kernel_memory for path, layer in layers.items()},
        "neuron": {path: layer.neuron_memory for path, layer in layers.items()},
        "bias": {path: layer.biases for path, layer in layers.items()},
    }
    memory = {what: profile[f"cores.{what}_memory"] for what in sizes}
    count = len(memory["kernel"])
    fits = {
        path: [
            core
            for core in range(count)
            if all(sizes[what][path] <= memory[what][core] for what in sizes)
        ]
        for path in layers
    }
    for path, possible in fits.items():
        if not possible:
            found.append(_too_large(path, sizes, memory, profile))
    placed, rivals = place({path: possible for path, possible in fits.items() if possible})
    if rivals:
        names = ", ".join(f"`{path}`" for path in rivals)
        together = sorted({core for path in rivals for core in fits[path]})
        count, limit = len(rivals), len(together)
        why = f"{count} layers ({names}) fit only on {limit} cores {together}"
        fix = "make one of them smaller, or leave one out"
        found.append(_unplaced(profile, rivals[-1], why, fix, number=count, limit=limit))
    rows = [
        {
            "core": core,
            "layer": path,
            **{what: sizes[what][path] for what in sizes},
            **{f"{what}_memory": memory[what][core] for what in sizes},
            "could_go_on": fits[path],
        }
        for path, core in sorted(placed.items(), key=lambda item: item[1])
    ]
    return rows, found


def _layer(graph: Topology, path: str, link: Link) -> Layer:
    (name,) = graph.weights(link)
    node, plan = graph.plan.nodes[name], graph.plan
    weight = np.asarray(node["weight"])
    biases = weight.shape[0] if np.any(node.get("bias", 0)) else 0
    if weight.ndim == 4:
        arrives, leaves = plan.arrives[name], plan.shapes[name]
        return Layer(path, arrives, leaves, weight.shape[2:], biases)
    before = link.path[: link.path.index(name)]
    flat = [p for p in before if graph.kind(p) == "Flatten"]
    arrives = plan.arrives[flat[0]] if flat else plan.arrives[name]
    arrives = arrives if len(arrives) == 3 else (math.prod(arrives), 1, 1)
    return Layer(path, arrives, (weight.shape[0], 1, 1), arrives[1:], biases)


def _one_kernel(
    graph: Topology, path: str, into: list[Link], profile: Profile
) -> Iterator[Finding]:
    """Several cores may send to one, but it has one kernel for all of them."""
    names = sorted({name for link in into for name in graph.weights(link)})
    if len(names) > 1:
        listed = ", ".join(f"`{name}`" for name in names)
        why = f"{len(names)} weights lead to it ({listed}), a core has one"
        fix = "concatenate the channels in front of one weight"
        yield against(profile, "cores.kernels", "kernels", path, why, fix, number=len(names))


def _one_spike(graph: Topology, path: str, into: list[Link], profile: Profile) -> Iterator[Finding]:
    """Weights above the threshold: what is left of a membrane waits for the next event."""
    node = graph.plan.nodes[path]
    if "v_threshold" not in node:
        return
    threshold = float(np.min(node["v_threshold"]))
    for link in into:
        (name,) = graph.weights(link)
        largest = float(np.max(graph.plan.nodes[name]["weight"], initial=0))
        if largest > threshold > 0:
            why = (
                f"`{name}` has a weight of {largest:.6g}, above the threshold {threshold:.6g}: an event "
                "makes one spike, and a neuron that stays above its threshold spikes again with whatever "
                "event comes next"
            )
            yield against(
                profile,
                "neuron.spikes_per_event",
                "one-spike",
                path,
                why,
                "train with weights below the threshold",
                number=f"{largest:.6g}",
                limit=f"{threshold:.6g}",
                severity="warning",
            )


def _convolution(
    graph: Topology, path: str, into: list[Link], layer: Layer, profile: Profile
) -> Iterator[Finding]:
    def over(name: str, number: Any, text: str, fix: str) -> Finding:
        key, code = f"convolution.{name}", name.replace("_", "-")
        return against(profile, key, code, path, text, fix, number=number)

    for name, size, what, fix in (
        ("input_size", max(layer.arrives[1:]), "a map of {} arrives", "pool before"),
        ("output_size", max(layer.leaves[1:]), "a map of {} leaves", "use a larger stride"),
        ("channels", max(layer.arrives[0], layer.leaves[0]), "{} channels", "use fewer channels"),
    ):
        most = profile[f"convolution.{name}"]
        if size > most:
            yield over(name, size, f"{what.format(size)}, at most {most}", fix)
    (height, width), most = layer.kernel, profile["convolution.kernel"]
    if height != width or height > most:
        yield over(
            "kernel",
            f"{height}x{width}",
            f"a kernel of {height}x{width}, square and at most {most} is allowed",
            "use a square kernel" if height != width else "use a smaller kernel",
        )
    for link in into:
        (name,) = graph.weights(link)
        node = graph.plan.nodes[name]
        if np.asarray(node["weight"]).ndim == 4:
            yield from _taps(node, over, profile)
        pools = [p for p in link.path if graph.kind(p) == "SumPool2d"]
        sizes = [int(np.broadcast_to(graph.plan.nodes[p]["kernel_size"], 2)[0]) for p in pools]
        if len(pools) > 1 and math.prod(sizes) not in profile["convolution.pooling"]:
            text = f"poolings of {' and '.join(map(str, sizes))} are one of {math.prod(sizes)} on a core"
            yield over("pooling", math.prod(sizes), text, "pool less")
        for pool in pools:
            yield from _pool(graph.plan.nodes[pool], pool, over, profile)
            if link.source in graph.plan.inputs:
                yield over(
                    "pooling",
                    f"`{link.source}`",
                    f"`{pool}` pools the input; a core pools the spikes of its neurons",
                    "use a stride, or pool the recordings",
                )


def _taps(node: dict[str, Any], over: Any, profile: Profile) -> Iterator[Finding]:
    stride, dilation = np.broadcast_to(node["stride"], 2), np.broadcast_to(node["dilation"], 2)
    allowed = profile["convolution.strides"]
    if any(int(one) not in allowed for one in stride):
        text = f"stride {stride.tolist()}, vertically and horizontally one of {allowed} is allowed"
        yield over("strides", str(stride.tolist()), text, "use such a stride")
    if (dilation != 1).any() or int(np.ravel(node["groups"])[0]) != 1:
        text = "dilation and groups must be 1"
        yield over("kernel", str(dilation.tolist()), text, "use a full, dense kernel")
    _, _, ends = conv_numbers(node, 2)
    most = profile["convolution.padding"]
    if any(low != high or low > most for low, high in ends):
        text = f"padding {ends}, even and at most {most} is allowed"
        yield over("padding", str(ends), text, "use less, even padding")


def _pool(node: dict[str, Any], path: str, over: Any, profile: Profile) -> Iterator[Finding]:
    kernel, stride = np.broadcast_to(node["kernel_size"], 2), np.broadcast_to(node["stride"], 2)
    allowed = profile["convolution.pooling"]
    same = kernel[0] == kernel[1] and (kernel == stride).all() and not np.any(node["padding"])
    if not same or int(kernel[0]) not in allowed:
        text = (
            f"`{path}` pools {kernel.tolist()} with stride {stride.tolist()} and padding "
            f"{np.ravel(node['padding']).tolist()}; square windows of {allowed} that do not overlap "
            "are allowed"
        )
        yield over("pooling", str(kernel.tolist()), text, "pool so")


def _too_large(
    path: str, sizes: dict[str, dict[str, int]], memory: dict[str, list[int]], profile: Profile
) -> Finding:
    for what in sizes:
        if sizes[what][path] > max(memory[what]):
            key, used, limit = f"cores.{what}_memory", sizes[what][path], max(memory[what])
            why = f"{used} entries of {what} memory, the largest core has {limit}"
            less = "a smaller kernel" if what == "kernel" else "a larger stride"
            fix = f"use fewer channels or {less}"
            return against(profile, key, f"{what}-memory", path, why, fix, number=used, limit=limit)
    text, limit = ", ".join(f"{what} {sizes[what][path]}" for what in sizes), len(memory["kernel"])
    why = f"no core has memory for {text} at once"
    return _unplaced(profile, path, why, "use fewer channels", number=text, limit=limit)


def _unplaced(profile: Profile, layer: str, why: str, fix: str, **found: Any) -> Finding:
    return against(profile, "cores.kernel_memory", "placement", layer, why, fix, **found)
