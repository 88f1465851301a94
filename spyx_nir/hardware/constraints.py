"""Does a graph fit a chip? Violations with what would fix them, placement on cores, utilisation."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.errors import GraphError, UsageError
from spyx_nir.hardware import dynapcnn, grid
from spyx_nir.hardware.profile import Profile
from spyx_nir.hardware.topology import SHAPING, WEIGHTS, Structure, analyse
from spyx_nir.meaning import plan
from spyx_nir.meaning.equations import EQUATIONS
from spyx_nir.meaning.plan import make_plan, settled, step_dt, step_meant

SEVERITIES = ("error", "change", "warning", "note")
FITS, CHANGED, REFUSED = "fits", "fits when changed", "refused"


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit, or that the chip does differently.

    severity: error: does not fit; change: the stage `target` changes it and trains on; warning: may
    not mean the same; note: known difference.
    layer: node path, "" for the whole graph. number, limit: what is there and what is allowed.
    """

    severity: str
    code: str
    layer: str
    number: Any
    limit: Any
    reason: str
    fix: str
    source: str


@dataclass(frozen=True)
class Row:
    """One line of the utilisation table; `limit` None: no bound is known."""

    resource: str
    used: int
    limit: int | None


@dataclass
class Report:
    """What `fit` found; `cores` has a row for each core in use."""

    profile: Profile
    findings: list[Finding] = field(default_factory=list)
    table: list[Row] = field(default_factory=list)
    cores: list[dict[str, Any]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """`FITS` as it is, `CHANGED`: once all that is marked `change` is changed, or `REFUSED`."""
        found = {finding.severity for finding in self.findings}
        return REFUSED if "error" in found else CHANGED if "change" in found else FITS

    @property
    def fits(self) -> bool:
        """No error was found."""
        return self.verdict != REFUSED


def fit(
    content: dict[str, Any],
    profile: Profile,
    dt: float | None = None,
    reset: str | None = None,
    integers: bool = True,
) -> Report:
    """Compare a graph with a chip.

    Args:
        content: the graph's dictionary, as `file.read_dict` gives it.
        profile: as `profile.load` gives it.
        dt: the step, in the unit of the time constants; None takes the contract's, and without one
            decays are not judged.
        reset: how every neuron resets, whatever the file says.
        integers: whether what `quantise` refuses while it rounds is an error here, too.

    Raises:
        GraphError: the graph has no meaning as it is.
        UsageError: `dt` contradicts the contract.
    """
    for path, node in file.nodes(content):
        file.check_node(node, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `lint` says what is doubtful
        plan = make_plan(content, reset)
    if dt is not None or "dt" in plan.metadata:
        try:
            dt = step_dt(plan, dt)
        except GraphError as error:
            raise UsageError(f"--dt: {error}") from None
    graph = analyse(plan)
    report = Report(profile)
    found: list[Finding] = [*_nodes(graph, profile), *_wiring(graph, profile)]
    found += [*_recurrence(graph, profile, set(content["nodes"]))]
    said = {path for path, node in file.nodes(content) if "reset" in node.get("metadata", {})}
    found += [*_neurons(graph, profile, set(graph.populations) if reset else said)]
    found += [*_bias(graph, profile), *_decays(graph, profile, dt)]
    report.table, over = _counts(graph, profile)
    found += over
    found += [*_weights(graph)]
    if "cores.kernel_memory" in profile and not any(f.code == "node" for f in found):
        report.cores, more = dynapcnn.cores(graph, profile)
        found += more
    found += [*_notes(graph, profile)]
    if integers and dt is not None and not any(f.severity == "error" for f in found):
        found += [*_integers(analyse(settled(plan, dt)), profile, dt)]
    report.findings = sorted(found, key=lambda f: SEVERITIES.index(f.severity))
    return report


def as_data(report: Report) -> dict[str, Any]:
    """A report as JSON-like data, the form of `fit.json`."""
    return {
        "target": report.profile.name,
        "chip": report.profile.chip,
        "fits": report.fits,
        "verdict": report.verdict,
        "findings": [dataclasses.asdict(found) for found in report.findings],
        "utilisation": [
            {
                **dataclasses.asdict(row),
                "source": report.profile.source(
                    f"limits.{row.resource.replace(' ', '_').replace('-', '_')}"
                ),
            }
            for row in report.table
        ],
        "cores": report.cores,
    }


# -------------------------------------------------------------------------------- nodes and edges


def _nodes(graph: Structure, profile: Profile) -> Iterator[Finding]:
    allowed = profile["graph.nodes"]
    for path in graph.plan.order:
        node = graph.plan.nodes[path]
        if node["type"] not in allowed:
            yield Finding(
                "error",
                "node",
                path,
                node["type"],
                ", ".join(allowed),
                f"{node['type']} is none of {', '.join(allowed)}",
                _instead(node["type"], allowed),
                profile.source("graph.nodes"),
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


def _wiring(graph: Structure, profile: Profile) -> Iterator[Finding]:
    source = profile.source("graph.nodes")
    strict = profile.rule != "none"
    for link in graph.links if strict else ():
        weights = graph.weights(link)
        if len(weights) != 1:
            what = f"from `{link.source}` to `{link.target}`"
            lie = ", ".join(f"`{w}`" for w in weights)
            yield Finding(
                "error",
                "wiring",
                link.target,
                len(weights),
                1,
                f"{what} {f'lie {len(weights)} weights ({lie})' if weights else 'lies no weight'}",
                "multiply the matrices into one" if weights else "put an identity Linear there",
                source,
            )
            continue
        behind = link.path[link.path.index(weights[0]) + 1 :]
        odd = [p for p in behind if graph.kind(p) != "Flatten"]
        odd += [p for p in link.path if graph.kind(p) not in (*WEIGHTS, *SHAPING)]
        for path in odd:
            yield Finding(
                "error",
                "wiring",
                path,
                graph.kind(path),
                "pooling and flattening before the weight",
                f"{graph.kind(path)} between weight and neurons",
                "move it before the weight, or into the weight",
                source,
            )
    for link in graph.loose if strict else ():
        yield Finding(
            "error",
            "wiring",
            link.target,
            link.source,
            "a population of neurons",
            f"`{link.target}` shows no neurons but what `{link.source}` sends through "
            f"{', '.join(f'`{p}`' for p in link.path) or 'nothing'}",
            "end the network with neurons",
            source,
        )
    least = profile["graph.neuron_layers"]
    if len(graph.populations) < least:
        yield Finding(
            "error",
            "layers",
            "",
            len(graph.populations),
            least,
            f"{len(graph.populations)} layers of neurons, at least {least} are needed",
            "put a layer of neurons in front",
            profile.source("graph.neuron_layers"),
        )


def _recurrence(graph: Structure, profile: Profile, top: set[str]) -> Iterator[Finding]:
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
                yield Finding(
                    "error",
                    "recurrence",
                    link.target,
                    "a flat cycle",
                    "a nested subgraph",
                    f"the cycle through `{link.target}` lies flat in the graph, the target reads it "
                    "only from a nested subgraph",
                    "write input -> lif, lif -> w_rec, w_rec -> lif, lif -> output as a subgraph: "
                    'export it with recurrent="nested"',
                    profile.source("graph.nested_recurrence"),
                )
            continue
        yield Finding(
            "error",
            "recurrence",
            link.target,
            f"`{link.source}` -> `{link.target}`",
            allowed,
            f"`{link.source}` feeds `{link.target}`"
            + (" back" if link.closes else ", though it is an output"),
            fix,
            profile.source("graph.recurrence"),
        )


# ------------------------------------------------------------------------------- what neurons do


def _uniform(node: dict[str, Any], name: str) -> bool:
    value = np.ravel(node.get(name, 0))
    return bool((value == value[0]).all()) if value.size else True


def _range(value: Any) -> str:
    array = np.asarray(value, np.float64)
    low, high = float(array.min()), float(array.max())
    return f"{low:.6g}" if low == high else f"{low:.6g} .. {high:.6g}"


def _neurons(graph: Structure, profile: Profile, told: set[str]) -> Iterator[Finding]:
    """`told`: the neurons of which the file says how they reset."""
    resets, bounded = profile["neuron.reset"], profile["state.bits"] is not None
    for path in graph.populations:
        node = graph.plan.nodes[path]
        if not EQUATIONS[node["type"]].spikes or "v_threshold" not in node:
            continue
        reset = node.get("reset", "v_reset")
        if reset not in resets and not (node["type"] == "IF" and _same_for_if(reset, resets)):
            said = path in told
            yield Finding(
                "error" if said else "warning",
                "reset",
                path,
                reset,
                ", ".join(resets),
                f"resets by {reset}, the target by {' or '.join(resets)}"
                + ("" if said else "; the file does not say which it was trained with"),
                f"train with reset: {resets[0]}"
                + ("" if said else f", or say so: `upgrade --reset {resets[0]}`"),
                profile.source("neuron.reset"),
            )
        for name, why in (("v_reset", "reset"), ("v_leak", "rest")):
            uses = name in node and (name == "v_leak" or reset == "v_reset")
            if bounded and uses and np.any(node[name]):
                yield Finding(
                    "error",
                    name,
                    path,
                    _range(node[name]),
                    0,
                    f"{name} is {_range(node[name])}, the target can only {why} at 0",
                    f"train with {name} 0",
                    profile.source("neuron.reset"),
                )
        low = float(np.min(node["v_threshold"]))
        if bounded and low <= 0:
            yield Finding(
                "error",
                "threshold",
                path,
                f"{low:.6g}",
                "above 0",
                f"v_threshold is {low:.6g}, the target's are above 0",
                "train with a threshold above 0",
                profile.source("state.threshold_bits"),
            )
        if profile["neuron.threshold_per"] == "layer" and not _uniform(node, "v_threshold"):
            yield Finding(
                "error",
                "threshold",
                path,
                _range(node["v_threshold"]),
                "one for the layer",
                f"thresholds {_range(node['v_threshold'])}, the target has one for the layer",
                "divide each row of the weights by its threshold and set all to 1",
                profile.source("neuron.threshold_per"),
            )


def _same_for_if(reset: str, resets: list[str]) -> bool:
    """Nothing decays in an IF: both subtractions are one."""
    return reset.startswith("subtract") and any(r.startswith("subtract") for r in resets)


def _bias(graph: Structure, profile: Profile) -> Iterator[Finding]:
    if profile["neuron.bias"]:
        return
    for path, node in graph.plan.nodes.items():
        if "bias" in node and np.any(node["bias"]):
            yield Finding(
                "error",
                "bias",
                path,
                int(np.count_nonzero(node["bias"])),
                0,
                f"{np.count_nonzero(node['bias'])} biases are not 0, the target drops them",
                "train without bias",
                profile.source("neuron.bias"),
            )


def _decays(graph: Structure, profile: Profile, dt: float | None) -> Iterator[Finding]:
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
                yield Finding(
                    "error",
                    "decay",
                    path,
                    _range(tau),
                    "one for the layer",
                    f"{name} {_range(tau)}, the target has one for the layer",
                    "train with one time constant per layer",
                    profile.source("neuron.decay_per"),
                )
            if kind not in ("shift", "fraction") or dt is None or not tau.size:
                continue
            too_long = [text for at, text in plan.too_long(graph.plan, dt) if at == path]
            if too_long or (kind == "shift" and float(tau.min()) <= dt):
                yield Finding(
                    "error",
                    "decay",
                    path,
                    f"{tau.min():.6g}",
                    f"above dt = {dt:.6g}",
                    f"{name} is {tau.min():.6g}, time constants must be longer than dt = {dt:.6g}",
                    step_meant(graph.plan, dt)
                    if too_long
                    else f"train with {name} of 2 dt or more",
                    profile.source("neuron.decay"),
                )
                continue
            decay = 1 - dt / tau
            state = "syn" if name == "tau_syn" else "mem"
            moved = grid.decay_on_grid(decay, kind, profile["neuron.decay_bits"], state)
            if kind == "shift" and state == "syn" and (moved == 0).any():
                yield Finding(
                    "error",
                    "decay",
                    path,
                    f"{decay.min():.6g}",
                    0.5,
                    f"the decay {decay.min():.6g} of its current becomes 0 on the grid of "
                    f"{profile.name}, which leaves nothing of its input",
                    "train with 0.5 or more",
                    profile.source("neuron.decay"),
                )
                continue
            far = float(np.abs(moved - decay).max())
            # float32 time constants hold a decay to 2^-24: less than that is no move.
            if far > 2.0**-23:
                yield Finding(
                    "note",
                    "decay",
                    path,
                    _range(decay),
                    _range(moved),
                    f"decay {_range(decay)} of {name} becomes {_range(moved)} on the target's grid",
                    "train with decays on the grid",
                    profile.source("neuron.decay"),
                )


def _weights(graph: Structure) -> Iterator[Finding]:
    for path in dict.fromkeys(w for link in graph.links for w in graph.weights(link)):
        if not np.any(graph.plan.nodes[path]["weight"]):
            yield Finding(
                "warning",
                "zeros",
                path,
                0,
                "a weight that is not 0",
                "all of its weights are 0: nothing passes it",
                "train it, or leave it out",
                "",
            )


def _integers(graph: Structure, profile: Profile, dt: float) -> Iterator[Finding]:
    """What `quantise` refuses while it rounds."""
    from spyx_nir.hardware import quantise

    if profile.rule == "none":
        return
    try:
        quantise.integers(graph, profile, dt)
    except quantise.NotOnGrid as error:
        why = (error.path, error.number, error.limit, error.reason, error.fix)
        yield Finding("error", "integers", *why, profile.source("weights.bits"))
    except GraphError as error:
        fix = "see docs/hardware.md"
        yield Finding(
            "error", "integers", "", None, None, str(error), fix, profile.source("weights.bits")
        )


def _notes(graph: Structure, profile: Profile) -> Iterator[Finding]:
    if profile.rule != "none":
        if profile["neuron.compare"] == ">=":
            yield Finding(
                "note",
                "compare",
                "",
                ">",
                ">=",
                "the target spikes at the threshold too, NIR only above it",
                "train with the target's comparison, or accept spikes at equality",
                profile.source("neuron.compare"),
            )
        if profile["neuron.spikes_per_step"] != 1:
            most = profile["neuron.spikes_per_step"]
            yield Finding(
                "note",
                "multi-spike",
                "",
                1,
                most,
                f"a neuron of the target spikes {f'up to {most} times' if most else 'several times'} "
                "in a step, NIR's once",
                "train with the target's rule, or keep inputs below twice the threshold",
                profile.source("neuron.spikes_per_step"),
            )
    for text in profile["graph.notes"]:
        yield Finding("note", "target", "", None, None, text, "", profile.source("graph.notes"))


# ------------------------------------------------------------------------------------- counting


def _counts(graph: Structure, profile: Profile) -> tuple[list[Row], list[Finding]]:
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
        yield Finding(
            "error",
            name.replace("_", "-"),
            layer,
            used,
            limit,
            f"{what}: {used}, at most {limit}",
            f"{fix}: {used - limit} too many",
            profile.source(f"limits.{name}"),
        )
