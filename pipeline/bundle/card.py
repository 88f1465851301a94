"""MODEL_CARD.md: what a person wants to know, with the YAML head that model hubs read."""

from __future__ import annotations

import json
from typing import Any

from pipeline import tasks

SUBTRACT = """> **This model needs more than plain NIR.**
>
> Its neurons were trained with reset by subtraction, and their spikes leave {delay} after the
> membrane crosses the threshold. NIR has one reset (the membrane is set to `v_reset`) and no such
> delay, so **a reader that ignores the contract in the graph's metadata (`reset`, `spike_delay`)
> computes something else.** Use a reader that honours it, as `verify.py` does, or train with
> `reset: v_reset`.
"""


FOR_A_CHIP = """> **This graph is for {chip}.**
>
> Its weights, thresholds and decays are the chip's integers, written as the floats that they stand for
> (`grid` in the graph's metadata). {trained} A reader that follows NIR's equations runs the same numbers
> by another rule; `test_data_set_0/integer_vectors.npz` holds what the chip's rule gives. `BRINGUP.md`
> says how to load it, `fit.json` how full the chip is.
"""

# For recordings of one's own, by the rule that the bundle's numbers are for.
OWN_RECORDINGS = """    from pathlib import Path
    from verify import read_graph, run
    spikes = run(read_graph(Path('model.nir')), x, {dt!r}).output
    classes = spikes.sum(0).argmax(-1)"""
ON_THE_CHIP = """    from pathlib import Path
    from verify_integers import output
    spikes = output(Path('.'), x)
    classes = spikes.sum(0).argmax(-1)"""


def write(manifest: dict[str, Any]) -> str:
    """The card's text, from the manifest alone."""
    task = manifest["task"]
    data = tasks.find(task).ABOUT
    source = tasks.source(task, manifest["parameters"]["data"]["source"])
    simulated = source == "simulated"
    names = ", ".join(manifest["classes"])
    title = data.title
    on_chip = "target" in manifest
    lines = [
        _head(manifest, data, simulated, title),
        f"# {task}: {title}",
        "",
        f"A spiking neural network with {manifest['neurons']} neurons and {manifest['synapses']} "
        f"synapses that tells {len(manifest['classes'])} classes apart ({names}). "
        f"{_origin(manifest['weights'])}",
        "",
    ]
    if "target" in manifest:
        epoch = manifest["target"]["judged"]["epoch"]
        trained = (
            f"They are those of epoch {epoch} of quantisation-aware training."
            if epoch
            else "They are those of post-training quantisation: no epoch of quantisation-aware training "
            "was better."
        )
        lines += [FOR_A_CHIP.format(chip=manifest["target"]["chip"], trained=trained)]
    elif not manifest["plain_nir_is_enough"]:
        delay = "one step" if manifest["spike_delay"] == 1 else "with a delay"
        lines += [SUBTRACT.format(delay=delay)]
    lines += [
        "## How to run it",
        "",
        "    python verify.py                 # digests and golden vectors; needs numpy and h5py",
        *(
            ["    python verify_integers.py        # the chip's integers and states; needs numpy"]
            if on_chip
            else []
        ),
        "    sha256sum -c SHA256SUMS",
        "",
        "Recordings of your own, `x` (steps, recordings, ...) as said below, in Python in this folder"
        + (", by the chip's rule:" if on_chip else ":"),
        "",
        ON_THE_CHIP if on_chip else OWN_RECORDINGS.format(dt=manifest["dt"]),
        "",
        *_input(manifest),
        "",
        "`model.nir` is for nir 1.0.8, `model-nir-1.0.4.nir` for toolchains that pin nir 1.0.4 "
        "(all resets are to 0, which that version takes for granted).",
        "",
        "## How well it does",
        "",
        _measured_on(manifest, simulated),
        "",
        "| run by | accuracy | 95 % interval (Wilson) |",
        "|---|---|---|",
        *(_on_a_chip(manifest) if "target" in manifest else _trained(manifest)),
        "",
        "## What it costs",
        "",
        *_cost(manifest),
        "",
        "## Nodes",
        "",
        "| node | type | shape | neurons | synapses | time constants | threshold |",
        "|---|---|---|---|---|---|---|",
        *(_row(node) for node in manifest["nodes"]),
        "",
        "## What NIR cannot say",
        "",
        "It stands in the graph's metadata (the contract) and in `manifest.json`:",
        "",
        *(f"- {fact['what']}: {fact['here']}" for fact in manifest["not_in_nir"]),
        "",
        "## Data and licence",
        "",
        *_licence(data, source, manifest),
        "",
        "## Limits",
        "",
        *(
            [
                "- Measured on simulated recordings: expect less on real ones, and train on yours",
                "  before relying on it.",
            ]
            if simulated
            else []
        ),
        "- Weights, thresholds and decays lie on the chip's grid; no hardware was measured."
        if on_chip
        else "- Weights are float32. No chip's grid was applied and no hardware was measured.",
        "",
    ]
    return "\n".join(lines)


def _head(manifest: dict[str, Any], data: tasks.About, simulated: bool, title: str) -> str:
    # JSON strings are YAML strings, so names need no other quoting.
    shown = (
        manifest["target"]["accuracy"]["integer"]
        if "target" in manifest
        else manifest["metrics"]["test_accuracy"]["trained"]
    )
    licence = "apache-2.0" if simulated else data.id
    if not _known(manifest["weights"]):
        licence = "unknown"
    return "\n".join(
        [
            "---",
            f"license: {licence}",
            "library_name: nir",
            "pipeline_tag: other",
            "tags:",
            *(
                f"- {tag}"
                for tag in ("spiking-neural-network", "neuromorphic", "nir", "spyx", "jax")
            ),
            "metrics:",
            "- accuracy",
            "model-index:",
            f"- name: {json.dumps(manifest['task'])}",
            "  results:",
            "  - task:",
            "      type: event-classification",
            "    dataset:",
            f"      name: {json.dumps(title + (' (simulated)' if simulated else ''))}",
            f"      type: {json.dumps(manifest['task'])}",
            "      split: test",
            "    metrics:",
            "    - type: accuracy",
            f"      value: {shown['accuracy']!r}",
            "---",
            "",
        ]
    )


def _known(weights: dict[str, Any]) -> bool:
    """Whether all that the weights were trained on is recorded here."""
    return weights["trained_here"] and weights["started_from"] is None


def _origin(weights: dict[str, Any]) -> str:
    """Who trained the network, as far as that was recorded."""
    if not weights["trained_here"]:
        return (
            "Its weights were not trained by this pipeline, and how they were trained is not recorded. "
            "Built with Flax and Spyx, stored as a NIR graph."
        )
    if weights["started_from"] is not None:
        return (
            f"Its training started from given weights (SHA-256 {weights['started_from']}), of which "
            "no origin is recorded, and went on in JAX with Flax and Spyx. Stored as a NIR graph."
        )
    return "Trained in JAX with Flax and Spyx, stored as a NIR graph."


def _input(manifest: dict[str, Any]) -> list[str]:
    """Shape, channels and steps of the input; what `dt` and `input_bin_s` are."""
    steps, silent = manifest["n_steps"], manifest["silent_steps"]
    channels = manifest["input_channels"]
    named = ", ".join(f"{i}: {channel}" for i, channel in enumerate(channels))
    lines = [
        f"Input: {steps} steps of shape {_shape(manifest['input_shape'])}, channels first, one step for "
        f"each bin of {manifest['input_bin_s'] * 1000:g} ms; {manifest['input_values']}. "
        + (f"Channels: {named}. " if len(channels) > 1 else f"One channel: {channels[0]}. ")
        + f"Output: {manifest['output_shape'][0]} spike trains; the class is the one with most spikes.",
    ]
    if silent:
        lines += [
            "",
            f"The vectors have {steps + silent} steps: those of a recording and, behind them, "
            f"{silent} without input, for late spikes. `output` above adds such steps to `x`.",
        ]
    return [
        *lines,
        "",
        f"`dt` = {manifest['dt']:g} ({_unit(manifest)}) is the step by which time constants become "
        "decays, in the unit of the time constants, in the graph, `manifest.json` and `nir_data.h5`. "
        f"`input_bin_s` = {manifest['input_bin_s']:g} is how many seconds of a recording a step takes.",
    ]


def _measured_on(manifest: dict[str, Any], simulated: bool) -> str:
    """Which recordings the accuracies are of."""
    metrics = manifest["metrics"]
    kind = "simulated recordings" if simulated else "recordings"
    n, data, train = metrics["test_samples"], metrics["seeds"]["data"], metrics["seeds"]["train"]
    if _known(manifest["weights"]):
        return (
            f"On {n} {kind} that training never saw (seeds: {data} of the data, {train} of the "
            "training):"
        )
    return (
        f"On the {n} {kind} of the test set (seed {data} of the data). Whether the given weights were "
        "trained on some of them is not recorded:"
    )


def _accuracy(what: str, entry: dict[str, Any]) -> str:
    low, high = entry["wilson95"]
    return (
        f"| {what} | {_percent(entry['accuracy'])} ({entry['correct']} of {entry['n']}) "
        f"| {_percent(low)} to {_percent(high)} |"
    )


def _trained(manifest: dict[str, Any]) -> list[str]:
    accuracy = manifest["metrics"]["test_accuracy"]
    return [
        _accuracy("the trained model (float32)", accuracy["trained"]),
        _accuracy("the model built from this file (float32)", accuracy["reimported"]),
        _accuracy("the reference interpreter (float64)", accuracy["reference"]),
        "",
        "## How sure it is that the file is the model",
        "",
        *_parity(manifest["parity"]),
    ]


def _on_a_chip(manifest: dict[str, Any]) -> list[str]:
    target = manifest["target"]
    accuracy = target["accuracy"]
    return [
        _accuracy("the chip's rule, in integers, on this file's numbers", accuracy["integer"]),
        _accuracy("NIR's rule on the same numbers (float64)", accuracy["grid_as_floats"]),
        _accuracy("the trained model before (float32)", accuracy["float"]),
        _accuracy("post-training quantisation of that model", accuracy["ptq"]),
        "",
        "## Chip's rule and NIR's rule on the same numbers",
        "",
        "| node | steps of neurons with as many spikes | spikes a neuron and step, chip | the same, NIR "
        "| several in a step | at a bound |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{layer['node']}` | {_percent(layer['agreement'])} | {layer['spike_rate']:.4f} "
            f"| {layer['float_spike_rate']:.4f} | {layer['multiple']} | {layer['saturated']} |"
            for layer in target["layers"]
        ),
        "",
        f"The first three columns are over as many steps as a recording has ({manifest['n_steps']}), "
        "each layer's from its own delay on; the last two count all steps of the test set.",
        "",
        "The golden vectors in `vectors.npz` follow NIR's rule, those in `integer_vectors.npz` the "
        "chip's.",
    ]


def _cost(manifest: dict[str, Any]) -> list[str]:
    """NeuroBench's keys, and energy where there is any; see `spyx_nir.neurobench`."""
    target = manifest.get("target")
    found = target or manifest["metrics"]["neurobench"]
    done = found["SynapticOperations"]
    lines = [
        "By the definitions of NeuroBench (harness 2.3.0), on the same recordings, "
        f"{manifest['n_steps']} steps each, "
        + ("in the chip's integers:" if target else "of the float graph:"),
        "",
        "| key | value |",
        "|---|---|",
        f"| Footprint | {found['Footprint']} bytes |",
        f"| ParameterCount | {found['ParameterCount']} |",
        f"| ConnectionSparsity | {found['ConnectionSparsity']:.4f} |",
        f"| ActivationSparsity | {found['ActivationSparsity']:.4f} |",
        f"| ClassificationAccuracy | {found['ClassificationAccuracy']:.4f} |",
        *(f"| SynapticOperations, {key} | {done[key]:.1f} a recording |" for key in done),
        f"| MembraneUpdates | {found['MembraneUpdates']:.1f} a recording |",
    ]
    if energy := found.get("energy"):
        lines += [
            "",
            f"Energy, {energy['mark']}: {energy['pj_per_sample'] / 1e6:.3g} uJ of synaptic operations a "
            f"recording, at {energy['pj_per_synop']:g} pJ each ({energy['source']}).",
        ]
    return lines


def _parity(parity: dict[str, Any]) -> list[str]:
    differing, ties = parity["differing_spikes"], parity["ties"]
    lines = [
        f"Parity: **{parity['verdict']}**. Of {differing['entries']} spike entries of the test set "
        f"{differing['reimported']} differ between the trained and the re-imported model, and "
        f"{differing['reference']} between the trained model (float32) and the reference "
        "(float64).",
    ]
    if ties["starts"]:
        lines += [
            f"The latter start at {ties['starts']} ties: there the membrane is within "
            f"{ties['largest_distance']:.2g} thresholds of the threshold, and rounding decides.",
        ]
    return [*lines, "The golden vectors in `test_data_set_0/` are the trained model's spikes."]


def _row(node: dict[str, Any]) -> str:
    ranges = node.get("ranges", {})
    taus = [f"{k} {_range(v)}" for k, v in ranges.items() if k.startswith("tau")]
    return (
        f"| `{node['node']}` | {node['type']} | {_shape(node['output_shape'])} "
        f"| {node.get('neurons', '')} | {node.get('synapses', '')} | {', '.join(taus)} "
        f"| {_range(ranges['v_threshold']) if 'v_threshold' in ranges else ''} |"
    )


def _range(pair: list[float]) -> str:
    low, high = pair
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _shape(shape: list[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def _unit(manifest: dict[str, Any]) -> str:
    return {"s": "seconds", "step": "time steps"}[manifest["time_unit"]]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _licence(data: tasks.About, source: str, manifest: dict[str, Any]) -> list[str]:
    """What the weights and the vectors are made from, and what follows for their licence."""
    about = f"{data.title}: {data.cite}; {data.licence}."
    known = _known(manifest["weights"])
    unknown = [
        "",
        "What the given weights were trained on is not recorded, nor their licence, which holds here "
        "too.",
    ]
    if source == "simulated":
        return [
            ("Trained on recordings" if known else "The recordings used here are those")
            + " that the project simulates; no recording of the original data set is "
            f"{'in it' if known else 'among them'}. Modelled after {about}",
            *([data.simulated] if data.simulated else []),
            *([] if known else unknown),
            "",
            "Code and weights: Apache-2.0." if known else "Code and golden vectors: Apache-2.0.",
        ]
    read, others = {
        "task": (f"the recordings that {manifest['task']}.py of the tasks reads or makes, ", ""),
        "folder": (
            "recordings given in a folder (SHA-256 in `manifest.json`) and taken for those of ",
            ", or that of the recordings if they are others",
        ),
    }.get(source, ("", ""))
    return [
        f"{'Trained on' if known else 'The recordings used here are'} {read}{about} Weights and golden "
        f"vectors are derived from it and carry its licence{others}; the code is under Apache-2.0.",
        *([] if known else unknown),
    ]
