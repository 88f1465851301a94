"""Does a graph fit a chip? Violations with what would fix them, placement on cores, utilisation."""

from __future__ import annotations

import functools
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.errors import GraphError, UsageError
from spyx_nir.hardware import biases, grid, registry, rounding
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Finding, Misfit, Report, Row, against, by_severity, error
from spyx_nir.hardware.links import geometry
from spyx_nir.hardware.topology import SHAPING, WEIGHTS, PlannedGraph, Topology, analyse, planned
from spyx_nir.meaning import plan
from spyx_nir.meaning.equations import EQUATIONS
from spyx_nir.meaning.plan import settled, step_dt, step_meant

ONE = "one for the layer"


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
        *_leakless(topology, profile, dt),
        *_decays(topology, profile, dt),
        *over,
        *_weights(topology),
    ]
    if profile.has_integers and not any(f.code == "node" for f in found):
        report.cores, unplaced = registry.family(profile).place(topology, profile)
        found += unplaced
        report.table += registry.family(profile).resources(topology, profile)
    found += [*_notes(topology, profile)]
    if integers and dt is not None and not any(f.severity == "error" for f in found):
        found += [*_integers(analyse(settled(plan, dt)), profile, dt)]
    report.findings = by_severity(found)
    return report


# -------------------------------------------------------------------------------- nodes and edges


def _nodes(graph: Topology, profile: Profile) -> Iterator[Finding]:
    allowed = profile["graph.nodes"]
    for path in graph.plan.order:
        kind = graph.kind(path)
        if kind not in allowed:
            why, fix = f"{kind} is none of {', '.join(allowed)}", _instead(kind, allowed)
            yield against(profile, "graph.nodes", "node", path, why, fix, number=kind)


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
    if profile.has_integers:
        yield from _links(graph, profile)
    count, key = len(graph.populations), "graph.neuron_layers"
    if count < profile[key]:
        why = f"{count} layers of neurons, at least {profile[key]} are needed"
        yield against(
            profile, key, "layers", "", why, "put a layer of neurons in front", number=count
        )


def _links(graph: Topology, profile: Profile) -> Iterator[Finding]:
    """What is not one weight between neurons, with pooling and flattening in front of it."""
    wrong = functools.partial(against, profile, "graph.nodes", "wiring")
    for link in graph.links:
        weights = graph.weights(link)
        if len(weights) != 1:
            why, fix = "is no weight", "put an identity Linear there"
            if weights:
                why = f"are {len(weights)} weights ({', '.join(f'`{w}`' for w in weights)})"
                fix = "multiply the matrices into one"
            why = f"from `{link.source}` to `{link.target}` {why}"
            yield wrong(link.target, why, fix, number=len(weights), limit=1)
            continue
        behind = link.path[link.path.index(weights[0]) + 1 :]
        delay = ("Delay",) if "Delay" in profile["graph.nodes"] else ()
        odd = [p for p in behind if graph.kind(p) not in ("Flatten", *delay)]
        odd += [p for p in link.path if graph.kind(p) not in (*WEIGHTS, *SHAPING, *delay)]
        limit = "pooling and flattening before the weight"
        for path in odd:
            kind, fix = graph.kind(path), "move it before the weight, or into the weight"
            why = f"{kind} between weight and neurons"
            yield wrong(path, why, fix, number=kind, limit=limit)
        if not odd:
            try:
                geometry(graph, link, profile)
            except Misfit as refused:
                yield refused.finding
    for path in graph.populations:
        silent = not EQUATIONS[graph.kind(path)].spikes
        if silent and (path not in graph.outputs or graph.out_of(path)):
            why = f"a {graph.kind(path)} has no spikes: the target reads its membrane, as an output"
            fix = "end the network with it, or train with neurons that spike"
            yield wrong(path, why, fix, number=graph.kind(path), limit="an output")
    limit, fix = "a population of neurons", "end the network with neurons"
    for link in graph.loose:
        through = ", ".join(f"`{p}`" for p in link.path) or "nothing"
        why = f"`{link.target}` shows no neurons but what `{link.source}` sends through {through}"
        yield wrong(link.target, why, fix, number=link.source, limit=limit)


def _recurrence(graph: Topology, profile: Profile, top: set[str]) -> Iterator[Finding]:
    """`top` names the nodes of the outermost graph: those are in no subgraph."""
    allowed, nested = profile["graph.recurrence"], profile["graph.nested_recurrence"]
    for link in graph.links:
        source, target = link.source, link.target
        fix = ""
        if allowed == "none" and link.closes:
            fix = "train without this recurrence"
        elif allowed == "hidden" and source in graph.outputs:
            fix = "put a layer without recurrence behind it, as output"
        if fix:
            key, number = "graph.recurrence", f"`{source}` -> `{target}`"
            why = f"`{source}` feeds `{target}`"
            why += " back" if link.closes else ", though it is an output"
            yield against(profile, key, "recurrence", target, why, fix, number=number)
        elif nested and allowed != "none" and link.closes and target in top:
            key, number, limit = "graph.nested_recurrence", "a flat cycle", "a nested subgraph"
            why = (
                f"the cycle through `{target}` is flat in the graph, the target reads it only from a "
                "nested subgraph"
            )
            fix = (
                "write input -> lif, lif -> w_rec, w_rec -> lif, lif -> output as a subgraph: export "
                'it with recurrent="nested"'
            )
            yield against(profile, key, "recurrence", target, why, fix, number=number, limit=limit)


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
    bounded, uniform = profile["state.bits"] is not None, profile["neuron.threshold_per"] == "layer"
    for path in graph.populations:
        node = graph.plan.nodes[path]
        if not EQUATIONS[node["type"]].spikes or "v_threshold" not in node:
            continue
        yield from _reset(path, node, profile, path in given)
        reset = node.get("reset", "v_reset")
        for name, how in (("v_reset", "reset"), ("v_leak", "rest")):
            uses = name in node and (name == "v_leak" or reset == "v_reset")
            if name == "v_leak" and profile["neuron.bias"] and node.get("v_init") != "v_leak":
                continue  # a bias of the membrane
            if bounded and uses and np.any(node[name]):
                key, fix, value = "neuron.reset", f"train with {name} 0", _range(node[name])
                why = f"{name} is {value}, the target can only {how} at 0"
                yield against(profile, key, name, path, why, fix, number=value, limit=0)
        low = float(np.min(node["v_threshold"]))
        if bounded and low <= 0:
            key, limit, fix = "state.threshold_bits", "above 0", "train with a threshold above 0"
            why, value = f"v_threshold is {low:.6g}, the target's are above 0", f"{low:.6g}"
            yield against(profile, key, "threshold", path, why, fix, number=value, limit=limit)
        if uniform and not _uniform(node, "v_threshold"):
            key, value = "neuron.threshold_per", _range(node["v_threshold"])
            why = f"thresholds {value}, the target has one for the layer"
            fix = "divide each row of the weights by its threshold and set all to 1"
            yield against(profile, key, "threshold", path, why, fix, number=value, limit=ONE)


def _reset(path: str, node: dict[str, Any], profile: Profile, given: bool) -> Iterator[Finding]:
    reset, resets = node.get("reset", "v_reset"), profile["neuron.reset"]
    if reset in resets or (node["type"] == "IF" and _same_for_if(reset, resets)):
        return
    why, fix = (
        f"resets by {reset}, the target by {' or '.join(resets)}",
        f"train with reset: {resets[0]}",
    )
    if not given:
        why += "; the file does not say which it was trained with"
        fix += f", or say so: `upgrade --reset {resets[0]}`"
    severity = "error" if given else "warning"
    yield against(profile, "neuron.reset", "reset", path, why, fix, number=reset, severity=severity)


def _same_for_if(reset: str, resets: list[str]) -> bool:
    """Nothing decays in an IF: both subtractions are one."""
    return reset.startswith("subtract") and any(r.startswith("subtract") for r in resets)


def _bias(graph: Topology, profile: Profile) -> Iterator[Finding]:
    key, fix = "neuron.bias", "train without bias"
    for path, node in graph.plan.nodes.items():
        count = int(np.count_nonzero(node.get("bias", 0)))
        if count and not profile[key]:
            why = f"{count} biases are not 0, the target has none"
            yield against(profile, key, "bias", path, why, fix, number=count, limit=0)
    note = functools.partial(against, profile, key, "bias", severity="note")
    for path in graph.populations if profile.has_integers and profile[key] else ():
        node = graph.plan.nodes[path]
        if not biases.given(graph, path):
            continue
        if "tau_syn" in node or rounding.is_current(node, profile):
            why = (
                "the target adds a bias to the membrane at once; in NIR it passes the current, which "
                "takes its time to settle"
            )
            yield note(path, why, "", number="current", limit="membrane")
        if registry.family(profile).delays_inputs:
            why = (
                "the target adds a bias from its first step on, some steps before the first input "
                "arrives, as every weight delays by a step"
            )
            yield note(path, why, "", number="first step", limit="delayed input")


def _leakless(graph: Topology, profile: Profile, dt: float | None) -> Iterator[Finding]:
    """What one recording leaves in membranes for the next, on a chip that bounds them from no side."""
    if not profile.has_integers or profile["state.floor"] != "none":
        return
    kept = [path for path in graph.populations if _no_leak(graph.plan.nodes[path], profile, dt)]
    if kept:
        why = (
            f"{', '.join(f'`{path}`' for path in kept)}: no leak, and the target has no floor; what a "
            "recording leaves in membranes stays there"
        )
        fix = (
            "reset the states between recordings (BRINGUP.md of a bundle), or train with a leak "
            "(`leak` of a target)"
        )
        yield against(
            profile,
            "state.floor",
            "no-leak",
            kept[0],
            why,
            fix,
            number=len(kept),
            severity="warning",
        )


def _no_leak(node: dict[str, Any], profile: Profile, dt: float | None) -> bool:
    """Whether the membrane does not decay on the chip; by shifts it always does."""
    tau = node.get("tau_mem", node.get("tau"))
    if tau is None or profile["neuron.decay"] != "fraction":
        return tau is None
    if dt is None:
        return bool(np.isinf(tau).any())
    decay = 1 - dt / np.asarray(tau, np.float64)
    return bool(
        (grid.decay_on_grid(decay, "fraction", profile["neuron.decay_bits"], "mem") == 1).any()
    )


def _decays(graph: Topology, profile: Profile, dt: float | None) -> Iterator[Finding]:
    kind, key, per = profile["neuron.decay"], "neuron.decay", "neuron.decay_per"
    longer = set() if dt is None else {path for path, _ in plan.too_long(graph.plan, dt)}
    meant = step_meant(graph.plan, dt) if longer and dt is not None else ""
    for path in graph.populations:
        node = graph.plan.nodes[path]
        for name in ("tau", "tau_syn", "tau_mem"):
            if name not in node:
                continue
            tau = np.asarray(node[name], np.float64)
            if profile[per] == "layer" and kind != "none" and not _uniform(node, name):
                value, fix = _range(tau), "train with one time constant per layer"
                why = f"{name} {value}, the target has one for the layer"
                yield against(profile, per, "decay", path, why, fix, number=value, limit=ONE)
            if kind not in ("shift", "fraction") or dt is None or not tau.size:
                continue
            wrong = functools.partial(against, profile, key, "decay", path)
            too_long = path in longer
            if too_long or (kind == "shift" and float(tau.min()) <= dt):
                fix = f"train with {name} of 2 dt or more"
                fix = meant if too_long else fix
                value, limit = f"{tau.min():.6g}", f"above dt = {dt:.6g}"
                why = f"{name} is {value}, time constants must be longer than dt = {dt:.6g}"
                yield wrong(why, fix, number=value, limit=limit)
                continue
            decay = 1 - dt / tau
            current = name == "tau_syn" or rounding.is_current(node, profile)
            state = "syn" if current else "mem"
            moved = grid.decay_on_grid(decay, kind, profile["neuron.decay_bits"], state)
            if kind == "shift" and state == "syn" and (moved == 0).any():
                value, fix = f"{decay.min():.6g}", "train with 0.5 or more"
                why = (
                    f"the decay {value} of its current becomes 0 on the grid of {profile.name}, which "
                    "leaves nothing of its input"
                )
                yield wrong(why, fix, number=value, limit=0.5)
                continue
            # float32 time constants hold a decay to 2^-24: less than that is no move.
            if float(np.abs(moved - decay).max()) > 2.0**-23:
                value, limit, fix = _range(decay), _range(moved), "train with decays on the grid"
                why = f"decay {value} of {name} becomes {limit} on the target's grid"
                yield wrong(why, fix, number=value, limit=limit, severity="note")


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
    note = functools.partial(against, profile, severity="note")
    if profile.has_integers and profile["neuron.compare"] == ">=":
        why = "the target spikes at the threshold too, NIR only above it"
        fix = "train with the target's comparison, or accept spikes at equality"
        yield note("neuron.compare", "compare", "", why, fix, number=">")
    most, key = profile["neuron.spikes_per_step"], "neuron.spikes_per_step"
    if profile.has_integers and most != 1:
        times = f"up to {most} times" if most else "several times"
        why = f"a neuron of the target spikes {times} in a step, NIR's once"
        fix = "train with the target's rule, or keep inputs below twice the threshold"
        yield note(key, "multi-spike", "", why, fix, number=1)
    for text in profile["graph.notes"]:
        source = profile.source("graph.notes")
        yield Finding(severity="note", code="target", reason=text, source=source)


# ------------------------------------------------------------------------------------- counting


def _counts(graph: Topology, profile: Profile) -> tuple[list[Row], list[Finding]]:
    sizes = {path: graph.size(path) for path in graph.populations}
    weights = dict.fromkeys(w for link in graph.links for w in graph.weights(link))
    fan_in: Counter[str] = Counter()
    fan_out: Counter[str] = Counter()
    to_outputs = not profile.has_integers or registry.family(profile).counts_fan_out_to_outputs
    for link in graph.links:
        for weight in graph.weights(link):
            arrives, leaves = graph.fan(weight)
            fan_in[link.target] += arrives
            if to_outputs or link.target not in graph.outputs:
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
    key, code = f"limits.{name}", name.replace("_", "-")
    limit = profile[key]
    if limit is not None and used > limit:
        what = name.replace("fan_", "fan-").replace("_", " ")
        why, fix = f"{what}: {used}, at most {limit}", f"{fix}: {used - limit} too many"
        yield against(profile, key, code, layer, why, fix, number=used)
