"""The verdict of `fit` on random graphs, beside what the stage `target` then does with them."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np
import pytest

from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.hardware import judge, profile, quantise, simulate
from spyx_nir.hardware.constrain import variant

RULED = [name for name in profile.names() if profile.load(name).has_integers]
SEEDS = range(60)
DT = graphs.DT


def neurons(rng: np.random.Generator, kind: type, count: int, reset: str) -> nir.NIRNode:
    """A population; one in ten has something that some chip cannot have."""

    def full(value: float) -> np.ndarray:
        return np.full(count, value, np.float32)

    def odd(usual: float, other: float) -> np.ndarray:
        return full(other if rng.random() < 0.05 else usual)

    def tau() -> np.ndarray:
        drawn = rng.random()
        if drawn < 0.1:
            return full(np.inf)
        if drawn < 0.2:
            return (DT * rng.uniform(1.2, 40, count)).astype(np.float32)
        return full(DT * rng.choice([1.0, 1.2, 2.0, 3.0, 8.0, 16.0], p=[0.03, 0.03, *[0.235] * 4]))

    told = {"metadata": {"reset": reset, "spike_delay": int(rng.random() < 0.1)}}
    fields = {"v_threshold": odd(1, 0), "v_reset": odd(0, 0.25)} | told
    if kind is nir.IF:
        return nir.IF(r=odd(1 / DT, 2 / DT), **fields)
    fields["v_leak"] = odd(0, 0.125)
    if kind is nir.LIF:
        mem = tau()
        return nir.LIF(tau=mem, r=mem / np.float32(DT), **fields)
    mem, syn = tau(), tau()
    sign = np.where(np.isinf(syn), 1, odd(1, -1)).astype(np.float32)
    return nir.CubaLIF(
        tau_mem=mem,
        tau_syn=syn,
        r=mem / np.float32(DT),
        w_in=sign * syn / np.float32(DT),
        **fields,
    )


def weight(rng: np.random.Generator, rows: int, columns: int) -> nir.NIRNode:
    made = rng.normal(size=(rows, columns)).astype(np.float32)
    made *= rng.choice([1, 1e-3, 1e4], p=[0.9, 0.05, 0.05])
    if rng.random() < 0.1:
        return nir.Affine(made, np.ones(rows, np.float32))
    return nir.Linear(made)


def drawn(seed: int) -> nir.NIRGraph:
    """Two or three layers of one kind of neuron; the first may be recurrent, or a convolution."""
    rng = np.random.default_rng(seed)
    kind = (nir.CubaLIF, nir.LIF, nir.IF)[seed % 3]
    reset = str(rng.choice(["v_reset", "subtract"]))
    nodes: dict[str, nir.NIRNode] = {}
    if kind is nir.IF:
        nodes["input"], columns = nir.Input(np.array([2, 6, 6])), 2 * 36
        nodes["conv"] = graphs.conv(rng, (2, 6, 6), 2, stride=1 if rng.random() < 0.9 else 3)
        if tuple(nodes["conv"].stride) == (1, 1):
            nodes["spikes"] = graphs.if_((2, 6, 6), reset=reset, dt=DT)
        else:
            nodes["spikes"], columns = graphs.if_((2, 2, 2), reset=reset, dt=DT), 8
        nodes["flat"] = nir.Flatten({"input": nodes["spikes"].r.shape}, 0, -1)
    else:
        columns = int(rng.integers(1, 18))
        nodes["input"] = nir.Input(np.array([columns]))
    for layer in range(int(rng.integers(1, 4))):
        rows = int(rng.integers(1, 10))
        nodes[f"w{layer}"] = weight(rng, rows, columns)
        cell = neurons(rng, kind, rows, reset)
        if layer == 0 and kind is not nir.IF and rng.random() < 0.4:
            inner = {
                "input": nir.Input(np.array([rows])),
                "lif": cell,
                "w_rec": nir.Linear(rng.normal(size=(rows, rows)).astype(np.float32)),
                "output": nir.Output(np.array([rows])),
            }
            edges = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
            cell = nir.NIRGraph(inner, edges, type_check=False)
        nodes[f"n{layer}"], columns = cell, rows
    nodes["output"] = nir.Output(np.array([columns]))
    contract = {} if rng.random() < 0.05 else graphs.contract()
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), contract, type_check=False)


def on_the_chip(graph: dict[str, Any], chip: profile.Profile) -> bool:
    """Whether a graph gets through all that comes before and after quantisation-aware training."""
    try:
        network = quantise.quantise(graph, chip)
    except GraphError:
        return False
    written = quantise.on_grid(graph, network)
    quantise.check_recovery(written, network)
    rng = np.random.default_rng(0)
    x = {n: rng.integers(0, 2, (5, 1, *shape)) for n, shape in network.inputs.items()}
    simulate.run(network, x)
    assert judge.judge(written, chip).verdict == "fits"
    return True


@pytest.mark.parametrize("target", RULED)
@pytest.mark.filterwarnings("ignore:.*is infinite:UserWarning")
def test_the_verdict_on_random_graphs(target: str, tmp_path: Path, capsys: Any) -> None:
    chip, seen, path = profile.load(target), Counter[str](), tmp_path / "a.nir"
    for seed in SEEDS:
        file.write(path, drawn(seed))
        graph = file.read_dict(path)
        expected = "fits" if on_the_chip(graph, chip) else "refused"
        if expected == "refused":
            with contextlib.suppress(GraphError):  # no step, or one that is too long
                changed = on_the_chip(variant(graph, chip), chip)
                expected = "fits when changed" if changed else expected
        code = main(["fit", str(path), "--target", target, "--json"])
        out, err = capsys.readouterr()
        assert (json.loads(out)["verdict"], code, err) == (
            expected,
            int(expected == "refused"),
            "",
        ), seed
        seen[expected] += 1
    assert set(seen) == {"fits", "fits when changed", "refused"}, seen


@pytest.mark.parametrize("target", sorted(set(profile.names()) - set(RULED)))
def test_a_chip_without_a_rule_refuses_only_what_its_profile_says(
    target: str, tmp_path: Path, capsys: Any
) -> None:
    """Nothing is rounded there: an error names a key of the profile, and `quantise` refuses all."""
    chip, path = profile.load(target), tmp_path / "a.nir"
    for seed in SEEDS:
        file.write(path, drawn(seed))
        code = main(["fit", str(path), "--target", target, "--json"])
        told = json.loads(capsys.readouterr().out)
        found = [f for f in told["findings"] if f["severity"] == "error"]
        assert code == bool(found) and all(finding["source"] for finding in found)
        with pytest.raises(GraphError, match="no integer semantics"):
            quantise.quantise(file.read_dict(path), chip)


@pytest.mark.filterwarnings("ignore:.*is infinite:UserWarning")
def test_a_membrane_without_leak_is_judged_as_a_very_long_one(tmp_path: Path, capsys: Any) -> None:
    """Lava's voltage decay 0: tau and r infinite; r*dt/tau is 1, as with tau = 2^60 dt and r = 2^60."""
    verdicts = []
    for tau, r in ((np.inf, np.inf), (2.0**60 * DT, 2.0**60)):
        cell = graphs.cuba(4, 0.5, 0.5, reset="v_reset")
        cell.tau_mem, cell.r = np.full(4, tau, np.float32), np.full(4, r, np.float32)
        graph = graphs.chain((3,), ("w", nir.Linear(np.eye(4, 3))), ("n", cell))
        file.write(tmp_path / "a.nir", file.build(graph))
        verdicts.append(main(["fit", str(tmp_path / "a.nir"), "--target", "loihi"]))
        out, err = capsys.readouterr()
        assert "fits loihi" in out and not err
    assert verdicts == [0, 0]
