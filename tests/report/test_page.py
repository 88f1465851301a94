"""The page says what the files say, says what is missing, and needs nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from end_to_end import ROOT, tiny_task

from pipeline.evaluation.raster_plot import MOST_NEURONS
from pipeline.report import page, runs, sources, status, training
from pipeline.report.__main__ import main
from spyx_nir.errors import UserError, printable

TASKS = ("braille", "nmnist")


@pytest.fixture(scope="module")
def shown(written, read_page):
    return read_page(written)


def files(root, task):
    folder = root / "models" / task
    (bundle,) = (path.parent for path in (folder / "deploy").rglob("manifest.json"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    with np.load(bundle / manifest["vectors"]["file"]) as stored:
        vectors = dict(stored)
    documents = [json.loads((folder / f"{name}.json").read_text()) for name in ("train", "parity")]
    return *documents, manifest, vectors


def row(table, first):
    (found,) = [cells[1:] for cells in table if cells[0] == first]
    return found


@pytest.mark.parametrize("task", TASKS)
def test_numbers_are_those_of_the_files(shown, small_project, task):
    train, parity, manifest, _ = files(small_project, task)
    test = train["accuracy"]["test"]
    card = shown.cards[f"overview-{task}"]
    assert card == {
        "float network, test set": test["accuracy"],
        "right": f"{test['correct']} of {test['n']} (0.61 % to 17.18 %)",
        "parity": parity["verdict"],
        "differing spikes, re-imported": parity["differing_spikes"]["reimported"],
        "differing spikes, reference": parity["differing_spikes"]["reference"],
        "neurons": manifest["neurons"],
        "stored weights": manifest["parameters_stored"],
        "synapses": manifest["synapses"],
    }
    accuracy = shown.tables[f"{task}-accuracy", f"Accuracy of {task}, with Wilson's 95 % interval"]
    for run, text in (("trained", "trained, float32"), ("reference", "reference, float64")):
        entry = parity["accuracy"][run]
        right = f"{entry['correct']} of {entry['n']}"
        assert row(accuracy, f"test: {text}") == [entry["accuracy"], right, *entry["wilson95"]]
    layers = shown.tables[
        f"{task}-parity", "By layer: spikes that differ, and how far membranes are apart"
    ]
    for layer in parity["layers"]:
        assert row(layers, layer["node"]) == [
            layer["entries"],
            layer["spike_rate"],
            *(layer["differing_spikes"][run] for run in ("reimported", "reference")),
            *(layer["max_membrane_difference"][run] for run in ("reimported", "reference")),
        ]
    cost = shown.tables[
        f"{task}-cost", "Cost of the float graph by NeuroBench's definitions, means per recording"
    ]
    counted = manifest["metrics"]["neurobench"]
    assert row(cost, "MembraneUpdates") == [counted["MembraneUpdates"]]
    done = counted["SynapticOperations"]
    for key in ("Effective_MACs", "Effective_ACs", "Dense"):
        assert row(cost, f"SynapticOperations.{key}") == [done[key]]


@pytest.mark.parametrize("task", TASKS)
def test_rasters_are_the_golden_vectors(shown, small_project, task):
    *_, manifest, vectors = files(small_project, task)
    rows = shown.charts[f"raster-{task}"]["data"]["values"]
    layers = {r["layer"] for r in rows}
    assert layers == {n["node"] for n in manifest["nodes"] if "neurons" in n}
    assert any(r["t"] for r in rows)
    for r in rows:
        golden = vectors[r["layer"]][:, int(r["sample"])].reshape(manifest["n_steps"], -1)
        if golden.shape[1] <= MOST_NEURONS:
            marks = zip(r["t"], r["row"], r["m"], strict=True)
            spikes = {(t, r["neurons"][row]) for t, row, m in marks if m & 1}
            assert spikes == set(zip(*map(np.ndarray.tolist, np.nonzero(golden)), strict=True))
        # The bundle is verified: all backends agree in its vectors, so nothing is marked.
        assert set(r["m"]) <= {1} and r["spiked"] == r["expected"] == [0, 0, 0]


@pytest.mark.parametrize("task", TASKS)
def test_charts_hold_the_files_numbers(shown, small_project, task):
    *_, manifest, vectors = files(small_project, task)
    curve = shown.charts[f"curve-loss-{task}"]["data"]["values"]
    assert [(r["epoch"], r["set"], r["value"]) for r in curve] == [
        (1, "train", 1.5), (1, "validation", 1.25), (2, "train", 0.75), (2, "validation", 0.5),
    ]  # fmt: skip
    cells = shown.charts[f"confusion-{task}"]["data"]["values"]
    first, second = manifest["classes"][:2]
    assert len(cells) == len(manifest["classes"]) ** 2
    assert {(c["actual"], c["predicted"]): (c["samples"], c["share"]) for c in cells if c["samples"]} == {
        (first, first): (1, 0.5), (first, second): (1, 0.5), (second, second): (1, 1.0),
    }  # fmt: skip
    for node in manifest["nodes"]:
        for kind, size in (("weights", node.get("weights")), ("rates", node.get("neurons"))):
            if size:
                bars = shown.charts[f"{kind}-{task}"]["data"]["values"]
                own = [b for b in bars if b["node"] == node["node"] and not b.get("chip")]
                assert sum(b["count"] for b in own) == size
    rates = shown.tables[f"{task}-rates", "Spikes per step and neuron over the golden vectors"]
    for name, spikes in vectors.items():
        if name not in ("input", "output"):
            # A mean of means, in float64.
            assert row(rates, name)[1] == pytest.approx(spikes.sum() / spikes.size, rel=1e-12)


def test_few_errors_are_not_as_pale_as_none(small_project):
    """2 errors of 1000 are 0.2 % of their class, nearly white by share; errors have a scale."""
    pairs = {("A", "A"): 990, ("A", "B"): 2, ("A", "C"): 8, ("B", "B"): 4, ("C", "C"): 1}
    rows = [{"actual": a, "predicted": p} for (a, p), n in pairs.items() for _ in range(n)]
    source = sources.read(small_project, tiny_task("braille", "v_reset"))
    part = training.confusion(replace(source, bundle=None, confusion=rows))
    shades = {
        (r["actual"], r["predicted"]): r["shade"] for r in part.charts[0].spec["data"]["values"]
    }
    assert shades["A", "A"] == 0.99 and shades["B", "B"] == 1
    assert shades["B", "A"] == 0  # no error
    assert shades["A", "B"] == pytest.approx(0.2 + 0.8 * 2 / 8)
    assert shades["A", "C"] == 1
    assert part.charts[0].label.endswith("; red are errors, 8 where darkest")


def test_membranes_are_those_after_the_reset(shown, small_project):
    """The network resets to `v_reset` 0: a membrane is 0 where the neuron spikes, else not above 1."""
    *_, vectors = files(small_project, "braille")
    chart = shown.charts["membrane-braille"]
    traces = chart["data"]["values"]
    assert traces
    for trace in traces:
        golden = vectors[trace["layer"]][:, int(trace["sample"]), trace["neuron"]]
        membranes = np.array(trace["v"]) / 1000
        assert "reference" in trace["runs"]
        assert (membranes[golden != 0] == 0).all()
        assert (membranes <= 1).all()
        assert trace["s"] == "".join(map(str, golden.astype(int)))
    # The title has the neuron's own index, of which the choice is the place.
    for layer in {trace["layer"] for trace in traces}:
        places = {int(t["place"]): t["neuron"] for t in traces if t["layer"] == layer}
        wanted = f'"{layer}": {[places[k] for k in range(len(places))]}'
        assert wanted in chart["title"]["text"]["expr"]
        spikes = vectors[layer].reshape(-1, vectors[layer].shape[-1]).sum(axis=0, dtype=int)
        assert places[0] == spikes.argmax()


@pytest.mark.parametrize(
    "reset, after",
    [
        ("v_reset", [0.5, -0.25, -0.25, 1.0]),
        ("subtract", [0.5, 0.5, 2.0, 1.0]),
        ("subtract_after_decay", [0.5, 1.5, 3.0, 1.0]),
        ("none", [0.5, 1.5, 3.0, 1.0]),
    ],
)
def test_the_reset_is_that_of_the_contract(reset, after):
    """docs/contract.md, what the next step starts from; a spike is strictly above the threshold 1."""
    node = {"v_threshold": np.array([1.0]), "v_reset": np.array([-0.25]), "reset": reset}
    u = np.array([0.5, 1.5, 3.0, 1.0]).reshape(4, 1, 1)
    assert runs.after_reset(node, u).ravel().tolist() == after


@pytest.mark.parametrize("task, step_ms", [("braille", 5.0), ("nmnist", 21.0)])
def test_steps_have_their_milliseconds(shown, task, step_ms):
    for kind in ("raster", "membrane"):
        x = shown.charts[f"{kind}-{task}"]["layer"][0]["encoding"]["x"]
        assert f"datum.value * {step_ms}" in x["axis"]["labelExpr"]
        assert "' ms'" in x["axis"]["labelExpr"]


def test_the_page_needs_nothing_else(shown, written):
    files = {link for link in shown.links if not link.startswith(("#", "data:"))}
    assert files and all((written.parent / file).is_file() for file in files)
    assert "default-src 'none'" in shown.text
    assert len(shown.ids) == len(set(shown.ids))
    assert set(shown.charts) <= set(shown.ids)
    assert {link[1:] for link in shown.links if link.startswith("#")} <= set(shown.ids)
    assert written.stat().st_size <= 5_000_000  # the size that the report promises


def test_the_same_files_give_the_same_page(small_project, written):
    again = written.with_name("again.html")  # its links lead from the same folder
    page.write(small_project, again)
    assert again.read_bytes() == written.read_bytes()


def test_a_training_without_validation_recordings_is_shown(small_project, tmp_path, read_page):
    copy = shutil.copytree(
        small_project, tmp_path / "copy", ignore=shutil.ignore_patterns("report")
    )
    folder = Path(copy) / "models" / "nmnist"
    told = json.loads((folder / "train.json").read_text())
    for key in ("accuracy", "loss"):
        del told[key]["validation"]
    (folder / "train.json").write_text(json.dumps(told))
    (folder / "curves.csv").write_text("epoch,train_loss,train_accuracy\n1,1.5,0.25\n2,0.75,0.5\n")
    page.write(Path(copy), tmp_path / "page.html")
    shown = read_page(tmp_path / "page.html")
    caption = "Accuracy of nmnist, with Wilson's 95 % interval"
    rows = shown.charts["curve-loss-nmnist"]["data"]["values"]
    assert [(r["epoch"], r["set"], r["value"]) for r in rows] == [
        (1, "train", 1.5),
        (2, "train", 0.75),
    ]
    runs = [cells[0] for cells in shown.tables["nmnist-accuracy", caption]]
    assert "train: stored epoch" in runs and "validation: stored epoch" not in runs


@pytest.mark.parametrize("same", [pytest.param(True, marks=pytest.mark.full), False])
def test_seconds_are_shown_for_the_weights_they_were_measured_on(
    same, small_project, tmp_path, read_page
):
    copy = shutil.copytree(
        small_project, tmp_path / "copy", ignore=shutil.ignore_patterns("report")
    )
    folder = Path(copy) / "models" / "nmnist"
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    timing = {"seconds": 71.0, "samples_per_s": 43.0}
    timing["weights_sha256"] = digest if same else "0" * 64
    (folder / "timing.json").write_text(json.dumps(timing))
    page.write(Path(copy), tmp_path / "page.html")
    text = read_page(tmp_path / "page.html").text
    assert "weights of epoch 2 of 2" in text
    assert ("Training took 71 s" in text, "43 samples a second" in text) == (same, same)
    (folder / "weights.safetensors").unlink()  # as in a clone, where nothing has been trained
    page.write(Path(copy), tmp_path / "page.html")
    assert "Training took" not in read_page(tmp_path / "page.html").text


def test_what_is_missing_is_said_with_the_command(tmp_path, read_page, monkeypatch, capsys):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["report"])
    assert main() == 0
    shown = read_page(tmp_path / "report" / "index.html")
    assert shown.charts == {}
    for task in TASKS:
        for file in ("train.json", "parity.json", "curves.csv", "confusion.csv"):
            assert f"models/{task}/{file} is not there: run make repro" in shown.missing
        for file in ("model.nir", "manifest.json", "test_data_set_0/vectors.npz"):
            wanted = f"models/{task}/deploy/generic/{file} is not there: run make deploy-artifacts"
            assert wanted in shown.missing
    assert "dvc.lock names no stage: run make repro" in shown.missing


@pytest.mark.parametrize(
    "file, content, said",
    [
        ("train.json", "{", "not readable as JSON"),
        ("train.json", "[" * 100_000, "not readable as JSON"),
        ("train.json", " " * (16 << 20) + "{}", "larger than 16777216 bytes"),
        ("parity.json", "[1]", "a JSON dict is needed, got list"),
        ("parity.json", '{"accuracy": {}}', "`trained` is missing; run make repro"),
        ("curves.csv", "epoch,train_loss\n1,much\n", "no table of numbers"),
        ("curves.csv", "epoch,train_loss\n1,2.5\n", "`train_accuracy` is missing; run make repro"),
        ("confusion.csv", "actual\n1\n", "`predicted` is missing; run make repro"),
        ("confusion.csv", "actual,predicted\n\xff,1\n", "not readable as CSV"),
        ("vectors.npz", "no archive", "not readable"),
        ("vectors.npz", "PK\x03\x04" + 40 * "\x00", "not readable"),
        ("vectors.npz", "PK\x05\x06" + 18 * "\x00", "`input`"),
        ("manifest.json", "{}", "`vectors` is missing; run make repro"),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_written(
    small_project, tmp_path, file, content, said, monkeypatch, capsys
):
    shutil.copytree(small_project, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr("sys.argv", ["report"])
    (broken,) = Path("models/nmnist").rglob(file)
    broken.write_text(content, encoding="latin-1")
    assert main() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert str(broken) in error and said in error
    assert not (tmp_path / "copy" / "report").exists()


@pytest.mark.parametrize(
    "name",
    [
        "</script><img src=x onerror=alert(1)>",
        *(
            pytest.param(name, marks=pytest.mark.full)
            for name in ("<script>alert(1)</script>", "a\u202eb", "=1+1")
        ),
    ],
)
def test_names_of_classes_are_text(small_project, tmp_path, name, monkeypatch, read_page):
    """As a person, or whoever made the recordings, may call a class."""
    shutil.copytree(small_project, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    for path in (tmp_path / "copy").rglob("manifest.json"):
        facts = json.loads(path.read_text())
        first = facts["classes"][0]
        facts["classes"][0] = name
        path.write_text(json.dumps(facts))
        table = path.parents[2] / "confusion.csv"
        table.write_text(table.read_text().replace(f"{first},", f"{name},"))
    monkeypatch.chdir(tmp_path / "copy")
    page.write(Path(), Path("report.html"))
    text = Path("report.html").read_text()
    shown = read_page(Path("report.html"))
    assert "<script>alert" not in text and "<img src=x" not in text
    assert "\u202e" not in text
    (table,) = [
        rows for (part, caption), rows in shown.tables.items() if "Test samples by" in caption
    ][:1]
    assert printable(name) in [row[0] for row in table]


LOCK = """
schema: '2.0'
stages:
  deploy@nmnist:
    cmd: x
    deps: [{path: models/nmnist/model.nir}, {path: models/nmnist/weights}]
    outs: [{path: models/nmnist/deploy}]
  train@nmnist:
    cmd: x
    outs: [{path: models/nmnist/weights}]
  export@nmnist:
    cmd: x
    deps: [{path: models/nmnist/weights}]
    outs: [{path: models/nmnist/model.nir}]
  target@nmnist-loihi:
    cmd: x
    deps: [{path: models/nmnist/model.nir}]
    outs: [{path: models/nmnist/loihi}]
  train@nmnist_2:
    cmd: x
    outs: [{path: models/nmnist_2/weights}]
"""


def test_the_pipeline_is_drawn_from_the_lock(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    changed = {
        "export@nmnist": [{"changed deps": {"models/nmnist/weights": "modified"}}],
        "deploy@nmnist": ["always changed"],
    }
    found = status.stages(tmp_path, changed)
    lines = status.lines(found, ["nmnist", "braille", "nmnist_2"])
    assert [(task, [[s.title for s in column] for column in columns]) for task, columns in lines] == [
        ("nmnist", [["train"], ["export"], ["deploy", "target loihi"]]), ("nmnist_2", [["train"]]),
    ]  # fmt: skip
    by_name = {stage.name: stage for stage in found}
    assert by_name["train@nmnist"].state == "done"
    assert by_name["export@nmnist"].state == "stale"
    assert by_name["export@nmnist"].why == ["changed deps: models/nmnist/weights modified"]
    assert by_name["deploy@nmnist"].why == ["always changed", "export@nmnist is out of date"]
    assert {s.state for s in status.stages(tmp_path, None)} == {"unknown"}
    (tmp_path / "dvc.lock").write_text("stages: {train@nmnist: 1}")
    with pytest.raises(UserError, match=r"dvc\.lock: not a lock file of DVC; run make repro"):
        status.stages(tmp_path, None)


def test_what_is_behind_a_stage_that_is_out_of_date_is_too(tmp_path):
    """A changed parameter of training: DVC names train alone, for the files behind it are unchanged."""
    (tmp_path / "dvc.lock").write_text(LOCK)
    changed = {"train@nmnist": [{"changed deps": {"params.yaml": {"tasks.nmnist.lr": "modified"}}}]}
    found = status.stages(tmp_path, changed)
    assert {stage.name: stage.state for stage in found} == {
        "train@nmnist": "stale",
        "export@nmnist": "stale",
        "deploy@nmnist": "stale",
        "target@nmnist-loihi": "stale",
        "train@nmnist_2": "done",
    }
    (target,) = (stage for stage in found if stage.name == "target@nmnist-loihi")
    assert target.why == ["export@nmnist is out of date"]
    lines = status.lines(found, ["nmnist", "nmnist_2"])
    assert status.banner(lines).startswith(
        "Out of date: nmnist: train, export, deploy, target loihi."
    )
    assert status.banner(status.lines(status.stages(tmp_path, {}), ["nmnist", "nmnist_2"])) == ""


def test_the_page_says_on_top_that_it_shows_an_earlier_run(
    small_project, tmp_path, read_page, monkeypatch
):
    copy = shutil.copytree(
        small_project, tmp_path / "copy", ignore=shutil.ignore_patterns("report")
    )
    parity = "  parity@nmnist: {cmd: x, deps: [{path: models/nmnist/model.nir}]}\n"
    (copy / "dvc.lock").write_text(LOCK + parity)
    monkeypatch.setattr(status, "ask", lambda root: contextlib.nullcontext())
    monkeypatch.setattr(status, "answer", lambda asked: ({"train@nmnist": []}, ""))
    page.write(copy, tmp_path / "page.html")
    text = read_page(tmp_path / "page.html").text
    banner = text.index('<p class="banner">Out of date: nmnist: train, ')
    assert banner < text.index('id="overview"')
    cards = read_page(tmp_path / "page.html").cards
    for task, age in (("nmnist", ", out of date"), ("braille", "")):
        assert cards[f"overview-{task}"]["parity"] == files(copy, task)[1]["verdict"] + age


def test_without_dvc_the_state_is_unknown_and_the_reason_said(shown):
    assert any(line.startswith("The state of the stages is not known: ") for line in shown.missing)


@pytest.mark.full
@pytest.mark.parametrize("task", TASKS)
def test_dvc_shows_the_same_numbers(shown, small_project, tmp_path, task):
    copy = tmp_path / "copy"
    shutil.copytree(small_project, copy, ignore=shutil.ignore_patterns("report"))
    dvc = [sys.executable, "-m", "dvc"]
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=copy, env=environment, check=True)
    names = [f"models/{task}/{name}.json" for name in ("train", "parity")]
    asked = subprocess.run(
        [*dvc, "metrics", "show", "--json", *names],
        cwd=copy, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    (answer,) = json.loads(asked.stdout).values()
    train, parity = (answer["data"][name]["data"] for name in names)
    card = shown.cards[f"overview-{task}"]
    assert card["float network, test set"] == train["accuracy"]["test"]["accuracy"]
    assert card["differing spikes, re-imported"] == parity["differing_spikes"]["reimported"]
    accuracy = shown.tables[f"{task}-accuracy", f"Accuracy of {task}, with Wilson's 95 % interval"]
    for run in ("trained", "reference"):
        cells = row(accuracy, f"test: {run}, {'float64' if run == 'reference' else 'float32'}")
        assert cells[0] == parity["accuracy"][run]["accuracy"]


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_can_be_told_from_the_paper():
    """WCAG 2.2: text 4.5:1 (1.4.3), what a chart needs to be understood 3:1 (1.4.11)."""
    text = (ROOT / "pipeline" / "report" / "templates" / "style.css").read_text()
    themes = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in text.split(":root")[1:]]
    assert len(themes) == 3  # light, dark, print
    for theme in themes:
        for name, colour in theme.items():
            for ground in ("paper", "raised"):
                a, b = sorted((luminance(colour), luminance(theme[ground])), reverse=True)
                least = {"paper": 0, "raised": 0, "line": 0, "on-c1": 0}.get(name, 3)
                least = 4.5 if name in ("ink", "soft", "c1") else least
                assert (a + 0.05) / (b + 0.05) >= least, (name, colour, ground)
        a, b = sorted((luminance(theme["c1"]), luminance(theme["on-c1"])), reverse=True)
        assert (a + 0.05) / (b + 0.05) >= 4.5


@pytest.mark.skipif(
    not all((ROOT / "models" / task / "deploy" / "generic").is_dir() for task in TASKS),
    reason="the tasks are not built here: make deploy-artifacts",
)
def test_the_page_of_the_built_tasks_is_below_five_megabytes(tmp_path):
    page.write(ROOT, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 5_000_000
