"""BRINGUP.md: how a bundle is loaded on its chip, and what to compare first."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spyx_nir.hardware import simulate
from spyx_nir.hardware.network import Network, Run

LAVA = Path(__file__).parent / "templates" / "on_lava.py"
# How each rule's toolchain takes the network. What could be tried here is said to be tried.
LOADING = {
    "xylo": """The integers go in as they are; rockpool {version}'s own quantiser would scale them
anew. Matrices are (sources, targets) there. XyloSim takes the same specification and needs no board.

    import sys
    import types

    import numpy

    # Without samna: rockpool's modules that drive boards import it, and XyloSim needs none of them.
    for name in (
        "syns65302.afe_samna_pdm", "syns65302.xylo_samna_pdm", "syns63300.power_cycles_model",
    ):
        full = f"rockpool.devices.xylo.{{name}}"
        sys.modules[full] = types.ModuleType(full)
    from rockpool.devices.xylo.{device} import XyloSim

    v = numpy.load("test_data_set_0/integer_vectors.npz")
    spec = dict(
{specification}
    )
    # rockpool's dt is how many seconds a step takes, which no spike depends on: an input bin.
    simulator = XyloSim.from_specification(**spec, dt={bin_s!r})
    for sample in range(v["input"].shape[1]):
        simulator.reset_state()
        spikes, _, record = simulator(v["input"][:, sample].astype(int), record=True)
        print(f"output spikes: {{(spikes != v['spikes/{output}'][:, sample]).sum()}} differ")

Every line printed should say 0. With samna and a board, leave the loop over modules out;
`config_from_specification(**spec)` of `rockpool.devices.xylo.{device}` gives the chip's configuration.
`{file}` holds the same numbers for `rockpool.nn.modules.torch.nir.from_nir`. Inputs are counts of spikes
a step, at most 15.""",
    "dynapcnn": """Layer by layer, sinabs {version} discretises the graph's floats to the integers of
`integer_vectors.npz` and its layers give these spikes; the whole path below needs samna and the board.

    import sinabs.from_nir
    from sinabs.backend.dynapcnn import DynapcnnNetwork

    model = sinabs.from_nir.from_nir("{file}", batch_size=1)
    network = DynapcnnNetwork(model, input_shape={shape}, discretize=True)
    network.to(device="{device}")

The vectors count events a step of {bin_ms:g} ms; the chip takes the events themselves, one by one, and
its spikes come event by event: compare counts over steps, and expect differences where the order of
events within a step matters. `test_data_set_0/events.npz` holds the vectors' recordings as events:

    import numpy
    from sinabs.backend.dynapcnn.chip_factory import ChipFactory

    with numpy.load("test_data_set_0/events.npz") as stored:
        start = stored["start"]
        events = stored["events"][start[0] : start[1]]  # the first recording: t, x, y, p
    first = network.chip_layers_ordering[0]
    for_chip = ChipFactory("{device}").xytp_to_events(events, first, reset_timestamps=False)

`t` is in microseconds from the recording's start, p is the channel:
{channels}.
Recording n is `events[start[n]:start[n + 1]]`. The project keeps counts, not events, so the times
within a bin are made up: of n events of one pixel and channel in a bin the i-th (from 0) comes at the
bin's start plus (2 i + 1) / (2 n) of its length, rounded down to microseconds. Counted by bins of
{bin_ms:g} ms they are `input` of `vectors.npz` again, which `verify_integers.py` checks.""",
    "lava": """lava-nc {version} reads no NIR: its processes are built from `integer_vectors.npz`. It is
made for Python 3.10 and older; 3.11 refuses its dataclasses' mutable defaults. Every line printed should
say 0.

{lava}

`num_message_bits=8` is for the input, whose counts may be above 1; other weights take plain spikes.""",
}
VERSIONS = {"xylo": "3.1.0", "dynapcnn": "3.1.3", "lava": "0.10.0"}


@dataclass(frozen=True)
class Samples:
    """The recordings of `integer_vectors.npz`."""

    labels: np.ndarray  # (N,) indices into `classes`
    classes: Sequence[str]
    channels: Sequence[str]  # what the channels of a step's input are
    bin_us: int  # a step's length, in microseconds


def write(network: Network, run: Run, samples: Samples) -> str:
    """The text.

    Args:
        run: the simulation in `integer_vectors.npz`. samples: what was run.
    """
    chip = network.profile
    (shape,) = network.inputs.values()
    (output,) = (p.name for p in network.populations if p.output)
    old = chip["graph.nir"] not in (None, "1.0.8")
    loading = LOADING[chip.rule].format(
        version=VERSIONS[chip.rule],
        file="model-nir-1.0.4.nir" if old else "model.nir",
        shape=shape,
        device=chip["graph.device"],
        bin_s=samples.bin_us / 1e6,
        bin_ms=samples.bin_us / 1e3,
        channels="; ".join(f"channel {i} is {name}" for i, name in enumerate(samples.channels)),
        specification=_specification(network) if chip.rule == "xylo" else "",
        lava=textwrap.indent(LAVA.read_text(encoding="utf-8").strip(), "    "),
        output=output,
    )
    late = simulate.delays(network)
    rows = [
        f"| `{p.name}` | {run.spikes[p.name][:, 0].sum()} | {_first(run.spikes[p.name][:, 0])} "
        f"| {late[p.name]} |"
        for p in network.populations
    ]
    counts = run.spikes[output].sum(axis=0, dtype=np.int64)
    kept = [
        f"`{field}/`"
        for field in ("decay_syn", "decay_mem")
        if any(getattr(p, field) is not None for p in network.populations)
    ]
    numbers = ", ".join(["`weight/`", "`threshold/`", *kept])
    states = "`current/` and `membrane/`" if "`decay_syn/`" in kept else "`membrane/`"
    steps, silence = len(run.spikes[output]), max(late.values())
    return "\n".join(
        [
            f"# Bring-up on {chip.chip}",
            "",
            "## Load",
            "",
            loading,
            "",
            "## Compare, in this order",
            "",
            f"1. What the toolchain reports, with {numbers} in "
            "`test_data_set_0/integer_vectors.npz`. One that differs makes all further comparison idle.",
            f"2. The first sample (`input[:, 0]`, {steps - silence} steps"
            + (f" and {silence} without input, in which late spikes arrive" if silence else "")
            + "), spikes of each population:",
            "",
            # Indented, the table belongs to its item, and the list goes on behind it.
            "   | neurons | spikes | first step with a spike | steps later than in NIR |",
            "   |---|---|---|---|",
            *(f"   {row}" for row in rows),
            "",
            f"   Where a count differs, compare {states} in the step before the first difference.",
            "",
            f"3. Output spikes of the first sample: {counts[0].tolist()}, which says class "
            f"{samples.classes[counts[0].argmax()]}; its label is {samples.classes[samples.labels[0]]}.",
            f"4. Classes of all {len(samples.labels)} samples: {counts.argmax(-1).tolist()} (labels "
            f"{samples.labels.tolist()}).",
            "",
            "## Known differences",
            "",
            *(f"- {note}" for note in chip["graph.notes"]),
            "",
        ]
    )


def _specification(network: Network) -> str:
    """Xylo's specification, as lines of Python; hidden populations lie one behind the other there."""
    sizes = {name: shape[0] for name, shape in network.inputs.items()}
    sizes |= {p.name: p.shape[0] for p in network.populations}
    hidden, shown = (
        [p.name for p in network.populations if p.output is output] for output in (False, True)
    )

    def block(source: str, target: str) -> str:
        found = [w.node for w in network.weights if (w.source, w.target) == (source, target)]
        sum_of = " + ".join(f'v["weight/{node}"].T' for node in found)
        return sum_of or f"numpy.zeros(({sizes[source]}, {sizes[target]}), int)"

    def matrix(sources: list[str], targets: list[str]) -> str:
        if len(sources) == len(targets) == 1:
            return block(sources[0], targets[0])
        rows = [f"[{', '.join(block(s, t) for t in targets)}]" for s in sources]
        return f"numpy.block([{', '.join(rows)}])"

    def vector(kind: str, names: list[str]) -> str:
        parts = [f'numpy.broadcast_to(v["{kind}/{n}"], ({sizes[n]},))' for n in names]
        return parts[0] if len(parts) == 1 else f"numpy.concatenate([{', '.join(parts)}])"

    lines = [
        f"weights_in={matrix([*network.inputs], hidden)}",
        f"weights_rec={matrix(hidden, hidden)}",
        f"weights_out={matrix(hidden, shown)}",
    ]
    for names, suffix in ((hidden, ""), (shown, "_out")):
        for field, kind in (
            ("dash_syn", "decay_syn"), ("dash_mem", "decay_mem"), ("threshold", "threshold"),
        ):  # fmt: skip
            lines.append(f"{field}{suffix}={vector(kind, names)}")
    return ",\n".join(f"        {line}" for line in lines) + ","


def _first(spikes: np.ndarray) -> str:
    """The first step of (T, ...) with a spike."""
    steps = np.flatnonzero(spikes.reshape(len(spikes), -1).any(axis=1))
    return str(steps[0]) if steps.size else "none"
