"""Gallery and player show what the vectors hold: by hand, and against the files of the small project."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from end_to_end import tiny_task

from pipeline.report import runs, samples, sources
from pipeline.report.spikes import outputs


def bundle_of(small_project, task):
    return sources.read(small_project, tiny_task(task, "v_reset"))


def test_several_spikes_in_a_step_count_and_the_first_of_equals_is_the_class(small_project):
    """By hand: 5 spikes in one step are more than 3 in three; the raster's marks alone would say B."""
    bundle = bundle_of(small_project, "braille").bundle
    layer, (steps, n, classes) = outputs(bundle), bundle.vectors["output"].shape
    counts = np.zeros((steps, n, classes), np.uint8)
    counts[0, 0, 0], counts[:3, 0, 1] = 5, 1
    counts[:2, 1, 2] = counts[4:6, 1, 4] = 1  # equals
    run = runs.Run("chip", {layer: counts}, {}, {}, frozenset(range(n - 1)), "chip")
    found = samples.answers(bundle, run)
    assert found[0]["counts"][:2] == [5, 3] and (found[0]["class"], found[0]["next"]) == (0, 1)
    assert (found[1]["class"], found[1]["next"]) == (2, 4)
    assert (found[2]["class"], found[2]["next"]) == (
        0,
        None,
    )  # no spike: as every accuracy counts it
    assert found[-1] is None  # the chip has not run it
    assert samples.spike_places(counts[:, 0])[:5] == [0, 0, 0, 0, 0]  # differences: five in a place


def test_events_are_where_they_were_and_as_many():
    recording = np.zeros((3, 2, 2))
    recording[0, 0, 1], recording[2, 1, 0], recording[2, 1, 1] = 1, 10, 90
    # 1; 10 - 1; 11 - 10. More than 35 in a place look like 35.
    assert samples.events(recording) == {"at": [1, 9, 1], "n": "1az"}


@pytest.mark.parametrize("task", ["braille", "nmnist"])
def test_what_is_embedded_is_the_golden_vectors(small_project, written, task):
    bundle = bundle_of(small_project, task).bundle
    text = written.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="samples">(.*?)</script>', text)
    data = json.loads(found)[task]
    events = bundle.vectors["input"]
    assert data["shape"] == list(events.shape[2:]) and data["steps"] == len(events)
    for sample, coded in enumerate(data["input"]):
        flat = np.zeros(events[:, 0].size)
        flat[np.cumsum(coded["at"], dtype=int)] = [int(n, 36) for n in coded["n"]]
        np.testing.assert_array_equal(flat.reshape(events[:, 0].shape), events[:, sample])
    trained = data["runs"][0]["answers"]
    for sample, answer in enumerate(trained):
        output = bundle.vectors["output"][:, sample]
        places = np.bincount(
            np.cumsum(data["spikes"][answer["spikes"]], dtype=int), minlength=output.size
        )
        np.testing.assert_array_equal(places.reshape(output.shape), output)
    # The verified bundle's predictions are of the library, not of this module.
    said = bundle.manifest["vectors"]["predicted"]
    assert [answer["class"] for answer in trained] == said


def test_the_gallery_says_how_many_it_cannot_show(small_project):
    source = bundle_of(small_project, "nmnist")
    vectors = source.bundle.manifest["vectors"]
    wrong = sum(a != b for a, b in zip(vectors["labels"], vectors["predicted"], strict=True))
    part = samples.gallery(source)
    ((_, _, said),) = part.blocks[0].content["runs"]
    golden = len(vectors["labels"])
    # 28 of 29 wrong: conftest.TRAIN.
    assert (
        said
        == f"trained: 28 of 29 recordings of the test set wrong; {wrong} of the {golden} golden vectors"
    )
    assert f"Only the {golden} golden vectors are shown" in part.text[0]
    assert part.blocks[0].content["cells"] == [("0|1", "0 taken for 1: 1 in the test set")]


def test_without_an_output_of_neurons_nothing_is_counted(small_project):
    source = bundle_of(small_project, "braille")
    vectors = source.bundle.vectors | {"output": source.bundle.vectors["output"] + 0.5}
    other = replace(source, bundle=replace(source.bundle, vectors=vectors))
    assert samples.data(other) is None
    assert "no spikes to count" in samples.player(other).missing[0]
