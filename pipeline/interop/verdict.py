"""What a reader's spikes say about how it read the file.

faithful   every spike is the reference's, or differs only where float32 rounds a membrane to the
           other side of its threshold (a tie), and what follows from it
explained  the same holds once the reference runs by a rule that the reader is known for
wrong      neither
refused    it raised an error
read       it has nothing to run, and no objection
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.evaluation.rounding_ties import Layer, Ties, explain, spiking_layers
from pipeline.interop.protocol import Answer
from spyx_nir.confidence import accuracy_of
from spyx_nir.errors import UserError
from spyx_nir.meaning import dialects, reference
from spyx_nir.meaning.plan import Plan

# Of the threshold: what float32 may round away; the limit that parity has (params.yaml).
TIE_DISTANCE = 1e-4
# Neurons times steps times samples that the reference holds at once.
ENTRIES = 5_000_000


@dataclass
class Comparison:
    """A reader against one way to run the reference, over the reader's samples.

    differing, entries: per node. ties: why they part. predictions: the reference's class per sample.
    """

    differing: dict[str, int]
    entries: dict[str, int]
    ties: Ties = field(default_factory=Ties)
    predictions: list[int] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """No difference that rounding does not explain."""
        return self.ties.unexplained == 0


def spiking(plan: Plan) -> tuple[str, ...]:
    """Paths of the spiking nodes, in the order of data flow.

    Not in the plan's own order: a neuron whose spikes are delayed may run after those that it feeds.
    """
    order = dialects.NIR_ALONE.plan(plan).order
    return tuple(path for path in order if "v_threshold" in plan.nodes[path])


def readout(plan: Plan) -> str:
    """The spiking node whose spikes the only Output counts.

    Raises:
        UserError: what leads to the Output does not spike.
    """
    at = plan.outputs[0]
    while "v_threshold" not in plan.nodes[at]:
        sources = plan.sources[at]
        if len(sources) != 1 or plan.nodes[at]["type"] not in ("Input", "Output"):
            raise UserError(f"node `{at}`: the readers are compared by spikes, and it has none")
        at = sources[0][0]
    return at


def aligned(answer: Answer, name: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """A node's spikes without its delay, (N, n, ...) with n <= steps, and those before, (N, delay, ...).

    A reader that delays and stops in time leaves out the last steps.
    """
    spikes, delay = answer.spikes[name], answer.delay.get(name, 0)
    return spikes[:, delay : delay + steps], spikes[:, :delay]


def predictions(answer: Answer, name: str, steps: int) -> np.ndarray:
    """The class with the most spikes, (N,); the first one of equals."""
    return reference.predict(aligned(answer, name, steps)[0].swapaxes(0, 1))


def check(plan: Plan, x: np.ndarray, answer: Answer) -> None:
    """Whether an answer is about x (N, T, ...).

    Raises:
        UserError: a node's spikes are missing or have another shape.
    """
    for name in spiking(plan):
        if name not in answer.spikes:
            raise UserError(f"node `{name}`: the reader gave no spikes of it")
        spikes, _ = aligned(answer, name, x.shape[1])
        short = x.shape[1] - answer.delay.get(name, 0)
        shape = (len(x), *plan.shapes[name])
        if (len(spikes), *spikes.shape[2:]) != shape or spikes.shape[1] < short:
            raise UserError(
                f"node `{name}`: the reader gave spikes of shape {answer.spikes[name].shape}, "
                f"expected are {(len(x), x.shape[1], *plan.shapes[name])}"
            )


def compare(
    plan: Plan,
    dt: float,
    x: np.ndarray,
    answers: Mapping[str, Answer],
    rule: dialects.Rule | None = None,
) -> dict[str, Comparison]:
    """Run the reference once and count what differs in every reader's spikes.

    Args:
        x: (N, T, *shape), what the readers were given.
        answers: by reader. rule: the reference runs by it.

    Raises:
        UserError: as `check`.
    """
    ruled = rule.plan(plan) if rule else plan
    names, steps = spiking(plan), x.shape[1]
    layers = spiking_layers(ruled, names)
    for answer in answers.values():
        check(plan, x, answer)
    none = dict.fromkeys(names, 0)
    found = {reader: Comparison({**none}, {**none}) for reader in answers}
    chunk = max(1, ENTRIES // (steps * sum(math.prod(plan.shapes[name]) for name in names)))
    for start in range(0, len(x) if answers else 0, chunk):
        data = x[start : start + chunk].swapaxes(0, 1)
        steps = rule.steps if rule else None
        result = reference.run(ruled, data, dt, counts=rule is not None, steps=steps)
        membranes = {
            name: nearest(result.membranes[name], plan.nodes[name]["v_threshold"]) for name in names
        }
        for reader, answer in answers.items():
            _add(found[reader], layers, answer, slice(start, start + chunk), result, membranes)
    return found


def _add(
    found: Comparison,
    layers: list[Layer],
    answer: Answer,
    part: slice,
    result: reference.Result,
    membranes: Mapping[str, np.ndarray],
) -> None:
    """Count the samples `part` in, of which `result` and `membranes` are."""
    theirs, ours = {}, {}
    for layer in layers:
        expected = result.spikes[layer.name]
        spikes, early = aligned(answer, layer.name, len(expected))
        got = spikes[part].swapaxes(0, 1)
        theirs[layer.name] = np.concatenate([got, expected[len(got) :]])
        ours[layer.name] = expected
        too_early = int(np.count_nonzero(early[part]))
        found.differing[layer.name] += int((got != expected[: len(got)]).sum()) + too_early
        found.entries[layer.name] += got.size
        found.ties.unexplained += too_early
    found.ties.add(explain(layers, theirs, ours, membranes, TIE_DISTANCE))
    found.predictions += reference.predict(result.output).tolist()


def nearest(membranes: np.ndarray, threshold: Any) -> np.ndarray:
    """Membranes of neurons that spike k times a step, as if k were 1.

    Moved so that the nearest multiple of the threshold becomes the threshold itself, and the rest
    divided by that multiple: what float32 rounds away grows with the membrane.
    """
    theta = np.asarray(threshold, np.float64)
    k = np.maximum(np.round(membranes / theta), 1.0)
    return theta + (membranes - k * theta) / k


def judge(
    plan: Plan,
    dt: float,
    x: np.ndarray,
    labels: np.ndarray,
    answers: Mapping[str, Answer],
    known: Mapping[str, Sequence[dialects.Rule]],
) -> dict[str, dict[str, Any]]:
    """The verdicts on one file by reader, as the report has them.

    Args:
        plan: of the file that the readers were given. x, answers: as in `compare`. labels: (N,).
        known: the rules that each reader is known for.
    """
    ran = {reader: answer for reader, answer in answers.items() if answer.spikes}
    plain = compare(plan, dt, x, ran)
    entries: dict[str, dict[str, Any]] = {}
    for reader, answer in answers.items():
        entry = entries[reader] = {"versions": answer.versions, "notes": list(answer.notes)}
        if answer.error:
            entry |= {"verdict": "refused", "error": answer.error}
        elif reader not in ran:
            entry |= {"verdict": "read"}
        else:
            entry |= _verdict(plan, dt, x, labels, answer, plain[reader], known.get(reader, ()))
    return entries


def _verdict(
    plan: Plan,
    dt: float,
    x: np.ndarray,
    labels: np.ndarray,
    answer: Answer,
    plain: Comparison,
    known: Sequence[dialects.Rule],
) -> dict[str, Any]:
    predicted = predictions(answer, readout(plan), x.shape[1])
    expected, count = np.array(plain.predictions), len(predicted)
    entries = counts(plain) | {
        "samples": count,
        "accuracy": accuracy_of(predicted, labels),
        "reference_accuracy": accuracy_of(expected, labels),
        "delay": answer.delay,
        "differing_predictions": int((predicted != expected).sum()),
    }
    if plain.agrees:
        return entries | {"verdict": "faithful"}
    for rule in known:
        by_rule = compare(plan, dt, x, {"": answer}, rule)[""]
        if by_rule.agrees:
            return entries | {"verdict": "explained", "rule": rule.text, "by_rule": counts(by_rule)}
    return entries | {"verdict": "wrong"}


def counts(found: Comparison) -> dict[str, Any]:
    """A comparison as the report has it."""
    distance = found.ties.largest_distance
    return {
        "differing_spikes": sum(found.differing.values()),
        "entries": sum(found.entries.values()),
        "layers": [
            {"node": name, "differing": found.differing[name], "entries": found.entries[name]}
            for name in found.differing
        ],
        "ties": {
            "starts": found.ties.starts,
            "unexplained": found.ties.unexplained,
            # JSON has no infinity: a spike before any crossing is as far away as can be said.
            "largest_distance": distance if np.isfinite(distance) else None,
        },
    }
