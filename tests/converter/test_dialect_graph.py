"""What a framework makes of a file, as a NIR graph, and in the bundle of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from small_graphs import chain, cuba, full, graph, li, lif, linear

from spyx_nir.bundle.dialect import as_graph, compared
from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.converter.as_dict import as_dict
from spyx_nir.errors import GraphError
from spyx_nir.meaning import dialects, reference

HALF = float(1 / np.log(2))  # exp(-1/HALF) is 1/2
SEVERAL = "at most one spike a step, where sinabs gives as many as thresholds fit into the membrane"
BELOW = np.nextafter(1.0, 0)


def if_(threshold: float = 1.0, v_reset: float = 0.0, r: float = 1.0) -> nir.IF:
    return nir.IF(full(r), full(threshold), full(v_reset))


@pytest.mark.parametrize(
    ("dialect", "neuron", "dt", "expected", "metadata"),
    [
        # v/2 + x: dt/tau = 1/2, dt/tau * r = 1
        ("sinabs", lif(tau=HALF, r=9.0, v_leak=3.0), 1.0,
         {"tau": 2, "r": 2, "v_leak": 0, "v_threshold": BELOW}, {"reset": "subtract"}),
        ("sinabs", li(tau=HALF), 0.5, {"tau": 1, "r": 2, "v_leak": 0}, None),
        ("sinabs", if_(r=7.0), 0.25, {"r": 4, "v_threshold": BELOW}, {"reset": "subtract"}),
        # i = (i + x)/2; v/4 + i + 3: dt/tau_mem = 3/4, of which r and v_leak undo 3/4
        ("rockpool", cuba(tau_syn=HALF / 4, tau_mem=HALF / 8, v_leak=3.0, r=9.0, w_in=9.0), 0.25,
         {"tau_syn": 0.5, "w_in": 1, "tau_mem": 1 / 3, "r": 4 / 3, "v_leak": 4,
          "v_threshold": BELOW}, {"reset": "subtract"}),
        ("rockpool", li(tau=HALF), 0.25, {"tau": 0.5, "r": 1, "v_leak": 0}, None),
        # a step of 1e-4 whatever dt
        ("snntorch", lif(tau=1e-3, v_reset=0.5), 1e-3, {"tau": 1e-2, "r": 4, "v_reset": 0},
         {"reset": "v_reset"}),
        ("snntorch", cuba(tau_syn=2e-4, tau_mem=4e-4), 1e-3, {"tau_syn": 2e-3, "tau_mem": 4e-3},
         {"reset": "v_reset"}),
        # 0.9 v + x
        ("snntorch", if_(), 1e-3, {"tau": 1e-2, "r": 10, "v_leak": 0}, {"reset": "subtract"}),
        ("norse", lif(r=2.0, v_leak=0.25, v_reset=0.5), 0.5, {"tau": 4, "r": 1, "v_reset": 0},
         {"reset": "v_reset", "v_init": "v_leak"}),
        ("norse", if_(v_reset=0.5), 0.5, {"r": 2, "v_reset": 0}, {"reset": "v_reset"}),
        # r (i + v_leak) + v_leak
        ("norse", cuba(v_leak=0.5), 0.5, {"v_leak": 2.5, "r": 4, "w_in": 2}, {"reset": "v_reset"}),
        ("spikingjelly", lif(v_leak=-0.25, v_reset=-0.25), 1.0, {"v_threshold": BELOW, "tau": 4},
         {"reset": "v_reset", "v_init": "v_leak"}),
    ],
)  # fmt: skip
def test_a_dialect_is_written_with_nirs_neurons(
    dialect: str, neuron: nir.NIRNode, dt: float, expected: dict[str, float], metadata: Any
) -> None:
    made = as_graph(as_dict(chain(neuron)), dialect, dt).content["nodes"]["n0"]
    for name, value in expected.items():
        # float32 of the file's tau
        np.testing.assert_allclose(made[name], value, rtol=1e-6, err_msg=name)
        assert (name != "v_threshold") or (made[name] < 1).all()
    said = dict(made["metadata"])
    assert said.pop("v_init", "zero") == (metadata or {}).pop("v_init", "zero")
    assert said == ({} if metadata is None else {**metadata, "spike_delay": 0})


EQUAL: dict[str, tuple[nir.NIRGraph, float]] = {
    "norse": (
        chain(linear(), lif(r=2.0, v_leak=0.25, v_reset=0.5), if_(0.4, 0.5), cuba(v_threshold=0.4)),
        0.5,
    ),
    "snntorch": (
        chain(
            linear(),
            lif(tau=1e-3, r=10.0, v_reset=0.5),
            cuba(tau_syn=2e-4, tau_mem=4e-4, v_threshold=0.9),
        ),
        1e-3,
    ),
    "spikingjelly": (chain(linear(), lif(v_leak=-0.25, v_reset=-0.25), if_(), cuba()), 1.0),
}


@pytest.mark.parametrize("name", EQUAL)
def test_the_graph_spikes_as_the_dialect_does(name: str) -> None:
    """Nothing stays different, so no spike may: also in a file that resets otherwise."""
    given, dt = EQUAL[name]
    for node in given.nodes.values():
        if hasattr(node, "v_threshold"):
            node.metadata = {"reset": "subtract", "spike_delay": 1}
    reading = as_graph(as_dict(given), name, dt)
    assert reading.differs == ()
    events = np.random.default_rng(0).integers(0, 5, (4, 40, 3))
    found = compared(reading, events)
    assert found["differing"] == 0 and found["recordings"] == 4
    assert all(node["spikes"] for node in found["nodes"].values())


@pytest.mark.parametrize(("dialect", "neuron", "dt"), [
    ("sinabs", lif(tau=3.0), None),
    ("rockpool", cuba(v_leak=0.1), 0.5),
])  # fmt: skip
def test_membranes_are_the_dialects_until_the_first_spike(
    dialect: str, neuron: nir.NIRNode, dt: float | None
) -> None:
    neuron.v_threshold = full(1e6)
    x = np.random.default_rng(0).normal(size=(20, 4, 3))
    given = as_dict(chain(neuron))
    reading = as_graph(given, dialect, dt)
    expected = dialects.run(given, x, dialect, dt).membranes["n0"]
    found = reference.run(reading.content, x, reading.dt).membranes["n0"]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(found, expected, atol=1e-12)  # float64, 20 steps


def test_spikes_that_differ_are_counted() -> None:
    """3.5 at once: sinabs spikes 3 times in the first step, the graph once in each of three."""
    reading = as_graph(as_dict(chain(if_())), "sinabs")
    events = np.zeros((1, 5, 3), np.uint8)
    events[0, 0] = 3
    found = compared(reading, events)
    assert (found["spikes"], found["differing"]) == (3 * 3, 3 * (2 + 1 + 1))
    assert reading.lines == [f"`n0`: {SEVERAL}", "`n0`: no floor at -v_threshold"]


def test_what_stays_different_is_said() -> None:
    names = {"in": nir.Input(np.array([3])), "if": if_(), "out": nir.Output(np.array([3]))}
    names["rec"] = nir.Affine(np.zeros((3, 3), np.float32), full(0.5))
    ring = graph(names, [("in", "if"), ("if", "out"), ("if", "rec"), ("rec", "if")])
    reading = as_graph(as_dict(ring), "norse", 1.0)
    assert [path for path, _ in reading.differs] == ["rec"]
    assert "leaves that one out" in reading.lines[0]
    # NIR's membrane is 0.5, 1, 1.5 and spikes then, Norse's a step later.
    assert compared(reading, np.zeros((1, 4, 3), np.uint8))["differing"] == 3 * 2
    for name, neuron, words in (
        ("norse", cuba(v_leak=0.5), "starts at 0, not at `v_leak`"),
        ("spikingjelly", if_(v_reset=0.5), "starts at 0, not at `v_reset`"),
        ("snntorch", if_(), "subtracted once"),
    ):
        assert words in as_graph(as_dict(chain(neuron)), name, 1.0).lines[0]


def test_what_a_dialect_cannot_step_is_refused() -> None:
    with pytest.raises(GraphError, match="CubaLIF node `n0`: how sinabs steps it is not known"):
        as_graph(as_dict(chain(cuba())), "sinabs")
    with pytest.raises(GraphError, match="`dt` is in no contract"):
        as_graph(as_dict(chain(lif())), "norse")
    with pytest.raises(GraphError, match=r"LIF node `n0`: dt = .* is longer than tau"):
        as_graph(as_dict(chain(lif(tau=5e-5))), "snntorch", 1e-3)


def test_the_bundle_of_a_dialect_says_so(tmp_path: Path, capsys: Any) -> None:
    """Three events at once: sinabs spikes thrice, the graph once in each of three steps."""
    model, data, out = (str(tmp_path / name) for name in ("a.nir", "x.npz", "bundles"))
    file.write(model, chain(nir.Linear(np.eye(3)), if_()))
    x = np.zeros((6, 2, 3), np.uint8)
    x[0] = 3
    np.savez(data, x=x)
    words = ["build", model, "--target", "cortex-m", "--calibrate", data, "-o", out]
    assert main([*words, "--dialect", "sinabs", "--reset", "none"]) == 2
    assert "--dialect has its own reset" in capsys.readouterr().err
    assert main([*words, "--dialect", "sinabs"]) == 0
    said = "24 of 18 spikes differ from the dialect's on 2 recordings; the class is the same in 2"
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"as sinabs reads it: {said}"
    assert lines[0] == f"differs: `n1`: {SEVERAL}"
    folder = Path(out) / "cortex-m"
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text())["target"]
    assert said in card and f"- `n1`: {SEVERAL}" in card
    assert "the given file's, written with NIR's neurons as sinabs reads it;" in card
    assert manifest["dialect"]["compared"]["differing"] == 24
    assert f"`n1`: {SEVERAL}" in manifest["not_done"]
    assert main(["verify", str(folder)]) == 0


def test_fit_judges_a_dialect(tmp_path: Path, capsys: Any) -> None:
    """exp(-1/tau) is 1/2, which is on every grid; Euler's decay of this tau would be 0.307."""
    model = str(tmp_path / "a.nir")
    file.write(model, chain(linear(), lif(tau=HALF, r=HALF)))
    codes = {}
    for name, more in (("nir", ["--dt", "1", "--reset", "subtract"]), ("sinabs", [])):
        flags = ["--dialect", "sinabs"] if name == "sinabs" else []
        assert main(["fit", model, "--target", "cortex-m", "--json", *flags, *more]) == 0
        report = json.loads(capsys.readouterr().out)
        codes[name] = [f["code"] for f in report["findings"]]
        assert report.get("dialect", {}).get("name") == (None if name == "nir" else "sinabs")
    assert "decay" in codes["nir"] and "decay" not in codes["sinabs"]
