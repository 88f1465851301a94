"""Single recordings: a gallery of those that a run gets wrong, and a player of all layers by step.

The player has the golden vectors, for which the bundles have every spike. The gallery has the recordings
of `wrong.py`, too. The pictures are drawn by templates/samples.js from what is embedded once here, and
from the marks of the raster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.report.part import Block, Part, count
from pipeline.report.runs import Run, runs
from pipeline.report.sources import Bundle, Source
from pipeline.report.spikes import outputs
from pipeline.report.wrong import Wrong, decided, wrong

MOST_EVENTS = 35  # of an input in a step that are distinguished: one character, "1" to "z"
CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def gallery(source: Source) -> Part:
    """The samples that a run gets wrong, or those of a cell of the confusion matrix."""
    id, title = "gallery", "Gallery"
    what = _refused(source)
    if what or source.bundle is None:
        return Part(id, title, missing=[what])
    vectors = source.bundle.manifest["vectors"]
    done = runs(source, source.bundle)
    more, missing = wrong(source, source.bundle)
    shown = [run for run in done if run.name == "trained" or run.target]
    golden = f"the {len(vectors['test_samples'])} golden vectors"
    text = f"Only {golden} are shown. "
    if more.numbers:
        text = (
            f"Shown are {golden} and {_others(more)}, each run by the report in every chip's "
            "integers, in steps. What only a chip gets wrong and is none of these is counted, not shown. "
        )
    text += "Choose a cell of the confusion matrix above, or here."
    channels = source.bundle.manifest.get("input_channels") or []
    if len(source.bundle.vectors["input"].shape) == 5 and len(channels) == 2:
        text += f" Orange: {channels[0]}; blue: {channels[1]}."
    cells = Counter((row["actual"], row["predicted"]) for row in source.confusion or [])
    content = {
        "task": source.task,
        "runs": [(run.name, run.target, _coverage(source, run, more)) for run in shown],
        "cells": [
            (
                f"{actual}|{predicted}",
                f"{actual} taken for {predicted}: {count(n).text} in the test set",
            )
            for (actual, predicted), n in sorted(cells.items())
            if actual != predicted
        ],
    }
    return Part(id, title, text=[text], blocks=[Block("gallery", content)], missing=missing)


def _others(more: Wrong) -> str:
    """The recordings that are no golden vectors, in words."""
    if len(more.numbers) == more.of:
        return f"all {more.of} other recordings that the trained network gets wrong"
    return f"{len(more.numbers)} of the {more.of} others that the trained network gets wrong"


def player(source: Source) -> Part:
    """Input, layers and output counts of one sample under one moving cursor, with what they need."""
    id, title = "player", "Player"
    what = _refused(source)
    if what or source.bundle is None:
        return Part(id, title, missing=[what])
    bundle = source.bundle
    done = runs(source, bundle)
    content = {
        "task": source.task,
        "runs": [(run.name, run.target) for run in done],
        "samples": [
            (place, f"{sample}: {bundle.manifest['classes'][label]}")
            for place, (sample, label) in enumerate(_labelled(bundle))
        ],
        "layers": [(layer, _size(bundle, layer)) for layer in bundle.layers],
        "last": len(bundle.vectors["input"]) - 1,
        "frame": len(bundle.vectors["input"].shape) == 5,  # (T, N, polarity, row, column)
    }
    text = (
        "A click into a layer moves the cursor; the arrow keys do, where the slider has the focus."
    )
    return Part(id, title, text=[text], blocks=[Block("player", content)])


def _refused(source: Source) -> str:
    """Why there is nothing to show, or ""."""
    if source.bundle is None:
        return source.unbundled("test_data_set_0/vectors.npz")
    if not outputs(source.bundle):
        return "the output is no layer of neurons, a neuron for each class: no spikes to count"
    return ""


def _labelled(bundle: Bundle) -> list[tuple[int, int]]:
    """The golden vectors: number in the test set, and index of the class."""
    vectors = bundle.manifest["vectors"]
    return list(zip(vectors["test_samples"], vectors["labels"], strict=True))


def _size(bundle: Bundle, layer: str) -> str:
    return count(int(np.prod(bundle.vectors[layer].shape[2:]))).text


def _coverage(source: Source, run: Run, more: Wrong) -> str:
    """How many of the test set the run gets wrong, and how many of these are shown."""
    assert source.bundle
    hits = answers(source.bundle, run)
    amiss = sum(1 for hit, (_, label) in _answered(source.bundle, hits) if hit["class"] != label)
    others = zip(more.answers.get(run.name, []), more.labels, strict=False)
    shown = amiss + sum(1 for hit, label in others if hit["class"] != label)
    known = f"{amiss} of the {len(run.samples)} golden vectors"
    entry, how = _entry(source, run)
    if entry is None:
        return f"{run.name}: {known} wrong"
    n = entry["n"] - entry["correct"]
    failed = f"{count(n).text} of {count(entry['n']).text}"
    text = f"{run.name}: {failed} recordings of the test set wrong{how}; "
    return text + (f"{shown} of the {count(n).text} are here" if more.numbers else known)


def _answered(bundle: Bundle, hits: list[Any]) -> list[tuple[dict[str, Any], tuple[int, int]]]:
    return [pair for pair in zip(hits, _labelled(bundle), strict=True) if pair[0] is not None]


def _entry(source: Source, run: Run) -> tuple[dict[str, Any] | None, str]:
    """The run's accuracy on the test set; integers of golden vectors are simulated in steps."""
    if not run.target:
        return (source.train["accuracy"]["test"], "") if source.train else (None, "")
    metrics = next(target.metrics for target in source.targets if target.name == run.target)
    if metrics is None:
        return None, ""
    if "integer_in_steps" in metrics["accuracy"]:
        return metrics["accuracy"]["integer_in_steps"], ", in steps"
    return metrics["accuracy"]["integer"], ""


def answers(bundle: Bundle, run: Run) -> list[dict[str, Any] | None]:
    """For each golden vector the output spikes of each class, the class with most, and the next.

    The first of equals is the class, without a spike the first of all, as in every accuracy; `next` is
    None then. The answer is None for a sample that the run has not.
    """
    layer = outputs(bundle)
    found: list[dict[str, Any] | None] = []
    for sample in range(len(bundle.manifest["vectors"]["test_samples"])):
        if sample not in run.samples or layer not in run.spikes:
            found.append(None)
            continue
        found.append(decided(run.spikes[layer][:, sample].sum(axis=0, dtype=np.int64)))
    return found


def data(source: Source) -> dict[str, Any] | None:
    """What templates/samples.js draws from; None where there is nothing to show.

    `input`: for each sample the places of its events in (step, channel, ...) as differences `at` and
    their number `n`, a character each (`CHARACTERS`). The samples after those are of wrong.py, without
    spikes: see `picture`. `spikes`: of the output, for each run and sample the places in (step, class) as
    differences, one for each spike. Runs with the same share a list: `answers` has its number.
    """
    if _refused(source) or source.bundle is None:
        return None
    bundle = source.bundle
    layer, vectors, manifest = outputs(bundle), bundle.vectors, bundle.manifest
    seconds = manifest.get("input_bin_s")
    more, _ = wrong(source, bundle)
    shared: dict[str, int] = {}
    lists: list[list[int]] = []
    made = []
    for run in runs(source, bundle):
        hits = answers(bundle, run)
        for sample, hit in enumerate(hits):
            if hit is not None:
                places = spike_places(run.spikes[layer][:, sample])
                hit["spikes"] = shared.setdefault(str(places), len(shared))
                if len(shared) > len(lists):
                    lists.append(places)
        others = more.answers.get(run.name, [None] * len(more.numbers))
        made.append({"name": run.name, "target": run.target, "answers": [*hits, *others]})
    return {
        "classes": manifest["classes"],
        "labels": [*(label for _, label in _labelled(bundle)), *more.labels],
        "numbers": [*(number for number, _ in _labelled(bundle)), *more.numbers],
        "layers": bundle.layers,
        "output": layer,
        "shape": list(vectors["input"].shape[2:]),
        "steps": len(vectors["input"]),
        "step_ms": None if seconds is None else 1000 * seconds,
        "input": [events(vectors["input"][:, k]) for k in range(vectors["input"].shape[1])],
        "pictures": [picture(one) for one in more.events],
        "spikes": lists,
        "runs": made,
    }


def picture(recording: np.ndarray) -> str:
    """The events of one sample (T, ...) as its picture has them, a character for each place.

    Of (T, polarity, row, column) the sum over the steps, else all of (channel, T).
    """
    flat = recording.reshape(len(recording), -1)
    sums = flat.sum(axis=0, dtype=np.int64) if recording.ndim == 4 else flat.T.ravel()
    return "".join(CHARACTERS[n] for n in np.minimum(sums, MOST_EVENTS).tolist())


def events(recording: np.ndarray) -> dict[str, Any]:
    """The events of one sample (T, ...): differences of their places, and how many are at each."""
    flat = recording.ravel()
    places = np.flatnonzero(flat)
    numbers = np.clip(np.rint(np.abs(flat[places])), 1, MOST_EVENTS).astype(int)
    return {"at": _differences(places), "n": "".join(CHARACTERS[n] for n in numbers)}


def spike_places(counts: np.ndarray) -> list[int]:
    """Where in (T, classes) there are spikes, as differences; several in a place are as many."""
    flat = counts.ravel().astype(np.int64)
    return _differences(np.repeat(np.arange(flat.size), flat))


def _differences(places: Sequence[int] | np.ndarray) -> list[int]:
    return np.diff(np.asarray(places, np.int64), prepend=0).tolist()
