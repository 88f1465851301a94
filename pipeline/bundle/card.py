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
> (`grid` in the graph's metadata), and it was trained with the chip's own rule of spiking. A reader that
> follows NIR's equations runs the same numbers by another rule; `test_data_set_0/integer_vectors.npz`
> holds what the chip's rule gives. `BRINGUP.md` says how to load it, `fit.json` how full the chip is.
"""

_SIMULATED = [
    "- Trained and measured on simulated recordings: expect less on real ones, and train on yours",
    "  before relying on it.",
]


def write(manifest: dict[str, Any]) -> str:
    """The card's text, from the manifest alone."""
    task = manifest["task"]
    data = tasks.find(task).ABOUT
    simulated = manifest["parameters"]["data"]["source"] == "simulated"
    names = ", ".join(manifest["classes"])
    title = data.title
    kind = "simulated recordings" if simulated else "recordings"
    lines = [
        _head(manifest, data, simulated, title),
        f"# {task}: {title}",
        "",
        f"A spiking neural network with {manifest['neurons']} neurons and {manifest['synapses']} "
        f"synapses that tells {len(manifest['classes'])} classes apart ({names}). Trained in JAX "
        "with Flax and Spyx, stored as a NIR graph.",
        "",
    ]
    if "target" in manifest:
        lines += [FOR_A_CHIP.format(**manifest["target"])]
    elif not manifest["plain_nir_is_enough"]:
        delay = "one step" if manifest["spike_delay"] == 1 else "with a delay"
        lines += [SUBTRACT.format(delay=delay)]
    lines += [
        "## How to run it",
        "",
        "    python verify.py                 # digests and golden vectors; needs numpy and h5py",
        *(
            ["    python verify_integers.py        # the chip's integers and states; needs numpy"]
            if "target" in manifest
            else []
        ),
        "    sha256sum -c SHA256SUMS",
        "",
        "Recordings of your own, `x` (steps, recordings, ...) as said below, in Python in this folder:",
        "",
        "    from pathlib import Path",
        "    from verify import read_graph, run",
        f"    spikes = run(read_graph(Path('model.nir')), x, {manifest['dt']!r}).output",
        "    classes = spikes.sum(0).argmax(-1)",
        "",
        f"Input: {manifest['n_steps']} steps of shape {_shape(manifest['input_shape'])}, event "
        f"counts in bins of {manifest['input_bin_s'] * 1000:g} ms, channels first. Output: "
        f"{manifest['output_shape'][0]} spike trains; the class is the one with most spikes.",
        f"Step: dt = {manifest['dt']:g} ({_unit(manifest)}); it is the unit of the time constants, "
        "one step per bin.",
        "",
        "`model.nir` is for nir 1.0.8, `model-nir-1.0.4.nir` for toolchains that pin nir 1.0.4 "
        "(all resets are to 0, which that version takes for granted).",
        "",
        "## How well it does",
        "",
        f"On {manifest['metrics']['test_samples']} {kind} that training never saw (seeds: "
        f"{manifest['metrics']['seeds']['data']} of the data, "
        f"{manifest['metrics']['seeds']['train']} of the training):",
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
        *_licence(data, simulated),
        "",
        "## Limits",
        "",
        *(_SIMULATED if simulated else []),
        "- Weights, thresholds and decays lie on the chip's grid; no hardware was measured."
        if "target" in manifest
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
        _accuracy(
            "that model's numbers rounded, not trained on the grid", accuracy["rounded_only"]
        ),
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
    """NeuroBench's keys, and energy where there is any; see `pipeline.cost`."""
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


def _licence(data: tasks.About, simulated: bool) -> list[str]:
    about = f"{data.title}: {data.cite}; {data.licence}."
    if simulated:
        return [
            "Trained on recordings that the project simulates; no recording of the original data "
            f"set is in it. Modelled after {about}",
            *([data.simulated] if data.simulated else []),
            "",
            "Code and weights: Apache-2.0.",
        ]
    return [
        f"Trained on {about} Weights and golden vectors are derived from it and carry its licence; "
        "the code is under Apache-2.0.",
    ]
