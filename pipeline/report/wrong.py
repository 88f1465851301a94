"""Recordings of the test set that the trained network gets wrong, and what the chips make of them.

confusion.csv says which they are. The stages keep no spikes of them: the report runs them again, as
`model.nir` is loaded and in the integers of each bundle.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.report.part import absent
from pipeline.report.sources import Bundle, Source
from spyx_nir.errors import UserError

MOST = 40  # of a task: a second of simulation, 2.5 kB of the page each for N-MNIST


@dataclass(frozen=True)
class Wrong:
    """Recordings that are no golden vectors; `of` is how many of these the trained network gets wrong.

    numbers, labels: places in the test set, indices of classes. events: each (T, ...), channels first.
    answers: by the name of a `Run`, for every recording, as `decided` gives them.
    """

    of: int = 0
    numbers: Sequence[int] = ()
    labels: Sequence[int] = ()
    events: Sequence[np.ndarray] = ()
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@functools.lru_cache(maxsize=1)  # the part and what is embedded, one task after the other
def wrong(source: Source, bundle: Bundle) -> tuple[Wrong, list[str]]:
    """Up to `MOST` of the recordings, and sentences on what is missing."""
    from pipeline.datasets import prepared

    path = source.folder.parents[1] / "data" / "prepared" / f"{source.task}.h5"
    if source.confusion is None:
        return Wrong(), []  # said beside the matrix
    if not path.is_file():
        return Wrong(), [absent(f"data/prepared/{source.task}.h5", "make repro")]
    try:
        data = prepared.read(path)
    except UserError as error:
        return Wrong(), [str(error)]
    events, labels = data.stream("test")
    classes = bundle.manifest["classes"]
    if (
        list(data.classes) != classes
        or data.shape[2:] != bundle.vectors["input"].shape[2:]
        or [row["actual"] for row in source.confusion] != [classes[n] for n in labels.tolist()]
    ):
        return Wrong(), [
            f"data/prepared/{source.task}.h5 has other recordings than confusion.csv or the bundle: "
            "run make repro"
        ]
    golden = set(bundle.manifest["vectors"]["test_samples"])
    numbers = [
        number
        for number, row in enumerate(source.confusion)
        if row["actual"] != row["predicted"] and number not in golden
    ]
    shown = numbers[:MOST]
    if not shown:
        return Wrong(), []
    taken = events[np.array(shown)]
    answers = {"trained": _trained(bundle, taken)} | {
        f"integers: {target.name}": _on_chip(target.integers, taken)
        for target in source.targets
        if target.bundle and target.integers
    }
    missing = [
        f"recording {number} of the test set: model.nir takes it for {classes[answer['class']]}, "
        f"confusion.csv for {source.confusion[number]['predicted']}: run make repro"
        for number, answer in zip(shown, answers["trained"], strict=True)
        if classes[answer["class"]] != source.confusion[number]["predicted"]
    ]
    return Wrong(len(numbers), shown, labels[shown].tolist(), list(taken), answers), missing


def decided(counts: np.ndarray) -> dict[str, Any]:
    """Output spikes of each class, the class with most, and the next.

    The first of equals is the class, without a spike the first of all, as in every accuracy; `next` is
    None then.
    """
    order = np.argsort(-counts, kind="stable").tolist()
    return {
        "counts": counts.tolist(),
        "class": order[0],
        "next": order[1] if counts.any() else None,
    }


def _trained(bundle: Bundle, events: np.ndarray) -> list[dict[str, Any]]:
    from pipeline.evaluation.backends import imported_names, model_backend
    from spyx_nir import converter

    loaded = converter.load(converter.file.read(bundle.folder / "model.nir"), bundle.manifest["dt"])
    outputs = model_backend(loaded.model, imported_names(loaded), set())(events).outputs
    return [decided(counts) for counts in np.rint(outputs.sum(axis=0)).astype(np.int64)]


def _on_chip(integers: dict[str, np.ndarray], events: np.ndarray) -> list[dict[str, Any]]:
    from spyx_nir.bundle.templates.verify_integers import network_of
    from spyx_nir.hardware import simulate

    network = network_of(integers)
    (output,) = (one for one in network.populations if one.output)
    found = simulate.run(network, simulate.padded(network, events)).shown(output)
    counts = found.sum(axis=0, dtype=np.int64).reshape(len(events), -1)
    return [decided(row) for row in counts]
