"""Draws docs/overview.png from what the stages wrote: networks, a raster, the chips' accuracies.

`python docs/picture.py [ROOT]` reads ROOT/models and ROOT/metrics (default: this checkout). The first
golden vector is drawn, whatever it shows. The numbers that the picture rests on are in its metadata,
key `Source`; tests/test_readme.py compares them with the committed ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from spyx_nir import files

HERE = Path(__file__).parent
PICTURE = HERE / "overview.png"
RASTER = "braille"  # the task whose first golden vector is drawn
COLOURS = {"neuron": "#d7e8f7", "weight": "#f3ead3", "other": "#eeeeee"}
COLUMNS = {"float": "float", "ptq": "PTQ", "integer": "QAT"}


def generic(root: Path, task: str) -> Path:
    """The folder of a task's `generic` bundle."""
    return root / "models" / task / "deploy" / "generic"


def manifest(root: Path, task: str) -> dict[str, Any]:
    """What the `generic` bundle of a task says of itself."""
    found: dict[str, Any] = json.loads((generic(root, task) / "manifest.json").read_text("utf-8"))
    return found


def tasks(root: Path) -> list[str]:
    """The tasks that have a bundle, by name."""
    return sorted(path.parents[1].name for path in root.glob("models/*/deploy/generic"))


def counts(root: Path) -> dict[str, dict[str, list[int]]]:
    """Right answers and recordings per chip's metrics file: {stem: {key: [correct, n]}}."""
    found = {}
    for path in sorted(root.glob("metrics/*.json")):
        accuracy = json.loads(path.read_text(encoding="utf-8")).get("accuracy", {})
        if all(key in accuracy for key in COLUMNS):
            found[path.stem] = {k: [accuracy[k]["correct"], accuracy[k]["n"]] for k in COLUMNS}
    return found


def differing(root: Path, task: str) -> list[int]:
    """Spikes that differ on the test set, re-imported and by the reference, and compared entries."""
    path = root / "models" / task / "parity.json"
    found = json.loads(path.read_text(encoding="utf-8"))["differing_spikes"]
    return [found["reimported"], found["reference"], found["entries"]]


def source(root: Path) -> dict[str, Any]:
    """All numbers that are written in the picture."""
    return {"chips": counts(root), "spikes": {task: differing(root, task) for task in tasks(root)}}


def network(axis: Axes, bundle: dict[str, Any], title: str) -> None:
    """One box per node, in the file's order; a recurrent weight is a box above its neurons."""
    inner = [n for n in bundle["nodes"] if "." in n["node"] and n["type"] in ("Input", "Output")]
    nodes = [n for n in bundle["nodes"] if n not in inner]
    chain = [n for n in nodes if not n["node"].endswith("w_rec")]
    for place, node in enumerate(chain):
        kind = "neuron" if "neurons" in node else "weight" if "weights" in node else "other"
        shape = "×".join(str(size) for size in node["output_shape"])
        box = {"boxstyle": "round,pad=0.35", "fc": COLOURS[kind], "ec": "#777777", "lw": 0.6}
        text = f"{node['type']}\n{shape}"
        axis.text(place, 0, text, ha="center", va="center", fontsize=6.5, bbox=box)
        for loop in [n for n in nodes if n["node"] == node["node"].rpartition(".")[0] + ".w_rec"]:
            text = f"↻ {loop['type']}, {loop['weights']} weights"
            axis.text(place, 0.95, text, ha="center", va="center", fontsize=6.5)
    axis.plot([0, len(chain) - 1], [0, 0], color="#777777", lw=0.8, zorder=0)
    axis.set_xlim(-0.6, max(len(chain), 9) - 0.4)
    axis.set_ylim(-0.8, 1.3)
    axis.set_axis_off()
    size = f"{bundle['neurons']:,} neurons, {bundle['synapses']:,} synapses"
    axis.set_title(f"{title}: {size}", fontsize=8, loc="left")


def raster(axis: Axes, folder: Path, bundle: dict[str, Any]) -> None:
    """Spikes of the first golden vector: input below, then each neuron node."""
    with np.load(folder / bundle["vectors"]["file"]) as vectors:
        names = [n["node"] for n in bundle["nodes"] if "neurons" in n]
        parts = {"input": vectors["input"], **{name: vectors[name] for name in names}}
        offset, middles = 0, []
        for spikes in parts.values():
            step, neuron = np.nonzero(spikes[:, 0].reshape(len(spikes), -1))
            axis.plot(step, neuron + offset, "k.", markersize=1.2)
            width = int(np.prod(spikes.shape[2:]))
            middles.append(offset + width / 2)
            offset += width + 3
        axis.set_yticks(middles, parts, fontsize=6.5)
    classes, labels = bundle["classes"], bundle["vectors"]["labels"]
    answer = classes[bundle["vectors"]["predicted"][0]]
    text = f"first golden vector: class {classes[labels[0]]}, answer {answer}"
    axis.set_title(text, fontsize=8, loc="left")
    axis.set_xlabel("step", fontsize=7)
    axis.tick_params(labelsize=6.5)


def table(axis: Axes, root: Path) -> None:
    """Right answers per chip, in the chip's integers, and the differing spikes of both networks."""
    rows = [
        [name.replace("-", ", ", 1), *(str(row[key][0]) for key in COLUMNS), str(row["integer"][1])]
        for name, row in counts(root).items()
    ]
    heads = ["chip, its integers", *COLUMNS.values(), "of"]
    drawn = axis.table(
        rows,
        colLabels=heads,
        colWidths=[0.44, 0.14, 0.14, 0.14, 0.14],
        bbox=Bbox.from_bounds(0, 0.3, 1, 0.7),
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7)
    for cell in drawn.get_celld().values():
        cell.set_linewidth(0.4)
    lines = [
        f"{task}: {max(found[:2])} of {found[2]:,} spikes differ"
        for task, found in source(root)["spikes"].items()
    ]
    text = "\n".join([*lines, "(trained, re-imported and float64 reference)"])
    axis.text(0, 0.22, text, fontsize=7, va="top")
    kinds = {manifest(root, task)["data"]["source"] for task in tasks(root)}
    text = f"right answers on the test recordings ({', '.join(sorted(kinds))})"
    axis.set_title(text, fontsize=8, loc="left")
    axis.set_axis_off()


def draw(root: Path, path: Path) -> None:
    """Write the picture of the outputs in `root` to `path`."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(9.6, 4.9), facecolor="white")
        names = tasks(root)
        grid = figure.add_gridspec(
            len(names) + 1, 2, height_ratios=[*[1] * len(names), 3], width_ratios=[1.15, 1],
            left=0.095, right=0.985, top=0.94, bottom=0.09, hspace=0.35, wspace=0.12,
        )  # fmt: skip
        for row, task in enumerate(names):
            network(figure.add_subplot(grid[row, :]), manifest(root, task), f"{task}, model.nir")
        folder = generic(root, RASTER)
        raster(figure.add_subplot(grid[-1, 0]), folder, manifest(root, RASTER))
        table(figure.add_subplot(grid[-1, 1]), root)
        metadata = {"Software": None, "Source": json.dumps(source(root), sort_keys=True)}
        with files.atomic(path) as temporary:
            figure.savefig(temporary, dpi=110, metadata=metadata)


def main(root: Path) -> None:
    """Draw the committed picture; without the bundle of `RASTER` one line says what is missing."""
    if RASTER not in tasks(root):
        sys.exit(f"error: {generic(root, RASTER)}: no such bundle; run make deploy-artifacts")
    draw(root, PICTURE)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE.parent)
