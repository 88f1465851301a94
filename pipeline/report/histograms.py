"""How weights and firing rates are distributed, node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.report.chart import chart
from pipeline.report.part import Chart, Choice, Number, Part, Table, count, percent, small
from pipeline.report.sources import Source

BINS = 40
Measures = Mapping[str, Callable[[np.ndarray], Number]]  # head of a column -> its cell


def weights(source: Source) -> Part:
    """The weights of every node of the bundle's graph that has some."""
    if source.bundle is None:
        return Part("weights", "Weights", missing=[source.unbundled("model.nir")])
    nodes = source.bundle.plan.nodes
    arrays = {
        node["node"]: np.asarray(nodes[node["node"]]["weight"], np.float64)
        for node in source.bundle.manifest["nodes"]
        if "weights" in node
    }
    measures: Measures = {
        "weights": lambda array: count(array.size),
        "least": lambda array: small(float(array.min())),
        "mean": lambda array: small(float(array.mean())),
        "largest": lambda array: small(float(array.max())),
        "deviation": lambda array: small(float(array.std())),
        "zeros": lambda array: percent(float((array == 0).mean())),
    }
    table = _table("Weights as stored in model.nir", "node", arrays, measures)
    return _part("weights", "Weights", source.task, arrays, "weight", table)


def rates(source: Source) -> Part:
    """Spikes per step of every neuron over the golden vectors."""
    id, title, bundle = "rates", "Firing rates", source.bundle
    if bundle is None:
        return Part(id, title, missing=[source.unbundled("test_data_set_0/vectors.npz")])
    arrays = {name: bundle.vectors[name].mean(axis=(0, 1)).ravel() for name in bundle.layers}
    measures: Measures = {
        "neurons": lambda array: count(array.size),
        "mean": lambda array: percent(float(array.mean())),
        "median": lambda array: percent(float(np.median(array))),
        "largest": lambda array: percent(float(array.max())),
        "silent neurons": lambda array: count(int((array == 0).sum())),
    }
    caption = "Spikes per step and neuron over the golden vectors"
    table = _table(caption, "layer", arrays, measures)
    return _part(id, title, source.task, arrays, "spikes per step", table)


def _table(caption: str, first: str, arrays: Mapping[str, np.ndarray], measures: Measures) -> Table:
    rows = [(name, *(of(array) for of in measures.values())) for name, array in arrays.items()]
    return Table(caption, (first, *measures), rows)


def _part(
    id: str, title: str, task: str, arrays: Mapping[str, np.ndarray], what: str, table: Table
) -> Part:
    choice = Choice("node", "Layer", [(name, name) for name in arrays])
    picture = _chart(f"{id}-{task}", f"{title} of {task}", arrays, what)
    return Part(id, title, choices=[choice], charts=[picture], tables=[table])


def _chart(id: str, label: str, arrays: Mapping[str, np.ndarray], what: str) -> Chart:
    rows = []
    for name, array in arrays.items():
        counts, edges = np.histogram(array, bins=BINS)
        rows += [
            {"node": name, "low": low, "high": high, "count": int(n)}
            for low, high, n in zip(edges[:-1].tolist(), edges[1:].tolist(), counts, strict=True)
        ]
    label = f"{label}: how many have which {what}, in {BINS} bins"
    return chart("histogram", id, label, rows, first=next(iter(arrays)), what=what)
