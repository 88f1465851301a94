"""What the page says about chips and other readers, from files written by hand and by `fit`."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from end_to_end import tiny_task
from PIL import Image

from pipeline.interop import support
from pipeline.report import cost, histograms, page, readers, runs, sources, spikes, story, targets
from pipeline.report.part import Number
from spyx_nir.bundle import integers
from spyx_nir.cli.main import main as tool
from spyx_nir.converter import file
from spyx_nir.hardware import profile, quantise, simulate
from spyx_nir.hardware.findings import REFUSED

CHIP = "loihi"


def accuracy(correct: int) -> dict[str, object]:
    return {"accuracy": correct / 20, "correct": correct, "n": 20, "wilson95": [0.25, 0.75]}


METRICS = {
    "task": "braille",
    "target": CHIP,
    "accuracy": {
        "float": accuracy(12),
        "ptq": accuracy(9),
        "integer": accuracy(11),
        "dequantised": accuracy(10),
    },
    "lost_points": {"integer": 5.0, "ptq": 15.0},
    "saturated": 3,
    "selection": {"on": "validation", "n": 4, "start": 1, "best": 2, "epoch": 3},
    "layers": [
        {
            "node": "cubalif_3",
            "agreement": 0.75,
            "spike_rate": 0.125,
            "float_spike_rate": 0.25,
            "entries": 2400,
            "saturated": 3,
            "multi_spike": 5,
            "ties": 7,
        }
    ],
    "SynapticOperations": {"Effective_ACs": 123.5},
    "energy": {"pj": 2914.6, "mark": "modelled"},
    "rates": {
        "step_ms": 5.0,
        "events": {"mean_per_s": 3.5, "peak_per_s": 200.0},
        "synops": {"mean_per_s": 7.25, "peak_per_s": 400.0},
        "layers": [
            {"node": "a", "core": 3, "mean_per_s": 7.0, "peak_per_s": 300.0, "limit_per_s": None},
            {"node": "b", "core": None, "mean_per_s": 0.25, "peak_per_s": 100.0, "limit_per_s": 9e6},
        ],
    },
    "latency": {
        "median_steps": 4, "median_ms": 20.0, "p95_steps": None, "p95_ms": None,
        "recording_steps": 10, "undecided": 2,
        "accuracy_over_time": [
            {"steps": 5, "ms": 25.0, **accuracy(8)}, {"steps": 10, "ms": 50.0, **accuracy(11)},
        ],
    },
    "robustness": {
        "n": 20, "seed": 1,
        "disturbances": [
            {"kind": "none", "level": 0, **accuracy(11)},
            {"kind": "lost_events", "level": 0.05, **accuracy(10), "saturated": 6},
            {"kind": "jitter_steps", "level": 1, **accuracy(9), "saturated": 0},
            {"kind": "flipped_bits", "level": 1e-5, **accuracy(8), "saturated": 0, "flipped": 13},
            {"kind": "hot_channels", "level": 1, **accuracy(7), "saturated": 0},
        ],
    },
    "quantisation": [
        {
            "numbers": "ptq", "node": "a", "weight_snr_db": 40.25, "threshold_error": 0.002,
            "threshold_error_max": 0.004, "weights_at_bound": 0.01, "saturated_states": 5,
            "equal_entries": 0.75, "equal_counts": 0.5,
        },
        {
            "numbers": "integer", "node": "a", "weight_snr_db": None, "threshold_error": None,
            "threshold_error_max": None, "weights_at_bound": 0.0, "saturated_states": 0,
            "equal_entries": 1.0, "equal_counts": 1.0,
        },
    ],
}  # fmt: skip
MATRIX = [
    {
        "bundle": "models/braille/deploy/generic",
        "samples": 20,
        "test_samples": 60,
        "rows": [
            {
                "reader": "norse",
                "title": "norse 1.1.0",
                "file": "as shipped",
                "verdict": "explained",
                "rule": "the recurrent bias is missing at t = 0",
                "by_rule": {"differing_spikes": 0, "ties": {"starts": 0}},
                "notes": [],
                "accuracy": accuracy(10),
                "differing_spikes": 17,
                "entries": 2400,
            },
            {
                "reader": "snntorch",
                "title": "snntorch 1.0.0",
                "file": "snntorch",
                "verdict": "refused",
                "error": "ValueError: <no> recurrence",
                "notes": [],
            },
        ],
    }
]


@pytest.fixture(scope="module")
def project(small_project, tmp_path_factory) -> Path:
    """The small project with braille on Loihi and a reader matrix."""
    root = tmp_path_factory.mktemp("chips") / "project"
    shutil.copytree(small_project, root, ignore=shutil.ignore_patterns("report"))
    (generic,) = (p.parent for p in (root / "models" / "braille").rglob("manifest.json"))
    manifest = json.loads((generic / "manifest.json").read_text())
    chip = profile.load(CHIP)
    content = file.read_dict(generic / "model.nir")
    network = quantise.quantise(content, chip)
    folder = root / "models" / "braille" / "chip"
    (folder / "test_data_set_0").mkdir(parents=True)
    graph = quantise.on_grid(content, network)
    file.write(folder / "model.nir", file.build(graph))
    with np.load(generic / manifest["vectors"]["file"]) as stored:
        vectors = dict(stored)
    # The chip's samples are all but the first, which is how the page must find them again.
    some = {name: array[:, 1:] for name, array in vectors.items()}
    np.savez(folder / "test_data_set_0" / "vectors.npz", **some)
    (x,) = simulate.padded(network, np.swapaxes(some["input"], 0, 1)).values()
    integers.write(folder / "test_data_set_0" / integers.NAME, network, x)
    manifest["target"] = {"name": CHIP}
    for key in ("test_samples", "labels", "predicted"):
        manifest["vectors"][key] = manifest["vectors"][key][1:]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "fit.json").write_text(_fit(folder / "model.nir"))
    shutil.move(folder, root / "models" / "braille" / "deploy" / CHIP)
    read = {"model_nir_sha256": manifest["files"]["model.nir"]["sha256"]}
    for path, value in (
        ("metrics/braille-loihi.json", METRICS),
        ("bench/peers/matrix.json", [entry | read for entry in MATRIX]),
    ):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(json.dumps(value))
    return root


def _fit(graph: Path) -> str:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as said:
        tool(["fit", str(graph), "--target", CHIP, "--json"])
    return said.getvalue()


@pytest.fixture(scope="module")
def shown(project, read_page):
    page.write(project, project / "page.html")
    return read_page(project / "page.html")


def rows(table):
    return {cells[0]: cells[1:] for cells in table}


def test_the_chips_numbers_are_those_of_its_files(shown, project):
    part = f"braille-target-{CHIP}"
    found = rows(shown.tables[part, f"Accuracy of braille on {CHIP}, with Wilson's 95 % interval"])
    assert found["integers"] == [0.55, "11 of 20", 0.25, 0.75]
    assert found["PTQ"] == [0.45, "9 of 20", 0.25, 0.75]
    lost = rows(shown.tables[part, "Quantisation"])
    assert lost["lost in integers"] == [5.0]
    assert lost["lost by PTQ alone"] == [15.0]
    layers = rows(shown.tables[part, "Integer simulation of the test set, by layer"])
    assert layers["cubalif_3"] == [0.75, 0.125, 0.25, 3, 5, 7]
    cost = rows(shown.tables[part, "Cost, counted and modelled"])
    assert cost["SynapticOperations.Effective_ACs"] == [123.5]
    assert cost["energy.mark"] == ["modelled"]
    fit = json.loads((project / "models" / "braille" / "deploy" / CHIP / "fit.json").read_text())
    used = rows(shown.tables[part, "What of the chip is used"])
    for row in fit["utilisation"]:
        assert used[row["resource"]][0] == row["used"]
        if row["limit"]:
            assert used[row["resource"]][1:] == [row["limit"], row["used"] / row["limit"]]
    bars = shown.charts[f"fit-braille-{CHIP}"]["data"]["values"]
    assert [b["resource"] for b in bars] == [
        r["resource"] for r in fit["utilisation"] if r["limit"]
    ]


def test_one_chart_has_all_targets_and_every_accuracy_the_same_axis(shown):
    """45 % beside 60 % on axes of their own look alike; here 0 to 100 % is the axis of all."""
    points = shown.charts["accuracy-braille"]["data"]["values"]
    chips = {p["run"]: (p["target"], p["accuracy"], p["low"], p["high"]) for p in points}
    assert chips["loihi: PTQ"] == (CHIP, 0.45, 0.25, 0.75)
    assert chips["loihi: integers"] == (CHIP, 0.55, 0.25, 0.75)
    assert chips["test: trained, float32"][0] == ""
    kinds = ("accuracy-", "robustness-", "over-time-", "curve-accuracy-")
    found = {id: spec for id, spec in shown.charts.items() if id.startswith(kinds)}
    assert {id.partition("braille")[0] for id in found} >= set(kinds)
    for id, spec in found.items():
        axes = [
            layer["encoding"][axis].get("scale", {}).get("domain")
            for layer in spec.get("layer", [spec])
            for axis in "xy"
            if layer["encoding"][axis].get("title") == "accuracy"
        ]
        assert axes and all(domain == [0, 1] for domain in axes), id


def test_the_chips_behaviour_is_that_of_its_metrics(shown):
    part = f"braille-target-{CHIP}"
    rates = rows(shown.tables[part, "Rates on the test set, peaks in steps of 5 ms"])
    assert rates["input events"][:2] == [3.5, 200]
    assert rates["synaptic operations"][:2] == [7.25, 400]
    assert rates["synaptic operations into a, core 3"] == [7, 300, "no published limit"]
    assert rates["synaptic operations into b"] == [0.25, 100, 9e6]
    latency = rows(shown.tables[part, "Latency to the decision that stays"])
    assert latency["half of the recordings decided by"] == [4, 20]
    assert latency["95 % of them decided by"] == ["none is decided", "none is decided"]
    assert rows(shown.tables[part, "Accuracy over time"])["25 ms, 5 steps"][:2] == [0.4, "8 of 20"]
    robust = rows(shown.tables[part, "Robustness, on 20 recordings of the test set"])
    assert {name: cells[0] for name, cells in robust.items() if name != "disturbance"} == {
        "undisturbed": 0.55,
        "5 % of events lost": 0.5,
        "jitter of ±1 step, 5 ms": 0.45,
        "bits flipped, 1e-05 each": 0.4,
        "1 hot channel": 0.35,
    }
    assert robust["bits flipped, 1e-05 each"][-2:] == [0, 13]
    layers = rows(shown.tables[part, "Quantisation by layer, against the trained network"])
    assert layers["a, PTQ"] == [40.25, 0.002, 0.004, 0.01, 5, 0.75, 0.5]
    assert layers["a, shipped"][0] == "no error"
    points = shown.charts[f"over-time-braille-{CHIP}"]["data"]["values"]
    assert [(p["ms"], p["accuracy"]) for p in points] == [(25, 0.4), (50, 0.55)]
    assert len(shown.charts[f"robustness-braille-{CHIP}"]["data"]["values"]) == 5


def test_time_to_decision_has_a_line_for_each_target(shown):
    points = shown.charts["decision-braille"]["data"]["values"]
    assert [(p["target"], p["ms"], p["accuracy"], p["right"]) for p in points] == [
        (CHIP, 25, 0.4, "8 of 20"),
        (CHIP, 50, 0.55, "11 of 20"),
    ]
    decided = rows(shown.tables["braille-decision", "When the decision stays"])
    assert decided[CHIP] == [20, "none is decided", 2]


def test_metrics_of_an_older_pipeline_are_said_to_miss_the_behaviour(project):
    source = sources.read(project, tiny_task("braille", "v_reset"))
    (target,) = (t for t in source.targets if t.name == CHIP)
    older = {key: value for key, value in METRICS.items() if key not in ("rates", "latency")}
    part = targets.make(source, replace(target, metrics=older))
    assert part.missing == [
        "metrics/braille-loihi.json has no rates, latency: run make deploy-artifacts"
    ]


def test_cores_and_boards_are_in_the_floor_plan_and_not_in_the_chart_too():
    limitless = {"resource": "neurons", "used": 8, "limit": None}
    board = {"resource": "Pico: RAM", "used": 8, "limit": 16}
    memory = {"core": 3, "kernel": 8, "kernel_memory": 32, "neuron": 2, "neuron_memory": 4}
    fit = {"target": "chip", "utilisation": [limitless, board], "cores": [memory]}
    assert targets.used("fit", fit) == []
    (picture,) = targets.used("fit", fit | {"utilisation": [limitless | {"limit": 32}, board]})
    assert [(r["resource"], r["share"]) for r in picture.spec["data"]["values"]] == [
        ("neurons", 0.25)
    ]


def test_integers_stand_beside_the_floats_without_the_chips_delays(project):
    """Rounding alone moves few spikes; one step too early or late moves nearly all of them.

    Lava's own rule (hardware.md): layer k of a chain spikes k steps later than by NIR's rule.
    """
    source = sources.read(project, tiny_task("braille", "v_reset"))
    run = runs.on_chip(source.bundle, next(t for t in source.targets if t.name == CHIP))
    golden = source.bundle.vectors
    assert run.samples == frozenset(range(1, golden["output"].shape[1]))
    steps = golden["output"].shape[0]
    for place, layer in enumerate(source.bundle.layers, 1):
        (target,) = (t for t in source.targets if t.name == CHIP)
        written = target.integers[f"spikes/{layer}"]
        np.testing.assert_array_equal(run.spikes[layer][:, 1:], written[place : place + steps])
        assert not run.spikes[layer][:, 0].any()
        # Where a neuron spiked it was reset to 0, in the same step: one more proof of the order.
        assert (run.membranes[layer][:, 1:][run.spikes[layer][:, 1:] != 0] == 0).all()


def test_integers_are_compared_with_the_chips_own_graph(project):
    """Its golden spikes, not the trained ones; a graph whose neurons delay is moved back by as much."""
    source = sources.read(project, tiny_task("braille", "v_reset"))
    (target,) = (t for t in source.targets if t.name == CHIP)
    first, last = source.bundle.layers
    own = {first: target.bundle.vectors[first] ^ 1, last: target.bundle.vectors[last]}
    bundle = replace(target.bundle, vectors=own)
    run = runs.on_chip(source.bundle, replace(target, bundle=bundle))
    np.testing.assert_array_equal(run.expected[first][:, 1:], own[first])
    assert not run.expected[first][:, 0].any()  # a sample that the chip has not
    # One step later, as by NIR's rule if the first layer has `spike_delay` 1.
    later = {
        layer: np.concatenate([np.zeros_like(array[:1]), array]) for layer, array in own.items()
    }
    nodes = bundle.plan.nodes
    delaying = replace(bundle.plan, nodes={**nodes, first: {**nodes[first], "spike_delay": 1}})
    moved = replace(target, bundle=replace(bundle, vectors=later, plan=delaying))
    again = runs.on_chip(source.bundle, moved)
    for layer in (first, last):
        np.testing.assert_array_equal(again.expected[layer], run.expected[layer])


def test_missing_spikes_are_counted_and_do_not_look_like_spikes():
    """By hand: the chip's graph spikes 3 times, the chip once of these and once more."""
    trained = np.ones((4, 1, 2), np.uint8)
    expected, chip = np.zeros_like(trained), np.zeros_like(trained)
    expected[[0, 1, 2], 0, 0] = 1
    chip[0, 0, 0], chip[3, 0, 1] = 5, 1  # 5 spikes in a step are one mark
    done = [
        runs.Run("trained", {"a": trained}, {}, {"a": trained}, frozenset({0})),
        runs.Run("integers", {"a": chip}, {}, {"a": expected}, frozenset({0}), "chip"),
    ]
    found = spikes.packed(done, "a", 0, np.array([0, 1]))
    assert found["counts"] == ["8 spikes", "2 spikes, 1 extra, 2 missing"]
    here, there = found["spiked"][1], found["expected"][1]
    bits = {(t, row): (m >> here & 1, m >> there & 1) for t, row, m in zip(
        *(found[key] for key in ("t", "row", "m")), strict=True)}  # fmt: skip
    assert {at for at, pair in bits.items() if pair == (1, 1)} == {(0, 0)}
    assert {at for at, pair in bits.items() if pair == (1, 0)} == {(3, 1)}
    assert {at for at, pair in bits.items() if pair == (0, 1)} == {(1, 0), (2, 0)}
    chart = spikes._rasters("task", done, {"a": np.array([0, 1])}, "a", "", [], None)
    drawn = chart.spec["layer"][0]["encoding"]
    look = {
        channel: dict(zip(*drawn[channel]["scale"].values(), strict=True))
        for channel in ("fill", "stroke", "shape")
    }
    assert look["fill"]["missing"] == "transparent" and look["fill"]["extra"] == "var(--bad)"
    for channel in ("stroke", "shape"):
        assert len(set(look[channel].values())) == 3
    assert drawn["size"]["condition"]["test"] == "datum.state == 'extra'"


def test_the_output_has_the_names_of_classes_and_the_winner_is_marked():
    """By hand: the trained network says B; a chip's neuron A spikes 5 times in one step, so it says A."""
    trained, chip = np.zeros((4, 1, 3), np.uint8), np.zeros((4, 1, 3), np.uint8)
    trained[:3, 0, 1] = 1
    trained[0, 0, 0] = 1
    chip[0, 0, 0], chip[:3, 0, 1] = 5, 1
    silent = np.zeros_like(chip)
    done = [
        runs.Run(name, {"a": array}, {}, {"a": trained}, frozenset({0}))
        for name, array in (("trained", trained), ("chip", chip), ("silent", silent))
    ]
    classes = ["A", "B", "C"]
    found = spikes.labels(done, "a", 0, np.arange(3), classes)
    said = [[one["text"] for one in found if one["lane"] == k] for k in range(3)]
    assert said == [
        ["A: 1", "◀ B: 3", "C: 0"],
        ["◀ A: 5", "B: 3", "C: 0"],
        ["A: 0", "B: 0", "C: 0"],
    ]
    assert [one["row"] for one in found if one["most"]] == [1, 0]
    hidden = spikes.labels(done, "a", 0, np.array([0, 1, 2]), [])
    assert {one["text"] for one in hidden} == {"neuron 0", "neuron 2"}
    # Room of its own above and below the rows: none is on the border of its band.
    chart = spikes._rasters("task", done, {"a": np.arange(3)}, "a", "a", classes, None)
    assert chart.spec["layer"][0]["encoding"]["yOffset"]["scale"]["padding"] > 0
    assert chart.spec["data"]["values"][0]["labels"] == found


def test_a_chip_with_a_profile_of_its_own_is_found_by_the_profiles_name(project, tmp_path):
    task = tiny_task("braille", "v_reset")
    (target,) = sources.read(project, replace(task, targets={CHIP: task.targets[CHIP]})).targets
    for name in ("metrics/braille-loihi.json", f"models/braille/deploy/{CHIP}"):
        copy = shutil.copytree if (project / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(project / name, tmp_path / name.replace(CHIP, "mine"))
    manifest = tmp_path / "models" / "braille" / "deploy" / "mine" / "manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"target": {"name": "mine"}}))
    own = tmp_path / "mine.yaml"
    shutil.copy(profile.FOLDER / f"{CHIP}.yaml", own)
    (mine,) = sources.read(tmp_path, replace(task, targets={str(own): task.targets[CHIP]})).targets
    assert (mine.name, mine.metrics, mine.fit) == ("mine", target.metrics, target.fit)
    generic = sources.read(project, task).bundle
    assert runs.on_chip(generic, mine).name == "integers: mine"


def test_the_raster_has_a_band_for_the_chip(shown):
    found = shown.charts["raster-braille"]["data"]["values"]
    assert {tuple(r["lanes"]) for r in found if r["sample"] == "0"} == {(0, 1, 2)}
    assert {tuple(r["lanes"]) for r in found if r["sample"] == "1"} == {(0, 1, 2, 3)}
    assert any(m >> r["spiked"][3] & 1 for r in found if r["sample"] == "1" for m in r["m"])
    named = {r["layer"] for r in found for one in r["labels"] if one["text"].startswith("A: ")}
    assert len(named) == 1  # the output's


def test_the_matrix_is_shown_with_its_reasons(shown):
    verdicts = rows(shown.tables["readers", "Verdicts on every bundle"])
    assert verdicts["norse 1.1.0"] == ["explained: 50\u00a0%, 17 differing spikes"]
    assert verdicts["snntorch 1.0.0, profile snntorch"] == ["refused"]
    of = "models/braille/deploy/generic, 20 of 60 test samples"
    why = rows(shown.tables["readers", f"Readers of {of}"])
    rule = "the recurrent bias is missing at t = 0: by that rule 0 differ"
    assert why["norse 1.1.0"] == ["explained", 0.5, "10 of 20", 17, 2400, rule]
    assert why["snntorch 1.0.0, profile snntorch"][-1] == "ValueError: <no> recurrence"
    # nmnist was not made for its chips.
    for name in ("braille/deploy/loihi", "nmnist/deploy/generic"):
        assert f"no reader was given models/{name}: run make peers" in shown.missing
    bundle = "models/nmnist/deploy/speck-2f"
    for path in (
        "metrics/nmnist-speck-2f.json",
        f"{bundle}/fit.json",
        f"{bundle}/test_data_set_0/integer_vectors.npz",
    ):
        assert f"{path} is not there: run make deploy-artifacts" in shown.missing


def test_a_tick_is_for_a_faithful_reader_alone() -> None:
    """25 of 175 right is no success, and a reader that ran nothing has shown nothing."""
    few = {"accuracy": 25 / 175, "correct": 25, "n": 175, "wilson95": [0.0987, 0.2024]}
    ran = {"accuracy": few, "differing_spikes": 590020, "entries": 2016000}
    cells = {verdict: readers._verdict({"verdict": verdict, **ran}) for verdict in support.VERDICTS}
    assert {verdict for verdict, cell in cells.items() if "✓" in cell} == {"faithful"}
    assert cells["explained"] == "explained: 14.29\u00a0%, 590\u202f020 differing spikes"
    assert cells["wrong"].startswith("✗ wrong: 14.29\u00a0%")
    assert readers._verdict({"verdict": "read"}) == "read, nothing was run"
    assert readers._verdict({"verdict": "refused"}) == "refused"


def test_verdicts_on_another_file_are_not_shown(project, tmp_path, read_page):
    copy = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    path = copy / "bench" / "peers" / "matrix.json"
    (entry,) = json.loads(path.read_text())
    path.write_text(json.dumps([entry | {"model_nir_sha256": "of another file"}]))
    page.write(copy, tmp_path / "page.html")
    shown = read_page(tmp_path / "page.html")
    assert not [name for name in shown.tables if name[0] == "readers"]
    bundle = "models/braille/deploy/generic"
    said = f"{bundle} is no longer the file that was read, so none of it is shown: run make peers"
    assert said in shown.missing


def test_a_stream_without_a_reset_is_shown_where_it_was_measured() -> None:
    assert targets._stream({}) == []  # metrics of before it was measured
    found = {"n": 200, "correct": 3, "with_reset": 196, "without_leak": ["if_1", "if_3"]}
    (table,) = targets._stream({"stream": found})
    shown = {row[0]: str(getattr(row[1], "text", row[1])) for row in table.rows}
    assert shown["right without a reset between them"] == "3" and shown["right with one"] == "196"
    assert shown["layers without leak or floor"] == "if_1, if_3"
    (table,) = targets._stream({"stream": {**found, "without_leak": []}})
    assert table.rows[-1][1] == "none"
    (table,) = targets._stream({"stream": found, "leak": {"if_1": 0.25}})
    what, share = table.rows[-1]
    assert what == "membrane that `if_1` loses in a step, on the chip alone"
    assert share.text == "25 %"


def test_chips_with_one_network_have_their_spikes_and_membranes_once() -> None:
    """By hand: A and B spike alike, C does not; each run still has the numbers that are its own."""
    trained = np.zeros((3, 1, 2), np.uint8)
    trained[0, 0, 0] = trained[2, 0, 1] = 1
    other = trained.copy()
    other[1, 0, 0] = 1
    membrane = np.array([0.25, -0.5, 0.12345])[:, None, None] * np.array([1.0, 2.0])
    done = [
        runs.Run("trained", {"a": trained}, {}, {"a": trained}, frozenset({0})),
        runs.Run("A", {"a": other}, {"a": membrane}, {"a": trained}, frozenset({0}), "A"),
        runs.Run("B", {"a": other}, {"a": membrane}, {"a": trained}, frozenset({0}), "B"),
        runs.Run("C", {"a": trained}, {"a": membrane}, {"a": other}, frozenset({0}), "C"),
    ]
    found = spikes.packed(done, "a", 0, np.array([0, 1]))
    assert found["spiked"] == [0, 1, 1, 0] and found["expected"] == [0, 0, 0, 1]
    assert list(zip(found["t"], found["row"], found["m"], strict=True)) == [
        (0, 0, 0b11), (1, 0, 0b10), (2, 1, 0b11),
    ]  # fmt: skip
    said = ["2 spikes", *2 * ["3 spikes, 1 extra, 0 missing"], "2 spikes, 0 extra, 1 missing"]
    assert found["counts"] == said
    # C has the membranes of A and B, and other spikes: it is a trace of its own.
    first, second = spikes.traces(done, "a", 0, 0, 0)
    assert first["runs"] == ["A", "B"] and second["runs"] == ["C"]
    assert first["targets"] == ["A", "B"] and (first["s"], second["s"]) == ("110", "100")
    assert first["v"] == second["v"] == [250, -500, 123]


def test_a_card_has_what_each_step_costs_and_the_tightest_limit(shown, project) -> None:
    """60 % of the float network, 45 % after PTQ, 55 % after QAT: `METRICS`."""
    card = shown.cards[f"overview-braille-{CHIP}"]
    assert card["steps"] == [0.6, 0.45, 0.55]
    assert card["lost"] == 5 and card["right"] == "11 of 20" and card["95 %"] == "25 % to 75 %"
    assert card["said"][:3] == ["float", "PTQ", "QAT"]
    fit = json.loads((project / "models" / "braille" / "deploy" / CHIP / "fit.json").read_text())
    shares = {r["resource"]: r["used"] / r["limit"] for r in fit["utilisation"] if r["limit"]}
    source = sources.read(project, tiny_task("braille", "v_reset"))
    (target,) = (t for t in source.targets if t.name == CHIP)
    found = story.bars(target)
    assert {bar.what: bar.share.value for bar in found} == shares
    assert found[0].text.endswith("of 1\u202f000\u202f000") and found[0].tightest  # Loihi's neurons


def test_a_board_that_is_too_small_is_not_the_tightest_limit(project) -> None:
    """By hand: the network needs 90 of the small board's 50 bytes, and 90 of the large one's 100."""
    rows = [
        {"resource": f"{board}: RAM", "used": 90, "limit": limit}
        for board, limit in (("small", 50), ("large", 100))
    ]
    slow = {"board": "large", "most_share": 2.5, "most_us": 2500.0}
    fit = {"utilisation": rows, "cores": [], "verdict": "fits", "fits": True}
    real_time = {"boards": [slow], "step_us": 1000}
    target = sources.Target("chip", {"real_time": real_time}, fit, None, None)
    ram, time = story.bars(target)
    assert (ram.what, ram.share.value, ram.text) == ("large: RAM", 0.9, "90 of 100 bytes")
    # A bar of more than all is as wide as its place, red, and says how much.
    assert time.over and time.width == 100 and time.share.text == "250 %"
    refused = replace(target, fit=fit | {"verdict": REFUSED}, metrics=None)
    assert story.bars(refused)[0].what == "small: RAM"


def test_ptq_that_is_kept_is_not_called_qat() -> None:
    chosen = METRICS["selection"] | {"epoch": 0}
    whats = [what for what, _ in story._steps(METRICS | {"selection": chosen})]
    assert whats == ["float", "PTQ", "PTQ kept"]


def test_weights_before_and_after_quantisation_are_in_the_same_bins(shown, project) -> None:
    """The chip's are those of its own bundle; in bins of their own the two would look alike."""
    source = sources.read(project, tiny_task("braille", "v_reset"))
    (target,) = (t for t in source.targets if t.name == CHIP)
    bars = shown.charts["weights-braille"]["data"]["values"]
    nodes = {bar["node"] for bar in bars}
    for node in nodes:
        edges, counts = {}, {}
        for run in ("", CHIP):
            own = [bar for bar in bars if (bar["node"], bar["chip"]) == (node, run)]
            edges[run] = [bar["low"] for bar in own] + [own[-1]["high"]]
            counts[run] = [bar["count"] for bar in own]
        assert edges[""] == edges[CHIP]
        for run, bundle in (("", source.bundle), (CHIP, target.bundle)):
            weight = bundle.plan.nodes[node]["weight"]
            wanted = [
                int(((weight >= low) & (weight < high)).sum())
                for low, high in zip(edges[run][:-1], edges[run][1:], strict=True)
            ]
            wanted[-1] += int((weight == edges[run][-1]).sum())
            assert counts[run] == wanted
    assert len(nodes) == 3


def test_kernels_are_pictures_of_their_weights() -> None:
    """By hand: a column for each output, blue below 0, white 0, orange above, darkest the largest."""
    weight = np.zeros((2, 1, 1, 2))
    weight[0, 0, 0] = [-2.0, 0.0]
    weight[1, 0, 0] = [1.0, 2.0]
    found = histograms.kernels("conv", weight)
    with Image.open(io.BytesIO(base64.b64decode(found.base64))) as opened:
        pixels = np.asarray(opened.convert("RGB"))[:: histograms.SCALE, :: histograms.SCALE]
    assert pixels.shape == (1, 5, 3)  # a line between the outputs
    assert pixels[0, :2].tolist() == [[11, 98, 168], [255, 255, 255]]
    assert pixels[0, 4].tolist() == [179, 72, 11]
    assert pixels[0, 3].tolist() == [217, 164, 133]  # half way to white, from orange
    assert "2 of 2 outputs" in found.alt and "darkest 2" in found.alt


def test_costs_have_units_and_their_exact_value() -> None:
    counted = {
        "Footprint": 39594,
        "ConnectionSparsity": 0.0004,
        "SynapticOperations": {"Dense": 2.5},
    }
    shown = {
        row[0]: row[1] for row in cost.table("", counted | {"energy": {"mark": "modelled"}}).rows
    }
    assert shown["Footprint"] == Number(39594, "39\u202f594 bytes")
    assert shown["ConnectionSparsity"] == Number(0.0004, "0.04 %")
    assert shown["SynapticOperations.Dense"] == Number(2.5, "2.5 a recording")
    assert shown["energy.mark"] == "modelled"
    said = cost.parameters({"parameters_stored": 30, "synapses": 1200}, 34)
    assert said.startswith(
        "Parameters: 30 weights are stored; NeuroBench's ParameterCount has 4 biases"
    )
    assert "1\u202f200 synapses" in said


def test_chips_with_the_same_kernels_share_a_picture():
    """By hand: one kernel of 1 and -2; -2 is the darkest, blue, and 1 halfway from white to orange."""
    weight = np.array([[[[1.0, -2.0]]]])
    chips = {
        "a": {"conv": weight},
        "b": {"conv": 2 * weight},
        "c": {"conv": weight.copy()},
        "d": {},
    }
    found = histograms.on_chips("conv", chips)
    names = [picture.alt.partition(":")[0] for picture in found]
    assert names == ["Kernels of conv in the bundle of a, c", "Kernels of conv in the bundle of b"]
    assert [picture.alt.rpartition(" ")[2] for picture in found] == ["2", "4"]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[0].base64))).convert("RGB"))
    assert image[0, -1].tolist() == histograms.BLUE.tolist()
    halfway = (255 + histograms.ORANGE) / 2  # to a whole number
    assert np.abs(image[0, 0] - halfway).max() <= 0.5
