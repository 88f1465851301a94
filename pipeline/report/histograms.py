"""How weights and firing rates are distributed, node by node."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping

import numpy as np

from pipeline.report.chart import chart
from pipeline.report.part import Chart, Choice, Number, Part, Picture, Table, count, percent, small
from pipeline.report.sources import Source

BINS = 40
MOST_KERNELS = 16  # outputs and inputs of a convolution whose kernels are shown
SCALE = 4  # pixels of a weight
BLUE, ORANGE, GREY = np.array([11, 98, 168]), np.array([179, 72, 11]), np.array([190, 190, 190])
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
    chips = {
        target.name: {
            name: np.asarray(target.bundle.plan.nodes[name]["weight"], np.float64)
            for name in arrays
            if "weight" in target.bundle.plan.nodes.get(name, {})
        }
        for target in source.targets
        if target.bundle
    }
    part = _part("weights", "Weights", source.task, arrays, "weight", table)
    if chips:
        part.choices.append(Choice("chip", "Chip", [(name, name) for name in chips]))
        part.charts[:] = [_quantised(source.task, arrays, chips)]
    convolutions = [name for name, array in arrays.items() if array.ndim == 4]
    for name in convolutions:
        part.pictures.append(kernels(name, arrays[name]))
        if name == convolutions[0]:
            part.pictures.extend(on_chips(name, chips))
    return part


def on_chips(node: str, chips: Mapping[str, Mapping[str, np.ndarray]]) -> list[Picture]:
    """The kernels of a convolution as each chip's bundle has them; equal ones share a picture."""
    same: dict[bytes, list[str]] = {}
    for chip, found in chips.items():
        if node in found:
            same.setdefault(found[node].tobytes(), []).append(chip)
    return [
        kernels(node, chips[names[0]][node], f"in the bundle of {', '.join(names)}")
        for names in same.values()
    ]


def _quantised(
    task: str, arrays: Mapping[str, np.ndarray], chips: Mapping[str, Mapping[str, np.ndarray]]
) -> Chart:
    """Weights before quantisation, filled, and after it, as an outline, in the same bins."""
    rows = []
    for name, array in arrays.items():
        own = {chip: found[name] for chip, found in chips.items() if name in found}
        both = np.concatenate([array.ravel(), *(found.ravel() for found in own.values())])
        edges = np.histogram_bin_edges(both, bins=BINS)
        for run, found in {"": array, **own}.items():
            counts, _ = np.histogram(found, bins=edges)
            rows += [
                {"node": name, "chip": run, "low": low, "high": high, "count": int(n)}
                for low, high, n in zip(
                    edges[:-1].tolist(), edges[1:].tolist(), counts, strict=True
                )
            ]
    label = (
        f"Weights of {task} in {BINS} bins: filled before quantisation, outlined those that the chip's "
        "bundle has"
    )
    first, chip = next(iter(arrays)), next(iter(chips))
    return chart("quantised", f"weights-{task}", label, rows, first=first, chip=chip)


def kernels(node: str, weight: np.ndarray, where: str = "before quantisation") -> Picture:
    """A convolution's kernels (outputs, inputs, rows, columns): a column of images for each output.

    Blue is negative, orange positive, as dark as the weight is large; white is 0.
    """
    from PIL import Image

    outputs, inputs = (min(n, MOST_KERNELS) for n in weight.shape[:2])
    high, wide = weight.shape[2:]
    shown = np.full((inputs * (high + 1) - 1, outputs * (wide + 1) - 1, 3), 255, np.uint8)
    most = float(np.abs(weight).max()) or 1.0
    for out in range(outputs):
        for into in range(inputs):
            share = weight[out, into] / most
            colour = np.where(share[..., None] < 0, BLUE, ORANGE)
            mixed = 255 + (colour - 255) * np.abs(share)[..., None]
            top, left = into * (high + 1), out * (wide + 1)
            shown[top : top + high, left : left + wide] = np.rint(mixed)
    # Lines between kernels.
    shown[high :: high + 1], shown[:, wide :: wide + 1] = GREY, GREY
    stored = io.BytesIO()
    Image.fromarray(shown).resize((shown.shape[1] * SCALE, shown.shape[0] * SCALE), 0).save(
        stored, "PNG", optimize=True
    )
    alt = (
        f"Kernels of {node} {where}: a column for each of {outputs} of "
        f"{weight.shape[0]} outputs, a row for each of {inputs} of {weight.shape[1]} inputs; blue "
        f"below 0, orange above, darkest {most:.3g}"
    )
    return Picture(alt, base64.b64encode(stored.getvalue()).decode("ascii"))


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
