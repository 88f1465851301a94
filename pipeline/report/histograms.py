"""How weights and firing rates are distributed, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.report.chart import chart
from pipeline.report.part import Chart, Choice, Part, Table, count, percent, small
from pipeline.report.sources import Source

BINS = 40


def weights(source: Source) -> Part:
    """The weights of every node of the bundle's graph that has some."""
    id, title = "weights", "Weights"
    if source.bundle is None:
        return Part(id, title, missing=[source.unbundled("model.nir")])
    nodes = source.bundle.plan.nodes
    arrays = {
        node["node"]: np.asarray(nodes[node["node"]]["weight"], np.float64)
        for node in source.bundle.manifest["nodes"]
        if "weights" in node
    }
    rows = [
        (
            name,
            count(array.size),
            *(small(float(f(array))) for f in (np.min, np.mean, np.max, np.std)),
            percent(float((array == 0).mean())),
        )
        for name, array in arrays.items()
    ]
    table = Table(
        "Weights as stored in model.nir",
        ("node", "weights", "least", "mean", "largest", "deviation", "zeros"),
        rows,
    )
    return Part(
        id,
        title,
        choices=[_nodes(arrays)],
        charts=[_chart(f"weights-{source.task}", f"Weights of {source.task}", arrays, "weight")],
        tables=[table],
    )


def rates(source: Source) -> Part:
    """Spikes per step of every neuron over the golden vectors."""
    id, title = "rates", "Firing rates"
    bundle = source.bundle
    if bundle is None:
        return Part(id, title, missing=[source.unbundled("test_data_set_0/vectors.npz")])
    arrays = {name: bundle.vectors[name].mean(axis=(0, 1)).ravel() for name in bundle.layers}
    rows = [
        (
            name,
            count(array.size),
            *(percent(float(f(array))) for f in (np.mean, np.median, np.max)),
            count(int((array == 0).sum())),
        )
        for name, array in arrays.items()
    ]
    table = Table(
        "Spikes per step and neuron over the golden vectors",
        ("layer", "neurons", "mean", "median", "largest", "silent neurons"),
        rows,
    )
    label = f"Firing rates of {source.task}"
    return Part(
        id,
        title,
        choices=[_nodes(arrays)],
        charts=[_chart(f"rates-{source.task}", label, arrays, "spikes per step")],
        tables=[table],
    )


def _nodes(arrays: Mapping[str, np.ndarray]) -> Choice:
    return Choice("node", "Layer", [(name, name) for name in arrays])


def _chart(id: str, label: str, arrays: Mapping[str, np.ndarray], what: str) -> Chart:
    rows: list[dict[str, Any]] = []
    for name, array in arrays.items():
        counts, edges = np.histogram(array, bins=BINS)
        rows += [
            {"node": name, "low": low, "high": high, "count": n}
            for low, high, n in zip(
                edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True
            )
        ]
    label = f"{label}: how many have which {what}, in {BINS} bins"
    return chart("histogram", id, label, rows, first=next(iter(arrays)), what=what)
