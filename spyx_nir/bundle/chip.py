"""The files that a chip's bundle has besides those of every bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import files
from spyx_nir.bundle import bringup, events, integers
from spyx_nir.bundle.folder import VECTORS
from spyx_nir.converter import file
from spyx_nir.hardware import findings, judge, registry, simulate
from spyx_nir.hardware.findings import Finding
from spyx_nir.hardware.network import IntegerNetwork
from spyx_nir.hardware.topology import PlannedGraph
from spyx_nir.meaning import reference


@dataclass(frozen=True)
class Written:
    """What the rest of a bundle is made of.

    graph: in model.nir. x: (T, N, *shape) uint8, silent steps included. output, spikes: what NIR's rule
    makes of it, uint8, (T, N, ...). addresses: what address_map.json holds. silent: steps of x without
    input.
    """

    graph: Any
    x: np.ndarray
    output: np.ndarray
    spikes: dict[str, np.ndarray]
    addresses: dict[str, Any]
    silent: int


def write(
    folder: Path,
    made: PlannedGraph,
    network: IntegerNetwork,
    frames: np.ndarray,
    samples: bringup.Samples,
    encoding: events.Encoding,
    notes: Sequence[Finding] = (),
) -> Written:
    """Write model.nir, the integers, their check, fit.json, BRINGUP.md and what the chip's family adds.

    Args:
        made: the graph with the network's integers. frames: (N, T, *shape) counts, the golden samples.
        samples: of them. encoding: of events, without silent steps. notes: further findings of fit.json.

    Raises:
        GraphError: a number is not on the chip's grid.
    """
    chip = network.profile
    family = registry.family(chip)
    (x,) = simulate.padded(network, frames).values()
    graph = file.build(made.content)
    file.write(folder / "model.nir", graph)
    floats = reference.run(made.plan, x)
    (folder / VECTORS).mkdir()
    run = integers.write(folder / VECTORS / integers.NAME, network, x)
    for name, other in family.graphs(made.content).items():
        file.write(folder / name, file.build(other), nir_version=chip["graph.nir"])
    files.write_text(folder / "verify_integers.py", integers.source(chip))
    found = judge.judge(made, chip)
    found.findings += notes
    files.write_json(folder / "fit.json", findings.as_data(found))
    files.write_text(folder / "BRINGUP.md", bringup.write(network, run, samples))
    for name, text in family.files(network, samples.bin_us).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / name, text)
    silent = len(x) - frames.shape[1]
    addresses = events.address_map(
        dataclasses.replace(encoding, silent=silent, singly=family.run_events is not None),
        {p.name: p.shape for p in sorted(network.populations, key=lambda p: p.output)},
        {row["layer"]: row["core"] for row in found.cores},
        samples.classes,
        family.addresses(network),
    )
    return Written(
        graph,
        x.astype(np.uint8),
        floats.output.astype(np.uint8),
        {name: spikes.astype(np.uint8) for name, spikes in floats.spikes.items()},
        addresses,
        silent,
    )
