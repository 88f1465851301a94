"""What a network costs: by hand, and against what NeuroBench's harness counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import cost as harness
from bench.vendors import two_layers
from spyx_nir import neurobench
from spyx_nir.errors import exit_status
from spyx_nir.hardware import costs, profile, simulate
from spyx_nir.hardware.network import Run

GOLDEN = Path(__file__).parent / "golden_cost"


def test_a_small_network_costs_what_the_harness_counted():
    """Ratios of the same integers: equal to some last digits of float64."""
    expected = json.loads((GOLDEN / "small.json").read_text())
    with np.load(GOLDEN / "small.npz", allow_pickle=False) as stored:
        x, labels = stored["x"], stored["labels"]
    found = harness.ours(GOLDEN / "small.nir", x, labels, harness.RECORDED_DT)
    assert harness.flat(found) == pytest.approx(harness.flat(expected), rel=1e-12)


def test_the_numbers_do_not_depend_on_how_samples_are_batched():
    with np.load(GOLDEN / "small.npz", allow_pickle=False) as stored:
        x, labels = stored["x"], stored["labels"]
    path = GOLDEN / "small.nir"
    alone = [
        harness.flat(harness.ours(path, x[n : n + 1], labels[n : n + 1], 1e-3)) for n in range(5)
    ]
    together = harness.flat(harness.ours(path, x, labels, 1e-3))
    mean = {key: np.mean([one[key] for one in alone]) for key in together}
    assert mean == pytest.approx(together, rel=1e-12)


def test_an_element_reaches_the_outputs_whose_weight_is_not_zero():
    """A 3-tap kernel with stride 2 on 4 elements, padding 1: outputs see (-, 0, 1) and (1, 2, 3)."""
    node = {"weight": np.array([[[5.0, 0.0, 7.0]]]), "stride": 2, "padding": 1, "dilation": 1}
    assert neurobench.fan_out(node, (1, 4)).tolist() == [[0, 2, 0, 1]]
    assert neurobench.synapses(node, (1, 4)) == 2 + 3
    two_groups = {**node, "weight": np.ones((4, 1, 1)), "stride": 1, "padding": 0}
    assert neurobench.fan_out(two_groups, (2, 3)).tolist() == [[2, 2, 2], [2, 2, 2]]


def test_binary_steps_are_additions_and_a_membrane_that_holds_still_is_no_update():
    meter = neurobench.Meter(2)
    for x in ([[1, 0], [2, 0]], [[0, -1], [0, 0]]):
        meter.connection(np.array([3, 1]), 6, np.array(x))
    for v in ([[0.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 0.0]]):
        meter.neurons("n", np.array([[0, 1], [0, 0]]), np.array(v))
    assert {key: value.tolist() for key, value in meter.counts.items()} == {
        "Effective_ACs": [3 + 1, 0], "Effective_MACs": [0, 3], "Dense": [12, 12],
        "MembraneUpdates": [2 + 1, 2], "outputs": [4, 4], "spikes": [2, 0],
    }  # fmt: skip


def chip(target: str | Path, reset: str) -> tuple:
    """3 inputs, 2 neurons that feed each other, 1 output, and a run of 2 steps made up here.

    Spikes come as late as the chip's do; behind them come more, which no step of the input has.
    """
    case = {
        "weights_in": np.array([[2, 0], [4, 6], [0, 0]]),
        "weights_rec": np.array([[0, 2], [2, 0]]),
        "weights_out": np.array([[2], [0]]),
        "threshold": np.array([50, 50]), "threshold_out": np.array([50]),
        "decay_syn": np.array([2, 2]), "decay_syn_out": np.array([2]),
        "decay_mem": np.array([2, 2]), "decay_mem_out": np.array([2]),
    }  # fmt: skip
    network = two_layers.from_arrays(case, profile.load(str(target)), reset)
    hidden, out = (p.name for p in network.populations)
    spikes = {hidden: np.array([[[1, 0]], [[0, 2]]]), out: np.array([[[0]], [[1]]])}
    membranes = {hidden: np.array([[[0, 7]], [[0, 5]]]), out: np.array([[[4]], [[0]]])}
    x = {next(iter(network.inputs)): np.array([[[1, 1, 1]], [[0, 3, 0]], *[[[0, 0, 0]]] * 3])}
    late = simulate.delays(network)

    def moved(values: dict[str, np.ndarray], rest: int) -> dict[str, np.ndarray]:
        made = {}
        for name, array in values.items():
            made[name] = np.full((5, *array.shape[1:]), rest)
            made[name][: late[name]] = 0
            made[name][late[name] : late[name] + 2] = array
        return made

    run = Run(moved(spikes, 1), {}, {}, {}, membranes=moved(membranes, 9))
    return network, costs.report(network, [costs.counts(network, x, run, 2)], 1.0)


def test_a_chips_integers_cost_what_is_counted_by_hand():
    _, found = chip("xylo-audio-2", "subtract")
    # Input: 3 weights meet the first step's spikes, 2 the count of the second. Hidden: 2, then 1.
    assert found["SynapticOperations"] == {"Effective_ACs": 5, "Effective_MACs": 3, "Dense": 24}
    assert found["MembraneUpdates"] == 3 + 2
    assert found["ActivationSparsity"] == 3 / 6
    assert (found["ParameterCount"], found["ConnectionSparsity"]) == (12, 0.5)
    # int8 weights, 15 bits of threshold, 4 bits for each of two decays (profiles/xylo-audio-2.yaml)
    assert found["Footprint"] == 12 * 1 + 3 * 2 + 3 * 2 * 1
    assert "energy" not in found


def test_energy_is_modelled_where_a_source_has_a_number_for_an_operation(tmp_path):
    text = (profile.FOLDER / "loihi.yaml").read_text(encoding="utf-8")
    known = "value: 23.6 # the first Loihi's"
    other = tmp_path / "loihi-1.yaml"
    head, tail = text.split("pj_per_synop:")
    other.write_text(f"{head}pj_per_synop:{tail.replace('value: null', known, 1)}")
    _, found = chip(other, "v_reset")
    assert found["energy"]["mark"] == "modelled"
    assert found["energy"]["pj_per_sample"] == pytest.approx(23.6 * 8)  # 5 ACs, 3 MACs
    assert "SENECA, Table 3" in found["energy"]["source"]
    assert "energy" not in chip("loihi", "v_reset")[1]  # Loihi 2: no source has a number


def test_without_the_environment_the_comparison_says_what_to_do(capsys):
    arguments = harness.parse(["--python", "nowhere/python"])
    assert exit_status(lambda: harness.main(arguments)) == 1
    assert "run make peers-setup" in capsys.readouterr().err


def has_harness() -> bool:
    """Whether the peers' environment is there, with the harness in it."""
    found = (harness.PYTHON.parent.parent / "lib").glob("python*/site-packages/neurobench")
    return harness.PYTHON.exists() and any(found)


@pytest.mark.full
@pytest.mark.skipif(not has_harness(), reason="no NeuroBench in .venv-peers: run make peers-setup")
@pytest.mark.parametrize("task", ["braille", "nmnist"])
def test_the_harness_counts_the_same_on_both_networks(task, tiny_run, capsys):
    project = tiny_run(task, "v_reset") / "models" / task / "deploy" / "generic"
    assert harness.bundle(project, harness.PYTHON) == 0, capsys.readouterr().out


@pytest.mark.full
@pytest.mark.skipif(not has_harness(), reason="no NeuroBench in .venv-peers: run make peers-setup")
def test_the_recorded_network_is_what_the_harness_still_says(tmp_path):
    harness.record(tmp_path, harness.PYTHON)
    recorded, now = (json.loads((p / "small.json").read_text()) for p in (GOLDEN, tmp_path))
    assert not harness.differing(recorded, now)
