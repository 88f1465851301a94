"""The recordings that the trained network gets wrong, run again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from end_to_end import tiny_target, tiny_task

from pipeline.datasets import prepared
from pipeline.evaluation.backends import reference_backend
from pipeline.report import samples, sources, wrong


@pytest.fixture
def answered(tiny_run: Callable[[str, str], Path], tmp_path: Path) -> tuple:
    """A task with the reference's answers in confusion.csv; its test set, and their output counts."""
    root = tmp_path / "project"
    shutil.copytree(tiny_run("braille", "v_reset"), root)
    source = sources.read(root, tiny_task("braille", "v_reset"))
    events, labels = prepared.read(root / "data" / "prepared" / "braille.h5").subset("test")
    counts = reference_backend(source.bundle.plan, source.bundle.manifest["dt"])(events)
    counts = counts.outputs.sum(axis=0)
    names = source.bundle.manifest["classes"]
    rows = [
        {"actual": names[label], "predicted": names[found]}
        for label, found in zip(labels, counts.argmax(-1), strict=True)
    ]
    return replace(source, confusion=rows), events, labels, counts


def test_they_are_those_of_the_confusion_and_what_the_reference_answers(answered):
    source, events, labels, counts = answered
    found, missing = wrong.wrong(source, source.bundle)
    golden = source.bundle.manifest["vectors"]["test_samples"]
    amiss = np.flatnonzero(counts.argmax(-1) != labels)
    expected = [number for number in amiss.tolist() if number not in golden]
    assert missing == [] and len(expected) > 3
    assert (found.numbers, found.of) == (expected, len(expected))
    assert found.labels == labels[expected].tolist()
    np.testing.assert_array_equal(found.events, events[expected])
    assert [one["counts"] for one in found.answers["trained"]] == counts[expected].tolist()
    # On the page: each place of the picture, rows by steps, has as many events as the file.
    data = samples.data(source)
    assert data["numbers"] == [*golden, *expected]
    shape = events.shape[2], events.shape[1]
    shown = [np.reshape([int(n, 36) for n in one], shape) for one in data["pictures"]]
    np.testing.assert_array_equal(shown, np.swapaxes(events[expected], 1, 2))


def test_the_page_says_how_many_of_all_are_shown(answered, monkeypatch):
    source, _, labels, counts = answered
    monkeypatch.setattr(wrong, "MOST", 2)
    wrong.wrong.cache_clear()
    golden = set(source.bundle.manifest["vectors"]["test_samples"])
    amiss = set(np.flatnonzero(counts.argmax(-1) != labels).tolist())
    test = {"correct": 20 - len(amiss), "n": 20}
    part = samples.gallery(replace(source, train={"accuracy": {"test": test}}))
    assert f"2 of the {len(amiss - golden)} others that the trained network" in part.text[0]
    ((_, _, said),) = part.blocks[0].content["runs"]
    assert said == (
        f"trained: {len(amiss)} of 20 recordings of the test set wrong; "
        f"{len(amiss & golden) + 2} of the {len(amiss)} are here"
    )


def test_files_that_do_not_fit_together_are_named(answered):
    source, _, _, counts = answered
    classes = source.bundle.manifest["classes"]
    (first, *_), _ = wrong.wrong(source, source.bundle)[0].numbers, None
    rows = [dict(row) for row in source.confusion]
    said = counts[first].argmax()
    actual = rows[first]["actual"]
    other = next(name for name in classes if name not in (classes[said], actual))
    rows[first]["predicted"] = other
    (line,) = wrong.wrong(replace(source, confusion=rows), source.bundle)[1]
    assert line == (
        f"recording {first} of the test set: model.nir takes it for {classes[said]}, "
        f"confusion.csv for {other}: run make repro"
    )
    rows[first]["actual"] = other
    found, (line,) = wrong.wrong(replace(source, confusion=rows), source.bundle)
    assert found.numbers == () and "has other recordings than confusion.csv" in line
    path = source.folder.parents[1] / "data" / "prepared" / "braille.h5"
    with h5py.File(path, "r+") as file:  # classes that the bundle does not know, labels of them
        file.attrs["classes"] = json.dumps([*json.loads(file.attrs["classes"]), "new"])
        file["labels"][...] = len(classes)
    found, (line,) = wrong.wrong(replace(source, confusion=list(rows)), source.bundle)
    assert found.numbers == () and "has other recordings than confusion.csv" in line
    path.write_bytes(b"damaged")
    found, (line,) = wrong.wrong(replace(source, confusion=list(rows)), source.bundle)
    assert found.numbers == () and "braille.h5: not a complete prepared file" in line
    path.unlink()
    found, (line,) = wrong.wrong(replace(source, confusion=list(rows)), source.bundle)
    assert found.numbers == () and line == "data/prepared/braille.h5 is not there: run make repro"


def test_a_picture_of_a_sensor_is_the_sum_of_its_steps():
    """By hand: two steps, (polarity, row, column) = (2, 1, 2); more than 35 in a place look like 35."""
    recording = np.zeros((2, 2, 1, 2), np.uint8)
    recording[0, 0, 0, 1], recording[1, 0, 0, 1], recording[1, 1, 0, 0] = 4, 7, 90
    assert samples.picture(recording) == "0bz0"


@pytest.mark.full
def test_a_chips_answers_are_the_integers_of_its_bundle(tiny_bundle, tmp_path):
    source = sources.read(tiny_bundle("braille", "loihi"), tiny_target("braille", "loihi"))
    (target,) = source.targets
    golden = np.swapaxes(source.bundle.vectors["input"], 0, 1)
    found = wrong._on_chip(target.integers, golden)
    layer = samples.outputs(source.bundle)
    stored = target.integers[f"spikes/{layer}"].sum(axis=0, dtype=np.int64)
    theirs = target.bundle.manifest["vectors"]["test_samples"]
    places = [theirs.index(n) for n in source.bundle.manifest["vectors"]["test_samples"]]
    assert [one["counts"] for one in found] == stored[places].tolist()
