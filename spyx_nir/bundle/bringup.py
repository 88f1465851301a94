"""BRINGUP.md: how a bundle is loaded on its chip, and what to compare first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spyx_nir.bundle.markdown import code, text
from spyx_nir.hardware import registry, simulate
from spyx_nir.hardware.network import IntegerNetwork, Run


@dataclass(frozen=True)
class Samples:
    """The recordings of `integer_vectors.npz`."""

    labels: np.ndarray | None  # (N,) indices into `classes`; None where nobody gave them
    classes: Sequence[str]
    channels: Sequence[str]  # what the channels of a step's input are
    bin_us: int  # a step's length, in microseconds


def write(network: IntegerNetwork, run: Run, samples: Samples) -> str:
    """The text.

    Args:
        run: the simulation in `integer_vectors.npz`. samples: what was run.
    """
    chip = network.profile
    (output,) = (p for p in network.populations if p.output)
    old = chip["graph.nir"] not in (None, "1.0.8")
    loading = registry.family(chip).bringup(
        network, "model-nir-1.0.4.nir" if old else "model.nir", samples.channels, samples.bin_us
    )
    delays = simulate.delays(network)
    rows = [
        f"| `{code(p.name)}` | {run.spikes[p.name][:, 0].sum()} | {_first(run.spikes[p.name][:, 0])} "
        f"| {delays[p.name]} |"
        for p in network.populations
    ]
    counts = run.shown(output).sum(axis=0, dtype=np.int64)
    read = "Output membranes, summed over the steps," if output.membrane else "Output spikes"
    kept = [
        f"`{field}/`"
        for field in ("decay_syn", "decay_mem", "bias")
        if any(getattr(p, field) is not None for p in network.populations)
    ]
    numbers = ", ".join(["`weight/`", "`threshold/`", *kept])
    states = "`current/` and `membrane/`" if "`decay_syn/`" in kept else "`membrane/`"
    label = (
        f"; its label is {text(samples.classes[samples.labels[0]])}"
        if samples.labels is not None
        else ""
    )
    all_labels = f" (labels {samples.labels.tolist()})" if samples.labels is not None else ""
    steps, silence = len(run.spikes[output.name]), max(delays.values())
    return "\n".join(
        [
            f"# Bring-up on {text(chip.chip)}",
            "",
            "## Load",
            "",
            loading,
            "",
            "## Compare, in this order",
            "",
            f"1. What the toolchain reports, with {numbers} in "
            "`test_data_set_0/integer_vectors.npz`. If one differs, stop and reload them.",
            f"2. The first sample (`input[:, 0]`, {steps - silence} steps"
            + (f" and {silence} without input, in which delayed spikes arrive" if silence else "")
            + "), spikes of each population:",
            "",
            # Indented, the table belongs to its item, and the list goes on behind it.
            "   | neurons | spikes | first step with a spike | steps later than in NIR |",
            "   |---|---|---|---|",
            *(f"   {row}" for row in rows),
            "",
            f"   Where a count differs, compare {states} in the step before the first difference."
            + registry.family(chip).states_differ,
            "",
            f"3. {read} of the first sample: {counts[0].tolist()}, which is class "
            f"{text(samples.classes[counts[0].argmax()])}{label}.",
            f"4. Classes of all {len(counts)} samples: {counts.argmax(-1).tolist()}{all_labels}.",
            "",
            "## Your own recordings, and what you measure",
            "",
            "`python events/encode.py RECORDING OUT.npy` turns a recording into the chip's input; "
            "`events/address_map.json` has input channels, cores and classes, and "
            "`events/recordings.npz` the samples above as events.",
            "",
            "Work in a copy of this folder, and put what you record into its folder `measured/`: "
            "`verify.py` does not look at it, and refuses other files that it does not know. Power: "
            "measure the board with the network loaded and no input, then with input, three times each, "
            "and subtract; docs/power.md of the project has the protocol for this board and the form in "
            "which its report shows the figures.",
            "",
            "## Known differences",
            "",
            *(f"- {note}" for note in chip["graph.notes"]),
            "",
        ]
    )


def _first(spikes: np.ndarray) -> str:
    """The first step of (T, ...) with a spike."""
    steps = np.flatnonzero(spikes.reshape(len(spikes), -1).any(axis=1))
    return str(steps[0]) if steps.size else "none"
