"""The picture of a parity check: who spiked when, in three backends, differences in red."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import files

MOST_NEURONS = 60  # of a layer; more cannot be distinguished on a screen


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
        _draw(path, title, recordings, layers)


def _draw(path: Path, title: str, recordings: Mapping[str, Any], layers: list[str]) -> None:
    from matplotlib.figure import Figure

    height = 2.0 * len(layers) + 1.2
    figure = Figure(figsize=(4 * len(recordings), height))
    axes = figure.subplots(len(layers), len(recordings), squeeze=False, sharex=True)
    # Inches for title and labels; a layout engine would take longer than the drawing itself.
    figure.subplots_adjust(0.08, 0.5 / height, 0.99, 1 - 0.7 / height, wspace=0.12, hspace=0.3)
    figure.suptitle(f"{title}: spikes of one test sample (red: differs from the first column)")
    for row, layer in zip(axes, layers, strict=True):
        rasters = [
            r.spikes[layer][:, 0].reshape(len(r.spikes[layer]), -1) for r in recordings.values()
        ]
        chosen = neurons(rasters)
        for axis, name, raster in zip(row, recordings, rasters, strict=True):
            shown, differs = raster[:, chosen] != 0, (raster != rasters[0])[:, chosen]
            for which, style in ((shown & ~differs, "k."), (differs, "r.")):
                step, neuron = np.nonzero(which)
                axis.plot(step, neuron, style, markersize=2 if style == "k." else 5)
            axis.set_xlim(-0.5, len(raster) - 0.5)
            axis.set_ylim(-0.5, len(chosen) - 0.5)
            axis.set_title(name, fontsize=9)
        row[0].set_ylabel(f"{layer}\n{len(chosen)} of {rasters[0].shape[1]} neurons", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    with files.atomic(path) as temporary:
        # Without the program's version in it the file depends on the drawing alone.
        figure.savefig(temporary, dpi=80, metadata={"Software": None})


def neurons(rasters: list[np.ndarray]) -> np.ndarray:
    """Up to `MOST_NEURONS` neurons to show: those that differ first, then the busiest, by index.

    Args:
        rasters: (T, N) each.
    """
    differing = sum((r != rasters[0]).sum(axis=0) for r in rasters)
    busy = rasters[0].sum(axis=0, dtype=np.int64)
    return np.sort(np.lexsort((-busy, -differing))[:MOST_NEURONS])
