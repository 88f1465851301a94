"""Speck's BRINGUP.md, line by line in sinabs, with a fake samna in front of the rule; and its text."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import graphs
import numpy as np
import pytest

from bench.vendors import compare
from spyx_nir.bundle import bringup, events, integers
from spyx_nir.converter import file
from spyx_nir.hardware import evaluate_events, profile, quantise
from spyx_nir.hardware.families.speck import sinabs_file

CHIP = profile.load("speck-2f")
SHAPE = (2, 34, 34)
THRESHOLDS = {"if_1": 2.5, "if_3": 5.0, "if_6": 8.0, "if_10": 14.0, "if_12": 14.0}


def bundle(folder: Path, reset: str = "subtract") -> str:
    """What of a bundle the instructions use, of a network with random weights; their text."""
    random = np.random.default_rng(0)
    graph = graphs.paper_scnn(random)
    # With thresholds that rise every layer of random weights spikes, and not too often.
    for name, threshold in THRESHOLDS.items():
        graph["nodes"][name]["v_threshold"] *= threshold
        graph["nodes"][name]["metadata"]["reset"] = reset
    network = quantise.quantise(graph, CHIP)
    content = quantise.on_grid(graph, network)
    file.write(folder / "sinabs.nir", file.build(sinabs_file.for_sinabs(content)), "1.0.4")
    x = (random.random((5, 3, *SHAPE)) < 0.02).astype(np.uint8)
    (folder / "test_data_set_0").mkdir()
    run = integers.write(folder / "test_data_set_0" / integers.NAME, network, x.astype(np.int64))
    how = events.Encoding((34, 34, 2), SHAPE, ["OFF", "ON"], 5, 1000, singly=True)
    recordings = [events.of_frames(x[:, n], how) for n in range(3)]
    addresses = [(e["p"].astype(int) * 34 + e["y"]) * 34 + e["x"] for e in recordings]
    counts = evaluate_events.counts(network, addresses)
    assert all(count.sum() for count in counts.values())
    neurons = {p.name: p.shape for p in network.populations}
    addressed = events.address_map(how, neurons, {}, [*"0123456789"])
    more = {f"count/{name}": count for name, count in counts.items()}
    events.write(folder / events.FOLDER, recordings, addressed, more)
    (folder / "verify_integers.py").write_text(integers.source(CHIP))
    about = bringup.Samples(np.zeros(3, int), "0123456789", ["OFF", "ON"], 1000)
    return bringup.write(network, run, about)


def code_of(text: str) -> str:
    """The indented lines under the heading Load."""
    lines = text.split("## Load")[1].split("## Compare")[0].splitlines()
    return textwrap.dedent("\n".join(x for x in lines if x.startswith("    ") or not x))


def test_the_code_is_python_and_names_every_layer(tmp_path: Path) -> None:
    text = bundle(tmp_path)
    compile(code_of(text), "BRINGUP.md", "exec")
    assert "['if_1', 'if_3', 'if_6', 'if_10', 'if_12']" in text
    assert "MembraneReset" not in text


def test_events_are_checked_by_the_bundles_own_script(tmp_path: Path) -> None:
    bundle(tmp_path)
    script = [sys.executable, "-I", str(tmp_path / "verify_integers.py")]
    done = subprocess.run(script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    place = tmp_path / events.FOLDER / events.RECORDINGS
    with np.load(place) as stored:
        right = dict(stored)
    right["count/if_3"][1, 4, 2, 3] += 1
    np.savez(place, **right)
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "differs: events/recordings.npz: recording 1, if_3: event by event 1 of 4096 neurons spike "
        "more or less often\n"
    )


@pytest.mark.full
@pytest.mark.skipif(not compare.PYTHON.exists(), reason="no .venv-vendors: run make vendors-setup")
@pytest.mark.parametrize("reset", CHIP["neuron.reset"])
def test_every_line_of_the_instructions_runs_in_sinabs(tmp_path: Path, reset: str) -> None:
    """sinabs 3.1.3 reads, discretises, configures; the fake board refuses other weights or states."""
    code = code_of(bundle(tmp_path, reset))
    (tmp_path / "bringup.py").write_text("import fake_samna\nfake_samna.install()\n" + code)
    here = [str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(
        [str(compare.PYTHON), "-W", "ignore", "bringup.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if line.endswith(" differ")]
    assert len(lines) == 5 + 5 + 1 + 3 * 5, done.stdout
    assert all(" 0 differ" in line for line in lines), done.stdout
