"""The picture of a parity check: who spiked when, in three backends, and what differs from the first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spyx_nir import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NEURONS = 60  # of a layer; more cannot be distinguished on a screen
BOTH = {"marker": ".", "color": "k", "markersize": 2}
EXTRA = {"marker": ".", "color": "r", "markersize": 2}
MISSING = {
    "marker": "o",
    "color": "0.6",
    "markersize": 3,
    "fillstyle": "none",
    "markeredgewidth": 0.5,
}


def write(path: Path, title: str, recordings: Mapping[str, Any], layers: list[str]) -> None:
    """Draw one sample: a row per layer, a column per backend; the same bytes for the same spikes.

    Args:
        path: the PNG to write.
        recordings: per backend a recording whose `spikes[layer]` is (T, 1, ...); the others are
            compared with the first.
        layers: the rows.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not those of a matplotlibrc
        figure = drawn(title, recordings, layers)
        with files.atomic(path) as temporary:
            # Without the program's version in it the file depends on the drawing alone.
            figure.savefig(temporary, dpi=80, metadata={"Software": None})


def drawn(title: str, recordings: Mapping[str, Any], layers: list[str]) -> Figure:
    """The figure that `write` saves; a panel has three sets of markers: `BOTH`, `EXTRA`, `MISSING`."""
    from matplotlib.figure import Figure

    height = 2.0 * len(layers) + 1.2
    figure = Figure(figsize=(4 * len(recordings), height))
    axes = figure.subplots(len(layers), len(recordings), squeeze=False, sharex=True)
    # Inches for title and labels; a layout engine would take longer than the drawing itself.
    figure.subplots_adjust(0.08, 0.5 / height, 0.99, 1 - 0.7 / height, wspace=0.12, hspace=0.3)
    figure.suptitle(
        f"{title}: spikes of one test sample (red: not in the first column; circle: only there)"
    )
    for row, layer in zip(axes, layers, strict=True):
        rasters = [
            r.spikes[layer][:, 0].reshape(len(r.spikes[layer]), -1) for r in recordings.values()
        ]
        chosen = neurons(rasters)
        for axis, name, raster in zip(row, recordings, rasters, strict=True):
            shown, first = raster[:, chosen] != 0, rasters[0][:, chosen] != 0
            for which, style in (
                (shown & first, BOTH),
                (shown & ~first, EXTRA),
                (first & ~shown, MISSING),
            ):
                step, neuron = np.nonzero(which)
                axis.plot(step, neuron, linestyle="", **style)
            axis.set_xlim(-0.5, len(raster) - 0.5)
            axis.set_ylim(-0.5, len(chosen) - 0.5)
            missing, extra = int((first & ~shown).sum()), int((shown & ~first).sum())
            more = f": {missing} missing, {extra} more" if missing or extra else ""
            axis.set_title(name + more, fontsize=9)
        row[0].set_ylabel(f"{layer}\n{len(chosen)} of {rasters[0].shape[1]} neurons", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    return figure


def neurons(rasters: list[np.ndarray]) -> np.ndarray:
    """Up to `MOST_NEURONS` neurons to show: those that differ first, then the busiest, by index.

    Args:
        rasters: (T, N) each.
    """
    differing = sum((r != rasters[0]).sum(axis=0) for r in rasters)
    busy = rasters[0].sum(axis=0, dtype=np.int64)
    return np.sort(np.lexsort((-busy, -differing))[:MOST_NEURONS])
