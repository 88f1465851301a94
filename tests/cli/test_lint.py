"""`lint`: every code is found where it is, and nowhere else; the clean graph is clean."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path

import h5py
import nir
import numpy as np
import old_files
import pytest
from old_files import DT, TAU, R, both, chain, clean, lif, put

from spyx_nir.cli.main import main
from spyx_nir.converter.lint import CODES

LIF = "node/nodes/lif"
Graph = Callable[[], nir.NIRGraph]
Change = Callable[[h5py.File], None] | None


def image(shape: tuple[int, ...]) -> nir.NIRGraph:
    """An Input of that shape straight into an Output."""
    return chain(input=nir.Input(np.array(shape)), output=nir.Output(np.array(shape)))


def times(factor: float, **metadata: object) -> nir.NIRGraph:
    """The clean graph, its neuron's r multiplied."""
    graph = clean()
    graph.nodes["lif"].r *= np.float32(factor)
    return graph


def spyx() -> nir.NIRGraph:
    """What spyx.nir 1.0.0 writes: r = beta = 1 - dt/tau."""
    graph = clean()
    graph.nodes["lif"].r[:] = 0.75
    return graph


def endless() -> nir.NIRGraph:
    """A decay of 1 as snnTorch writes it: tau = dt/(1 - beta), r = tau/dt."""
    graph = clean()
    graph.nodes["lif"].tau[1] = graph.nodes["lif"].r[1] = np.inf
    return graph


def seconds() -> nir.NIRGraph:
    graph = clean()
    graph.nodes["lif"] = lif(tau=20.0, reset="v_reset")
    return graph


def cuba() -> nir.NIRGraph:
    """The clean graph with a current that is gone after a step: a w_in of 1 adds the whole input."""
    graph = clean()
    own = graph.nodes["lif"]
    fields = {n: getattr(own, n) for n in ("r", "v_leak", "v_threshold", "v_reset", "metadata")}
    tau_syn = np.full(2, DT, np.float32)
    graph.nodes["lif"] = nir.CubaLIF(
        tau_mem=own.tau, tau_syn=tau_syn, w_in=np.ones(2, np.float32), **fields
    )
    return graph


def dead_end() -> nir.NIRGraph:
    graph = clean()
    graph.nodes["extra"] = lif(reset="v_reset")
    graph.edges.append(("fc", "extra"))
    return graph


# code -> (graph, change of the file, severity, node, words of the reason)
CASES: dict[str, tuple[Graph, Change, str, str, str]] = {
    "bad-node": (clean, put(f"{LIF}/gamma", 1.0), "error", "lif", "the field `gamma`"),
    "bad-node (type)": (clean, put(f"{LIF}/type", "ALIF"), "error", "lif", "unknown type 'ALIF'"),
    "bad-node (missing)": (clean, put(f"{LIF}/tau", None), "error", "lif", "`tau` is missing"),
    "dangling-edge": (
        clean,
        put("node/edges", [["input", "fc"], ["fc", "lif"], ["lif", "output"], ["lif", "gone"]]),
        "error",
        "",
        "names `gone`, which is no node",
    ),
    "dangling-edge (subgraph)": (
        lambda: old_files.recurrent(old_files.INNER),
        put(
            "node/edges",
            [["input", "fc"], ["fc", "rec"], ["rec", "output"], ["rec.lif", "rec.w_rec"]],
        ),
        "error",
        "",
        "names a node that is in a subgraph",
    ),
    "duplicate-edge": (
        clean,
        put("node/edges", [["input", "fc"], ["fc", "lif"], ["fc", "lif"], ["lif", "output"]]),
        "error",
        "",
        "('fc', 'lif') is there twice",
    ),
    "declared-shape": (
        clean,
        put("node/nodes/output/shape", np.array([1, 2])),
        "error",
        "output",
        "declares `shape` (1, 2), but (2,) arrives",
    ),
    "batch-axis": (
        clean,
        both(
            *(
                put(f"{LIF}/{n}", np.full((1, 2), v, "f4"))
                for n, v in {
                    "tau": TAU,
                    "r": R,
                    "v_leak": 0,
                    "v_threshold": 1,
                    "v_reset": 0,
                }.items()
            )
        ),
        "error",
        "lif",
        "of shape (1, 2) have an axis for a batch",
    ),
    "empty-field": (
        clean,
        put(f"{LIF}/v_reset", np.zeros(0, "f4")),
        "warning",
        "lif",
        "`v_reset` is there and says nothing",
    ),
    "missing-field": (
        cuba,
        put(f"{LIF}/w_in", None),
        "warning",
        "lif",
        "`w_in` is missing; nir takes 1",
    ),
    "declared-type": (
        clean,
        put("node/nodes/fc/input_type", np.array([3])),
        "warning",
        "fc",
        "carries `input_type`",
    ),
    "refused": (dead_end, None, "error", "extra", "leads to no Output"),
    "refused (NaN)": (clean, put(f"{LIF}/tau", np.array([1, np.nan])), "error", "lif", "holds nan"),
    "dt-too-large": (
        clean,
        both(
            put(f"{LIF}/tau", np.array([TAU, DT / 2], "f4")),
            put(f"{LIF}/r", np.array([4, 0.5], "f4")),
        ),
        "error",
        "lif",
        "the largest dt allowed is 6.10352e-05",
    ),
    "older-nir": (clean, None, "error", "lif", "nir 1.0.4 fails on the field `v_reset`"),
    "legacy-wiring": (
        lambda: old_files.recurrent(old_files.LEGACY),
        None,
        "warning",
        "rec",
        "the input enters by ('input', 'w_rec')",
    ),
    "scalar-parameter": (
        clean,
        both(*(put(f"{LIF}/{n}", np.full((1, 1, 1), v, "f4")) for n, v in {
            "tau": TAU, "r": R, "v_leak": 0, "v_threshold": 1, "v_reset": 0}.items())),
        "warning",
        "lif",
        "of shape (1, 1, 1) where (2,) arrives",
    ),
    "no-contract": (clean, put("node/metadata", None), "warning", "", "no contract: dt"),
    "legacy-reset": (
        clean,
        put(f"{LIF}/metadata", None),
        "warning",
        "lif",
        "trained with reset by subtraction look the same",
    ),
    "time-unit": (seconds, None, "warning", "lif", "tau = 20: s as the contract says, or milli"),
    "time-unit (unknown)": (
        clean,
        put("node/metadata/time_unit", "fortnight"),
        "warning",
        "",
        "time_unit is 'fortnight'; s, ms, step are known",
    ),
    "channels-last": (
        lambda: image((34, 34, 2)),
        None,
        "warning",
        "input",
        "(34, 34, 2) looks like (height, width, channels)",
    ),
    "gain": (lambda: times(0.25), None, "warning", "lif", "r*dt/tau = 0.25 scales the input"),
    "infinite": (endless, None, "warning", "lif", "tau is infinite: nothing leaks"),
    "spyx-gain": (spyx, None, "warning", "lif", "r = 1 - dt/tau: spyx.nir 1.0.0 writes"),
    "norse-tau": (
        clean,
        both(
            put("node/metadata", None),
            put(f"{LIF}/tau", np.full(2, 1e-5, "f4")),
            put(f"{LIF}/r", np.ones(2, "f4")),
        ),
        "warning",
        "",
        "Norse 1.1.0 writes dt/tau_mem_inv as tau",
    ),
    "foreign-key": (
        clean,
        both(
            put("node/metadata", None),
            put("node/metadata/reset_mechanism", "subtract"),
        ),
        "note",
        "",
        "reset_mechanism = 'subtract'; not read: `subtract` is one of two rules",
    ),
    "discretization": (
        clean,
        both(put("node/metadata/contract_version", None), put("node/metadata/discretization", "zoh")),
        "warning",
        "",
        "discretization is 'zoh', which is not known: read as euler",
    ),
    "contract": (
        clean,
        put("node/metadata/n_steps", 0),
        "error",
        "",
        "`n_steps` is 0; 1 or more is needed",
    ),
    "nir-type-check": (
        clean,
        put("node/nodes/output/shape", np.array([1, 2])),
        "warning",
        "",
        "nir's own type check refuses it: Type inference error: type mismatch",
    ),
    "double-precision": (
        clean,
        put(f"{LIF}/v_leak", np.full(2, 0.1)),
        "note",
        "lif",
        "float64: v_leak; rounding to float32 changes v_leak",
    ),
    "reset-value": (
        clean,
        put(f"{LIF}/v_reset", np.full(2, -0.5, "f4")),
        "note",
        "lif",
        "resets to -0.5",
    ),
}  # fmt: skip


def lint(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, str]]]:
    code = main(["lint", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)["findings"]


def test_every_code_has_a_case() -> None:
    cases = {name.partition(" ")[0] for name in CASES}
    assert cases | {"unchecked"} == set(CODES)


def test_says_what_it_did_not_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """nir's type check takes time of nodes times edges."""
    path = old_files.write(tmp_path / "a.nir", old_files.clean())
    nodes, edges = len(old_files.clean().nodes), len(old_files.clean().edges)
    monkeypatch.setattr("spyx_nir.converter.lint.MOST_CHECKED", nodes * edges)
    assert lint(capsys, path) == (0, [])
    monkeypatch.setattr("spyx_nir.converter.lint.MOST_CHECKED", nodes * edges - 1)
    status, (found,) = lint(capsys, path)
    assert (status, found["code"], found["severity"]) == (0, "unchecked", "note")
    assert f"time of {nodes} nodes times {edges} edges" in found["reason"]


@pytest.mark.parametrize("name", CASES)
def test_finds(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, change, severity, node, words = CASES[name]
    code = name.partition(" ")[0]
    path = old_files.write(tmp_path / "a.nir", graph(), change)
    flags = {"older-nir": ("--target", "nir-1.0.4"), "contract": ("--contract",)}
    target = flags.get(code, ())
    status, found = lint(capsys, path, *target)
    (hit,) = [f for f in found if f["code"] == code]
    assert (hit["severity"], hit["node"]) == (severity, node)
    assert words in hit["reason"] and hit["remedy"]
    assert CODES[code].startswith(severity)
    assert status == (1 if any(f["severity"] == "error" for f in found) else 0)
    related = {code, "nir-type-check", "declared-shape"}
    if code in ("norse-tau", "foreign-key", "discretization"):  # who write none
        related |= {"no-contract"}
    if code == "discretization":
        related |= {"foreign-key"}  # the dt that is left
    assert {f["code"] for f in found} <= related, found


def test_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_files.write(tmp_path / "a.nir", clean())
    assert main(["lint", path, "--strict"]) == 0
    assert capsys.readouterr().out == f"{path}: nothing found\n"


def test_warnings_fail_when_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_files.write(tmp_path / "a.nir", times(0.25))
    assert main(["lint", path]) == 0
    assert main(["lint", path, "--strict"]) == 1
    head, line, summary, *_ = capsys.readouterr().out.splitlines()
    assert head == "severity\tcode\tnode\treason\tremedy"
    assert line.startswith("warning\tgain\tlif\tr*dt/tau = 0.25 ")
    assert summary == f"{path}: 0 errors, 1 warning, 0 notes"


def test_dt_of_the_caller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_files.write(tmp_path / "a.nir", clean(), put("node/metadata", None))
    assert {f["code"] for f in lint(capsys, path, "--dt", "1e-3")[1]} == {
        "no-contract",
        "dt-too-large",
        "gain",
    }


def test_a_gigantic_shape_is_not_written_out(tmp_path: Path) -> None:
    """2^31 neurons of one number each: writing them out would take 16 GiB a parameter."""
    shape = np.array([2**31])
    graph = chain(input=nir.Input(shape), lif=lif(reset="v_reset"), output=nir.Output(shape))
    for name in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        setattr(graph.nodes["lif"], name, getattr(graph.nodes["lif"], name)[:1])
    path = old_files.write(tmp_path / "a.nir", graph)
    used, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, hard))
    try:
        assert main(["lint", path]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (used, hard))


def test_a_nan_that_signals_is_no_warning(tmp_path: Path) -> None:
    """0x7f800001, which NumPy warns of when it looks whether any is not 0."""
    signalling = np.full(2, 0x7F800001, "<u4").view("<f4")
    path = old_files.write(tmp_path / "a.nir", clean(), put(f"{LIF}/v_reset", signalling))
    assert main(["lint", path]) == 1
