"""Fit: limits, neurons, wiring, placement. Expected numbers are counted by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np
import pytest

from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.hardware import constraints, facts, findings, judge, profile, quantise
from spyx_nir.hardware.constrain import variant
from spyx_nir.hardware.placement import place

RNG = np.random.default_rng(5)


def braille(hidden: int = 40, out: int = 7, inputs: int = 12, reset: str = "subtract") -> dict:
    return graphs.recurrent(
        np.ones((hidden, inputs)),
        np.ones((hidden, hidden)),
        np.ones((out, hidden)),
        graphs.cuba(hidden, 0.75, 0.875, reset=reset),
        graphs.cuba(out, 0.5, 0.75, reset=reset),
    )


def report(graph: dict[str, Any], target: str = "xylo-audio-2", **options: Any) -> findings.Report:
    return constraints.check_constraints(graph, profile.load(target), **options)


def errors(found: findings.Report) -> list[tuple[str, str, Any, Any]]:
    return [(f.code, f.layer, f.number, f.limit) for f in found.findings if f.severity == "error"]


def test_the_braille_network_of_the_paper_fits_xylo() -> None:
    """12-40-7: 40 * 12 + 40 * 40 + 7 * 40 synapses; 12 + 40 arrive, 40 leave to hidden neurons."""
    found = report(braille())
    assert found.fits
    assert {row.resource: (row.used, row.limit) for row in found.table} == {
        "inputs": (12, 16),
        "hidden neurons": (40, 1000),
        "outputs": (7, 8),
        "neurons": (47, 1008),
        "synapses": (2360, None),
        "fan-in": (52, None),
        "fan-out": (40, 64),
    }


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"inputs": 17, "hidden": 2}, ("inputs", "input", 17, 16)),
        ({"out": 9, "hidden": 2}, ("outputs", "out", 9, 8)),
        ({"hidden": 65}, ("fan-out", "hidden.lif", 65, 64)),
    ],
)
def test_a_limit_that_is_passed_names_layer_number_limit(sizes: Any, expected: Any) -> None:
    found = report(braille(**sizes))
    assert errors(found)[0] == expected
    first = found.findings[0]
    assert "too many" in first.fix and first.source


def test_1001_hidden_neurons() -> None:
    graph = graphs.recurrent(
        np.eye(1001, 1), np.zeros((1001, 1001)), np.eye(1, 1001),
        graphs.cuba(1001, 0.5, 0.5), graphs.cuba(1, 0.5, 0.5),
    )  # fmt: skip
    assert ("hidden-neurons", "hidden.lif", 1001, 1000) in errors(report(graph))
    # A weight of 0 is no connection.
    assert {row.resource: row.used for row in report(graph).table}["fan-in"] == 1


def test_what_the_neuron_of_the_chip_cannot_do() -> None:
    found = report(braille(reset="v_reset"))
    assert errors(found)[0] == ("reset", "hidden.lif", "v_reset", "subtract")
    assert found.findings[0].fix == "train with reset: subtract"
    assert report(braille(reset="v_reset"), reset="subtract").fits
    assert report(braille(), "loihi").findings[0].code == "reset"


def test_a_file_that_does_not_say_how_it_resets_is_doubtful_not_wrong() -> None:
    graph = braille()
    graph["nodes"]["out"]["metadata"] = {}
    graph["nodes"]["hidden"]["nodes"]["lif"]["metadata"] = {}
    found = report(graph)
    assert found.fits
    assert [f.layer for f in found.findings if f.severity == "warning"] == ["hidden.lif", "out"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [("v_leak", 0.1, ["v_leak"]), ("v_threshold", 0.0, ["threshold"])],
)
def test_values_that_no_integer_neuron_has(field: str, value: float, code: list[str]) -> None:
    """A membrane that starts where it rests needs more than a bias."""
    graph = braille()
    graph["nodes"]["out"][field] = np.full(7, value)
    graph["nodes"]["out"]["metadata"]["v_init"] = "v_leak"
    assert [(c, layer) for c, layer, *_ in errors(report(graph))] == [(c, "out") for c in code]


def test_reset_value_counts_only_where_it_is_used() -> None:
    for reset, expected in (("subtract", []), ("v_reset", ["v_reset"])):
        graph = braille(reset=reset)
        graph["nodes"]["out"]["v_reset"] = np.full(7, 0.5)
        target = "xylo-audio-2" if reset == "subtract" else "loihi"
        assert [code for code, *_ in errors(report(graph, target))] == expected


def test_a_bias_is_refused_only_where_the_chip_drops_it() -> None:
    graph = braille()
    weight = graph["nodes"]["w_in"]["weight"]
    graph["nodes"]["w_in"] = nir.Affine(weight, np.eye(1, 40, 3)[0]).to_dict()
    assert errors(report(graph)) == []
    chip = profile.load("xylo-audio-2")
    none = dataclasses.replace(chip.facts["neuron.bias"], value=False)
    without = dataclasses.replace(chip, facts={**chip.facts, "neuron.bias": none})
    found = constraints.check_constraints(graph, without)
    assert errors(found) == [("bias", "w_in", 1, 0)]


def test_an_output_that_feeds_back_is_refused() -> None:
    inner = braille()["nodes"]["hidden"]
    nodes = {"input": nir.Input(np.array([40])).to_dict(), "hidden": inner}
    nodes["output"] = nir.Output(np.array([40])).to_dict()
    graph = {
        "type": "NIRGraph",
        "nodes": nodes,
        "edges": [("input", "hidden"), ("hidden", "output")],
        "metadata": graphs.contract(),
    }
    codes = {code for code, *_ in errors(report(graph))}
    assert codes == {"wiring", "layers", "recurrence", "inputs", "outputs"}


def test_a_flat_cycle_is_refused_where_the_importer_wants_it_nested() -> None:
    graph = braille()
    inner = graph["nodes"].pop("hidden")
    graph["nodes"] |= {"lif": inner["nodes"]["lif"], "w_rec": inner["nodes"]["w_rec"]}
    graph["edges"] = [
        ("input", "w_in"), ("w_in", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "w_out"),
        ("w_out", "out"), ("out", "output"),
    ]  # fmt: skip
    assert errors(report(graph)) == [("recurrence", "lif", "a flat cycle", "a nested subgraph")]
    assert report(graph, "generic").fits


def test_decays_that_move_are_told_and_short_ones_refused() -> None:
    """0.75 and 0.875 are 1 - 2^-2 and 1 - 2^-3; 0.9 goes to 0.875: log2(10) = 3.3 rounds to 3."""
    assert not [f for f in report(braille()).findings if f.code == "decay"]
    graph = braille()
    graph["nodes"]["out"] = graphs.cuba(7, 0.0, 0.9).to_dict()
    found = [(f.severity, f.number, f.limit) for f in report(graph).findings if f.code == "decay"]
    assert found == [("error", "0.0001", "above dt = 0.0001"), ("note", "0.9", "0.875")]


def test_one_time_constant_for_a_layer() -> None:
    graph = braille(reset="v_reset")
    graph["nodes"]["out"] = graphs.cuba(7, 0.5, np.linspace(0.5, 0.8, 7), reset="v_reset").to_dict()
    assert [e[:2] for e in errors(report(graph, "loihi"))] == [("decay", "out")]


def test_two_weights_in_a_row() -> None:
    graph = graphs.chain(
        (2,), ("a", nir.Linear(np.ones((3, 2)))), ("b", nir.Linear(np.ones((4, 3)))),
        ("lif", graphs.cuba(4, 0.5, 0.5, reset="v_reset")),
    )  # fmt: skip
    found = report(graph, "loihi")
    assert errors(found) == [("wiring", "lif", 2, 1)]
    assert "`a`, `b`" in found.findings[0].reason


# --------------------------------------------------------------------------------- Speck's cores


def test_the_network_of_the_paper_uses_five_cores_of_speck() -> None:
    """Its 128 -> 256 layer: kernel 4x4, 8 * 2^(4 + 8) = 32 Ki entries, so cores 3 to 6 only."""
    found = report(graphs.paper_scnn(RNG), "speck-2f")
    assert found.fits
    assert len(found.cores) == 5 and len({row["core"] for row in found.cores}) == 5
    by_layer = {row["layer"]: row for row in found.cores}
    assert by_layer["if_10"]["could_go_on"] == [3, 4, 5, 6]
    # c * 2^(ceil log2 k^2 + ceil log2 f), f * 2^(2 ceil log2 side), written out
    assert {name: (row["kernel"], row["neuron"]) for name, row in by_layer.items()} == {
        "if_1": (2 * 32 * 16, 16 * 256),
        "if_3": (16 * 16 * 16, 16 * 256),
        "if_6": (16 * 16 * 8, 8 * 64),
        "if_10": (8 * 16 * 256, 256),
        "if_12": (256 * 1 * 16, 10),
    }


def test_a_layer_larger_than_any_core() -> None:
    graph = graphs.chain(
        (64, 16, 16), ("conv", graphs.conv(RNG, (64, 16, 16), 128)), ("if", graphs.if_((128, 16, 16))),
        dt=1.0,
    )  # fmt: skip
    found = report(graph, "speck-2f")
    assert errors(found) == [("kernel-memory", "if", 64 * 16 * 128, 65536)]


def test_layers_that_compete_for_the_same_cores_are_named() -> None:
    """Three layers of 64 Ki kernel entries each; only cores 5 and 6 have as many."""
    layers: list[tuple[str, Any]] = []
    for i in range(3):
        layers += [
            (f"conv_{i}", graphs.conv(RNG, (64, 4, 4), 64)),
            (f"if_{i}", graphs.if_((64, 4, 4))),
        ]
    found = report(graphs.chain((64, 4, 4), *layers, dt=1.0), "speck-2f")
    assert errors(found) == [("placement", "if_2", 3, 2)]
    assert "(`if_0`, `if_1`, `if_2`) fit only on 2 cores [5, 6]" in found.findings[0].reason


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"kernel": 17, "padding": 7}, "kernel"),
        ({"stride": 3}, "strides"),
        ({"kernel": 2, "padding": 8}, "padding"),
    ],
)
def test_convolutions_that_a_core_cannot_do(options: dict[str, int], code: str) -> None:
    node = graphs.conv(RNG, (1, 20, 20), 1, **options)
    shape = graphs.chain((1, 20, 20), ("conv", node), dt=1.0)["nodes"]["output"]["shape"]
    graph = graphs.chain((1, 20, 20), ("conv", node), ("if", graphs.if_(tuple(shape))), dt=1.0)
    assert [e[0] for e in errors(report(graph, "speck-2f"))] == [code]


def test_pooling_that_a_core_cannot_do() -> None:
    graph = graphs.chain(
        (1, 12, 12), ("c", graphs.conv(RNG, (1, 12, 12), 1)), ("a", graphs.if_((1, 12, 12))),
        ("pool", graphs.pool(3)), ("d", graphs.conv(RNG, (1, 4, 4), 1)),
        ("b", graphs.if_((1, 4, 4))), dt=1.0,
    )  # fmt: skip
    found = errors(report(graph, "speck-2f"))
    assert [(code, layer) for code, layer, *_ in found] == [("pooling", "b")]


def test_a_core_has_one_kernel() -> None:
    """sinabs 3.1.3: a DynapcnnLayer is one convolution; two into one population are two kernels."""
    maps = (2, 4, 4)
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array(maps)),
        **{name: graphs.conv(RNG, maps, 2) for name in ("a", "c", "d")},
        **{name: graphs.if_(maps, 9.0) for name in ("one", "two", "end")},
        "b": graphs.conv(RNG, maps, 2),
        "output": nir.Output(np.array(maps)),
    }
    edges = [("input", "a"), ("a", "one"), ("one", "b"), ("b", "two"), ("one", "c"), ("c", "end")]
    edges += [("two", "d"), ("d", "end"), ("end", "output")]
    made = nir.NIRGraph(nodes, edges, type_check=False, metadata=graphs.contract(dt=1.0))
    graph = file.content_of(made)
    assert errors(report(graph, "speck-2f")) == [("kernels", "end", 2, 1)]
    assert not quantised(graph, profile.load("speck-2f"))


def test_a_core_pools_behind_its_neurons_only() -> None:
    graph = graphs.chain(
        (1, 8, 8), ("pool", graphs.pool()), ("c", graphs.conv(RNG, (1, 4, 4), 1)),
        ("if", graphs.if_((1, 4, 4), 9.0)), dt=1.0,
    )  # fmt: skip
    assert [e[:2] for e in errors(report(graph, "speck-2f"))] == [("pooling", "if")]
    assert not quantised(graph, profile.load("speck-2f"))


def test_strides_of_a_core_are_vertical_and_horizontal() -> None:
    """samna: stride {1, 2, 4, 8}, independent in x and y."""
    for stride, allowed in (((1, 2), True), ((8, 4), True), ((1, 3), False)):
        node = graphs.conv(RNG, (1, 16, 16), 1)
        node.stride = stride
        shape = graphs.chain((1, 16, 16), ("conv", node), dt=1.0)["nodes"]["output"]["shape"]
        neurons = graphs.if_(tuple(shape), 9.0)
        graph = graphs.chain((1, 16, 16), ("conv", node), ("if", neurons), dt=1.0)
        found = errors(report(graph, "speck-2f"))
        assert [e[0] for e in found] == ([] if allowed else ["strides"])
        assert quantised(graph, profile.load("speck-2f")) == allowed


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, ["one-spike"]), (2.0, [])])
def test_a_weight_above_the_threshold_is_named(threshold: float, expected: list[str]) -> None:
    weight = nir.Linear(np.ones((1, 1), np.float32))
    graph = graphs.chain((1,), ("w", weight), ("if", graphs.if_(1, threshold)), dt=1.0)
    found = [f for f in report(graph, "speck-2f").findings if f.code == "one-spike"]
    assert [f.code for f in found] == expected
    assert all((f.severity, f.number, f.limit) == ("warning", "1", "0.5") for f in found)


def test_a_core_resets_either_way() -> None:
    """sinabs 3.1.3 chips/dynapcnn.py: return_to_zero; the integers keep the reset of the graph."""
    for reset in ("subtract", "v_reset"):
        weight = nir.Linear(np.ones((1, 1), np.float32))
        neurons = graphs.if_(1, 2.0, reset)
        graph = graphs.chain((1,), ("w", weight), ("if", neurons), dt=1.0)
        assert report(graph, "speck-2f").verdict == "fits"
        network = quantise.quantise(graph, profile.load("speck-2f"))
        assert network.populations[0].reset == reset


def test_a_bias_is_refused_on_speck_and_never_lost() -> None:
    """On the chip a slow clock adds it, not a step: refused by `fit` and by quantisation."""
    affine = nir.Affine(np.ones((1, 1), np.float32), np.full(1, 0.5, np.float32))
    graph = graphs.chain((1,), ("w", affine), ("if", graphs.if_(1, 2.0)), dt=1.0)
    judged = judge.judge(graph, profile.load("speck-2f"))
    (found,) = [f for f in judged.findings if f.code == "bias"]
    assert found.severity == "error" and "leak clock" in found.source
    with pytest.raises(GraphError, match="1 biases are not 0"):
        quantise.quantise(graph, profile.load("speck-2f"))


def test_recurrence_on_speck() -> None:
    graph = braille()
    graph["nodes"]["out"] = graphs.if_(7).to_dict()
    graph["nodes"]["hidden"]["nodes"]["lif"] = graphs.if_(40).to_dict()
    assert errors(report(graph, "speck-2f"))[0][:2] == ("recurrence", "hidden.lif")


def test_recurrence_of_late_spikes_is_recurrence_too() -> None:
    """`spike_delay` 1, as Spyx's own layers have it: no edge closes a cycle within a step."""
    graph = braille()
    graph["nodes"]["out"] = graphs.if_(7).to_dict()
    late = graphs.if_(40).to_dict()
    late["metadata"]["spike_delay"] = 1
    graph["nodes"]["hidden"]["nodes"]["lif"] = late
    assert errors(report(graph, "speck-2f"))[0][:2] == ("recurrence", "hidden.lif")


def test_placement_finds_an_assignment_whenever_there_is_one() -> None:
    """Against trying every assignment, on random wishes."""
    rng = np.random.default_rng(3)
    solvable = 0
    for _ in range(200):
        layers, count = int(rng.integers(1, 6)), int(rng.integers(1, 6))
        fits = {
            f"layer {i}": [c for c in range(count) if rng.random() < 0.45] for i in range(layers)
        }
        possible = any(
            all(core in fits[name] for name, core in zip(fits, cores, strict=True))
            for cores in itertools.permutations(range(count), layers)
        )
        placed, rivals = place(fits)
        assert bool(rivals) != possible
        if possible:
            solvable += 1
            assert placed.keys() == fits.keys() and len(set(placed.values())) == layers
            assert all(core in fits[name] for name, core in placed.items())
        else:  # Hall: more layers than cores that any of them fits on
            assert len({core for name in rivals for core in fits[name]}) < len(rivals)
    assert 40 < solvable < 160


# ------------------------------------------------------------------------------ the command line


def write(tmp_path: Path, graph: dict[str, Any]) -> str:
    path = tmp_path / "graph.nir"
    file.write(path, file.build(graph))
    return str(path)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fits = write(tmp_path, braille())
    assert main(["fit", fits, "--target", "xylo-audio-2"]) == 0
    assert "fits xylo-audio-2" in capsys.readouterr().out
    assert main(["fit", fits, "--target", "xylo-audio-2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["fits"] is True and data["utilisation"][0]["source"]
    assert main(["fit", fits, "--target", "speck-2f"]) == 1
    out = capsys.readouterr().out
    assert "first: `" in out and "(source: " in out
    assert main(["fit", fits, "--target", "xylo"]) == 2
    assert "known are brainscales-2" in capsys.readouterr().err
    assert main(["fit", fits, "--target", "loihi", "--dt", "1"]) == 2
    assert main(["fit", str(tmp_path / "no.nir"), "--target", "loihi"]) == 1


def test_several_targets_are_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The trained network of the paper fits Xylo and not Speck, as the tests above find one by one."""
    words = ["fit", write(tmp_path, braille()), "--target", "xylo-audio-2", "--target", "speck-2f"]
    assert main(words) == 1
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split()[:2] for row in rows] == [["xylo-audio-2", "fits"], ["speck-2f", "does"]]
    assert main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["targets"]
    assert [(row["target"], row["verdict"]) for row in found] == [
        ("xylo-audio-2", "fits"),
        ("speck-2f", "refused"),
    ]
    assert main([*words[:2], "--target", "all"]) == 0  # one at least
    out = capsys.readouterr().out
    assert [row.split()[0] for row in out.splitlines()[-len(facts.names()) :]] == facts.names()


def test_a_file_that_says_too_little_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = braille()
    for _, part in [*file.graphs(graph), *file.nodes(graph)]:
        part.pop("metadata", None)
    silent = write(tmp_path, graph)
    for told, codes in {
        (): {"legacy-reset"},
        ("--dt", "1e-4"): {"legacy-reset"},
        ("--dt", "1e-4", "--reset", "v_reset"): set(),
    }.items():
        main(["fit", silent, "--target", "loihi", "--json", *told])
        found = json.loads(capsys.readouterr().out)["findings"]
        assert {f["code"] for f in found if f["severity"] == "warning"} == codes
    # What is said of a layer by name is not said again; and without an answer it is refused.
    assert main(["fit", silent, "--target", "xylo-audio-2", "--dt", "1e-4", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {f["code"] for f in found if f["severity"] in ("error", "warning")} == {"reset"}
    answered = ["--dt", "1e-4", "--reset", "subtract"]
    assert main(["fit", silent, "--target", "xylo-audio-2", *answered]) == 0
    # Where there is no rule, nothing needs the step.
    capsys.readouterr()
    assert main(["fit", silent, "--target", "generic", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {f["code"] for f in found if f["severity"] == "warning"} == {"dt", "legacy-reset"}


def test_a_profile_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (profile.FOLDER / "generic.yaml").read_text(encoding="utf-8")
    mine = tmp_path / "mine.yaml"
    mine.write_text(text.replace("outputs: {value: null", "outputs: {value: 6"), encoding="utf-8")
    graph = write(tmp_path, braille())
    assert main(["fit", graph, "--target", str(mine)]) == 1
    assert "outputs: 7, at most 6" in capsys.readouterr().out
    mine.write_text(text.replace("outputs:", "autputs:"), encoding="utf-8")
    assert main(["fit", graph, "--target", str(mine)]) == 1
    assert "limits.autputs: unknown key" in capsys.readouterr().err


def test_a_file_without_contract_and_without_edges_that_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = braille()
    graph["metadata"] = {}
    assert main(["fit", write(tmp_path, graph), "--target", "xylo-audio-2"]) == 1
    assert "no contract says the step" in capsys.readouterr().out
    told = ["--target", "xylo-audio-2", "--dt", "1e-4"]
    assert main(["fit", write(tmp_path, graph), *told]) == 0
    graph["edges"] = graph["edges"][1:]
    assert main(["fit", write(tmp_path, graph), "--target", "xylo-audio-2"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_fit_imports_no_jax(tmp_path: Path) -> None:
    """JAX costs seconds; `fit` has one."""
    path = write(tmp_path, graphs.paper_scnn(RNG))
    code = (
        "import sys; from spyx_nir.cli.main import main; "
        f"code = main(['fit', {path!r}, '--target', 'speck-2f', '--json']); "
        "heavy = {'jax', 'flax', 'spyx', 'tonic', 'torch', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imports {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- the verdict, and what is then done


def quantised(graph: dict[str, Any], chip: profile.Profile) -> bool:
    try:
        quantise.quantise(graph, chip)
    except GraphError:
        return False
    return True


def late(graph: dict[str, Any]) -> dict[str, Any]:
    """Spikes a step late, as Spyx's own layers send them."""
    for _, node in file.nodes(graph):
        if "v_threshold" in node:
            node["metadata"]["spike_delay"] = 1
    return graph


def steps_unsaid(graph: dict[str, Any]) -> dict[str, Any]:
    return graph | {"metadata": {}}


def biased(graph: dict[str, Any]) -> dict[str, Any]:
    weight = graph["nodes"]["w_in"]["weight"]
    graph["nodes"]["w_in"] = nir.Affine(weight, np.eye(1, 40, 3)[0]).to_dict()
    return graph


def decaying(alpha: Any) -> dict[str, Any]:
    graph = braille()
    graph["nodes"]["out"] = graphs.cuba(7, alpha, 0.75).to_dict()
    return graph


def negative() -> dict[str, Any]:
    graph = braille()
    graph["nodes"]["out"]["r"] = -graph["nodes"]["out"]["r"]
    return graph


GRAPHS = {
    "as the chip's": (braille, "xylo-audio-2", "fits"),
    "another reset": (lambda: braille(reset="v_reset"), "xylo-audio-2", "fits when changed"),
    "a bias": (lambda: biased(braille()), "xylo-audio-2", "fits"),
    "a decay that becomes 0": (lambda: decaying(0.2), "xylo-audio-2", "fits when changed"),
    "a decay of 0": (lambda: decaying(0.0), "xylo-audio-2", "fits when changed"),
    "many decays": (lambda: decaying(np.linspace(0.5, 0.8, 7)), "loihi", "fits when changed"),
    "too many outputs": (lambda: braille(out=9), "xylo-audio-2", "refused"),
    "no step": (lambda: steps_unsaid(braille()), "xylo-audio-2", "refused"),
    "no step, no decay": (lambda: steps_unsaid(graphs.paper_scnn(RNG)), "speck-2f", "refused"),
    "a gain below 0": (negative, "xylo-audio-2", "refused"),
    "late spikes": (lambda: late(braille()), "xylo-audio-2", "fits"),
    "neurons that it has not": (braille, "speck-2f", "refused"),
    "the network of the paper": (lambda: graphs.paper_scnn(RNG), "speck-2f", "fits"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_the_verdict_is_what_is_then_done(case: str, tmp_path: Path, capsys: Any) -> None:
    make, target, verdict = GRAPHS[case]
    graph, chip = make(), profile.load(target)
    as_it_is = quantised(graph, chip)
    try:
        changed = quantised(variant(graph, chip), chip)
    except GraphError:  # no step
        changed = False
    assert verdict == ("fits" if as_it_is else "fits when changed" if changed else "refused")
    code = main(["fit", write(tmp_path, graph), "--target", target, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["fits"], code) == (
        verdict,
        as_it_is or changed,
        int(not told["fits"]),
    )
    severities = {finding["severity"] for finding in told["findings"]}
    assert ("error" in severities) == (verdict == "refused")
    assert ("change" in severities) >= (verdict == "fits when changed")
    # Asked again as read back: a file may say no more than its graph.
    assert judge.judge(file.read_dict(tmp_path / "graph.nir"), chip).verdict == verdict


@pytest.mark.parametrize(("task", "target"), [("nmnist", "speck-2f"), ("braille", "xylo-audio-2")])
def test_a_file_that_the_pipeline_puts_on_a_chip_fits_it(
    tiny_run: Any, task: str, target: str, capsys: Any
) -> None:
    """`target` makes bundles of these files (tests/test_target.py)."""
    path = tiny_run(task, "v_reset") / "models" / task / "model.nir"
    assert main(["fit", str(path), "--target", target]) == 0
    out = capsys.readouterr().out
    if target == "speck-2f":  # the chip resets either way, its toolchain by subtraction
        assert "resets by" not in out
        assert ": fits speck-2f after: reset v_reset -> subtract (costs QAT), " in out
    else:
        assert "resets by v_reset, the target by subtract" in out
        changes = "reset v_reset -> subtract, decays to 1 - 2^-k"
        assert f": fits xylo-audio-2 after: {changes} (costs QAT), " in out
    assert "does not fit" not in out


def test_a_chip_without_a_rule_is_judged_by_its_limits(tmp_path: Path, capsys: Any) -> None:
    assert main(["fit", write(tmp_path, braille()), "--target", "spinnaker2"]) == 0
    assert "by its limits; it has no integer semantics" in capsys.readouterr().out
