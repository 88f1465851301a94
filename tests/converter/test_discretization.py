"""Exact steps: by Runge-Kutta's integration of NIR's equations, and what takes and writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from small_graphs import chain, cuba, full, li, lif, linear

import spyx_nir as snir
from spyx_nir.cli.main import main
from spyx_nir.converter import adapt, contract, contract_schema, file
from spyx_nir.converter.as_dict import as_dict
from spyx_nir.converter.discretize import as_euler
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference
from spyx_nir.meaning.equations import DISCRETIZATIONS, RESETS
from spyx_nir.meaning.plan import CONTRACT_VERSION

EXACT = {"contract_version": 2, "dt": 1.0, "time_unit": "step", "discretization": "exact"}
SUBSTEPS = 200

NEURONS: dict[str, nir.NIRNode] = {
    "LIF": lif(tau=4.0, r=3.0, v_leak=0.2, v_threshold=0.9, metadata={"reset": "subtract"}),
    "LIF, dt above tau": lif(tau=0.25, r=3.0),
    "LI": li(tau=3.0, r=2.0, v_leak=0.5),
    "CubaLIF": cuba(tau_syn=2.0, tau_mem=5.0, r=2.0, w_in=1.5, v_leak=0.1, v_threshold=0.5),
    "CubaLIF, one tau": cuba(tau_syn=3.0, tau_mem=3.0),
    "CubaLIF, slow current": cuba(tau_syn=30.0, tau_mem=0.3),
    "CubaLIF, fast current": cuba(tau_syn=0.3, tau_mem=3.0),
    "CubaLI": nir.CubaLI(full(2.0), full(5.0), full(2.0), full(0.1), full(1.5)),
}


def slopes(node: nir.NIRNode, x: Any, v: Any, i: Any) -> tuple[Any, Any]:
    """dv/dt and di/dt, as docs/primitives.md of NIR gives them."""
    if hasattr(node, "tau_syn"):
        current = (node.w_in * x - i) / node.tau_syn
        return (node.v_leak - v + node.r * i) / node.tau_mem, current
    return (node.v_leak - v + node.r * x) / node.tau, 0.0


def integrated(node: nir.NIRNode, x: np.ndarray) -> np.ndarray:
    """Membranes before the reset (T, B, n) by the classical Runge-Kutta rule in small steps."""
    h = 1.0 / SUBSTEPS
    v = i = np.zeros(x.shape[1:])
    found = []
    for x_t in x:
        for _ in range(SUBSTEPS):
            k1 = slopes(node, x_t, v, i)
            k2 = slopes(node, x_t, v + h / 2 * k1[0], i + h / 2 * k1[1])
            k3 = slopes(node, x_t, v + h / 2 * k2[0], i + h / 2 * k2[1])
            k4 = slopes(node, x_t, v + h * k3[0], i + h * k3[1])
            v, i = (
                state + h / 6 * (k1[n] + 2 * k2[n] + 2 * k3[n] + k4[n])
                for n, state in enumerate((v, i))
            )
        found.append(v)
        if hasattr(node, "v_threshold"):
            z = v > node.v_threshold
            after = (
                v - node.v_threshold if node.metadata.get("reset") == "subtract" else node.v_reset
            )
            v = np.where(z, after, v)
    return np.stack(found)


@pytest.mark.parametrize("name", NEURONS)
def test_an_exact_step_solves_the_equation(name: str) -> None:
    graph = chain(NEURONS[name], metadata=EXACT)
    x = np.random.default_rng(0).normal(size=(12, 2, 3)) * 2
    expected = integrated(NEURONS[name], x)
    seen: list[np.ndarray] = []

    def watch(path: str, arrives: Any, leaves: Any, state: Any) -> None:
        if path == "n0":
            seen.append(state.get("u", state["v"]))

    reference.run(as_dict(graph), x, watch=watch)
    # The rule's error is of the order (h/tau)^4 of the fastest constant, h = 1/200: 2e-7 for 0.25.
    np.testing.assert_allclose(np.stack(seen), expected, atol=1e-6)
    assert np.ptp(expected) > 1  # something happens


@pytest.mark.parametrize("name", ["LIF, dt above tau", "CubaLIF, slow current", "CubaLI"])
def test_the_imported_model_steps_exactly(name: str) -> None:
    graph = chain(NEURONS[name], metadata=EXACT)
    x = np.random.default_rng(1).normal(size=(12, 2, 3)).astype(np.float32) * 2
    expected = reference.run(as_dict(graph), x).output
    _, outputs = snir.from_nir(graph, x, dt=None)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)  # float32


def test_the_argument_overrides_the_file() -> None:
    x = np.full((4, 1, 3), 0.7)
    said = chain(lif(), metadata=EXACT)
    plain = chain(lif(), metadata={"dt": 1.0})
    exact = reference.run(as_dict(said), x).membranes["n0"]
    given = reference.run(as_dict(plain), x, discretization="exact").membranes["n0"]
    np.testing.assert_array_equal(exact, given)
    euler = reference.run(as_dict(said), x, discretization="euler").membranes["n0"]
    np.testing.assert_array_equal(euler, reference.run(as_dict(plain), x).membranes["n0"])
    # By hand: g = 1 - exp(-1/4) of r*x = 2.8 in the first step, a quarter of it by Euler.
    np.testing.assert_allclose(exact[0], 2.8 * (1 - np.exp(-0.25)))
    np.testing.assert_allclose(euler[0], 0.7)
    _, outputs = snir.from_nir(plain, x, dt=1.0, discretization="exact")
    assert outputs.shape == (4, 1, 3)


def test_a_graph_in_euler_steps_means_the_same() -> None:
    graph = as_dict(chain(lif(tau=4.0, r=3.0, v_leak=0.2), li(tau=0.5, r=1.0), metadata=EXACT))
    x = np.random.default_rng(2).normal(size=(20, 2, 3)) * 2
    rewritten = as_euler(graph)
    assert rewritten["metadata"] == {"contract_version": 1, "dt": 1.0, "time_unit": "step"}
    expected = reference.run(graph, x)
    found = reference.run(rewritten, x)
    np.testing.assert_array_equal(found.spikes["n0"], expected.spikes["n0"])
    np.testing.assert_allclose(found.output, expected.output, rtol=1e-12)
    assert as_euler(rewritten) is rewritten
    with pytest.raises(GraphError, match="CubaLIF node `n0`: in an exact step its input acts past"):
        as_euler(as_dict(chain(cuba(), metadata=EXACT)))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({**EXACT, "contract_version": 1}, "exact needs contract_version 2, but the file says 1"),
        ({**EXACT, "discretization": "zoh"}, "discretization is 'zoh'; euler, exact are known"),
        ({**EXACT, "contract_version": 3}, "this reader knows up to 2"),
    ],
)
def test_what_a_contract_cannot_say_is_refused(metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(GraphError, match=words):
        reference.run(as_dict(chain(lif(), metadata=metadata)), np.zeros((1, 1, 3)))


def test_the_version_is_the_lowest_that_says_it() -> None:
    assert contract.make(1.0)["contract_version"] == 1
    assert contract.make(1.0, time_unit="ms")["contract_version"] == 1
    assert contract.make(1.0, discretization="euler")["contract_version"] == 1
    assert contract.make(1.0, discretization="exact")["contract_version"] == 2


STUDIO = json.dumps({"dt": 0.5, "time_unit": "ms", "schema_version": "sc-neurocore.studio.v1"})


@pytest.mark.parametrize(
    ("of_graph", "of_node", "dt"),
    [
        ({"dt": 0.5}, {}, 0.5),
        ({}, {"dt": 0.5}, 0.5),
        ({"dt": 0.5}, {"dt": 0.25}, 0.5),
        ({"sc_neurocore.studio": STUDIO}, {}, 0.5),
        ({"sc_neurocore.studio": "{"}, {}, None),
        ({}, {"dt": "soon"}, None),
        ({"time_step": 0.5}, {}, None),
    ],
)
def test_the_step_of_other_programs(
    of_graph: dict[str, Any], of_node: dict[str, Any], dt: float | None
) -> None:
    graph = as_dict(chain(lif(metadata=of_node), metadata=of_graph))
    x = np.ones((1, 1, 3))
    if dt is None:
        with pytest.raises(GraphError, match="`dt` is in no contract"):
            reference.run(graph, x)
        return
    # An input of 1 by r = 4 over dt of tau = 4.
    np.testing.assert_allclose(reference.run(graph, x).membranes["n0"], dt)


def test_other_names_of_eulers_step_are_read_and_unknown_ones_warned_of() -> None:
    x = np.ones((1, 1, 3))
    for name in ("forward_euler", "euler"):
        graph = as_dict(chain(lif(), metadata={"dt": 1.0, "discretization": name}))
        np.testing.assert_allclose(reference.run(graph, x).membranes["n0"], 1.0)
    graph = as_dict(chain(lif(), metadata={"dt": 1.0, "discretization": "exponential_euler"}))
    with pytest.warns(UserWarning, match="'exponential_euler' of the file is not known"):
        reference.run(graph, x)


@pytest.mark.parametrize("value", [np.array(["exact", "euler"]), np.array([1, 2]), 3, ["exact"]])
def test_a_discretization_of_another_type(value: Any) -> None:
    graph = as_dict(chain(lif(), metadata={"dt": 1.0, "discretization": value}))
    with pytest.warns(UserWarning, match="of the file is not known: read as euler"):
        reference.run(graph, np.ones((1, 1, 3)))
    assert "discretization" in {finding.code for finding in snir.lint(graph, strictly=True)}
    graph["metadata"]["contract_version"] = 2
    with pytest.raises(GraphError, match="euler, exact are known"):
        reference.run(graph, np.ones((1, 1, 3)))


def test_the_command_line_takes_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, data = (str(tmp_path / name) for name in ("a.nir", "b.nir", "x.npy"))
    node = lif(metadata={"reset": "v_reset", "spike_delay": 0})
    file.write(path, chain(linear(value=0.5), node, metadata={}))
    np.save(data, np.full((4, 3), 0.7))
    assert main(["upgrade", path, out, "--discretization", "exact"]) == 2
    assert main(["upgrade", path, out, "--dt", "1", "--discretization", "exact"]) == 0
    metadata = snir.read(out).metadata
    assert (metadata["contract_version"], metadata["discretization"]) == (2, "exact")
    capsys.readouterr()
    spikes = {}
    for flags in (
        (path, data, "--dt", "1", "--discretization", "exact"),
        (out, data),
        (path, data, "--dt", "1"),
    ):
        assert main(["run", *flags, "--json"]) == 0
        spikes[flags] = json.loads(capsys.readouterr().out)["spikes"]
    exact, written, euler = spikes.values()
    # Euler: 3 * 0.5 * 0.7 = 1.05 > 1 in every step. Exact: 4 * 1.05 * (1 - exp(-1/4)) = 0.929 in the
    # first, 0.929 * exp(-1/4) + 0.929 = 1.652 in the second, which resets to 0.
    assert exact == written == {"n1": 6} and euler == {"n1": 12}
    assert main(["run", out, data, "--engine", "jax", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"]["output"]["sum"] == exact["n1"]
    assert main(["inspect", out, "--json"]) == 0
    (shown,) = (n for n in json.loads(capsys.readouterr().out)["nodes"] if n["path"] == "n1")
    np.testing.assert_allclose(shown["decays"]["tau"], [np.exp(-0.25)] * 2)
    assert main(["lint", out, "--contract"]) == 0
    assert main(["fit", out, "--target", "loihi", "--json"]) == 0


def test_a_file_for_another_reader_is_in_euler_steps() -> None:
    graph = as_dict(chain(linear(), lif(r=4.0), metadata=EXACT))
    rewritten = adapt.dialect(graph, "sinabs")
    assert "discretization" not in rewritten["metadata"]
    # dt / (1 - exp(-1/4))
    np.testing.assert_allclose(rewritten["nodes"]["n1"]["tau"], 1 / (1 - np.exp(-0.25)))
    with pytest.raises(GraphError, match="train with Euler steps") as caught:
        snir.check(as_dict(chain(linear(), cuba(), metadata=EXACT)), "loihi")
    assert (caught.value.node, caught.value.code) == ("n1", "discretization")


def test_the_schema_has_what_the_code_reads_and_writes() -> None:
    rules = contract_schema.schema()["$defs"]
    of_graph, spiking = rules["graph"]["properties"], rules["spiking"]["properties"]
    written = contract.make(
        1.0,
        input_bin_s=1.0,
        n_steps=1,
        classes=["a"],
        readout="spike_count",
        output_order="HWC",
        discretization="exact",
    )
    assert set(written) | {"grid"} == set(of_graph)
    allowed = {
        "time_unit": contract.UNITS,
        "readout": contract.READOUTS,
        "discretization": DISCRETIZATIONS,
    }
    for name, values in allowed.items():
        assert tuple(of_graph[name]["enum"]) == values
    assert tuple(spiking["reset"]["enum"]) == RESETS
    assert of_graph["contract_version"]["maximum"] == CONTRACT_VERSION


@pytest.mark.parametrize(
    ("of_graph", "of_node", "words"),
    [
        ({**EXACT, "contract_version": 1}, {}, "`contract_version` is 1; 2 is needed"),
        ({"dt": 1.0}, {}, "`contract_version` is missing"),
        ({**EXACT, "classes": "a, b"}, {}, "`classes` is 'a, b'; JSON is needed"),
        ({**EXACT, "n_steps": 2.5}, {}, "`n_steps` is 2.5; an integer is needed"),
        ({**EXACT, "dt": -1.0}, {}, "`dt` is -1.0; a number above 0 is needed"),
        (EXACT, {"spike_delay": 0}, "`reset` is missing"),
        (EXACT, {"reset": "zero", "spike_delay": 2}, "`reset` is 'zero'; one of v_reset"),
        (
            EXACT,
            {"reset": "v_reset", "spike_delay": True},
            "`spike_delay` is True; a finite number",
        ),
    ],
)
def test_what_is_against_the_schema(
    of_graph: dict[str, Any], of_node: dict[str, Any], words: str
) -> None:
    node = of_node or {"reset": "v_reset", "spike_delay": 0}
    found = [*contract_schema.against(as_dict(chain(lif(metadata=node), metadata=of_graph)))]
    assert any(words in reason for _, reason, _ in found), found


def test_nothing_is_against_the_schema_in_a_right_file() -> None:
    metadata = {**EXACT, "classes": '["a"]', "own": [1]}
    graph = chain(lif(metadata={"reset": "none", "spike_delay": 1}), li(), metadata=metadata)
    assert [*contract_schema.against(as_dict(graph))] == []
