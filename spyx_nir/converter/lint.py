"""What is wrong or doubtful in a graph, why, and what to do about it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from spyx_nir.converter import file, writers
from spyx_nir.converter.contract import UNITS
from spyx_nir.converter.file import Source
from spyx_nir.converter.repair import Fault, repair, spiking
from spyx_nir.errors import GraphError, UsageError
from spyx_nir.meaning.equations import ENDLESS, GAINS
from spyx_nir.meaning.plan import Plan, make_plan, settled, step_dt, step_meant, too_long

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
    "gain": "warning: a neuron that scales its input",
    "spyx-gain": "warning: r = 1 - dt/tau, as spyx.nir 1.0.0 writes by mistake",
    "norse-tau": "warning: time constants as Norse 1.1.0 writes them by mistake",
    "infinite": "warning: a time constant without end",
    "nir-type-check": "warning: nir's own type check refuses the graph",
    "double-precision": "note: float64 parameters",
    "reset-value": "note: a reset to another value than 0",
}
# What to do about a node's type or field, by the code of its error.
REMEDIES = {
    "unknown-type": "express it by nodes that NIR has, in the program that wrote it",
    "missing-field": "ask who made the file for its value: none follows from the rest",
    "unknown-field": "remove it, if the network runs without it",
    "empty-field": "ask who made the file for its value: none follows from the rest",
    "parameter-shapes": "give all parameters of the node the shape that arrives",
}
OTHERWISE = "write there what NIR has, in the program that wrote the file"
REPAIRED = dict.fromkeys(
    ("declared-shape", "duplicate-edge", "dangling-edge", "batch-axis"), "error"
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was found; `node` is a path, "" for the graph as a whole."""

    severity: str
    code: str
    node: str
    reason: str
    remedy: str


def lint(source: Source, dt: float | None = None, target: str = "generic") -> list[Finding]:
    """What is wrong or doubtful in a graph, errors first.

    Args:
        source: a .nir file, a `nir.NIRGraph`, or a dictionary as `file.read_dict` gives it.
        dt: the step to judge time constants and gains by, in the unit of the time constants; None
            takes the contract's, and without one those are not judged.
        target: one of `TARGETS`.

    Raises:
        GraphError: the file is no readable graph; with the code `dt`, that `dt` contradicts the contract.
        UsageError: there is no such target.
    """
    if target not in TARGETS:
        raise UsageError(f"`target` must be one of {', '.join(TARGETS)}, got {target!r}")
    graph = file.content_of(source)
    mended, faults = repair(graph)
    found = [*map(_of_fault, faults)]
    plan = None
    bad = [*_bad_nodes(mended)]
    found += bad
    if not bad:
        plan, refusal = _plan(mended)
        found += refusal
        found += [*_unbuilt(mended)] if plan is not None else []
    step = None
    if plan is not None:
        step = step_dt(plan, dt) if dt is not None or "dt" in plan.metadata else None
    found += [*_contract(graph, step)]
    if plan is not None:
        found += [*_numbers(plan, step), *_channels(plan)]
        found += [*_type_check(graph, bool(faults))]
    if target == "nir-1.0.4":
        found += [*_older(graph)]
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))


def _of_fault(fault: Fault) -> Finding:
    remedy = f"`upgrade`: {fault.repair}"
    return Finding(
        REPAIRED.get(fault.code, "warning"), fault.code, fault.node, fault.reason, remedy
    )


def _bad_nodes(graph: dict[str, Any]) -> Iterator[Finding]:
    for path, node in file.nodes(graph):
        try:
            file.check_node(node, path)
        except GraphError as error:
            yield _bad_node(error)
    for path, part in file.graphs(graph):
        for name in sorted(set(part) - {"type", "nodes", "edges", "metadata"}):
            yield Finding("error", "bad-node", path, f"the field `{name}` is unknown", "remove it")


def _unbuilt(graph: dict[str, Any]) -> Iterator[Finding]:
    try:
        file.build(graph)
    except GraphError as error:
        yield _bad_node(error)


def _bad_node(error: GraphError) -> Finding:
    remedy = REMEDIES.get(error.code or "", OTHERWISE)
    return Finding("error", "bad-node", error.node or "", str(error), remedy)


def _plan(graph: dict[str, Any]) -> tuple[Plan | None, list[Finding]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make_plan(graph), []
    except GraphError as error:
        code = "dangling-edge" if error.code == "dangling-edge" else "refused"
        remedy = "correct the graph; load and run refuse it for this reason"
        return None, [Finding("error", code, error.node or "", str(error), remedy)]


# ---------------------------------------------------------------------------- what a file leaves out


def _contract(graph: dict[str, Any], dt: float | None) -> Iterator[Finding]:
    metadata = graph.get("metadata", {})
    if "contract_version" not in metadata:
        yield Finding(
            "warning",
            "no-contract",
            "",
            "no contract: dt, its unit and the readout are not said"
            + ("" if dt else "; without dt neither time constants nor gains are judged"),
            "ask who made it, then `upgrade --dt DT --reset RESET`"
            + ("" if dt else "; `lint --dt DT` judges them as it is"),
        )
    for path, node in spiking(graph):
        if "reset" not in node.get("metadata", {}):
            yield Finding(
                "warning",
                "legacy-reset",
                path,
                "does not say how it resets: NIR means v = v_reset, but files of networks that were "
                "trained with reset by subtraction look the same",
                "ask who trained it, then `upgrade --reset` with v_reset, subtract or "
                "subtract_after_decay",
            )
        # Not np.any: it warns of a NaN that signals, which a damaged file may hold.
        if file.is_number(node.get("v_reset")) and np.count_nonzero(node["v_reset"]):
            yield Finding(
                "note",
                "reset-value",
                path,
                f"resets to {span(node['v_reset'])}; many readers take 0",
                "check that the target honours `v_reset`",
            )
    unit = metadata.get("time_unit")
    if unit is not None and not (isinstance(unit, str) and unit in UNITS):
        yield Finding(
            "warning",
            "time-unit",
            "",
            f"time_unit is {unit!r:.60}; {' and '.join(UNITS)} are known",
            "`upgrade --dt DT --time-unit UNIT`",
        )
        unit = None
    if unit == "s" and dt is not None and dt >= 0.1:
        yield Finding(
            "warning",
            "time-unit",
            "",
            f"dt = {dt:g} s is long for a spiking network: milliseconds or steps?",
            "write dt in seconds, or say `time_unit` step",
        )
    for path, node in file.nodes(graph):
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
    seconds = unit == "s" or (unit is None and (dt is None or dt < 0.1))
    if seconds and tau >= 1:
        what = "s as the contract says" if unit == "s" else "seconds as NIR means"
        yield Finding(
            "warning",
            "time-unit",
            path,
            f"{name} = {tau:g}: {what}, or milliseconds or steps?",
            "bring taus and dt to one unit and say it: `upgrade --dt DT --time-unit step` for steps",
        )


# ------------------------------------------------------------------------------------------ numbers


def _numbers(plan: Plan, dt: float | None) -> Iterator[Finding]:
    if dt is not None:
        for path, text in too_long(plan, dt):
            yield Finding("error", "dt-too-large", path, text, step_meant(plan, dt))
    if "contract_version" not in plan.metadata and (small := writers.like_norse(plan)):
        yield Finding(
            "warning",
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
            changed = [n for n in wide if (np.float32(node[n]) != node[n]).any()]
            yield Finding(
                "note",
                "double-precision",
                path,
                f"float64: {', '.join(wide)}; rounding to float32 changes "
                f"{', '.join(changed) if changed else 'nothing'}",
                "a float32 reader may move a spike of a membrane at the threshold"
                if changed
                else "none needed",
            )
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
        yield Finding(
            "warning",
            "infinite",
            path,
            f"{tau} is infinite: nothing leaks; {effect}",
            "load and run read it so; export what `load` gives with `to_nir`",
        )


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
            yield Finding(
                "warning",
                "spyx-gain",
                path,
                f"r = 1 - dt/{tau}: spyx.nir 1.0.0 writes the decay there, so NIR's equations scale "
                f"the input by {span(gain)} where the network was trained with 1",
                "export it again from the trained model with `to_nir`",
            )
            continue
        scale = f"{name}*dt/{tau}" if tau in node else f"{name}*dt"
        yield Finding(
            "warning",
            "gain",
            path,
            f"{scale} = {span(gain)} scales the input; several readers ignore {name} or want 1",
            "check that the target honours it, or fold it into the weights before",
        )


def _channels(plan: Plan) -> Iterator[Finding]:
    for path in plan.inputs:
        shape = plan.shapes[path]
        if len(shape) == 3 and shape[2] <= 4 < min(shape[:2]):
            yield Finding(
                "warning",
                "channels-last",
                path,
                f"shape {shape} looks like (height, width, channels); NIR is (channels, height, width)",
                "turn the shape, and every weight that follows, to channels first",
            )


# ------------------------------------------------------------------------------------ other readers


def _type_check(graph: dict[str, Any], faulty: bool) -> Iterator[Finding]:
    """What `nir.read` says to the file as it is."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built = file.build(graph)
            built.infer_types()
            built.check_types()
    except Exception as error:  # whatever nir raises is what its users meet
        text = " ".join(str(error).split()) or type(error).__name__
        yield Finding(
            "warning",
            "nir-type-check",
            "",
            f"nir's own type check refuses it: {text[:200]}",
            "`upgrade`" if faulty else "its users need `nir.read(path, type_check=False)`",
        )


def _older(graph: dict[str, Any]) -> Iterator[Finding]:
    for path, node in file.nodes(graph):
        if node["type"] == "CubaLI":
            remedy = "no remedy: read it with nir 1.0.8"
            yield Finding("error", "older-nir", path, "nir 1.0.4 has no CubaLI", remedy)
        if node["type"] in file.BARE and node.get("metadata"):
            reason = f"nir 1.0.4 fails on metadata of {node['type']}: {', '.join(node['metadata'])}"
            yield Finding("error", "older-nir", path, reason, "remove this metadata")
        if file.is_number(node.get("v_reset")) and np.size(node["v_reset"]):
            only = np.count_nonzero(node["v_reset"]) > 0
            reason = "nir 1.0.4 fails on the field `v_reset`"
            yield Finding(
                "error",
                "older-nir",
                path,
                f"{reason}, which is {span(node['v_reset'])}" if only else reason,
                "no remedy: nir 1.0.4 can only say 0"
                if only
                else "`upgrade --nir-version 1.0.4`: it is 0 and can be left out",
            )


def span(values: Any) -> str:
    """The least and the largest of numbers to six places, once where they are the same."""
    low, high = (f"{float(end(values)):.6g}" for end in (np.min, np.max))
    return low if low == high else f"{low} .. {high}"
