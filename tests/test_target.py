"""A task's network for a chip, from parity to a bundle, on tiny recordings; what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from end_to_end import GUARD, ROOT, link_to_cache, tiny_target

from bench.silicon import cortex_m
from bench.silicon.pty_bridge import Bridge
from pipeline import params, schema
from pipeline import target as stage
from pipeline.bundle import card
from spyx_nir import files
from spyx_nir.converter import file
from spyx_nir.errors import UserError, exit_status
from spyx_nir.hardware import profile, quantise, simulate
from spyx_nir.hardware.families.integer import verify_c
from spyx_nir.meaning import plan

PAIRS = [
    ("braille", "xylo-audio-2"), ("braille", "loihi"), ("nmnist", "speck-2f"), ("braille", "cortex-m"),
    *(pytest.param("nmnist", chip, marks=pytest.mark.full) for chip in ("loihi", "cortex-m")),
]  # fmt: skip

BOARDS = ["Makefile", "board.h", "main.c", *(
    f"{board}/{name}" for board in ("nucleo-f446re", "rp2040-pico") for name in ("board.c", "link.ld")
)]  # fmt: skip
C = [*(f"boards/{name}" for name in BOARDS), "verify_c.py", "bringup.py", "live.py", "protocol.py", *(
    f"c/{name}" for name in (
        "model.h", "model.c", "weights.h", "weights.c", "serial.h", "serial.c", "host.c",
    )
)]  # fmt: skip


@pytest.fixture
def project(tiny_run, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_run("braille", "v_reset"), tmp_path / "project"))


def arrays(bundle: Path) -> dict[str, np.ndarray]:
    with np.load(bundle / "test_data_set_0" / "integer_vectors.npz", allow_pickle=False) as found:
        return dict(found)


def integers_verified(bundle: Path) -> subprocess.CompletedProcess[str]:
    """verify_integers.py, in a Python that can import the standard library and NumPy alone."""
    script = str(bundle / "verify_integers.py")
    command = [sys.executable, "-I", "-c", GUARD.replace(', "h5py"', ""), script]
    return subprocess.run(command, capture_output=True, text=True)


# -------------------------------------------------------------------------------------------- bundles


@pytest.mark.parametrize(("task", "target"), PAIRS)
def test_a_bundle_is_whole_and_verifies(tiny_bundle, task, target):
    bundle = tiny_bundle(task, target) / "models" / task / "deploy" / target
    found = {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}
    assert found == {
        "model.nir", "model-nir-1.0.4.nir", "fit.json", "BRINGUP.md", "manifest.json", "MODEL_CARD.md",
        "SHA256SUMS", "verify.py", "test_data_set_0/vectors.npz", "test_data_set_0/nir_data.h5",
        "test_data_set_0/integer_vectors.npz", "verify_integers.py", "events/recordings.npz",
        "events/address_map.json", "events/encode.py",
        *(["speck_configuration.json", "sinabs.nir"] if target == "speck-2f" else []),
        *(["on_lava.py"] if target == "loihi" else []),
        *(["xylo_specification.json"] if target == "xylo-audio-2" else []),
        *(C if target == "cortex-m" else []),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", str(bundle / "verify.py")], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = integers_verified(bundle)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads((bundle / "fit.json").read_text())
    assert (told["target"], told["fits"]) == (target, True)


@pytest.mark.parametrize(("task", "target"), PAIRS)
def test_the_file_for_old_readers_gives_the_integers_and_they_the_spikes(tiny_bundle, task, target):
    bundle = tiny_bundle(task, target) / "models" / task / "deploy" / target
    chip = profile.load(target)
    network = quantise.recover(file.read_dict(bundle / "model-nir-1.0.4.nir"), chip)
    vectors = arrays(bundle)
    for weight in network.weights:
        assert (vectors[f"weight/{weight.node}"] == weight.values).all()
    (name,) = network.inputs
    run = simulate.run(network, {name: vectors["input"].astype(np.int64)}, record=True)
    for p in network.populations:
        assert (vectors[f"threshold/{p.name}"] == p.threshold).all()
        assert (vectors[f"spikes/{p.name}"] == run.spikes[p.name]).all()
        assert (vectors[f"membrane/{p.name}"] == run.membranes[p.name]).all()
        assert (f"current/{p.name}" in vectors) == (p.decay_syn is not None)
    silent = {"loihi": len(network.populations), "xylo-audio-2": 1}.get(target, 0)
    steps = tiny_target(task).data.bins
    assert len(vectors["input"]) == steps + silent
    assert not vectors["input"][steps:].any()
    assert vectors["input"][:steps].any()


@pytest.mark.parametrize(("task", "target"), PAIRS)
def test_rates_latency_robustness_and_quantisation_fit_the_other_metrics(tiny_bundle, task, target):
    root = tiny_bundle(task, target)
    found = json.loads((root / "metrics" / f"{task}-{target}.json").read_text())
    accuracy, samples = found["accuracy"]["integer"], found["accuracy"]["integer"]["n"]
    over_time = found["latency"]["accuracy_over_time"]
    assert {key: over_time[-1][key] for key in accuracy} == accuracy
    assert len(over_time) == 10
    assert found["robustness"]["n"] == samples  # the tiny test set is all of it
    undisturbed, *disturbed = found["robustness"]["disturbances"]
    assert {key: undisturbed[key] for key in accuracy} == accuracy
    assert len(disturbed) == 7
    rates = found["rates"]
    total = sum(layer["mean_per_s"] for layer in rates["layers"])
    assert total == pytest.approx(rates["synops"]["mean_per_s"])
    names = [layer["node"] for layer in found["layers"]]
    assert [layer["node"] for layer in rates["layers"]] == names
    cores = [layer["core"] for layer in rates["layers"]]
    placed = json.loads((root / "models" / task / "deploy" / target / "fit.json").read_text())[
        "cores"
    ]
    by_layer = {row["layer"]: row["core"] for row in placed}
    assert cores == [by_layer.get(name) for name in names]
    rows = [(row["numbers"], row["node"]) for row in found["quantisation"]]
    assert rows == [(numbers, name) for numbers in ("ptq", "integer") for name in names]
    saturated = [row["saturated_states"] for row in found["quantisation"][len(names) :]]
    assert sum(saturated) == found["saturated"]
    card = (root / "models" / task / "deploy" / target / "MODEL_CARD.md").read_text()
    for line in ("Rates, in real time: ", "Latency: ", f"Robustness, on {samples} recordings: "):
        assert f"\n{line}" in card


@pytest.mark.parametrize(("task", "target"), PAIRS)
def test_metrics_and_papers_say_the_same(tiny_bundle, task, target):
    root = tiny_bundle(task, target)
    bundle = root / "models" / task / "deploy" / target
    told = json.loads((root / "metrics" / f"{task}-{target}.json").read_text())
    assert {entry["n"] for entry in told["accuracy"].values()} == {20}
    parity = json.loads((root / "models" / task / "parity.json").read_text())
    assert told["accuracy"]["float"] == parity["accuracy"]["trained"]
    lost = told["accuracy"]["float"]["accuracy"] - told["accuracy"]["integer"]["accuracy"]
    assert told["lost_points"]["integer"] == pytest.approx(100 * lost)
    # Nothing is rounded where nothing decays: NIR's rule and the chip's are one.
    if task == "nmnist" and target in ("loihi", "cortex-m"):
        assert {layer["agreement"] for layer in told["layers"]} == {1.0}
        assert told["accuracy"]["dequantised"] == told["accuracy"]["integer"]
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["target"]["accuracy"] == told["accuracy"]
    assert manifest["target"]["seeds"] == told["seeds"] == {"data": 7, "train": 1}  # of params.yaml
    assert told["ClassificationAccuracy"] == told["accuracy"]["integer"]["accuracy"]
    for key in ("SynapticOperations", "MembraneUpdates", "Footprint"):
        assert manifest["target"][key] == told[key]
    assert "energy" not in told  # no source has a number for one of these chips
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "Energy" not in card
    stream = told["stream"]
    assert (stream["n"], stream["with_reset"]) == (20, told["accuracy"]["integer"]["correct"])
    assert manifest["target"]["stream"] == stream
    assert (
        f"gets {stream['correct']} right; with a reset, {stream['with_reset']} of the same" in card
    )
    # IF neurons without a floor: those of N-MNIST's network on Loihi.
    kept = stream["without_leak"]
    assert len(kept) == (5 if task == "nmnist" and target in ("loihi", "cortex-m") else 0)
    assert ("**Reset the states between recordings:**" in card) == bool(kept)
    assert ("**Reset between recordings.**" in (bundle / "BRINGUP.md").read_text()) == bool(kept)
    assert (
        f"{told['accuracy']['integer']['correct']} of 20" in (bundle / "MODEL_CARD.md").read_text()
    )
    chip = profile.load(target)
    text = (bundle / "BRINGUP.md").read_text()
    assert chip.chip in text
    assert all(note in text for note in chip["graph.notes"])
    first = arrays(bundle)
    for layer in told["layers"]:
        spikes = int(first[f"spikes/{layer['node']}"][:, 0].sum())
        assert f"| `{layer['node']}` | {spikes} |" in text


@pytest.mark.full
def test_a_leak_is_the_chips_alone_and_every_paper_says_so(tiny_run, tmp_path):
    """3/4 of the membrane stays in a step: tau = 4 dt and r = 4 / dt of the IF's 1 / dt."""
    root = Path(shutil.copytree(tiny_run("nmnist", "v_reset"), tmp_path / "project"))
    task = dataclasses.replace(
        tiny_target("nmnist"), targets={"loihi": schema.Target("loihi", 1, 1e-3, leak=0.25)}
    )
    stage.target(task, "loihi", root)
    bundle = root / "models" / "nmnist" / "deploy" / "loihi"
    nodes = dict(file.nodes(file.read_dict(bundle / "model.nir")))
    trained = dict(file.nodes(file.read_dict(root / "models" / "nmnist" / "model.nir")))
    neurons = [name for name, node in nodes.items() if node["type"] == "LIF"]
    assert neurons == [name for name, node in trained.items() if node["type"] == "IF"]
    assert all(
        (nodes[name]["tau"] == 4).all() and (nodes[name]["r"] == 4).all() for name in neurons
    )
    vectors = arrays(bundle)
    assert all(vectors[f"decay_mem/{name}"] == 3072 for name in neurons)
    metrics = json.loads((root / "metrics" / "nmnist-loihi.json").read_text())
    assert metrics["leak"] == dict.fromkeys(neurons, 0.25)
    assert metrics["stream"]["without_leak"] == []
    parity = json.loads((root / "models" / "nmnist" / "parity.json").read_text())
    assert metrics["accuracy"]["float"] == parity["accuracy"]["trained"]
    fit = json.loads((bundle / "fit.json").read_text())
    assert (fit["fits"], fit["verdict"]) == (True, "fits")
    notes = {f["layer"]: f["number"] for f in fit["findings"] if f["code"] == "leak"}
    assert notes == metrics["leak"]
    assert not [f for f in fit["findings"] if f["code"] == "no-leak"]
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "The chip's network leaks where the trained one does not: `if_1`, " in card
    assert "lose 25.00 % of the membrane in a step" in card
    assert "Reset the states" not in card
    assert "Reset between recordings" not in (bundle / "BRINGUP.md").read_text()
    for script in ("verify.py", "verify_integers.py"):
        done = subprocess.run(
            [sys.executable, "-I", bundle / script], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_leak_on_a_chip_without_is_refused(tiny_run, tmp_path):
    root = Path(shutil.copytree(tiny_run("nmnist", "v_reset"), tmp_path / "project"))
    task = dataclasses.replace(
        tiny_target("nmnist"), targets={"speck-2f": schema.Target("speck-2f", 1, 1e-3, leak=0.25)}
    )
    message = "nmnist on speck-2f: `leak` is 0.25, and speck-2f has no LIF neurons"
    with pytest.raises(UserError, match=message):
        stage.target(task, "speck-2f", root)
    assert not (root / "models" / "nmnist" / "deploy" / "speck-2f").exists()


def test_xylos_specification_holds_the_integers(tiny_bundle):
    bundle = (
        tiny_bundle("braille", "xylo-audio-2") / "models" / "braille" / "deploy" / "xylo-audio-2"
    )
    content = json.loads((bundle / "xylo_specification.json").read_text())
    spec = {key: np.array(value) for key, value in content["specification"].items()}
    assert {key: np.shape(value) for key, value in spec.items()} == {
        "weights_in": (12, 38, 1), "weights_rec": (38, 38, 1), "weights_out": (38, 7),
        **{f"{key}{end}": (n,) for key in ("dash_syn", "dash_mem", "threshold")
           for end, n in (("", 38), ("_out", 7))},
    }  # fmt: skip
    vectors = arrays(bundle)
    for key, node in (
        ("in", "linear_0"), ("rec", "recurrent_1.w_rec"), ("out", "linear_2"),
    ):  # fmt: skip
        found = spec[f"weights_{key}"].reshape(vectors[f"weight/{node}"].T.shape)
        assert (found == vectors[f"weight/{node}"].T).all()
    assert (content["dt"], content["output_mode"], content["device"]) == (
        0.005,
        "Spike",
        "syns61201",
    )


@pytest.mark.parametrize(
    ("target", "package"),
    [("xylo-audio-2", "syns61201"), ("xylo-audio-3", "syns65302"), ("xylo-imu", "syns63300")],
)
def test_every_xylo_is_loaded_by_its_own_package(tiny_bundle, target, package):
    """Rockpool 3.1.0 has a package for each chip, named by its part number, and so is the chip here."""
    text = (
        tiny_bundle("braille", target) / "models/braille/deploy" / target / "BRINGUP.md"
    ).read_text()
    assert package.upper() in profile.load(target).chip
    assert f"from rockpool.devices.xylo.{package} import XyloSim\n" in text
    assert f"from rockpool.devices.xylo.{package} import XyloSamna, config" in text
    assert set(re.findall(r"rockpool\.devices\.xylo\.(\w+)", text)) == {package}


@pytest.mark.parametrize(("task", "target"), PAIRS)
def test_the_cards_code_runs_recordings_of_ones_own_by_the_chips_rule(
    tiny_bundle, task, target, tmp_path
):
    """The golden recordings as if they were somebody's own: the spikes of `integer_vectors.npz`."""
    kept = tiny_bundle(task, target) / "models" / task / "deploy" / target
    bundle = Path(shutil.copytree(kept, tmp_path / "bundle"))
    card = (bundle / "MODEL_CARD.md").read_text()
    start = card.index("    from pathlib import Path")
    code = card[start : card.index("\n\n", start)].replace("\n    ", "\n").strip()
    output = json.loads((bundle / "manifest.json").read_text())["nodes"][-2]["node"]
    program = f"""
import numpy as np
with np.load("test_data_set_0/integer_vectors.npz") as vectors:
    x, expected = vectors["input"][:{tiny_target(task).data.bins}], vectors["spikes/{output}"]
{code}
assert (spikes == expected).all() and spikes.shape == expected.shape
assert classes.tolist() == expected.sum(0).argmax(-1).tolist()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=bundle, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Python may keep the module that was imported beside it: the bundle is right all the same.
    assert (bundle / "__pycache__").is_dir() or sys.dont_write_bytecode
    for script in ("verify.py", "verify_integers.py"):
        done = subprocess.run(
            [sys.executable, "-I", bundle / script], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("task", "target"), PAIRS)
def test_a_bundle_has_one_number_of_steps_and_one_step(tiny_bundle, task, target):
    """Late spikes need steps without input: one on Xylo, one for each layer on Loihi."""
    bundle = tiny_bundle(task, target) / "models" / task / "deploy" / target
    bins, layers = tiny_target(task).data.bins, {"braille": 2, "nmnist": 5}[task]
    silent = {"xylo-audio-2": 1, "loihi": layers}.get(target, 0)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert (manifest["n_steps"], manifest["silent_steps"]) == (bins, silent)
    assert manifest["contract"]["n_steps"] == bins
    assert len(arrays(bundle)["input"]) == bins + silent
    text = (bundle / "MODEL_CARD.md").read_text()
    assert set(re.findall(r"(\d+) steps", text)) == {
        str(bins),
        *[str(bins + silent)] * (silent > 0),
    }
    # The graph's step is `dt`; rockpool's `dt` is a step's length in the recording.
    seconds = {"braille": 0.005, "nmnist": 0.021}[task]  # bin_us of params.yaml
    assert manifest["input_bin_s"] == manifest["contract"]["input_bin_s"] == seconds
    with h5py.File(bundle / "test_data_set_0" / "nir_data.h5") as stored:
        steps: set[float] = set()
        stored.visititems(
            lambda _, item: steps.update([item.attrs[k] for k in ("dt",) if k in item.attrs])
        )
    assert steps == {manifest["dt"]} == {manifest["contract"]["dt"]}
    found = re.findall(r"\bdt=([\d.e-]+)", (bundle / "BRINGUP.md").read_text())
    assert found == ([str(seconds)] * 2 if target == "xylo-audio-2" else [])  # on a board, without


def test_specks_events_are_its_frames(tiny_bundle):
    """Counted by tonic, which knows nothing of ours."""
    from tonic.transforms import ToFrame

    bundle = tiny_bundle("nmnist", "speck-2f") / "models" / "nmnist" / "deploy" / "speck-2f"
    with np.load(bundle / "events" / "recordings.npz") as stored:
        taken, start = stored["events"], stored["start"]
    with np.load(bundle / "test_data_set_0" / "vectors.npz") as stored:
        x = stored["input"]
    addresses = json.loads((bundle / "events" / "address_map.json").read_text())
    assert addresses["time"]["mode"] == "events"
    assert len(start) == x.shape[1] + 1 and start[-1] == len(taken)
    count = ToFrame((34, 34, 2), time_window=21_000, start_time=0, end_time=21_000 * len(x))
    for n in range(x.shape[1]):
        one = taken[start[n] : start[n + 1]]
        assert (np.diff(one["t"]) >= 0).all()
        assert (count(one) == x[:, n]).all()


def test_specks_address_map_has_cores_and_the_readouts_classes(tiny_bundle):
    bundle = tiny_bundle("nmnist", "speck-2f") / "models" / "nmnist" / "deploy" / "speck-2f"
    addresses = json.loads((bundle / "events" / "address_map.json").read_text())
    fit = json.loads((bundle / "fit.json").read_text())
    cores = {row["layer"]: row["core"] for row in fit["cores"]}
    assert {row["neurons"]: row["core"] for row in addresses["layers"]} == cores
    # The erratum of Speck 2e and 2f: channels 0, 4 and 8 of the last core are classes 1, 2 and 3.
    shown = {row["core_channel"]: row["readout_class"] for row in addresses["readout"]["classes"]}
    assert (shown[0], shown[4], shown[8], len(shown)) == (1, 2, 3, 10)


def test_specks_configuration_gives_its_spikes_without_this_project(tiny_bundle):
    """By a second simulator, which reads nothing but the configuration and its arrays."""
    bundle = tiny_bundle("nmnist", "speck-2f") / "models" / "nmnist" / "deploy" / "speck-2f"
    configuration = json.loads((bundle / "speck_configuration.json").read_text())
    with np.load(bundle / configuration["weights_file"], allow_pickle=False) as stored:
        vectors = dict(stored)
    cores = {
        row["layer"]: row["core"] for row in json.loads((bundle / "fit.json").read_text())["cores"]
    }
    assert {layer["neurons"]: layer["core"] for layer in configuration["layers"]} == cores
    x = vectors["input"].astype(np.int64)[:, :2]  # (T, N, C, H, W) of two samples
    inputs = {configuration["input"]["layer"]: x}
    for layer in configuration["layers"]:
        assert layer["return_to_zero"] is False and layer["leak_enable"] is False
        taken = inputs[layer["neurons"]]
        size = layer["dimensions"]
        shape = size["input_shape"]
        arrives = (shape["feature_count"], shape["size"]["y"], shape["size"]["x"])
        assert taken.shape[2:] == arrives and layer["weights_shape"][1] == arrives[0]
        weights = vectors[layer["weights"]].astype(np.int64).reshape(layer["weights_shape"])
        drive = _convolved(taken, weights, size["stride"], size["padding"])
        v, spikes = np.zeros(drive.shape[1:], np.int64), np.zeros_like(drive)
        for t in range(len(drive)):
            v += drive[t]
            spikes[t] = np.where(v >= layer["threshold_high"], v // layer["threshold_high"], 0)
            v = np.maximum(v - spikes[t] * layer["threshold_high"], layer["threshold_low"])
        expected = vectors[f"spikes/{layer['neurons']}"][:, :2]
        assert (spikes.reshape(expected.shape) == expected).all() and expected.any()
        for destination in layer["destinations"]:
            n = destination["pooling"]
            t, b, c, h, w = spikes.shape
            pooled = spikes[:, :, :, : h // n * n, : w // n * n]
            pooled = pooled.reshape(t, b, c, h // n, n, w // n, n).sum(axis=(4, 6))
            inputs[destination["neurons"]] = pooled
            assert destination["layer"] == cores[destination["neurons"]]


def _convolved(
    x: np.ndarray, weights: np.ndarray, stride: dict[str, int], padding: dict[str, int]
) -> np.ndarray:
    """(T, N, C, H, W) by (F, C, kernel, kernel), tap by tap."""
    pad = [(0, 0)] * 3 + [(padding["y"],) * 2, (padding["x"],) * 2]
    x = np.pad(x, pad)
    tall, wide = weights.shape[2:]
    h = (x.shape[3] - tall) // stride["y"] + 1
    w = (x.shape[4] - wide) // stride["x"] + 1
    found = np.zeros((*x.shape[:2], len(weights), h, w), np.int64)
    for i in range(tall):
        for j in range(wide):
            tap = x[
                :,
                :,
                :,
                i : i + stride["y"] * h : stride["y"],
                j : j + stride["x"] * w : stride["x"],
            ]
            found += np.einsum("tnchw,fc->tnfhw", tap, weights[:, :, i, j])
    return found


def test_a_bundle_whose_recordings_are_not_its_input_is_noticed(tiny_bundle, tmp_path):
    from spyx_nir.bundle import folder

    kept = tiny_bundle("nmnist", "speck-2f") / "models" / "nmnist" / "deploy" / "speck-2f"
    bundle = Path(shutil.copytree(kept, tmp_path / "bundle"))
    path = bundle / "events" / "recordings.npz"
    with np.load(path) as stored:
        right = dict(stored)
    right["events"]["p"][5] ^= 1
    np.savez(path, **right)
    command = [sys.executable, "-I", str(bundle / "events" / "encode.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    line = "differs: recording 0: 2 of 23120 counts differ from test_data_set_0/vectors.npz\n"
    assert done.stderr == line
    for script in bundle.glob("verify*.py"):
        script.unlink()
    with pytest.raises(UserError, match="does not verify, so it was not published: differs"):
        folder.check(bundle)


def test_recordings_keep_the_times_and_polarities_of_their_source(
    tiny_bundle, tmp_path, monkeypatch
):
    """Two letters as a task would read them, ON and OFF of one taxel in a bin, in no order of time."""
    from pipeline.bundle import events
    from pipeline.datasets import prepared, recordings
    from spyx_nir.bundle.events import address_map

    root = tiny_bundle("braille", "loihi")
    data = prepared.read(root / "data" / "prepared" / "braille.h5")
    data.provenance["files"] = {}
    one = np.array([(7_000, 3, 1), (5_001, 3, 0)], [("t", "i8"), ("x", "i8"), ("p", "i8")])

    class Stream:
        found = place = sensor = (0,) * 20

        def __len__(self) -> int:
            return 20

    stream = Stream()
    stream.place = [(0, i) for i in range(20)]
    monkeypatch.setattr(recordings, "read", lambda *_: stream)
    monkeypatch.setattr("pipeline.datasets.checks.events_of", lambda *_: one)
    task = tiny_target("braille")
    how = recordings.encoding(task)
    addresses = address_map(how, {"out": (7,)}, {}, task.data.classes)
    (tmp_path / "bundle").mkdir()
    told = events.write(tmp_path / "bundle", task, data, np.array([4, 9]), addresses, root)
    assert told["times"] == "as recorded"
    with np.load(tmp_path / "bundle" / "events" / "recordings.npz") as stored:
        assert stored["events"].tolist() == [(5_001, 3, 0), (7_000, 3, 1)] * 2
        assert stored["start"].tolist() == [0, 2, 4]


def test_verify_integers_notices_a_changed_weight_and_a_changed_state(tiny_bundle, tmp_path):
    made_by = tiny_bundle("braille", "loihi") / "models" / "braille" / "deploy" / "loihi"
    bundle = Path(shutil.copytree(made_by, tmp_path / "bundle"))
    right = arrays(bundle)
    path = bundle / "test_data_set_0" / "integer_vectors.npz"
    states = right["membrane/cubalif_3"].copy()
    states[3, 2, 1] += 1
    np.savez(path, **{**right, "membrane/cubalif_3": states})
    done = integers_verified(bundle)
    assert done.returncode == 1
    assert done.stderr.startswith("differs: membrane/cubalif_3: 1 of ")
    assert done.stderr.strip().endswith("(3, 2, 1)")
    np.savez(path, **{**right, "weight/linear_0": -right["weight/linear_0"]})
    assert "differs: spikes/recurrent_1.lif" in integers_verified(bundle).stderr
    path.write_bytes(b"")
    done = integers_verified(bundle)
    assert (done.returncode, done.stdout.split(":")[0]) == (1, "FAIL")


def test_verify_integers_takes_a_bundle_of_links_to_dvcs_cache(tiny_bundle, tmp_path):
    made_by = tiny_bundle("braille", "loihi") / "models" / "braille" / "deploy" / "loihi"
    bundle = Path(shutil.copytree(made_by, tmp_path / "bundle"))
    link_to_cache(bundle, tmp_path / "cache")
    done = integers_verified(bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pass: ")


def test_the_same_inputs_give_the_same_bytes(tiny_bundle, tmp_path):
    root = Path(shutil.copytree(tiny_bundle("braille", "loihi"), tmp_path / "project"))
    kept = {p: files.sha256(p) for p in root.rglob("*") if p.is_file()}
    stage.target(tiny_target("braille", "loihi"), "loihi", root)
    assert {p: files.sha256(p) for p in root.rglob("*") if p.is_file()} == kept


# ------------------------------------------------------------------------- one network, several chips

FPGAS = [
    ("braille", "ice40-up5k"),
    pytest.param("nmnist", "ecp5-25k", marks=pytest.mark.full),
]


def sharing(name: str, chip: str) -> schema.Task:
    """The tiny task with a network for `cortex-m` that `chip` takes."""
    task = tiny_target(name, "cortex-m")
    return dataclasses.replace(
        task, targets={**task.targets, chip: schema.SharedTarget(chip, "cortex-m")}
    )


@pytest.fixture(scope="module")
def shared(once, tiny_bundle):
    """`shared(task, chip)`: a project with the bundles of `cortex-m` and of `chip`; made once."""

    def make(name: str, chip: str, root: Path) -> None:
        shutil.copytree(tiny_bundle(name, "cortex-m"), root)
        stage.target(sharing(name, chip), chip, root)

    return lambda name, chip: once(f"{name}-cortex-m-{chip}", lambda root: make(name, chip, root))


@pytest.mark.parametrize(("task", "chip"), FPGAS)
def test_a_network_of_another_target_has_its_integers_and_its_metrics(shared, task, chip):
    root = shared(task, chip)
    deploy = root / "models" / task / "deploy"
    first, second = arrays(deploy / "cortex-m"), arrays(deploy / chip)
    differing = [key for key in first if not np.array_equal(first[key], second[key])]
    assert first.keys() == second.keys() and differing == ["network"]  # which names the target
    assert json.loads(str(second["network"]))["target"] == chip
    texts = [(root / "metrics" / f"{task}-{name}.json").read_text() for name in ("cortex-m", chip)]
    trained, taken = map(json.loads, texts)
    own = {key for key in taken if taken[key] != trained.get(key)}
    assert own == {"target", "network_of", "real_time"} and taken["network_of"] == "cortex-m"
    card_text = (deploy / chip / "MODEL_CARD.md").read_text()
    assert "They were trained once, for `cortex-m`, which computes by the same rule" in card_text
    facts = json.loads((deploy / chip / "manifest.json").read_text())
    assert facts["target"]["network_of"] == "cortex-m"
    done = integers_verified(deploy / chip)
    assert (done.returncode, done.stderr) == (0, "")
    fit = json.loads((deploy / chip / "fit.json").read_text())
    assert (fit["target"], fit["fits"]) == (chip, True)


@pytest.mark.parametrize(
    ("key", "value"), [("state.bits", 16), ("neuron.input_spikes_per_step", 1)]
)
def test_chips_of_other_rules_do_not_share(shared, tmp_path, key, value):
    root = Path(shutil.copytree(shared("braille", "ice40-up5k"), tmp_path / "project"))
    target = mine(
        tmp_path, "ice40-up5k", **{key.replace(".", "__"): {"value": value, "source": "a"}}
    )
    message = (
        rf"network_of: mine computes by another rule than cortex-m: `{re.escape(key)}` is {value} there, "
        r"\d+ here"
    )
    refused(root, sharing("braille", target), target, message)


def test_a_bundle_that_is_missing_or_of_other_weights_gives_no_network(shared, tmp_path):
    root = Path(shutil.copytree(shared("braille", "ice40-up5k"), tmp_path / "project"))
    task, bundle = sharing("braille", "ice40-up5k"), root / "models/braille/deploy/cortex-m"
    path = bundle / "manifest.json"
    facts = json.loads(path.read_text())
    facts["weights"]["sha256"] = "0" * 64
    path.write_text(json.dumps(facts))
    message = r"manifest\.json: of weights with SHA-256 000000000000\.\.\., those of today have"
    refused(root, task, "ice40-up5k", message)
    path.write_text("[]")
    refused(root, task, "ice40-up5k", r"manifest\.json: not the manifest of a chip's bundle")
    shutil.rmtree(bundle)
    refused(root, task, "ice40-up5k", r"manifest\.json: no such file; run dvc repro")


@pytest.mark.full
def test_a_network_that_the_other_chip_cannot_hold_is_refused_with_its_place(tiny_bundle, tmp_path):
    root = Path(shutil.copytree(tiny_bundle("nmnist", "cortex-m"), tmp_path / "project"))
    message = r"nmnist on ice40-up5k: `linear_9`: .* 30; .*; nothing was made"
    refused(root, sharing("nmnist", "ice40-up5k"), "ice40-up5k", message)


# ---------------------------------------------------------------------------------- what is refused


def refused(root: Path, task: schema.Task, name: str, match: str) -> None:
    before = set(root.rglob("*"))
    with pytest.raises(UserError, match=match) as error:
        stage.target(task, name, root)
    assert "\n" not in str(error.value)
    assert set(root.rglob("*")) == before


def mine(tmp_path: Path, base: str, **changes: Any) -> str:
    """A profile file: `base` with other entries, such as state__bits=8."""
    document = yaml.safe_load((profile.FOLDER / f"{base}.yaml").read_text())
    for key, value in changes.items():
        section, name = key.split("__")
        document[section][name] = value
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_without_validation_recordings_the_training_split_chooses_the_epoch(project):
    task = tiny_target("braille", "loihi")
    task = dataclasses.replace(task, data=dataclasses.replace(task.data, validation=0.0))
    stage.target(task, "loihi", project)
    told = json.loads((project / "metrics" / "braille-loihi.json").read_text())["selection"]
    assert (told["on"], told["n"]) == ("train", 6)


def test_a_card_says_whether_qat_was_kept(tiny_bundle):
    bundle = tiny_bundle("braille", "loihi") / "models" / "braille" / "deploy" / "loihi"
    facts = json.loads((bundle / "manifest.json").read_text())
    for epoch, words in (
        (0, "They are those of post-training quantisation"),
        (1, "They are those of epoch 1 of quantisation-aware training"),
    ):
        facts["target"]["selection"]["epoch"] = epoch
        assert words in card.write(facts)
        assert ("no epoch of" in card.write(facts)) == (epoch == 0)


def test_a_target_that_the_task_has_not_is_named(project):
    refused(
        project,
        tiny_target("braille", "loihi"),
        "speck-2f",
        r"tasks\.braille\.targets: `speck-2f` is not",
    )


def test_a_network_that_does_not_fit_is_refused_with_its_place(project):
    message = r"braille on speck-2f: `recurrent_1\.lif`: .*CubaLIF.*; nothing was made"
    refused(project, tiny_target("braille", "speck-2f"), "speck-2f", message)


def test_recurrence_that_a_chip_cannot_honour_is_refused(project, tmp_path):
    target = mine(tmp_path, "loihi", graph__recurrence={"value": "none", "source": "a test"})
    refused(project, tiny_target("braille", target), target, r"`recurrent_1\.lif` feeds .* back")


def test_too_few_neurons_are_refused_with_number_and_limit(project, tmp_path):
    target = mine(
        tmp_path, "xylo-audio-2", limits__hidden_neurons={"value": 37, "source": "a test"}
    )
    refused(project, tiny_target("braille", target), target, "hidden neurons: 38, at most 37")


def test_a_number_without_source_and_a_missing_one_are_refused(project, tmp_path):
    target = mine(tmp_path, "loihi", limits__neurons={"value": 10})
    refused(
        project,
        tiny_target("braille", target),
        target,
        r"mine\.yaml: `limits\.neurons` has no source",
    )
    target = mine(tmp_path, "loihi", state__bits={"source": "a test"})
    refused(
        project,
        tiny_target("braille", target),
        target,
        r"mine\.yaml: `state\.bits\.value` is missing",
    )


@pytest.mark.full
def test_an_overflow_is_refused_with_its_place(tiny_run, tmp_path):
    root = Path(shutil.copytree(tiny_run("nmnist", "v_reset"), tmp_path / "project"))
    target = mine(tmp_path, "speck-2f", state__bits={"value": 5, "source": "a test"})
    message = r"`if_\d+`: \d+ membranes beyond the 5 bits of mine"
    refused(root, tiny_target("nmnist", target), target, message)


def test_a_chip_without_an_integer_rule_is_refused(project):
    refused(
        project,
        tiny_target("braille", "spinnaker2"),
        "spinnaker2",
        "spinnaker2 has no integer semantics",
    )


def test_nothing_is_made_of_a_file_that_parity_has_not_seen(project):
    with h5py.File(project / "models" / "braille" / "model.nir", "r+") as stream:
        stream["node/nodes/linear_0/weight"][0, 0] += 1
    refused(project, tiny_target("braille", "loihi"), "loihi", r"model\.nir: changed after parity")


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"nowhere": {"epochs": 1, "learning_rate": 1.0}}, r"targets\.nowhere: unknown target; known"),
        ({"loihi": {"epochs": 0, "learning_rate": 1.0}}, r"loihi\.epochs must be at least 1, got 0"),
        ({"loihi": {"epochs": 1, "learning_rate": 0.0}}, r"loihi\.learning_rate must be above 0"),
        (
            {"loihi": {"epochs": 1, "learning_rate": 1.0, "leak": 1.0}},
            r"targets\.loihi\.leak must be from 0 to below 1, got 1\.0",
        ),
        ({"loihi": {"epochs": 1}}, r"targets\.loihi\.learning_rate: the key is missing"),
        ({"loihi": 3}, r"targets\.loihi must be a mapping, got 3"),
        (["loihi"], r"targets must be a mapping, got \['loihi'\]"),
        (
            {"loihi": {"network_of": "cortex-m"}},
            r"targets\.loihi\.network_of: `cortex-m` is no target of the task with a training of its "
            r"own; there are: none",
        ),
        (
            {"loihi": {"network_of": "cortex-m", "epochs": 1}},
            r"targets\.loihi\.epochs: unknown key; allowed are network_of",
        ),
        (
            {"mine.yaml": {"epochs": 1, "learning_rate": 1e-3}},
            r"targets\.mine\.yaml: unknown target; .* in spyx_nir/hardware/profiles/, which DVC watches",
        ),
        ({"loihi": {"network_of": 3}}, r"targets\.loihi\.network_of must be text, got 3"),
    ],
)  # fmt: skip
def test_targets_in_params_are_checked(tmp_path, targets, message):
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["tasks"]["braille"]["targets"] = targets
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=message):
        params.load("braille", path)


def test_dvc_has_a_stage_for_every_target_of_params():
    pairs = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["target"]["foreach"]
    named = {(pair["task"], pair["chip"]) for pair in pairs.values()}
    assert named == {
        (task, target)
        for task in params.names(ROOT / "params.yaml")
        for target in params.load(task, ROOT / "params.yaml").targets
    }
    assert set(pairs) == {f"{task}-{chip}" for task, chip in named}


def test_every_graph_is_planned_once(project, monkeypatch):
    """Three graphs: as trained, as the chip would have it, and with the chip's integers."""
    original, seen = plan.make_plan, []

    def counting(graph: Any, *more: Any) -> plan.Plan:
        seen.append(file.content_digest(graph))
        return original(graph, *more)

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("spyx_nir", "pipeline") and hasattr(module, "make_plan"):
            monkeypatch.setattr(module, "make_plan", counting)
    stage.target(tiny_target("braille", "loihi"), "loihi", project)
    trained = file.read_dict(project / "models/braille/model.nir")
    assert len(seen) == len(set(seen)) == 3
    assert seen[0] == file.content_digest(trained)


def test_an_interrupted_stage_leaves_the_bundle_that_was_there(
    tiny_bundle, tmp_path, monkeypatch, capsys
):
    root = Path(shutil.copytree(tiny_bundle("braille", "loihi"), tmp_path / "project"))
    kept = {p: files.sha256(p) for p in root.rglob("*") if p.is_file()}

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spyx_nir.bundle.bringup.write", stop)
    assert exit_status(lambda: stage.target(tiny_target("braille", "loihi"), "loihi", root)) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert {p: files.sha256(p) for p in root.rglob("*") if p.is_file()} == kept


# What the commands need and no machine here has: what trains, what installs, a programmer, a sensor.
STUBS = """
make() { if [ "$1" = deploy-artifacts ]; then :; else command make "$@"; fi; }
apt-get() { :; }
openocd() { test -s "$(echo "$4" | cut -d " " -f 2)"; }
sensor() { echo 100 0; echo 20000 3; }
python() { "$PYTHON" "$@"; }
"""


@pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("bash", "cc", "make", cortex_m.CC)),
    reason="no compilers: apt-get install gcc make gcc-arm-none-eabi",
)
def test_the_commands_of_the_page_lead_to_a_board(tiny_bundle, tmp_path: Path) -> None:
    """Line by line as written; the board is the same C on this computer."""
    root = tmp_path / "project"
    shutil.copytree(tiny_bundle("braille", "cortex-m"), root)
    bundle = root / "models" / "braille" / "deploy" / "cortex-m"
    text = (ROOT / "docs" / "deploy-microcontroller.md").read_text(encoding="utf-8")
    lines = text.split("## Ten commands")[1].split("```text\n")[1].split("```")[0].splitlines()
    assert len(lines) == 10
    host = tmp_path / "host"
    verify_c.build(bundle / "c", host, "cc")
    with Bridge([str(host), "serial"]) as bridge:
        script = STUBS + "\n".join(f"{line}\necho done" for line in lines)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace("/dev/ttyACM0", bridge.port)],
            cwd=root, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True,
        )  # fmt: skip
    assert (done.returncode, done.stdout.count("done\n")) == (0, 10), done.stderr[-1000:]
    assert "0 differ" in done.stdout and done.stdout.splitlines()[-2].startswith("class ")
