"""The golden recordings of a bundle come from the task's source, with its times and polarities."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from end_to_end import ROOT

sys.path.insert(0, str(ROOT / "tests" / "datasets"))
from real_data import BRAILLE, NMNIST, needs_braille, needs_nmnist

from pipeline import params, schema
from pipeline.bundle import events
from pipeline.datasets import prepared, recordings
from pipeline.prepare import prepare
from spyx_nir.bundle.events import address_map
from spyx_nir.bundle.templates import encode
from spyx_nir.errors import UserError


def task_of(name: str, **data: object) -> schema.Task:
    task = params.load(name, ROOT / "params.yaml")
    return dataclasses.replace(task, data=dataclasses.replace(task.data, **data))


def bundled(task: schema.Task, root: Path) -> tuple[Path, dict[str, object]]:
    """The folder `events/` of three test recordings with their vectors, and what the manifest says."""
    prepare(task, root)
    data = prepared.read(root / "data" / "prepared" / f"{task.name}.h5")
    frames, _ = data.subset("test")
    chosen = np.array([0, 3, len(frames) - 1])
    how = recordings.encoding(task, silent=1)
    addresses = address_map(how, {"out": (len(task.data.classes),)}, {}, task.data.classes)
    bundle = root / "bundle"
    (bundle / "test_data_set_0").mkdir(parents=True)
    said = events.write(bundle, task, data, chosen, addresses, root)
    x = np.swapaxes(frames[chosen], 0, 1)
    x = np.concatenate([x, np.zeros_like(x[:1])])
    np.savez(bundle / "test_data_set_0" / "vectors.npz", input=x)
    return bundle / "events", said


def both_polarities(place: Path) -> bool:
    with np.load(place / encode.RECORDINGS) as stored:
        taken, start = stored["events"], stored["start"]
    for n in range(3):
        one = taken[start[n] : start[n + 1]]
        assert len(one) > 50 and (np.diff(one["t"]) >= 0).all()
    return set(taken["p"].tolist()) == {0, 1}


def test_simulated_letters_keep_on_and_off(tmp_path):
    task = task_of("braille", simulated_per_class=8, classes=("A", "E"))
    place, said = bundled(task, tmp_path)
    assert said["times"] == "as recorded" and both_polarities(place)
    assert encode.check(place) == []
    # What was prepared from other recordings is refused.
    path = tmp_path / "data" / "prepared" / "braille.h5"
    data = prepared.read(path)
    data.provenance["files"] = {"other.npz": "0" * 64}
    addresses = json.loads((place / encode.ADDRESSES).read_text())
    with pytest.raises(UserError, match=r"braille\.h5: was prepared from other recordings"):
        events.write(tmp_path / "other", task, data, np.array([0]), addresses, tmp_path)
    assert not (tmp_path / "other").exists()


@needs_braille
def test_real_letters_keep_on_and_off(tmp_path):
    place, said = bundled(task_of("braille", source="folder", path=str(BRAILLE)), tmp_path)
    assert said["times"] == "as recorded" and both_polarities(place)
    assert encode.check(place) == []


@needs_nmnist
def test_real_digits_are_the_files(tmp_path):
    task = task_of("nmnist", source="folder", path=str(NMNIST), classes=("3", "8"))
    place, said = bundled(task, tmp_path)
    assert said["times"] == "as recorded" and both_polarities(place)
    assert encode.check(place) == []
    with np.load(place / encode.RECORDINGS) as stored:
        first = stored["events"][: stored["start"][1]]
    file = sorted((NMNIST / "Test" / "3").glob("*.bin"))[0]
    theirs = encode.from_nmnist(file)
    theirs = theirs[theirs["t"] < 15 * 21_000]
    order = np.argsort(theirs["t"], kind="stable")
    assert all((first[field] == theirs[field][order]).all() for field in "txyp")
