"""What is wrong or doubtful in a graph, why, and what to do about it."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Iterator
from typing import Any

import nir
import numpy as np

from spyx_nir.converter import contract_schema, file, writers
from spyx_nir.converter.contract import FOREIGN, UNITS
from spyx_nir.converter.file import Source
from spyx_nir.converter.repair import planned, repair, spiking
from spyx_nir.errors import GraphError, UsageError, one_line
from spyx_nir.meaning.equations import ENDLESS, GAINS, text
from spyx_nir.meaning.plan import EULER, Plan, settled, step_dt, step_meant, too_long

TARGETS = ("generic", "nir-1.0.4")
SEVERITIES = ("error", "warning", "note")

# Every finding has one of these codes; they do not change between versions.
CODES = {
    "bad-node": "error: a type or field that NIR has not, or of the wrong kind",
    "dangling-edge": "error: an edge names no node",
    "duplicate-edge": "error: the same edge twice",
    "declared-shape": "error: an Input, Output or Flatten declares another shape than its neighbours",
    "declared-type": "warning: types stored beside the fields they follow from",
    "batch-axis": "error: an axis of 1 for a batch",
    "empty-field": "warning: a field that is there and says nothing",
    "missing-field": "warning: a field that nir has a value for and the file has not",
    "refused": "error: the graph has no meaning as it is",
    "dt-too-large": "error: the step is longer than a time constant",
    "older-nir": "error: the target's version of nir cannot read or say this",
    "legacy-wiring": "warning: a recurrent subgraph fed through its weight",
    "scalar-parameter": "warning: one number for a whole population",
    "no-contract": "warning: dt, its unit and the resets are not said",
    "legacy-reset": "warning: a neuron that does not say how it was reset in training",
    "time-unit": "warning: seconds, milliseconds or steps?",
    "channels-last": "warning: an Input that looks like (H, W, C)",
    "discretization": "warning: a step that is named and not known",
    "foreign-key": "note: metadata of another program",
    "contract": "error: metadata that is against the specification (only with --contract)",
    "gain": "warning: a neuron that scales its input",
    "spyx-gain": "warning: r = 1 - dt/tau, as spyx.nir 1.0.0 writes by mistake",
    "norse-tau": "warning: time constants as Norse 1.1.0 writes them by mistake",
    "infinite": "warning: a time constant without end",
    "nir-type-check": "warning: nir's own type check refuses the graph",
    "unchecked": "note: what was not looked at, and why",
    "double-precision": "note: float64 parameters",
    "reset-value": "note: a reset to another value than 0",
}
MOST_CHECKED = 2**26  # nodes times edges of which nir's own type check takes seconds
LONG = {"s": 1.0, "ms": 1000.0}  # a long time constant, in the unit of the contract
# What to do about a node's type or field, by the code of its error.
REMEDIES = {
    "unknown-type": "express it by nodes that NIR has, in the program that wrote it",
    "missing-field": "ask who made the file for its value: none follows from the rest",
    "unknown-field": "remove it, if the network runs without it",
    "empty-field": "ask who made the file for its value: none follows from the rest",
    "parameter-shapes": "give all parameters of the node the shape that arrives",
}
OTHERWISE = "write there what NIR has, in the program that wrote the file"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was found; `node` is a path, "" for the graph as a whole."""

    severity: str
    code: str
    node: str
    reason: str
    remedy: str


def _finding(code: str, node: str, reason: str, remedy: str) -> Finding:
    """A finding, as severe as `CODES` says."""
    return Finding(CODES[code].partition(":")[0], code, node, reason, remedy)


def lint(
    source: Source,
    dt: float | None = None,
    target: str = "generic",
    *,
    discretization: str | None = None,
    strictly: bool = False,
) -> list[Finding]:
    """What is wrong or doubtful in a graph, errors first.

    Args:
        source: a .nir file, a `nir.NIRGraph`, or a dictionary as `file.read_dict` gives it.
        dt: the step to judge time constants and gains by, in the unit of the time constants; None
            takes the contract's, and without one those are not judged.
        target: one of `TARGETS`.
        discretization: one of `DISCRETIZATIONS`, whatever the file says.
        strictly: also judge all metadata by the specification, see `contract_schema`.

    Raises:
        GraphError: the file is no readable graph; with the code `dt`, that `dt` contradicts the contract.
        UsageError: there is no such target.
    """
    if target not in TARGETS:
        raise UsageError(f"`target` must be one of {', '.join(TARGETS)}, got {target!r}")
    graph_dict = file.content_of(source)
    with file.naming(source):
        mended, faults = repair(graph_dict)
    if discretization is not None:
        mended["metadata"] = _discretized(mended.get("metadata", {}), discretization)
    found = [_finding(f.code, f.node, f.reason, f"`upgrade`: {f.repair}") for f in faults]
    bad = [*_bad_nodes(mended)]
    found += bad
    result = None if bad else planned(mended)
    if isinstance(result, GraphError):
        code = "dangling-edge" if result.code == "dangling-edge" else "refused"
        remedy = "correct the graph; load and run refuse it for this reason"
        found.append(_finding(code, result.node or "", str(result), remedy))
    plan = result if isinstance(result, Plan) else None
    step = None
    if plan is not None:
        try:
            file.build(mended)
        except GraphError as error:
            found.append(_bad_node(error))
        step = step_dt(plan, dt) if dt is not None or "dt" in plan.metadata else None
    found += [*_contract(graph_dict, step)]
    if strictly:
        found += [_finding("contract", *rest) for rest in contract_schema.against(graph_dict)]
    if plan is not None:
        found += [*_numbers(plan, step), *_channels(plan)]
        found += [*_type_check(graph_dict, bool(faults))]
    if target == "nir-1.0.4":
        found += [*_older(graph_dict)]
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))


def _discretized(metadata: dict[str, Any], discretization: str) -> dict[str, Any]:
    """The metadata of a graph that says how it steps, in a version that can say it."""
    made = {**metadata, "discretization": discretization}
    return {**made, "contract_version": 2} if "contract_version" in made else made


def _bad_nodes(graph_dict: dict[str, Any]) -> Iterator[Finding]:
    for path, node in file.nodes(graph_dict):
        try:
            file.check_node(node, path)
        except GraphError as error:
            yield _bad_node(error)
    for path, part in file.graphs(graph_dict):
        for name in sorted(set(part) - {"type", "nodes", "edges", "metadata"}):
            yield _finding("bad-node", path, f"the field `{name}` is unknown", "remove it")


def _bad_node(error: GraphError) -> Finding:
    remedy = REMEDIES.get(error.code or "", OTHERWISE)
    return _finding("bad-node", error.node or "", str(error), remedy)


# ---------------------------------------------------------------------------- what a file leaves out


def _contract(graph_dict: dict[str, Any], dt: float | None) -> Iterator[Finding]:
    metadata = graph_dict.get("metadata", {})
    if "contract_version" not in metadata:
        reason = "no contract: dt, its unit and the readout are not said"
        remedy = "ask who made it, then `upgrade --dt DT --reset RESET`"
        if not dt:
            reason += "; without dt neither time constants nor gains are judged"
            remedy += "; `lint --dt DT` judges them as it is"
        yield _finding("no-contract", "", reason, remedy)
    for path, node in spiking(graph_dict):
        if "reset" not in node.get("metadata", {}):
            yield _finding(
                "legacy-reset",
                path,
                "does not say how it resets: NIR means v = v_reset, but files of networks that were "
                "trained with reset by subtraction look the same",
                "ask who trained it, then `upgrade --reset` with v_reset, subtract or "
                "subtract_after_decay",
            )
        # Not np.any: it warns of a NaN that signals, which a damaged file may hold.
        if file.is_number(node.get("v_reset")) and np.count_nonzero(node["v_reset"]):
            reason = f"resets to {span(node['v_reset'])}; many readers take 0"
            yield _finding("reset-value", path, reason, "check that the target honours `v_reset`")
    yield from _foreign(graph_dict)
    unit = metadata.get("time_unit")
    if unit is not None and not (isinstance(unit, str) and unit in UNITS):
        reason = f"time_unit is {unit!r:.60}; {', '.join(UNITS)} are known"
        yield _finding("time-unit", "", reason, "`upgrade --dt DT --time-unit UNIT`")
        unit = None
    if unit in LONG and dt is not None and dt >= LONG[unit] / 10:
        other = "milliseconds or steps" if unit == "s" else "steps"
        reason = f"dt = {dt:g} {unit} is long for a spiking network: {other}?"
        yield _finding("time-unit", "", reason, "write dt in that unit, or say another `time_unit`")
    for path, node in file.nodes(graph_dict):
        for name, value in node.items():
            if name.startswith("tau") and file.is_number(value):
                # Longer than any that was meant: a membrane without leak.
                most = np.inf if dt is None else dt * np.sqrt(ENDLESS)
                if (ends := np.ravel(value)[~(np.ravel(value) >= most)]).size:
                    yield from _unit(path, name, float(ends.max()), unit, dt)


def _unit(
    path: str, name: str, tau: float, unit: str | None, dt: float | None
) -> Iterator[Finding]:
    """Membranes take a second at most; 20 is milliseconds or steps."""
    silent = unit is None and (dt is None or dt < 0.1)
    if (unit in LONG or silent) and tau >= LONG[unit or "s"]:
        what = f"{unit} as the contract says" if unit else "seconds as most programs write"
        other = "or steps" if unit == "ms" else "or milliseconds or steps"
        reason = f"{name} = {tau:g}: {what}, {other}?"
        remedy = "bring taus and dt to one unit and say it"
        remedy += ": `upgrade --dt DT --time-unit step` for steps"
        yield _finding("time-unit", path, reason, remedy)


def _foreign(graph_dict: dict[str, Any]) -> Iterator[Finding]:
    """Metadata of a file without contract that other programs write, and what is done with it."""
    metadata = graph_dict.get("metadata", {})
    if "contract_version" in metadata:
        return
    said = metadata.get("discretization")
    known = said is None or (isinstance(said, str) and said.lower() in (*EULER, "exact"))
    for name in sorted(metadata.keys() & FOREIGN.keys()):
        if name == "discretization" and not known:
            continue
        reason = f"{name} = {text(metadata[name])!r:.60}; {FOREIGN[name]}"
        yield _finding("foreign-key", "", reason, "`upgrade` with what it says writes a contract")
    if not known:
        reason = f"discretization is {said!r:.60}, which is not known: read as euler"
        yield _finding("discretization", "", reason, "`--discretization euler` or `exact` says it")


# ------------------------------------------------------------------------------------------ numbers


def _numbers(plan: Plan, dt: float | None) -> Iterator[Finding]:
    if dt is not None:
        longer = [*too_long(plan, dt)]
        meant = step_meant(plan, dt) if longer else ""
        for path, text in longer:
            yield _finding("dt-too-large", path, text, meant)
    if "contract_version" not in plan.metadata and (small := writers.like_norse(plan)):
        yield _finding(
            "norse-tau",
            "",
            f"every r is 1 and no time constant is longer than {small:g}: Norse 1.1.0 writes "
            "dt/tau_mem_inv as tau, a thousand times too little for its usual dt",
            "if Norse wrote it: `upgrade --writer norse-1.1.0 --dt DT` with the dt it was trained with",
        )
    for path, node in plan.nodes.items():
        yield from _endless(path, node)
    for path, node in (plan if dt is None else settled(plan, dt)).nodes.items():
        doubles = [n for n, v in node.items() if getattr(v, "dtype", None) == np.float64]
        wide = [name for name in doubles if name not in file.WHOLE]
        wide = [n for n in wide if not (n == "v_reset" and not np.any(node[n]))]
        if wide:
            changed = ", ".join(n for n in wide if (np.float32(node[n]) != node[n]).any())
            reason = (
                f"float64: {', '.join(wide)}; rounding to float32 changes {changed or 'nothing'}"
            )
            remedy = "a float32 reader may move a spike of a membrane at the threshold"
            yield _finding("double-precision", path, reason, remedy if changed else "none needed")
        if dt is not None:
            yield from _gains(path, node, dt)


def _endless(path: str, node: dict[str, Any]) -> Iterator[Finding]:
    """Time constants without end, of which other readers make nothing or no number."""
    for tau, gain in GAINS.items():
        if tau not in node or not np.isinf(node[tau]).any():
            continue
        # The factor is infinite only where the time constant is, see `reference`.
        effect = f"where {gain} is infinite, too, other readers get no number"
        if not np.isinf(node[gain]).any():
            effect = f"{gain} is finite, so the input has no effect"
        remedy = (
            "load and run read it so; `upgrade` with a contract, or --dt, writes finite numbers"
        )
        yield _finding("infinite", path, f"{tau} is infinite: nothing leaks; {effect}", remedy)


def _gains(path: str, node: dict[str, Any], dt: float) -> Iterator[Finding]:
    """The factor on a neuron's input in one step: r*dt/tau, r*dt, w_in*dt/tau_syn."""
    pairs = {"r": ("tau" if "tau" in node else "tau_mem"), "w_in": "tau_syn"}
    for name, tau in pairs.items():
        if name not in node:
            continue
        rate = dt / np.asarray(node[tau], np.float64) if tau in node else np.float64(dt)
        value = np.asarray(node[name], np.float64)
        gain = value * rate
        # r and tau are float32 in a file: a product within 2^-22 of 1 is 1, see layout.gain_of.
        if (np.abs(gain - 1) <= 2.0**-22).all():
            continue
        # Rounded in between, in float32, as spyx.nir computes it: eight units of the last place.
        decays = tau in node and name == "r" and np.all(rate > 0)
        if decays and np.allclose(value, 1 - rate, rtol=2.0**-20, atol=0):
            yield _finding(
                "spyx-gain",
                path,
                f"r = 1 - dt/{tau}: spyx.nir 1.0.0 writes the decay there, so NIR's equations scale "
                f"the input by {span(gain)} where the network was trained with 1",
                "export it again from the trained model with `to_nir`; or, if Spyx wrote it, `upgrade "
                "--writer spyx-1.0.0 --dt DT`",
            )
            continue
        scale = f"{name}*dt/{tau}" if tau in node else f"{name}*dt"
        reason = f"{scale} = {span(gain)} scales the input; several readers ignore {name} or want 1"
        remedy = "check that the target honours it, or fold it into the weights before"
        yield _finding("gain", path, reason, remedy)


def _channels(plan: Plan) -> Iterator[Finding]:
    for path in plan.inputs:
        shape = plan.shapes[path]
        if len(shape) == 3 and shape[2] <= 4 < min(shape[:2]):
            yield _finding(
                "channels-last",
                path,
                f"shape {shape} looks like (height, width, channels); NIR is (channels, height, width)",
                "turn the shape, and every weight that follows, to channels first",
            )


# ------------------------------------------------------------------------------------ other readers


class _Typed(nir.NIRGraph):  # type: ignore[misc]
    """nir 1.0.8 looks through all nodes for its Inputs once for every edge; here it does so once."""

    @functools.cached_property
    def inputs(self) -> dict[str, Any]:
        return dict(super().inputs)


def _type_check(graph_dict: dict[str, Any], faulty: bool) -> Iterator[Finding]:
    """What `nir.read` says to the file as it is."""
    nodes, edges = len(graph_dict["nodes"]), len(graph_dict["edges"])
    if nodes * edges > MOST_CHECKED:
        reason = (
            f"nir's own type check was not run: it takes time of {nodes} nodes times {edges} edges"
        )
        yield _finding("unchecked", "", reason, "run `nir.read` yourself, and wait")
        return
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            built = file.build(graph_dict)
            built.__class__ = _Typed
            built.infer_types()
            built.check_types()
    except Exception as error:  # whatever nir raises is what its users meet
        remedy = "`upgrade`" if faulty else "its users need `nir.read(path, type_check=False)`"
        reason = f"nir's own type check refuses it: {one_line(error)}"
        yield _finding("nir-type-check", "", reason, remedy)


def _older(graph_dict: dict[str, Any]) -> Iterator[Finding]:
    for path, node in file.nodes(graph_dict):
        if node["type"] == "CubaLI":
            remedy = "no remedy: read it with nir 1.0.8"
            yield _finding("older-nir", path, "nir 1.0.4 has no CubaLI", remedy)
        if node["type"] in file.BARE and node.get("metadata"):
            reason = f"nir 1.0.4 fails on metadata of {node['type']}: {', '.join(node['metadata'])}"
            yield _finding("older-nir", path, reason, "remove this metadata")
        if file.is_number(node.get("v_reset")) and np.size(node["v_reset"]):
            reason = "nir 1.0.4 fails on the field `v_reset`"
            remedy = "`upgrade --nir-version 1.0.4`: it is 0 and can be left out"
            if np.count_nonzero(node["v_reset"]):
                reason += f", which is {span(node['v_reset'])}"
                remedy = "no remedy: nir 1.0.4 can only say 0"
            yield _finding("older-nir", path, reason, remedy)


def span(values: Any) -> str:
    """The least and the largest of numbers to six places, once where they are the same."""
    low, high = (f"{float(end(values)):.6g}" for end in (np.min, np.max))
    return low if low == high else f"{low} .. {high}"
