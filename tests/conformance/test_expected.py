"""The expected values of the pack, by implementations that share no code with the reference."""

from __future__ import annotations

import numpy as np
import pytest
from exact import Exact
from scipy.integrate import solve_ivp
from scipy.signal import lfilter

from pipeline.conformance import build
from pipeline.conformance.case import DT, Case, chain, neuron
from spyx_nir.meaning import reference

CASES = {case.name: case for case in build.cases()}
ROUNDING = (
    1e-12  # float64 beside fractions: 2^-53 for each of some hundred operations on values near 1
)


@pytest.fixture(scope="module")
def built() -> dict[str, build.Built]:
    return {name: build.build_case(case) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_expected_values_are_those_of_exact_fractions(
    name: str, built: dict[str, build.Built]
) -> None:
    case, found = CASES[name], built[name]
    exact = Exact(case.graph, found.inputs, case.dt, case.delayed)
    steps = range(len(next(iter(found.inputs.values()))))
    for path, output in found.outputs.items():
        values = np.array([exact.output(path, t) for t in steps], np.float64)
        assert output.shape == values.shape
        assert np.abs(output - values).max() < ROUNDING * max(1, np.abs(values).max()), path
    for path, spikes in found.spikes.items():
        z = np.array([exact.output(path, t) for t in steps], np.float64)
        assert (spikes == z).all(), path
        if exact.nodes[path]["type"] != "Threshold":
            u = np.array([exact.state(path, t)["u"] for t in steps], np.float64)
            assert np.abs(found.membranes[path] - u).max() < ROUNDING * 100, path


def test_no_case_depends_on_rounding(built: dict[str, build.Built]) -> None:
    """In float32, by fractions of the other implementation: margins are as `about.json` says."""
    ties = set()
    for name, found in built.items():
        case = found.case
        exact = Exact(case.graph, found.inputs, case.dt, case.delayed)
        steps = range(len(next(iter(found.inputs.values()))))
        for path in found.spikes:
            node = exact.nodes[path]
            spiking = node["type"] != "Threshold"
            theta = node["v_threshold" if spiking else "threshold"].astype(np.float64)
            u = [exact.state(path, t)["u"] if spiking else exact.arrives(path, t) for t in steps]
            distance = np.abs(np.array(u, np.float64) - theta).min()
            if case.exact:
                ties.add(name)
                # Multiples of 1/64 below 4: 8 bits, so that float32 and float16 hold every one.
                assert all(float(value) * 64 % 1 == 0 for value in np.ravel(u))
                assert distance == 0
            else:
                assert distance >= build.MARGIN - ROUNDING, name
    assert ties == {
        "if-at-threshold",
        "lif-at-threshold",
        "cubalif-at-threshold",
        "threshold-at-threshold",
    }


@pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if c.kinds[0] in ("I", "LI", "CubaLI")]
)
def test_integrators_are_filters(name: str, built: dict[str, build.Built]) -> None:
    """Closed form: a first-order filter of input and leak, two in a row where there is a current."""
    found = built[name]
    node = CASES[name].graph["nodes"]["neuron"]
    x = found.inputs["input"].astype(np.float64)
    dt, size = CASES[name].dt, x[0].size
    p = {
        k: np.broadcast_to(np.asarray(v, np.float64), x.shape[1:]).ravel()
        for k, v in node.items() if isinstance(v, np.ndarray)
    }  # fmt: skip
    x = x.reshape(len(x), -1)
    for n in range(size):
        drive = x[:, n]
        if node["type"] == "I":
            expected = np.cumsum(dt * p["r"][n] * drive)
        else:
            if node["type"] == "CubaLI":
                a = dt / p["tau_syn"][n]
                drive = lfilter([a * p["w_in"][n]], [1, a - 1], drive)
            a = dt / p["tau" if node["type"] == "LI" else "tau_mem"][n]
            expected = lfilter([a], [1, a - 1], p["r"][n] * drive + p["v_leak"][n])
        got = found.outputs["output"].reshape(len(x), -1)[:, n]
        assert np.abs(got - expected).max() < ROUNDING


def continuous(kind: str, amplitude: float, t_max: float) -> list[float]:
    """Spike times of NIR's differential equation under a constant input, by SciPy with events."""
    tau, tau_syn = 8 * DT, 4 * DT

    def slope(_: float, y: np.ndarray) -> list[float]:
        v, i = y
        if kind == "IF":
            return [amplitude / DT, 0.0]
        if kind == "LIF":
            return [(-v + 8 * amplitude) / tau, 0.0]
        return [(-v + 8 * i) / tau, (-i + 4 * amplitude) / tau_syn]

    def crossing(_: float, y: np.ndarray) -> float:
        return y[0] - 1.0

    crossing.terminal, crossing.direction = True, 1  # type: ignore[attr-defined]
    times, t, y = [], 0.0, [0.0, 0.0]
    while t < t_max:
        solved = solve_ivp(slope, (t, t_max), y, events=crossing, rtol=1e-9, atol=1e-12)
        if not solved.t_events[0].size:
            break
        t = float(solved.t_events[0][0])
        y = [0.0, float(solved.y_events[0][0][1])]
        times.append(t)
    return times


@pytest.mark.parametrize("kind", ["IF", "LIF", "CubaLIF"])
def test_the_equations_are_those_of_continuous_time(kind: str) -> None:
    """With steps of DT / 256 the reference spikes where the differential equation does.

    Euler's error is of the order of one fine step; each reset adds one at most.
    """
    fine, t_max, amplitude = DT / 256, 20 * DT, 0.2
    node = neuron(kind, (1,), v_threshold=1.0)
    graph = chain((1,), (1,), neuron=node)
    x = np.full((round(t_max / fine), 1, 1), amplitude)
    z = reference.run(graph, x, fine).output[:, 0, 0]
    found = (np.flatnonzero(z) + 1) * fine
    expected = continuous(kind, amplitude, t_max)
    assert len(expected) >= 2
    assert len(found) == len(expected)
    for number, (a, b) in enumerate(zip(found, expected, strict=True), 1):
        assert abs(a - b) < 3 * number * fine


def test_every_primitive_and_reset_has_cases() -> None:
    import nir

    kinds = {kind for case in CASES.values() for kind in case.kinds}
    primitives = {
        name for name in vars(nir)
        if isinstance(getattr(nir, name), type) and issubclass(getattr(nir, name), nir.NIRNode)
    } - {"NIRNode"}  # fmt: skip
    assert kinds == primitives
    for kind in ("if", "lif", "cubalif"):
        for reset in ("reset-below", "reset-above", "subtract", "subtract-after-decay"):
            assert f"{kind}-{reset}" in CASES
    assert all(isinstance(case, Case) for case in CASES.values())
