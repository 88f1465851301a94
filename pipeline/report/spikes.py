"""Rasters of all backends one above the other, and membranes, for the golden vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.evaluation import raster_plot
from pipeline.report.chart import chart
from pipeline.report.part import Chart, Choice, Part, Table, count
from pipeline.report.runs import Run, runs
from pipeline.report.sources import Bundle, Source

MOST_NAMES = 12  # of classes beside a band
# The neurons of a layer whose membranes can be looked at: value and text of the choice.
PLACES = [
    ("0", "most"),
    ("1", "2nd most"),
    ("2", "3rd most"),
    ("3", "4th most"),
    ("4", "5th most"),
    ("5", "6th most"),
]
MARKS = (
    "A mark is a step in which a neuron spikes. Re-imported model and reference are compared with the "
    "trained network: a diamond is a spike that it does not have, a hollow circle a spike of it that is "
    "missing. The numbers in each band are of the whole layer and this sample. Beside the output layer "
    "are the classes with their spikes; ◀ marks the class with most spikes, the first of equals."
)
ON_CHIPS = (
    "A chip's integers are shown without the chip's delays. They are compared with the same weights as "
    "floats by NIR's rule, the golden spikes of the chip's own bundle, and not with the trained network, "
    "whose weights are others. Several spikes of a neuron in a step are one mark."
)


def make(source: Source) -> Part:
    """Rasters, membranes and counts for the golden vectors of the bundle."""
    id, title = "spikes", "Spikes and membranes"
    bundle = source.bundle
    if bundle is None:
        return Part(id, title, missing=[source.unbundled("test_data_set_0/vectors.npz")])
    done = runs(source, bundle)
    manifest = bundle.manifest
    vectors = manifest["vectors"]
    seconds = manifest.get("input_bin_s")  # None: a step has no time
    step_ms = None if seconds is None else 1000 * seconds
    floats = [run for run in done if not run.target]
    shown = {
        layer: raster_plot.neurons([flat(run.spikes[layer]) for run in floats])
        for layer in bundle.layers
    }
    traced = {layer: busiest(flat(done[0].spikes[layer]), len(PLACES)) for layer in bundle.layers}
    first = bundle.layers[0]
    choices = [
        Choice("layer", "Layer", [(layer, layer) for layer in bundle.layers]),
        Choice("sample", "Sample", _samples(bundle)),
        Choice("place", "Membrane of the neuron that spikes", PLACES),
    ]
    return Part(
        id,
        title,
        text=[
            f"The {len(vectors['test_samples'])} test samples of the bundle's golden vectors. Shown "
            f"are up to {raster_plot.MOST_NEURONS} neurons of a layer, the busiest ones; membranes are "
            f"for the {len(PLACES)} busiest neurons, after the reset, in units of the threshold; a "
            "triangle is a step with a spike. Neurons are numbered from 0, channels first.",
            MARKS,
            *([ON_CHIPS] if len(floats) < len(done) else []),
        ],
        choices=choices,
        charts=[
            _rasters(
                source.task, done, shown, first, outputs(bundle), manifest["classes"], step_ms
            ),
            _membranes(source.task, done, traced, first, step_ms),
        ],
        tables=[_counts(bundle.layers, floats)],
        missing=[
            source.unbundled("test_data_set_0/integer_vectors.npz", name)
            for name in sorted({t.name for t in source.targets} - {run.target for run in done})
        ],
    )


def _samples(bundle: Bundle) -> list[tuple[str, str]]:
    vectors, classes = bundle.manifest["vectors"], bundle.manifest["classes"]
    triples = zip(vectors["test_samples"], vectors["labels"], vectors["predicted"], strict=True)
    return [
        (str(i), f"{sample}: {classes[label]}, taken for {classes[predicted]}")
        for i, (sample, label, predicted) in enumerate(triples)
    ]


def flat(spikes: np.ndarray) -> np.ndarray:
    """(T, N, ...) to (T * N, neurons), neurons numbered channels first."""
    return spikes.reshape(spikes.shape[0] * spikes.shape[1], -1)


def busiest(spikes: np.ndarray, most: int) -> np.ndarray:
    """Up to `most` neurons of (..., neurons) with most spikes, the busiest first."""
    return np.argsort(-spikes.sum(axis=0, dtype=np.int64), kind="stable")[:most]


def packed(
    done: Sequence[Run], layer: str, sample: int, neurons: np.ndarray
) -> dict[str, list[Any]]:
    """The spikes of one sample as columns: step `t` and `row`, of `neurons`, on the picture.

    `m` says in which planes there is a spike: bit p is plane p. `lanes` are the runs that know layer and
    sample; for each there is a text in `counts`, its plane in `spiked`, and in `expected` the plane that
    it is compared with, see `Run.expected`. Runs with the same spikes share a plane: it is embedded once.
    """
    lanes = [k for k, run in enumerate(done) if sample in run.samples and layer in run.spikes]
    planes: dict[bytes, int] = {}  # spikes -> number of their plane
    bits = np.zeros((len(done[0].spikes[layer]), len(neurons)), np.int64)
    counts, numbers = [], []
    for k in lanes:
        here, there = (_one(spikes[layer], sample) for spikes in (done[k].spikes, done[k].expected))
        counts.append(_counted(here, there, compared=k > 0))
        for spikes in (here[:, neurons], there[:, neurons]):
            plane = planes.setdefault(spikes.tobytes(), len(planes))
            bits |= spikes.astype(np.int64) << plane
            numbers.append(plane)
    step, row = np.nonzero(bits)
    return {
        "t": step.tolist(),
        "row": row.tolist(),
        "m": bits[step, row].tolist(),
        "neurons": neurons.tolist(),
        "lanes": lanes,
        "spiked": numbers[::2],
        "expected": numbers[1::2],
        "counts": counts,
    }


def labels(
    done: Sequence[Run], layer: str, sample: int, neurons: np.ndarray, classes: list[str]
) -> list[dict[str, Any]]:
    """Texts beside rows of `packed`: a lane, a row, and whether it is the class with most spikes.

    classes: of the output layer, whose rows have the class and its spikes; where there is no room for
    all, the one with most alone. The most are those in the steps that are shown, the first of equals; a
    lane without a spike has none. [] for another layer, whose first and last neuron are named.
    """
    found = []
    for k, run in enumerate(done):
        if sample not in run.samples or layer not in run.spikes:
            continue
        counts = run.spikes[layer][:, sample].reshape(len(run.spikes[layer]), -1)
        totals = counts.sum(axis=0, dtype=np.int64)
        winner = int(totals.argmax()) if classes and totals.any() else None
        for row, neuron in enumerate(neurons.tolist()):
            if not classes:
                text = f"neuron {neuron}" if row in (0, len(neurons) - 1) else ""
            elif neuron == winner or len(neurons) <= MOST_NAMES:
                spikes = count(int(totals[neuron])).text
                text = f"{'◀ ' if neuron == winner else ''}{classes[neuron]}: {spikes}"
            else:
                text = ""
            if text:
                found.append({"lane": k, "row": row, "text": text, "most": neuron == winner})
    return found


def outputs(bundle: Bundle) -> str:
    """The layer whose spikes are the network's output, a neuron for each class; "" if none is."""
    for layer in bundle.layers:
        if np.array_equal(bundle.vectors[layer], bundle.vectors["output"]):
            return layer
    return ""


def _one(spikes: np.ndarray, sample: int) -> np.ndarray:
    """(T, neurons), whether each spikes in each step of the sample."""
    return spikes[:, sample].reshape(len(spikes), -1) != 0


def _counted(spikes: np.ndarray, expected: np.ndarray, compared: bool) -> str:
    text = f"{count(int(spikes.sum())).text} spikes"
    if not compared:
        return text
    extra, missing = (count(int(n.sum())).text for n in (spikes & ~expected, expected & ~spikes))
    return f"{text}, {extra} extra, {missing} missing"


def _rasters(
    task: str,
    done: Sequence[Run],
    shown: dict[str, np.ndarray],
    first: str,
    output: str,
    classes: list[str],
    step_ms: float | None,
) -> Chart:
    """output: the layer whose neurons are `classes`, or ""."""
    steps, samples = done[0].spikes[first].shape[:2]
    rows = [
        {
            "layer": layer,
            "sample": str(sample),
            **packed(done, layer, sample, neurons),
            "labels": labels(done, layer, sample, neurons, classes if layer == output else []),
        }
        for layer, neurons in shown.items()
        for sample in range(samples)
    ]
    names = [run.name for run in done]
    label = (
        f"Spikes of one sample of {task}: a band for each of {', '.join(names)}, a row per neuron; "
        "extra and missing spikes are marked and counted"
    )
    return chart(
        "raster",
        f"raster-{task}",
        label,
        rows,
        wide=True,
        height=150 * len(names),
        first=first,
        names=names,
        targets=[run.target for run in done],
        steps=steps,
        step_ms=step_ms,
    )


def _membranes(
    task: str,
    done: Sequence[Run],
    traced: dict[str, np.ndarray],
    first: str,
    step_ms: float | None,
) -> Chart:
    rows = [
        row
        for layer, neurons in traced.items()
        for sample in range(done[0].spikes[layer].shape[1])
        for place, neuron in enumerate(neurons.tolist())
        for row in traces(done, layer, sample, place, neuron)
    ]
    label = f"Membrane of one neuron of {task} by step, after the reset; the dashed line is the threshold"
    return chart(
        "membrane",
        f"membrane-{task}",
        label,
        rows,
        wide=True,
        first=first,
        neurons={layer: neurons.tolist() for layer, neurons in traced.items()},
        step_ms=step_ms,
    )


def traces(
    done: Sequence[Run], layer: str, sample: int, place: int, neuron: int
) -> list[dict[str, Any]]:
    """The membranes of one neuron in one sample, a row for all runs that have the same.

    `v`: thousandths of the threshold, a step each; `s`: "1" for a step with a spike. `runs` and their
    `targets` have them: integer networks of several chips may be one, and are embedded once.
    """
    found: dict[tuple[bytes, str], dict[str, Any]] = {}
    for run in done:
        if layer not in run.membranes or sample not in run.samples:
            continue
        steps = len(run.membranes[layer])
        membrane = run.membranes[layer][:, sample].reshape(steps, -1)[:, neuron]
        spiked = run.spikes[layer][:, sample].reshape(steps, -1)[:, neuron] != 0
        marks = "".join("01"[z] for z in spiked.astype(int))
        row = found.setdefault(
            (membrane.tobytes(), marks),
            {
                "layer": layer,
                "sample": str(sample),
                "place": str(place),
                "neuron": neuron,
                "runs": [],
                "targets": [],
                "v": np.rint(1000 * membrane).astype(np.int64).tolist(),
                "s": marks,
            },
        )
        row["runs"].append(run.name)
        row["targets"].append(run.target)
    return list(found.values())


def _counts(layers: list[str], done: Sequence[Run]) -> Table:
    rows = []
    for layer in layers:
        trained = done[0].spikes[layer] != 0
        spikes = [run.spikes[layer] != 0 for run in done]
        rows.append(
            (
                layer,
                *(count(int(s.sum())) for s in spikes),
                *(count(int((s != trained).sum())) for s in spikes[1:]),
            )
        )
    names = [run.name for run in done]
    head = ("layer", *(f"spikes: {n}" for n in names), *(f"differing: {n}" for n in names[1:]))
    return Table("Spikes in the golden vectors, by layer", head, rows)
