"""Rasters of all backends one above the other, and membranes, for the golden vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.evaluation import raster_plot
from pipeline.report.chart import DIFFERS, STEPS, chart, chosen, nominal, quantitative
from pipeline.report.part import Chart, Choice, Part, Table, count
from pipeline.report.runs import Run, runs
from pipeline.report.sources import Bundle, Source

TRACED = 6  # neurons of a layer whose membranes can be looked at
STATES = ("as trained", "only here", "missing here")
OF_TARGET = {"filter": "target == '' || datum.target == '' || datum.target == target"}
ON_CHIPS = (
    "A chip's integers are those of the network trained on its grid, shown without the chip's delays: "
    "where they part from the trained network, training moved the weights or the chip's rule differs."
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
    here, trained = "(datum.m >> datum.lane) & 1", "datum.m & 1"
    spec: dict[str, Any] = {
        "params": [chosen("layer", first), chosen("sample", "0"), chosen("target", "")],
        "transform": [
            {"filter": "datum.layer == layer && datum.sample == sample"},
            {"flatten": ["t", "n", "row", "m"]},
            {"calculate": "datum.lanes", "as": "lane"},
            {"flatten": ["lane"]},
            {"filter": f"({here}) || ({trained})"},
            {"calculate": f"{names}[datum.lane]", "as": "run"},
            {"calculate": f"{[run.target for run in done]}[datum.lane]", "as": "target"},
            OF_TARGET,
            {
                "calculate": f"!({here}) ? '{STATES[2]}' : !({trained}) ? '{STATES[1]}' : "
                f"'{STATES[0]}'",
                "as": "state",
            },
        ],
        "mark": {"type": "point", "aria": False, "opacity": 1, "filled": True},
        "encoding": {
            "x": quantitative("t", "step", scale=STEPS, axis={"format": "d", "grid": False}),
            "y": nominal(
                "run",
                None,
                sort=names,
                scale={"padding": 0.12},
                axis={"grid": True, "tickBand": "extent", "ticks": False},
            ),
            "yOffset": quantitative("row", "neuron", scale={"zero": False}),
            "color": nominal(
                "state",
                None,
                scale={"domain": list(STATES), "range": ["var(--ink)", DIFFERS, DIFFERS]},
            ),
            "shape": nominal(
                "state",
                None,
                scale={"domain": list(STATES), "range": ["square", "diamond", "cross"]},
            ),
            "size": {
                "condition": {"test": f"datum.state != '{STATES[0]}'", "value": 20},
                "value": 7,
            },
            "tooltip": [
                nominal("run", "run"),
                quantitative("t", "step", format="d"),
                quantitative("n", "neuron", format="d"),
                nominal("state", "spike"),
            ],
        },
    }
    label = (
        f"Spikes of one sample of {task}: a band for each of {', '.join(names)}, a row per neuron; "
        "spikes that the trained model has not, or that are missing, are marked"
    )
    return chart(f"raster-{task}", label, rows, spec, 150 * len(names), wide=True)


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
    encoding = {
        "x": quantitative("t", "step", scale=STEPS, axis={"format": "d"}),
        "y": quantitative("v", "membrane / threshold"),
        "color": nominal("run", None),
        "tooltip": [
            nominal("run", "run"),
            quantitative("neuron", "neuron", format="d"),
            quantitative("t", "step", format="d"),
            quantitative("v", "membrane / threshold", format=".4"),
        ],
    }
    selected = [
        {"filter": "datum.layer == layer && datum.sample == sample && datum.place == place"},
        OF_TARGET,
        {"flatten": ["v"]},
        {"window": [{"op": "row_number", "as": "number"}], "groupby": ["run"]},
        {"calculate": "datum.number - 1", "as": "t"},
    ]
    spec = {
        "params": [
            chosen("layer", first),
            chosen("sample", "0"),
            chosen("place", "0"),
            chosen("target", ""),
        ],
        "layer": [
            {"transform": selected, "mark": {"type": "line", "point": {"size": 12}},
             "encoding": encoding},
            {"mark": {"type": "rule", "strokeDash": [5, 4], "tooltip": None},
             "encoding": {"y": {"datum": 1}}},
        ],
    }  # fmt: skip
    label = f"Membrane of one neuron of {task} by step; the dashed line is the threshold"
    return chart(f"membrane-{task}", label, rows, spec, wide=True)


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
