"""Who spiked when: the golden vectors, run again by everything that the bundles hold."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.report.sources import Bundle, Source, Target


@dataclass(frozen=True)
class Run:
    """One backend on the samples of the golden vectors.

    spikes, membranes: by layer (T, N, ...); a chip's spikes are counts, for it may spike several times
    in a step. Membranes are those after the reset, in units of the threshold, where known.
    expected: the spikes (T, N, ...) that its own are compared with: those of the trained network, for a
    chip those of its own graph, which has the chip's numbers, by NIR's rule in floats.
    samples: those of the N that it ran. target: the chip, "" for floats.
    """

    name: str
    spikes: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    samples: frozenset[int]
    target: str = ""


@functools.lru_cache(maxsize=1)  # several parts of the page show them, one task after the other
def runs(source: Source, bundle: Bundle) -> tuple[Run, ...]:
    """The trained network's golden spikes, what the file answers to the golden input, the chips'."""
    from pipeline.evaluation.backends import imported_names, model_backend, reference_backend
    from spyx_nir import converter

    dt, layers = bundle.manifest["dt"], bundle.layers
    events = np.swapaxes(bundle.vectors["input"], 0, 1)
    loaded = converter.load(converter.file.read(bundle.folder / "model.nir"), dt)
    again = model_backend(loaded.model, imported_names(loaded), set(layers))(events)
    reference = reference_backend(bundle.plan, dt)(events)
    thresholds = {layer: bundle.plan.nodes[layer]["v_threshold"] for layer in layers}
    membranes = {
        layer: after_reset(bundle.plan.nodes[layer], reference.membranes[layer]) / thresholds[layer]
        for layer in layers
    }
    everything = frozenset(range(len(events)))
    trained = {layer: bundle.vectors[layer] for layer in layers}
    return (
        Run("trained", trained, {}, trained, everything),
        Run("re-imported", again.spikes, {}, trained, everything),
        Run("reference", reference.spikes, membranes, trained, everything),
        *(on_chip(bundle, t) for t in source.targets if t.bundle and t.integers),
    )


def after_reset(node: dict[str, Any], u: np.ndarray) -> np.ndarray:
    """The membranes (T, N, ...) that the next step starts from, of `u` before the reset.

    See docs/contract.md: by `subtract_after_decay` they are `u`.
    """
    from spyx_nir.meaning.equations import fire

    return np.asarray(fire(node, u, {})[1]["v"])


def on_chip(bundle: Bundle, target: Target) -> Run:
    """A chip's integers on the samples that its vectors share with `bundle`'s, without its delays.

    They are compared with the golden spikes of the chip's bundle, without the delays of its graph.
    """
    from spyx_nir.bundle.templates.verify_integers import network_of
    from spyx_nir.hardware import simulate

    assert target.bundle and target.integers
    network = network_of(target.integers)
    delays = simulate.delays(network)
    nodes = target.bundle.plan.nodes
    float_delays = simulate.accumulated(network, lambda _, to: nodes[to].get("spike_delay", 0))
    theirs = target.bundle.manifest["vectors"]["test_samples"]
    pairs = [
        (here, theirs.index(sample))
        for here, sample in enumerate(bundle.manifest["vectors"]["test_samples"])
        if sample in theirs
    ]
    spikes, membranes, expected = {}, {}, {}
    for layer in bundle.layers:
        if f"spikes/{layer}" not in target.integers or layer not in target.bundle.vectors:
            continue
        golden = bundle.vectors[layer]
        counts = target.integers[f"spikes/{layer}"]
        spikes[layer] = np.zeros(golden.shape, counts.dtype)
        expected[layer] = np.zeros(golden.shape, np.uint8)
        membranes[layer] = np.full(golden.shape, np.nan)
        shift = network.profile["state.threshold_shift"]
        threshold = target.integers[f"threshold/{layer}"] << shift
        steps = slice(delays[layer], delays[layer] + len(golden))
        float_steps = slice(float_delays[layer], float_delays[layer] + len(golden))
        for here, there in pairs:
            spikes[layer][:, here] = counts[steps, there]
            expected[layer][:, here] = target.bundle.vectors[layer][float_steps, there] != 0
            states = target.integers[f"membrane/{layer}"][steps, there]
            membranes[layer][:, here] = states / threshold
    ran = frozenset(here for here, _ in pairs)
    return Run(f"integers: {target.name}", spikes, membranes, expected, ran, target.name)
