"""Stage: does the file mean what was trained? The whole test set through three executors.

    trained     the network from its weights, run by the engine that trained it (float32)
    reimported  the network that the converter builds from `model.nir`, read back from disk (float32)
    reference   the NumPy interpreter of NIR's equations on the same file (float64)

Spikes of every neuron layer, membranes and predicted classes are compared. Trained and re-imported
must agree in every spike. Against the reference a spike may differ only because float32 put a membrane
on the other side of the threshold than float64 did (a tie), or as a consequence of such a tie.

Arrays are time-major and channels first, (T, B, ...) or (T, B, C, H, W), whatever the executor uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import files, params, stage
from pipeline.errors import UserError

# Neurons times steps that are in memory at once; at some 100 bytes each, all executors together.
CHUNK_ENTRIES = 5_000_000
LARGEST_CHUNK = 64
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Recording:
    """What one executor did with one chunk.

    outputs: (T, B, classes). spikes: per neuron node (T, B, ...) uint8, as they leave the layer.
    membranes: per neuron node (T, B, ...) before the reset; NaN where the executor does not keep it.
    """

    outputs: np.ndarray
    spikes: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]

    def predictions(self) -> np.ndarray:
        """The class with most spikes, (B,); the first of equals."""
        return self.outputs.sum(axis=0).argmax(axis=-1)

    def samples(self, n: int) -> Recording:
        """The first `n` samples."""
        return Recording(
            self.outputs[:, :n],
            {name: a[:, :n] for name, a in self.spikes.items()},
            {name: a[:, :n] for name, a in self.membranes.items()},
        )


Executor = Callable[[np.ndarray], Recording]  # events (B, T, ...) uint8 -> Recording


@dataclass
class Ties:
    """Where spikes and the reference part. Distances are in units of the neuron's threshold."""

    starts: int = 0  # differences with no earlier cause in the same sample
    following: int = 0  # differences downstream of one
    unexplained: int = 0  # starts that are farther from threshold than float32 can explain
    largest_distance: float = 0.0

    def add(self, other: Ties) -> None:
        """Count another chunk's in."""
        self.starts += other.starts
        self.following += other.following
        self.unexplained += other.unexplained
        self.largest_distance = max(self.largest_distance, other.largest_distance)


@dataclass
class Tally:
    """Counts of one neuron layer over the test set."""

    entries: int = 0
    spikes: int = 0
    differing: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OTHERS, 0))
    membrane: dict[str, float] = field(default_factory=lambda: dict.fromkeys(OTHERS, 0.0))


OTHERS = ("reimported", "reference")
EXECUTORS = ("trained", *OTHERS)


def channels_first(a: np.ndarray) -> np.ndarray:
    """(T, B, H, W, C) to (T, B, C, H, W); (T, B, N) as it is."""
    return np.moveaxis(a, -1, 2) if a.ndim > 3 else a


def membrane(layer: Any, state: Any, out: np.ndarray) -> np.ndarray | None:
    """A layer's membrane before its reset, from what the engine traced.

    The layers of `pipeline.neurons` keep the membrane after the reset, which equals the one before it
    where there was no spike; elsewhere the result is NaN. Stock Spyx layers keep the one before it
    (they reset in the next step), beside the current in one array where there is one.

    Args:
        layer: the layer. state: its state after each step, leading axis T. out: its output
            (T, B, ...). All channels last.

    Returns:
        (T, B, ...), or None for a layer whose state is not known here.
    """
    from pipeline import neurons

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


def model_executor(model: Any, names: list[str], spiking: set[str]) -> Executor:
    """Runs a Spyx model; `names[i]` is the node that the output of layer i belongs to."""
    from pipeline import engine, networks

    def execute(events: np.ndarray) -> Recording:
        outputs, layers = engine.trace(model, networks.to_model_layout(events))
        spikes, membranes = {}, {}
        for name, layer, (out, state) in zip(names, model.layers, layers, strict=True):
            if name not in spiking:
                continue
            out = np.asarray(out)
            spikes[name] = channels_first(out).astype(np.uint8)
            u = membrane(layer, state, out)
            if u is not None:
                membranes[name] = channels_first(u)
        return Recording(np.asarray(outputs), spikes, membranes)

    return execute


def reference_executor(plan: Any, dt: float) -> Executor:
    """Runs the float64 interpreter on a plan that `reference.make_plan` made."""
    from pipeline.converter import reference

    def execute(events: np.ndarray) -> Recording:
        result = reference.run(plan, np.swapaxes(events, 0, 1), dt)
        return Recording(result.output, result.spikes, result.membranes)

    return execute


@dataclass(frozen=True)
class Layer:
    """A spiking node of the file. threshold: scalar or the node's shape, channels first."""

    name: str
    threshold: np.ndarray
    spike_delay: int
    recurrent: bool


def spiking_layers(plan: Any, names: list[str]) -> list[Layer]:
    """The spiking nodes of a `reference.Plan` in the order of the model's layers, `names`."""
    return [
        Layer(
            name=name,
            threshold=np.asarray(plan.nodes[name]["v_threshold"], np.float64),
            spike_delay=plan.nodes[name]["spike_delay"],
            recurrent=_comes_back(plan.edges, name),
        )
        for name in names
        if "v_threshold" in plan.nodes[name]
    ]


def _comes_back(edges: list[tuple[str, str]], name: str) -> bool:
    """Whether a way along the edges leads from a node to itself."""
    reached: set[str] = set()
    border = {name}
    while border:
        border = {target for source, target in edges if source in border} - reached
        reached |= border
    return name in reached


def explain(
    layers: list[Layer],
    trained: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    membranes: Mapping[str, np.ndarray],
    limit: float,
) -> Ties:
    """Which differences from the reference start by themselves, and how near to threshold they are.

    A neuron's first difference follows from another one if, in the same sample, a spike of an earlier
    layer already differs when the membrane crosses, or, in a recurrent layer, a spike of its own layer
    in an earlier step. All later differences of a neuron follow from its first.

    Args:
        layers: in the order of data flow.
        trained, reference: spikes (T, B, ...) per layer.
        membranes: the reference's, before the reset, (T, B, ...).
        limit: the largest distance, in thresholds, that counts as a tie.
    """
    ties = Ties()
    upstream: np.ndarray | None = None  # per sample, the first step with a difference so far
    for layer in layers:
        differs = trained[layer.name] != reference[layer.name]
        steps, batch = differs.shape[:2]
        if upstream is None:
            upstream = np.full(batch, NEVER)
        if not differs.any():
            continue
        flat = differs.reshape(steps, batch, -1)
        first = np.where(flat.any(axis=0), flat.argmax(axis=0), NEVER)  # (B, N)
        own = first.min(axis=1)
        crossing = np.where(first == NEVER, NEVER, first - layer.spike_delay)
        follows = upstream[:, None] <= crossing
        if layer.recurrent:
            follows |= own[:, None] < first
        sample, neuron = np.nonzero((first != NEVER) & ~follows)
        step = crossing[sample, neuron]
        u = membranes[layer.name].reshape(steps, batch, -1)[np.maximum(step, 0), sample, neuron]
        threshold = np.broadcast_to(layer.threshold, differs.shape[2:]).reshape(-1)[neuron]
        distance = np.where(step < 0, np.inf, np.abs(u - threshold) / np.abs(threshold))
        ties.starts += len(sample)
        ties.following += int(flat.sum()) - len(sample)
        ties.unexplained += int((distance > limit).sum())
        ties.largest_distance = max(ties.largest_distance, float(distance.max(initial=0.0)))
        upstream = np.minimum(upstream, own)
    return ties


def chunks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n)."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def compare(
    executors: Mapping[str, Executor],
    layers: list[Layer],
    events: np.ndarray,
    labels: np.ndarray,
    limits: params.Parity,
    chunk: int,
) -> tuple[dict[str, Any], dict[str, Recording]]:
    """Run all samples through the three executors and count.

    Args:
        executors: `trained`, `reimported` and `reference`.
        events: (N, T, ...) uint8, channels first. labels: (N,).
        chunk: samples at a time; the last chunk is filled up with zeros, so that there is one shape
            to compile and float32 rounds the same way everywhere.

    Returns:
        The report (without names and digests of files), and each executor's recording of one sample
        for the picture: the first with a difference, else the first.
    """
    tallies = {layer.name: Tally() for layer in layers}
    ties = Ties()
    predictions: dict[str, list[np.ndarray]] = {name: [] for name in EXECUTORS}
    differing_samples: list[int] = []
    shown: tuple[int, dict[str, Recording]] | None = None

    for part in chunks(len(events), chunk):
        size = part.stop - part.start
        x = np.zeros((chunk, *events.shape[1:]), events.dtype)
        x[:size] = events[part]
        done = {name: execute(x).samples(size) for name, execute in executors.items()}
        for name, recording in done.items():
            predictions[name].append(recording.predictions())
        differs = {
            other: {
                layer.name: done["trained"].spikes[layer.name] != done[other].spikes[layer.name]
                for layer in layers
            }
            for other in OTHERS
        }
        touched = {
            other: np.any([_per_sample(d) for d in differs[other].values()], axis=0)
            for other in OTHERS
        }
        for layer in layers:
            tally = tallies[layer.name]
            spikes = done["trained"].spikes[layer.name]
            tally.entries += spikes.size
            tally.spikes += int(spikes.sum(dtype=np.int64))
            for other in OTHERS:
                tally.differing[other] += int(differs[other][layer.name].sum())
                # After a differing spike membranes differ by whole thresholds: not a rounding error.
                same = ~touched[other]
                gap = _largest_gap(done["trained"], done[other], layer.name, same)
                tally.membrane[other] = max(tally.membrane[other], gap)
        ties.add(
            explain(
                layers,
                done["trained"].spikes,
                done["reference"].spikes,
                done["reference"].membranes,
                limits.max_tie_distance,
            )
        )
        any_touched = np.any(list(touched.values()), axis=0)
        differing_samples += (part.start + np.nonzero(any_touched)[0]).tolist()
        picture = int(np.argmax(any_touched))
        if shown is None or (any_touched.any() and shown[0] not in differing_samples):
            one = {name: _one(recording, picture) for name, recording in done.items()}
            shown = part.start + picture, one

    assert shown is not None
    classes = {name: np.concatenate(p) for name, p in predictions.items()}
    report = _report(tallies, ties, classes, labels, differing_samples, limits)
    report["picture_sample"] = shown[0]
    return report, shown[1]


def _per_sample(differs: np.ndarray) -> np.ndarray:
    return differs.any(axis=tuple(a for a in range(differs.ndim) if a != 1))


def _largest_gap(a: Recording, b: Recording, name: str, same: np.ndarray) -> float:
    if name not in a.membranes or name not in b.membranes or not same.any():
        return 0.0
    gap = np.abs(a.membranes[name][:, same] - b.membranes[name][:, same])
    known = gap[~np.isnan(gap)]
    return float(known.max(initial=0.0))


def _one(recording: Recording, sample: int) -> Recording:
    return Recording(
        recording.outputs[:, sample : sample + 1],
        {name: a[:, sample : sample + 1].copy() for name, a in recording.spikes.items()},
        {},
    )


def _report(
    tallies: dict[str, Tally],
    ties: Ties,
    classes: dict[str, np.ndarray],
    labels: np.ndarray,
    differing_samples: list[int],
    limits: params.Parity,
) -> dict[str, Any]:
    from pipeline.metrics import accuracy_entry

    entries = sum(t.entries for t in tallies.values())
    differing = {other: sum(t.differing[other] for t in tallies.values()) for other in OTHERS}
    fraction = differing["reference"] / entries
    changed = {other: int((classes["trained"] != classes[other]).sum()) for other in OTHERS}
    distance = ties.largest_distance
    reasons = []
    if differing["reimported"]:
        reasons.append(
            f"{differing['reimported']} of {entries} spike entries differ between the trained and "
            "the re-imported model; 0 allowed"
        )
    for other, count in changed.items():
        if count:
            reasons.append(
                f"{count} of {len(labels)} predicted classes differ between the trained model and "
                f"the {other} one; 0 allowed"
            )
    if ties.unexplained:
        reasons.append(
            f"{ties.unexplained} differences from the reference start farther from threshold than "
            f"max_tie_distance {limits.max_tie_distance:g} (largest {distance:.3g}): not rounding"
        )
    if fraction > limits.max_differing_fraction:
        reasons.append(
            f"a fraction {fraction:.3g} of the spike entries differs from the reference, more than "
            f"max_differing_fraction {limits.max_differing_fraction:g}"
        )
    return {
        "verdict": "fail" if reasons else "pass",
        "reasons": reasons,
        "samples": len(labels),
        "accuracy": {
            name: accuracy_entry(int((predicted == labels).sum()), len(labels))
            for name, predicted in classes.items()
        },
        "differing_predictions": changed,
        "differing_spikes": {
            **differing,
            "entries": entries,
            "reference_fraction": fraction,
            "reference_fraction_limit": limits.max_differing_fraction,
        },
        "ties": {
            "starts": ties.starts,
            "following": ties.following,
            "unexplained": ties.unexplained,
            # JSON has no infinity: a spike before any crossing is as far away as can be said.
            "largest_distance": distance if np.isfinite(distance) else None,
            "distance_limit": limits.max_tie_distance,
        },
        # A list, so that `dvc metrics show` keeps to the few numbers above.
        "layers": [
            {
                "node": name,
                "entries": t.entries,
                "spike_rate": t.spikes / t.entries,
                "differing_spikes": t.differing,
                "max_membrane_difference": t.membrane,
            }
            for name, t in tallies.items()
        ],
        "differing_samples": differing_samples,
    }


def parity(task: params.Task, root: Path = Path(".")) -> None:
    """Compare the three executors on the test set; write `parity.json` and `parity.png`.

    Raises:
        UserError: an input is missing or broken, or the verdict is `fail` (the report is written
            first, so that it can be read).
    """
    folder = root / "models" / task.name
    model_path, weights_path = folder / "model.nir", folder / "weights.safetensors"
    for path, maker in ((weights_path, "train"), (model_path, "export")):
        if not path.is_file():
            raise UserError(f"{path}: no such file; run python -m pipeline.{maker} {task.name}")

    from pipeline import converter, raster
    from pipeline.datasets import prepared

    digest = files.sha256(model_path)
    graph = converter.file.read(model_path)
    events, labels = prepared.read(root / "data" / "prepared" / f"{task.name}.h5").subset("test")
    if not len(labels):
        raise UserError(f"tasks.{task.name}.data.test: the test set is empty")

    trained, names = trained_model(task, weights_path)
    loaded = converter.load(graph, task.export.dt)
    plan = converter.reference.make_plan(graph.to_dict())
    layers = spiking_layers(plan, [name for name in names if name in plan.nodes])
    spiking = {layer.name for layer in layers}
    if missing := sorted(spiking - set(loaded.names)):
        raise UserError(f"{model_path}: node `{missing[0]}` belongs to no layer of the network")
    size = events.shape[1] * sum(int(np.prod(plan.shapes[name])) for name in spiking)
    chunk = max(1, min(LARGEST_CHUNK, len(events), CHUNK_ENTRIES // size))

    report, recordings = compare(
        {
            "trained": model_executor(trained, names, spiking),
            "reimported": model_executor(loaded.model, loaded.names, spiking),
            "reference": reference_executor(plan, task.export.dt),
        },
        layers,
        events,
        labels,
        task.parity,
        chunk,
    )
    report |= {
        "task": task.name,
        "dt": task.export.dt,
        "model_nir": {"sha256": digest, "content": converter.file.digest(model_path)},
        "weights_sha256": files.sha256(weights_path),
    }
    raster.write(folder / "parity.png", task.name, recordings, [layer.name for layer in layers])
    files.write_json(folder / "parity.json", report)
    differing = report["differing_spikes"]
    print(
        f"{task.name}: parity {report['verdict']}: {report['samples']} samples, differing spikes "
        f"{differing['reimported']} (re-imported) and {differing['reference']} (reference) "
        f"of {differing['entries']}"
    )
    if report["verdict"] != "pass":
        raise UserError(f"parity of {task.name} failed: {'; '.join(report['reasons'])}")


def trained_model(task: params.Task, weights: Path) -> tuple[Any, list[str]]:
    """The trained network, and for each of its layers the node that its output belongs to."""
    from pipeline import converter, networks

    model = networks.from_weights(task, weights)
    _, names = converter.export_named(
        model,
        {"input": networks.input_shape(task)},
        {"output": networks.output_shape(task)},
        task.export.dt,
        strict=True,
    )
    return model, names


if __name__ == "__main__":
    stage.main(parity, "Compare trained, re-imported and reference model on the whole test set.")
