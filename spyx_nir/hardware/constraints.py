"""Does a graph fit a chip? Violations with what would fix them, placement on cores, utilisation."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.errors import GraphError, UsageError
from spyx_nir.hardware import grid, registry, rounding
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Finding, Misfit, Report, Row, by_severity, error
from spyx_nir.hardware.topology import SHAPING, WEIGHTS, PlannedGraph, Topology, analyse, planned
from spyx_nir.meaning import plan
from spyx_nir.meaning.equations import EQUATIONS
from spyx_nir.meaning.plan import settled, step_dt, step_meant


def check_constraints(
    graph: Mapping[str, Any] | PlannedGraph,
    profile: Profile,
    dt: float | None = None,
    reset: str | None = None,
    integers: bool = True,
) -> Report:
    """Compare a graph with a chip.

    Args:
        graph: the graph's dictionary, as `file.read_dict` gives it, or `planned` of it.
        profile: as `profile.load` gives it.
        dt: the step, in the unit of the time constants; None takes the contract's, and without one
            decays are not judged.
        reset: how every neuron resets, whatever the file says.
        integers: whether what `quantise` refuses while it rounds is an error here, too.

    Raises:
        GraphError: the graph has no meaning as it is.
        UsageError: `dt` contradicts the contract.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `lint` reports these
        given = planned(graph, reset)
    plan = given.plan
    if dt is not None or "dt" in plan.metadata:
        try:
            dt = step_dt(plan, dt)
        except GraphError as refused:
            raise UsageError(f"--dt: {refused}") from None
    topology = analyse(plan)
    report = Report(profile)
    said = {path for path, node in file.nodes(given.content) if "reset" in node.get("metadata", {})}
    report.table, over = _counts(topology, profile)
    found: list[Finding] = [
        *_nodes(topology, profile),
        *_wiring(topology, profile),
        *_recurrence(topology, profile, set(given.content["nodes"])),
        *_neurons(topology, profile, said),
        *_bias(topology, profile),
        *_decays(topology, profile, dt),
        *over,
        *_weights(topology),
    ]
    if profile.has_integers and not any(f.code == "node" for f in found):
        report.cores, unplaced = registry.family(profile).place(topology, profile)
        found += unplaced
    found += [*_notes(topology, profile)]
    if integers and dt is not None and not any(f.severity == "error" for f in found):
        found += [*_integers(analyse(settled(plan, dt)), profile, dt)]
    report.findings = by_severity(found)
    return report


# -------------------------------------------------------------------------------- nodes and edges


def _nodes(graph: Topology, profile: Profile) -> Iterator[Finding]:
    allowed = profile["graph.nodes"]
    for path in graph.plan.order:
        node = graph.plan.nodes[path]
        if node["type"] not in allowed:
            yield error(
                code="node",
                layer=path,
                number=node["type"],
                limit=", ".join(allowed),
                reason=f"{node['type']} is none of {', '.join(allowed)}",
                fix=_instead(node["type"], allowed),
                source=profile.source("graph.nodes"),
            )


def _instead(kind: str, allowed: list[str]) -> str:
    if EQUATIONS[kind].spikes or EQUATIONS[kind].stateful:
        neurons = [name for name in allowed if EQUATIONS[name].spikes]
        return f"train with {' or '.join(neurons) or 'what the target has'}"
    if kind == "AvgPool2d" and "SumPool2d" in allowed:
        return "write a SumPool2d and divide the next weight by the size of the window"
    if kind == "Scale":
        return "multiply the factor into the next weight"
    if kind == "Affine" and "Linear" in allowed:
        return "train without a bias: a Linear"
    return "express it as a matrix (Linear), if it is small enough"


def _wiring(graph: Topology, profile: Profile) -> Iterator[Finding]:
    source = profile.source("graph.nodes")
    strict = profile.has_integers
    for link in graph.links if strict else ():
        weights = graph.weights(link)
        if len(weights) != 1:
            what = f"from `{link.source}` to `{link.target}`"
            listed = ", ".join(f"`{w}`" for w in weights)
            yield error(
                code="wiring",
                layer=link.target,
                number=len(weights),
                limit=1,
                reason=f"{what} are {len(weights)} weights ({listed})"
                if weights
                else f"{what} is no weight",
                fix="multiply the matrices into one" if weights else "put an identity Linear there",
                source=source,
            )
            continue
        behind = link.path[link.path.index(weights[0]) + 1 :]
        odd = [p for p in behind if graph.kind(p) != "Flatten"]
        odd += [p for p in link.path if graph.kind(p) not in (*WEIGHTS, *SHAPING)]
        for path in odd:
            yield error(
                code="wiring",
                layer=path,
                number=graph.kind(path),
                limit="pooling and flattening before the weight",
                reason=f"{graph.kind(path)} between weight and neurons",
                fix="move it before the weight, or into the weight",
                source=source,
            )
    for link in graph.loose if strict else ():
        yield error(
            code="wiring",
            layer=link.target,
            number=link.source,
            limit="a population of neurons",
            reason=f"`{link.target}` shows no neurons but what `{link.source}` sends through "
            f"{', '.join(f'`{p}`' for p in link.path) or 'nothing'}",
            fix="end the network with neurons",
            source=source,
        )
    least = profile["graph.neuron_layers"]
    if len(graph.populations) < least:
        yield error(
            code="layers",
            number=len(graph.populations),
            limit=least,
            reason=f"{len(graph.populations)} layers of neurons, at least {least} are needed",
            fix="put a layer of neurons in front",
            source=profile.source("graph.neuron_layers"),
        )


def _recurrence(graph: Topology, profile: Profile, top: set[str]) -> Iterator[Finding]:
    """`top` names the nodes of the outermost graph: those lie in no subgraph."""
    allowed = profile["graph.recurrence"]
    for link in graph.links:
        from_output = link.source in graph.outputs
        if allowed == "none" and link.closes:
            fix = "train without this recurrence"
        elif allowed == "hidden" and from_output:
            fix = "put a layer without recurrence behind it, as output"
        else:
            flat = link.closes and link.target in top
            if flat and allowed != "none" and profile["graph.nested_recurrence"]:
                yield error(
                    code="recurrence",
                    layer=link.target,
                    number="a flat cycle",
                    limit="a nested subgraph",
                    reason=f"the cycle through `{link.target}` is flat in the graph, the target reads "
                    "it only from a nested subgraph",
                    fix="write input -> lif, lif -> w_rec, w_rec -> lif, lif -> output as a subgraph: "
                    'export it with recurrent="nested"',
                    source=profile.source("graph.nested_recurrence"),
                )
            continue
        yield error(
            code="recurrence",
            layer=link.target,
            number=f"`{link.source}` -> `{link.target}`",
            limit=allowed,
            reason=f"`{link.source}` feeds `{link.target}`"
            + (" back" if link.closes else ", though it is an output"),
            fix=fix,
            source=profile.source("graph.recurrence"),
        )


# ------------------------------------------------------------------------------- what neurons do


def _uniform(node: dict[str, Any], name: str) -> bool:
    value = np.ravel(node.get(name, 0))
    return bool((value == value[0]).all()) if value.size else True


def _range(value: Any) -> str:
    array = np.asarray(value, np.float64)
    low, high = float(array.min()), float(array.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} .. {high:.6g}"


def _neurons(graph: Topology, profile: Profile, given: set[str]) -> Iterator[Finding]:
    """`given`: the neurons whose reset the file gives."""
    resets, bounded = profile["neuron.reset"], profile["state.bits"] is not None
    for path in graph.populations:
        node = graph.plan.nodes[path]
        if not EQUATIONS[node["type"]].spikes or "v_threshold" not in node:
            continue
        reset = node.get("reset", "v_reset")
        if reset not in resets and not (node["type"] == "IF" and _same_for_if(reset, resets)):
            said = path in given
            yield Finding(
                severity="error" if said else "warning",
                code="reset",
                layer=path,
                number=reset,
                limit=", ".join(resets),
                reason=f"resets by {reset}, the target by {' or '.join(resets)}"
                + ("" if said else "; the file does not say which it was trained with"),
                fix=f"train with reset: {resets[0]}"
                + ("" if said else f", or say so: `upgrade --reset {resets[0]}`"),
                source=profile.source("neuron.reset"),
            )
        for name, why in (("v_reset", "reset"), ("v_leak", "rest")):
            uses = name in node and (name == "v_leak" or reset == "v_reset")
            if bounded and uses and np.any(node[name]):
                yield error(
                    code=name,
                    layer=path,
                    number=_range(node[name]),
                    limit=0,
                    reason=f"{name} is {_range(node[name])}, the target can only {why} at 0",
                    fix=f"train with {name} 0",
                    source=profile.source("neuron.reset"),
                )
        low = float(np.min(node["v_threshold"]))
        if bounded and low <= 0:
            yield error(
                code="threshold",
                layer=path,
                number=f"{low:.6g}",
                limit="above 0",
                reason=f"v_threshold is {low:.6g}, the target's are above 0",
                fix="train with a threshold above 0",
                source=profile.source("state.threshold_bits"),
            )
        if profile["neuron.threshold_per"] == "layer" and not _uniform(node, "v_threshold"):
            yield error(
                code="threshold",
                layer=path,
                number=_range(node["v_threshold"]),
                limit="one for the layer",
                reason=f"thresholds {_range(node['v_threshold'])}, the target has one for the layer",
                fix="divide each row of the weights by its threshold and set all to 1",
                source=profile.source("neuron.threshold_per"),
            )


def _same_for_if(reset: str, resets: list[str]) -> bool:
    """Nothing decays in an IF: both subtractions are one."""
    return reset.startswith("subtract") and any(r.startswith("subtract") for r in resets)


def _bias(graph: Topology, profile: Profile) -> Iterator[Finding]:
    if profile["neuron.bias"]:
        return
    for path, node in graph.plan.nodes.items():
        if "bias" in node and np.any(node["bias"]):
            yield error(
                code="bias",
                layer=path,
                number=int(np.count_nonzero(node["bias"])),
                limit=0,
                reason=f"{np.count_nonzero(node['bias'])} biases are not 0, the target drops them",
                fix="train without bias",
                source=profile.source("neuron.bias"),
            )


def _decays(graph: Topology, profile: Profile, dt: float | None) -> Iterator[Finding]:
    kind = profile["neuron.decay"]
    for path in graph.populations:
        node = graph.plan.nodes[path]
        for name in ("tau", "tau_syn", "tau_mem"):
            if name not in node:
                continue
            tau = np.asarray(node[name], np.float64)
            if (
                profile["neuron.decay_per"] == "layer"
                and kind != "none"
                and not _uniform(node, name)
            ):
                yield error(
                    code="decay",
                    layer=path,
                    number=_range(tau),
                    limit="one for the layer",
                    reason=f"{name} {_range(tau)}, the target has one for the layer",
                    fix="train with one time constant per layer",
                    source=profile.source("neuron.decay_per"),
                )
            if kind not in ("shift", "fraction") or dt is None or not tau.size:
                continue
            too_long = [text for at, text in plan.too_long(graph.plan, dt) if at == path]
            if too_long or (kind == "shift" and float(tau.min()) <= dt):
                yield error(
                    code="decay",
                    layer=path,
                    number=f"{tau.min():.6g}",
                    limit=f"above dt = {dt:.6g}",
                    reason=f"{name} is {tau.min():.6g}, time constants must be longer than dt = {dt:.6g}",
                    fix=step_meant(graph.plan, dt)
                    if too_long
                    else f"train with {name} of 2 dt or more",
                    source=profile.source("neuron.decay"),
                )
                continue
            decay = 1 - dt / tau
            state = "syn" if name == "tau_syn" else "mem"
            moved = grid.decay_on_grid(decay, kind, profile["neuron.decay_bits"], state)
            if kind == "shift" and state == "syn" and (moved == 0).any():
                yield error(
                    code="decay",
                    layer=path,
                    number=f"{decay.min():.6g}",
                    limit=0.5,
                    reason=f"the decay {decay.min():.6g} of its current becomes 0 on the grid of "
                    f"{profile.name}, which leaves nothing of its input",
                    fix="train with 0.5 or more",
                    source=profile.source("neuron.decay"),
                )
                continue
            far = float(np.abs(moved - decay).max())
            # float32 time constants hold a decay to 2^-24: less than that is no move.
            if far > 2.0**-23:
                yield Finding(
                    severity="note",
                    code="decay",
                    layer=path,
                    number=_range(decay),
                    limit=_range(moved),
                    reason=f"decay {_range(decay)} of {name} becomes {_range(moved)} on the target's "
                    "grid",
                    fix="train with decays on the grid",
                    source=profile.source("neuron.decay"),
                )


def _weights(graph: Topology) -> Iterator[Finding]:
    for path in dict.fromkeys(w for link in graph.links for w in graph.weights(link)):
        if not np.any(graph.plan.nodes[path]["weight"]):
            yield Finding(
                severity="warning",
                code="zeros",
                layer=path,
                number=0,
                limit="a weight that is not 0",
                reason="all of its weights are 0: nothing passes it",
                fix="train it, or leave it out",
            )


def _integers(graph: Topology, profile: Profile, dt: float) -> Iterator[Finding]:
    """What `quantise` refuses while it rounds."""
    if not profile.has_integers:
        return
    try:
        rounding.integers(graph, profile, dt)
    except Misfit as refused:
        yield refused.finding
    except GraphError as refused:
        yield error(
            code="integers",
            layer=refused.node or "",
            reason=str(refused),
            fix="see docs/hardware.md",
            source=profile.source("weights.bits"),
        )


def _notes(graph: Topology, profile: Profile) -> Iterator[Finding]:
    if profile.has_integers:
        if profile["neuron.compare"] == ">=":
            yield Finding(
                severity="note",
                code="compare",
                number=">",
                limit=">=",
                reason="the target spikes at the threshold too, NIR only above it",
                fix="train with the target's comparison, or accept spikes at equality",
                source=profile.source("neuron.compare"),
            )
        if profile["neuron.spikes_per_step"] != 1:
            most = profile["neuron.spikes_per_step"]
            times = f"up to {most} times" if most else "several times"
            yield Finding(
                severity="note",
                code="multi-spike",
                number=1,
                limit=most,
                reason=f"a neuron of the target spikes {times} in a step, NIR's once",
                fix="train with the target's rule, or keep inputs below twice the threshold",
                source=profile.source("neuron.spikes_per_step"),
            )
    for text in profile["graph.notes"]:
        yield Finding(
            severity="note", code="target", reason=text, source=profile.source("graph.notes")
        )


# ------------------------------------------------------------------------------------- counting


def _counts(graph: Topology, profile: Profile) -> tuple[list[Row], list[Finding]]:
    sizes = {path: graph.size(path) for path in graph.populations}
    weights = dict.fromkeys(w for link in graph.links for w in graph.weights(link))
    fan_in: Counter[str] = Counter()
    fan_out: Counter[str] = Counter()
    for link in graph.links:
        for weight in graph.weights(link):
            arrives, leaves = graph.fan(weight)
            fan_in[link.target] += arrives
            fan_out[link.source] += leaves
    fan_out = Counter({p: n for p, n in fan_out.items() if p not in graph.plan.inputs})
    hidden = {p: n for p, n in sizes.items() if p not in graph.outputs}
    shown = {p: n for p, n in sizes.items() if p in graph.outputs}
    inputs = {path: math.prod(graph.plan.shapes[path]) for path in graph.plan.inputs}
    totals = {
        "inputs": (inputs, "merge input channels"),
        "hidden_neurons": (hidden, "make hidden layers smaller"),
        "outputs": (shown, "use fewer classes, or split them over two chips"),
        "neurons": (sizes, "make layers smaller"),
        "synapses": ({w: graph.synapses(w) for w in weights}, "prune, or make layers smaller"),
    }
    rows: list[Row] = []
    found: list[Finding] = []
    for name, (parts, fix) in totals.items():
        limit = profile[f"limits.{name}"]
        rows.append(Row(name.replace("_", " "), sum(parts.values()), limit))
        found += _over(name, sum(parts.values()), _largest(parts), profile, fix)
    for name, fan, fix in (
        ("fan_in", fan_in, "prune the rows of the weights that lead there"),
        ("fan_out", fan_out, "prune the columns of the weights that lead away"),
    ):
        layer = _largest(fan)
        rows.append(Row(name.replace("_", "-"), fan[layer], profile[f"limits.{name}"]))
        found += _over(name, fan[layer], layer, profile, fix)
    return rows, found


def _largest(parts: dict[str, int]) -> str:
    return max(parts, key=lambda path: parts[path]) if parts else ""


def _over(name: str, used: int, layer: str, profile: Profile, fix: str) -> Iterator[Finding]:
    limit = profile[f"limits.{name}"]
    if limit is not None and used > limit:
        what = name.replace("fan_", "fan-").replace("_", " ")
        yield error(
            code=name.replace("_", "-"),
            layer=layer,
            number=used,
            limit=limit,
            reason=f"{what}: {used}, at most {limit}",
            fix=f"{fix}: {used - limit} too many",
            source=profile.source(f"limits.{name}"),
        )
