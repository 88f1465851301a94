"""Rasters of all backends one above the other, and membranes, for the golden vectors."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation import raster_plot
from pipeline.report.chart import chart
from pipeline.report.part import Chart, Choice, Part, Table, count
from pipeline.report.runs import Run, runs
from pipeline.report.sources import Bundle, Source

TRACED = 6  # neurons of a layer whose membranes can be looked at
ON_CHIPS = (
    "A chip's integers are those of the network after quantisation-aware training, shown without the "
    "chip's delays: where they differ from the trained network, QAT moved the weights or the chip's rule "
    "is another."
)


def make(source: Source) -> Part:
    """Rasters, membranes and counts for the golden vectors of the bundle."""
    id, title = "spikes", "Spikes and membranes"
    bundle = source.bundle
    if bundle is None:
        return Part(id, title, missing=[source.unbundled("test_data_set_0/vectors.npz")])
    done = runs(source, bundle)
    vectors = bundle.manifest["vectors"]
    floats = [run for run in done if not run.target]
    shown = {
        layer: raster_plot.neurons([flat(run.spikes[layer]) for run in floats])
        for layer in bundle.layers
    }
    traced = {
        layer: np.sort(busiest(flat(done[0].spikes[layer]), TRACED)) for layer in bundle.layers
    }
    first = bundle.layers[0]
    choices = [
        Choice("layer", "Layer", [(layer, layer) for layer in bundle.layers]),
        Choice("sample", "Sample", _samples(bundle)),
        Choice("place", "Membrane of", [(str(i), f"neuron {i + 1}") for i in range(TRACED)]),
    ]
    return Part(
        id,
        title,
        text=[
            f"The {len(vectors['test_samples'])} test samples of the bundle's golden vectors. Shown "
            f"are up to {raster_plot.MOST_NEURONS} neurons of a layer, the busiest ones; membranes are "
            f"for the {TRACED} busiest neurons, in units of the threshold: the reference's before the "
            "reset, a chip's after it.",
            *([ON_CHIPS] if len(floats) < len(done) else []),
        ],
        choices=choices,
        charts=[
            _rasters(source.task, done, shown, first),
            _membranes(source.task, done, traced, first),
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


def packed(done: list[Run], layer: str, sample: int, neurons: np.ndarray) -> dict[str, list[int]]:
    """The spikes of one sample as columns: step `t`, neuron `n`, its `row` on the picture.

    `m` says who spiked: bit k is run k. One entry for all runs keeps the page small. `lanes` are the
    runs that know layer and sample.
    """
    lanes = [k for k, run in enumerate(done) if sample in run.samples and layer in run.spikes]
    mask = np.zeros((len(done[0].spikes[layer]), len(neurons)), np.int64)
    for k in lanes:
        spikes = done[k].spikes[layer][:, sample]
        mask |= (spikes.reshape(len(spikes), -1)[:, neurons] != 0).astype(np.int64) << k
    step, row = np.nonzero(mask)
    return {
        "t": step.tolist(),
        "n": neurons[row].tolist(),
        "row": row.tolist(),
        "m": mask[step, row].tolist(),
        "lanes": lanes,
    }


def _rasters(task: str, done: list[Run], shown: dict[str, np.ndarray], first: str) -> Chart:
    samples = done[0].spikes[first].shape[1]
    rows = [
        {"layer": layer, "sample": str(sample), **packed(done, layer, sample, neurons)}
        for layer, neurons in shown.items()
        for sample in range(samples)
    ]
    names = [run.name for run in done]
    label = (
        f"Spikes of one sample of {task}: a band for each of {', '.join(names)}, a row per neuron; "
        "spikes that the trained model has not, or that are missing, are marked"
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
    )


def _membranes(task: str, done: list[Run], traced: dict[str, np.ndarray], first: str) -> Chart:
    rows = []
    for layer, neurons in traced.items():
        for run in done:
            if layer not in run.membranes:
                continue
            steps, samples = run.membranes[layer].shape[:2]
            flattened = run.membranes[layer].reshape(steps, samples, -1)
            rows += [
                {
                    "layer": layer,
                    "sample": str(sample),
                    "place": str(place),
                    "neuron": int(neuron),
                    "run": run.name,
                    "target": run.target,
                    "v": [float(f"{v:.4g}") for v in flattened[:, sample, neuron]],
                }
                for sample in sorted(run.samples)
                for place, neuron in enumerate(neurons)
            ]
    label = f"Membrane of one neuron of {task} by step; the dashed line is the threshold"
    return chart("membrane", f"membrane-{task}", label, rows, wide=True, first=first)


def _counts(layers: list[str], done: list[Run]) -> Table:
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
