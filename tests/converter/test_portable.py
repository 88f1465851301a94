"""Graphs rewritten for other readers: the same spikes by the reference, and the fields they want."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spyx_nir.cli.main import main
from spyx_nir.converter import adapt, file
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference

GOLDEN = Path(__file__).parent / "golden"
DT = 0.5  # a power of two: scaling by it rounds nothing


def chain(rng: np.random.Generator) -> dict[str, Any]:
    """A convolution with IF, then a recurrent CubaLIF in a subgraph, then LIF; thresholds that differ.

    Scales are powers of two, so that moving them into weights rounds nothing and spikes must be equal.
    """

    def powers(*shape: int) -> np.ndarray:
        return (2.0 ** rng.integers(-2, 3, shape)).astype(np.float32)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0.5, 1.0, shape).astype(np.float32)

    channels = np.broadcast_to(powers(3, 1, 1), (3, 4, 4)).copy()
    nodes: dict[str, Any] = {
        "input": {"type": "Input", "shape": np.array([2, 4, 4])},
        "conv": {
            "type": "Conv2d", "weight": weights(3, 2, 3, 3), "bias": weights(3) / 8,
            "stride": np.array([1, 1]), "padding": np.array([1, 1]), "dilation": np.array([1, 1]),
            "groups": np.int64(1), "input_shape": np.array([4, 4]),
        },
        "if": {"type": "IF", "r": channels, "v_threshold": channels * 2, "v_reset": channels / 4},
        "flat": {
            "type": "Flatten", "start_dim": np.int64(0), "end_dim": np.int64(-1),
            "input_type": np.array([3, 4, 4]),
        },
        "l1": {"type": "Linear", "weight": weights(5, 48) / 4},
        "rec": {
            "type": "NIRGraph",
            "nodes": {
                "input": {"type": "Input", "shape": np.array([5])},
                "lif": {
                    "type": "CubaLIF", "tau_syn": np.full(5, 2, np.float32),
                    "tau_mem": np.full(5, 4, np.float32), "r": powers(5) * 4,
                    "w_in": np.full(5, 4, np.float32), "v_leak": np.zeros(5, np.float32),
                    "v_threshold": powers(5), "v_reset": np.zeros(5, np.float32),
                },
                "w": {"type": "Affine", "weight": weights(5, 5) / 4, "bias": weights(5) / 4},
                "output": {"type": "Output", "shape": np.array([5])},
            },
            "edges": [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")],
            "metadata": {},
        },
        "l2": {"type": "Affine", "weight": weights(4, 5), "bias": weights(4) / 8},
        "lif": {
            "type": "LIF", "tau": np.full(4, 4, np.float32), "r": powers(4) * 4,
            "v_leak": powers(4) / 8, "v_threshold": powers(4) / 2, "v_reset": -powers(4) / 8,
        },
        "output": {"type": "Output", "shape": np.array([4])},
    }  # fmt: skip
    names = ["input", "conv", "if", "flat", "l1", "rec", "l2", "lif", "output"]
    return {
        "type": "NIRGraph",
        "nodes": nodes,
        "edges": list(itertools.pairwise(names)),
        "metadata": {"dt": DT, "time_unit": "step", "contract_version": 1},
    }


def spikes(graph: dict[str, Any]) -> dict[str, np.ndarray]:
    """By the reference, on 40 steps of three samples."""
    x = (np.random.default_rng(1).random((40, 3, 2, 4, 4)) < 0.4).astype(np.uint8)
    return reference.run(graph, x).spikes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reader", adapt.DIALECTS)
def test_no_spike_changes(reader: str, seed: int, tmp_path: Path) -> None:
    graph = chain(np.random.default_rng(seed))
    expected = spikes(graph)
    assert all(0.01 < found.mean() < 0.99 for found in expected.values())
    rewritten = adapt.dialect(graph, reader)
    file.write(tmp_path / "it.nir", file.build(rewritten))
    found = spikes(file.read_dict(tmp_path / "it.nir"))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name] == array).all(), name


def test_each_reader_finds_what_it_wants() -> None:
    graph = chain(np.random.default_rng(0))
    norse = dict(file.nodes(adapt.dialect(graph, "norse")))
    assert (norse["lif"]["r"] == 1).all()
    inner = graph["nodes"]["rec"]["nodes"]["w"]["bias"]
    assert not norse["rec.w"]["bias"].any()
    assert norse["l1"]["type"] == "Affine"
    assert (norse["l1"]["bias"] == inner).all()
    assert (norse["if"]["r"] == 1 / DT).all()
    assert (norse["rec.lif"]["r"] == graph["nodes"]["rec"]["nodes"]["lif"]["r"]).all()
    for name in ("if", "rec.lif", "lif"):
        one = dict(file.nodes(adapt.dialect(graph, "spikingjelly")))[name]
        assert (one["v_threshold"] == 1).all()
    torch = adapt.dialect(graph, "snntorch")
    nodes = dict(file.nodes(torch))
    assert torch["metadata"]["dt"] == 1e-4
    assert {node["type"] for node in nodes.values()} & {"IF", "LIF"} == {"LIF"}
    assert (np.float32(1) - np.float32(1e-4) / nodes["if"]["tau"] == 1).all()
    assert nodes["rec.lif"]["tau_mem"] == pytest.approx(np.full(5, 8e-4))  # 8 steps, as before
    kinds = [node["type"] for _, node in file.nodes(adapt.dialect(graph, "sinabs"))]
    assert "Linear" not in kinds
    nested = adapt.dialect(graph, "snn-mlir")
    assert "NIRGraph" not in [node["type"] for node in nested["nodes"].values()]
    assert {("l1", "rec.lif"), ("rec.lif", "l2"), ("rec.lif", "rec.w")} <= set(nested["edges"])


def test_the_graph_that_was_given_stays_as_it_was() -> None:
    graph = chain(np.random.default_rng(0))
    before = file.content_digest(graph)
    for reader in adapt.DIALECTS:
        adapt.dialect(graph, reader)
    assert file.content_digest(graph) == before


def test_what_cannot_be_moved_is_refused() -> None:
    uneven = np.ones((3, 4, 4), np.float32)
    uneven[0, 0, 0] = 2
    graph = chain(np.random.default_rng(0))
    graph["nodes"]["if"] = {**graph["nodes"]["if"], "v_threshold": uneven}
    with pytest.raises(
        GraphError, match="node `if`: r or v_threshold differ within a channel of `conv`"
    ):
        adapt.dialect(graph, "spikingjelly")
    graph["nodes"]["if"] = {**graph["nodes"]["if"], "v_threshold": -uneven}
    with pytest.raises(GraphError, match="node `if`: `v_threshold` holds -2; above 0 is needed"):
        adapt.dialect(graph, "spikingjelly")


def test_a_recurrent_bias_needs_a_weight_in_front() -> None:
    graph = chain(np.random.default_rng(0))
    graph["edges"] = [("input", "flat"), ("flat", "rec"), ("rec", "l2"), ("l2", "output")]
    for name in ("conv", "if", "l1", "lif"):
        del graph["nodes"][name]
    graph["nodes"]["input"]["shape"] = np.array([5, 1, 1])
    graph["nodes"]["flat"]["input_type"] = np.array([5, 1, 1])
    with pytest.raises(GraphError, match=r"node `rec\.lif`: .*: Flatten `flat` leads to it"):
        adapt.dialect(graph, "norse")


def test_a_scale_needs_a_weight_of_its_own() -> None:
    two = np.full(1, 2, np.float32)
    neuron = {"type": "IF", "r": two, "v_threshold": two, "v_reset": 0 * two}
    nodes = {
        "a": {"type": "Input", "shape": np.array([1])},
        "w": {"type": "Linear", "weight": np.ones((1, 1), np.float32)},
        "n": neuron,
        "m": neuron,
        "o": {"type": "Output", "shape": np.array([1])},
    }
    graph = {"type": "NIRGraph", "nodes": nodes, "metadata": {"dt": 1.0}}
    graph["edges"] = [("a", "w"), ("w", "n"), ("w", "m"), ("n", "o"), ("m", "o")]
    with pytest.raises(GraphError, match="weight `w` leads to `n` and to others"):
        adapt.dialect(graph, "norse")
    graph["edges"] = [("a", "n"), ("n", "w"), ("w", "m"), ("m", "o")]
    with pytest.raises(
        GraphError, match="node `n`: its scale cannot be moved into a weight: Input `a` leads"
    ):
        adapt.dialect(graph, "norse")


def test_an_unknown_reader_and_a_missing_dt_are_named() -> None:
    graph = chain(np.random.default_rng(0))
    with pytest.raises(GraphError, match=r"`reader` must be one of norse, .*got 'nengo'"):
        adapt.dialect(graph, "nengo")
    del graph["metadata"]["dt"]
    with pytest.raises(GraphError, match="`dt` is in no contract of this graph"):
        adapt.dialect(graph, "snntorch")


def test_the_command_writes_the_file_or_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = str(tmp_path / "in.nir"), str(tmp_path / "out.nir")
    file.write(source, file.build(chain(np.random.default_rng(0))))
    assert main(["adapt", source, target, "--reader", "snn-mlir"]) == 0
    assert capsys.readouterr().out == f"{target}: rewritten for snn-mlir\n"
    assert main(["adapt", target, target, "--reader", "snn-mlir"]) == 0
    assert capsys.readouterr().out == f"{target}: as before\n"
    no_dt = str(GOLDEN / "norse_lif_if.nir")
    assert main(["adapt", no_dt, target, "--reader", "snntorch"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {no_dt}: `dt` is in no contract")
