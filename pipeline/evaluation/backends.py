"""The backends that parity compares: a Spyx model, and NIR's equations in float64 NumPy.

Both give a `Recording`: time-major and channels first, (T, B, ...) or (T, B, C, H, W), whatever the
backend works with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import schema
from spyx_nir.errors import UserError


@dataclass(frozen=True)
class Recording:
    """What one backend did with one chunk.

    outputs: (T, B, classes). spikes: per neuron node (T, B, ...) uint8, as they leave the layer.
    membranes: per neuron node (T, B, ...) before the reset; NaN where the backend has lost it.
    counts: what it cost, (B,) per key of `neurobench.PER_SAMPLE`; empty where it is not counted.
    """

    outputs: np.ndarray
    spikes: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]
    counts: dict[str, np.ndarray] = field(default_factory=dict)

    def predictions(self) -> np.ndarray:
        """The class with most spikes, (B,); the first of equals."""
        return self.outputs.sum(axis=0).argmax(axis=-1)

    def samples(self, n: int) -> Recording:
        """The first `n` samples."""
        return Recording(
            self.outputs[:, :n],
            {name: a[:, :n] for name, a in self.spikes.items()},
            {name: a[:, :n] for name, a in self.membranes.items()},
            {key: a[:n] for key, a in self.counts.items()},
        )

    def one(self, sample: int) -> Recording:
        """Outputs and spikes of one sample, copied."""
        at = slice(sample, sample + 1)
        spikes = {name: a[:, at].copy() for name, a in self.spikes.items()}
        return Recording(self.outputs[:, at], spikes, {})


Backend = Callable[[np.ndarray], Recording]  # events (B, T, ...) uint8 -> Recording


def channels_first(a: np.ndarray) -> np.ndarray:
    """(T, B, H, W, C) to (T, B, C, H, W); (T, B, N) as it is."""
    return np.moveaxis(a, -1, 2) if a.ndim > 3 else a


def membrane(layer: Any, state: Any, out: np.ndarray) -> np.ndarray | None:
    """A layer's membrane before its reset, from what the engine traced.

    The layers of `spyx_nir.neurons` keep the membrane after the reset, which is also the one before
    it where there was no spike; elsewhere the result is NaN. Stock Spyx layers keep the one before
    it (they reset in the next step), in one array with the current where there is one.

    Args:
        layer: the layer. state: its state after each step, leading axis T. out: its output
            (T, B, ...). All channels last.

    Returns:
        (T, B, ...), or None for a layer whose state is not known here.
    """
    from spyx_nir import neurons

    if isinstance(layer, neurons.Recurrent):
        layer, state = layer.cell, state[0]
    if isinstance(layer, neurons.Integrator):
        v = np.asarray(state if layer.alpha is None else state[0])
        return np.where(out != 0, np.nan, v) if layer.spikes else v
    if not isinstance(state, tuple | list | dict):
        v = np.asarray(state)
        if v.shape == out.shape:
            return v
        if v.shape[:-1] == out.shape[:-1] and v.shape[-1] == 2 * out.shape[-1]:
            return v[..., : out.shape[-1]]
    return None


def model_backend(model: Any, names: Sequence[str | None], spiking: set[str]) -> Backend:
    """Runs a Spyx model; `names[i]` is the node that puts out what layer i of `engine.layers` does,
    if there is one.
    """
    from pipeline.training import engine, networks

    def execute(events: np.ndarray) -> Recording:
        x = networks.to_model_layout(events)
        outputs, layers = engine.trace(model, x)
        parts = engine.layers(model, x[0])
        spikes, membranes = {}, {}
        for name, (_, layer), (traced, state) in zip(names, parts, layers, strict=True):
            if name is None or name not in spiking:
                continue
            out = np.asarray(traced)
            spikes[name] = channels_first(out).astype(np.uint8)
            u = membrane(layer, state, out)
            if u is not None:
                membranes[name] = channels_first(u)
        return Recording(np.asarray(outputs), spikes, membranes)

    return execute


def imported_names(loaded: Any) -> Sequence[str]:
    """The nodes of the layers of an imported graph, as `engine.layers` lists them."""
    if loaded.chain:
        names: Sequence[str] = loaded.names
        return names
    pairs = zip(loaded.model.paths, loaded.model.layers, strict=True)
    return [path for path, layer in pairs if hasattr(layer, "initial_state")]


def reference_backend(plan: Any, dt: float) -> Backend:
    """Runs the float64 interpreter on a plan that `reference.make_plan` made, and counts its cost."""
    from spyx_nir import neurobench
    from spyx_nir.meaning import reference

    def execute(events: np.ndarray) -> Recording:
        meter = neurobench.Meter(len(events))
        watch = neurobench.watch(plan, meter)
        result = reference.run(plan, np.swapaxes(events, 0, 1), dt, watch=watch)
        return Recording(result.output, result.spikes, result.membranes, meter.counts)

    return execute


def trained_model(task: schema.Task, folder: Path) -> tuple[Any, list[str | None]]:
    """The trained network, and for each of its layers the node that its output belongs to.

    Raises:
        UserError: a file of the stages train and export is missing, broken, or of another network.
    """
    from pipeline.training import engine, networks

    model = networks.from_weights(task, folder / "weights.safetensors")
    path = folder / "nodes.json"
    again = f"run python -m pipeline.export {task.name}"
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {again}") from None
    except ValueError:
        names = None
    count = len(engine.layers(model, networks.one_step(task)))
    if not isinstance(names, list) or len(names) != count:
        raise UserError(f"{path}: no list of {count} nodes; {again}")
    return model, names
