"""The family `integer`: its rule by hand, against floats, Lava and the C that is generated for it."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import graphs
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest
import random_networks
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from integer_bundles import recurrent, written

from bench.silicon import cortex_m
from bench.vendors import compare, two_layers
from spyx_nir.errors import GraphError, UserError
from spyx_nir.hardware import constraints, judge, profile, qat, quantise, simulate
from spyx_nir.hardware.constrain import variant
from spyx_nir.hardware.facts import Entry
from spyx_nir.hardware.families.integer import verify_c
from spyx_nir.hardware.families.integer.boards import BOARDS
from spyx_nir.hardware.families.integer.bounds import bounds
from spyx_nir.hardware.families.integer.c_code import c_files, layout_of, most_events
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

CHIP = profile.load("cortex-m")
GOLDEN = Path(__file__).parent / "golden"
CC = verify_c.compiler()
needs_cc = pytest.mark.skipif(CC is None, reason="no C compiler: apt-get install gcc")
# A network follows from one seed: there is nothing to shrink.
QUICK = settings(
    max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
MANY = settings(QUICK, max_examples=120)
STRICT = (*verify_c.FLAGS, *cortex_m.WARNINGS)
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


def one(weight: int, threshold: int, **options: Any) -> IntegerNetwork:
    """One input, one neuron."""
    population = Population("n", (1,), np.asarray(threshold), output=True, **options)
    link = Weight("input", "n", "w", np.array([[weight]]), (1,))
    return IntegerNetwork(CHIP, {"input": (1,)}, (population,), (link,))


def drive(*counts: int) -> dict[str, np.ndarray]:
    return {"input": np.array(counts).reshape(-1, 1, 1)}


def states(network: IntegerNetwork, *counts: int) -> tuple[list[int], list[int], list[int]]:
    run = simulate.run(network, drive(*counts), record=True)
    return tuple(a["n"].ravel().tolist() for a in (run.currents, run.membranes, run.spikes))


# ------------------------------------------------------------------------------------- by hand


def test_decays_are_of_4096_and_toward_zero() -> None:
    """a = 10 << 6 = 640; u = 640 * 2048 / 4096 = 320; v = 640 * 3000 / 4096 + 320 = 468.75 + 320."""
    decays = {"decay_syn": np.asarray(2048), "decay_mem": np.asarray(3000)}
    assert states(one(10, 1000, **decays), 1, 0) == ([640, 320], [640, 468 + 320], [0, 0])
    assert states(one(-10, 1000, **decays), 1, 0) == ([-640, -320], [-640, -468 - 320], [0, 0])


def test_a_neuron_spikes_above_its_threshold_in_the_same_step() -> None:
    """v grows by 10; 20 is not above 20; after the third v is 0, or 30 - 20."""
    _, v, z = states(one(10, 20, reset="v_reset"), 1, 1, 1, 0)
    assert (v, z) == ([640, 1280, 0, 0], [0, 0, 1, 0])
    _, v, z = states(one(10, 20, reset="subtract"), 1, 1, 1, 0)
    assert (v, z) == ([640, 1280, 640, 640], [0, 0, 1, 0])


def test_states_saturate() -> None:
    """127 * 255 << 6 = 2072640: the fifth step would pass 2^23 - 1, and downwards -2^23."""
    step, most = 127 * 255 << 6, 2**23 - 1
    network = one(127, 131071, decay_syn=np.asarray(4095), reset="v_reset")
    u, _, _ = states(network, *[255] * 6)
    second = (step * 4095 >> 12) + step
    assert u[:2] == [step, second] and u[4:] == [most, most]
    _, v, _ = states(one(-127, 131071), *[300] * 6)  # 300 count as 255
    assert v == [-step, -2 * step, -3 * step, -4 * step, -most - 1, -most - 1]
    assert simulate.run(one(-127, 131071), drive(*[255] * 6)).saturated == {"n": 2}


def test_what_arrives_without_a_current_does_not_saturate_by_itself() -> None:
    """Three inputs of -127 * 255 << 6 = -2072640 each, then five of 2072640: more than 2^23 - 1 arrives,
    and the membrane is within it. In JAX too.
    """
    n = Population("n", (1,), np.asarray(131071), reset="v_reset", output=True)
    link = Weight("input", "n", "w", np.array([[127] * 5 + [-127] * 5]), (10,))
    network = IntegerNetwork(CHIP, {"input": (10,)}, (n,), (link,))
    x = np.zeros((2, 1, 10), np.int64)
    x[0, 0, 5:8] = x[1, 0, :5] = 255
    run = simulate.run(network, {"input": x}, record=True)
    assert run.membranes["n"].ravel().tolist() == [-3 * 2072640, 2 * 2072640]
    assert run.saturated == {"n": 0} and int(qat.run(network, x).saturated["n"]) == 0


def test_a_recurrence_carries_the_step_before_and_a_chain_the_same_step() -> None:
    """a spikes at t = 0, which reaches b at once and a itself at t = 1."""
    a, b = (Population(n, (1,), np.asarray(5), reset="v_reset", output=n == "b") for n in "ab")
    links = tuple(
        Weight(source, target, source + target, np.array([[6]]), (1,))
        for source, target in (("input", "a"), ("a", "a"), ("a", "b"))
    )
    run = simulate.run(IntegerNetwork(CHIP, {"input": (1,)}, (a, b), links), drive(1, 0, 0))
    assert run.spikes["a"].ravel().tolist() == run.spikes["b"].ravel().tolist() == [1, 1, 1]
    without = IntegerNetwork(CHIP, {"input": (1,)}, (a, b), links[::2])
    assert simulate.run(without, drive(1, 0, 0)).spikes["b"].ravel().tolist() == [1, 0, 0]


# ---------------------------------------------------------------------------- by other programs


def test_where_nothing_decays_floats_have_the_same_spikes() -> None:
    """Groups, stride, padding, pooling; the graph needs no delays for that."""
    random = np.random.default_rng(3)
    grouped = graphs.conv(random, (4, 6, 6), 6, 3, 1, 1)
    grouped.weight, grouped.groups = grouped.weight[:, :2], 2
    graph = graphs.chain(
        (2, 12, 12),
        ("conv_0", graphs.conv(random, (2, 12, 12), 4, 3, 2, 1)),
        ("if_1", graphs.if_((4, 6, 6), 2.0)),
        ("conv_2", grouped),
        ("if_3", graphs.if_((6, 6, 6), 1.5, "v_reset")),
        ("pool_4", graphs.pool()),
        ("flatten", nir.Flatten({"input": np.array([6, 3, 3])}, 0, -1)),
        ("linear_5", nir.Linear(random.normal(size=(4, 54)).astype(np.float32))),
        ("if_6", graphs.if_(4, 1.0)),
        dt=1.0,
    )
    network = quantise.quantise(graph, CHIP)
    on_grid = quantise.on_grid(graph, network)
    quantise.check_recovery(on_grid, network)
    x = (random.random((12, 3, 2, 12, 12)) < 0.3).astype(np.int64)
    run, trace = simulate.run(network, {"input": x}), qat.run(network, x)
    floats = reference.run(make_plan(on_grid), x)
    assert all(spikes.sum() > 5 for spikes in run.spikes.values())
    for name, spikes in run.spikes.items():
        assert (spikes == floats.spikes[name]).all() and (spikes == trace.spikes[name]).all()
        assert on_grid["nodes"][name]["metadata"]["spike_delay"] == 0


@settings(QUICK, max_examples=4)  # JAX compiles each of them
@given(st.data())
def test_jax_has_the_spikes_and_counts_of_numpy(data: Any) -> None:
    network, x = random_networks.network(data.draw, into_maps=False)
    run, trace = simulate.run(network, {"input": x}), qat.run(network, x)
    for name, spikes in run.spikes.items():
        assert (spikes == trace.spikes[name]).all()
    for what in ("saturated", "ties"):
        found = {name: int(count) for name, count in getattr(trace, what).items()}
        assert found == getattr(run, what)


def test_gradients_reach_the_decays() -> None:
    """One input spike of weight 100: the membrane is 100, then 100 (m + s) for decays m of the membrane
    and s of the current, both 0.5. With a threshold of 125 that is 0.8 thresholds, where the slope is
    (1 + 5 * 0.2)^-2 = 1/4; of 0.8 by either n of n / 4096 it is 0.8 / 4096."""
    link = Weight("input", "n", "w", np.array([[100]]), (1,))

    def count(decays: dict[str, jax.Array]) -> jax.Array:
        neuron = Population("n", (1,), np.asarray(125), reset="v_reset", output=True)
        moved = dataclasses.replace(neuron, **decays)
        network = IntegerNetwork(CHIP, {"input": (1,)}, (moved,), (link,))
        return qat.run(network, jnp.zeros((2, 1, 1)).at[0].set(1.0), 5.0).spikes["n"].sum()

    half = {name: jnp.asarray(2048.0) for name in ("decay_syn", "decay_mem")}
    for slope in jax.grad(count)(half).values():
        # float32 division and squares
        assert slope.item() == pytest.approx(0.25 * 0.8 / 4096, rel=1e-6)


def test_a_map_that_feeds_itself_is_not_trained() -> None:
    n = Population("n", (1, 2, 2), np.asarray(9), output=True)
    links = tuple(Weight(source, "n", source, np.ones((4, 4), int), (4,)) for source in "in")
    with pytest.raises(
        GraphError, match="`n`: a map that feeds itself is simulated in NumPy alone"
    ):
        qat.run(IntegerNetwork(CHIP, {"i": (4,)}, (n,), links), jnp.ones((2, 1, 4)))


def of_lava(case: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """How many entries of a case's spikes are Lava's, layer k moved by k steps; how many are not."""
    facts = CHIP.facts | {"weights.bits": Entry(9, "Lava's weights, of this test alone")}
    wide = dataclasses.replace(CHIP, facts=facts)
    network = two_layers.from_arrays(case, wide, "v_reset")
    run = simulate.run(network, {"input": np.swapaxes(case["input"], 0, 1)})
    same = other = 0
    for layer, name in enumerate(("hidden", "out"), start=1):
        mine, theirs = np.swapaxes(run.spikes[name], 0, 1), case[name]
        agree = mine[:, :-layer] == theirs[:, layer:]
        same, other = same + int(agree.sum()), other + int((~agree).sum())
    return same, other


def test_spikes_are_lavas_without_its_delays() -> None:
    """The recorded spikes of lava-nc 0.10.0, in the cases in which none of its states is at a bound."""
    with np.load(GOLDEN / "lava.npz", allow_pickle=False) as loaded:
        cases = compare.nested({key: loaded[key] for key in loaded.files})
    seen = spikes = 0
    for case in cases.values():
        if any(compare.ours("lava", case).saturated.values()):
            continue
        same, other = of_lava(case)
        assert other == 0 and same > 0
        seen, spikes = seen + 1, spikes + int(case["hidden"].sum() + case["out"].sum())
    assert seen >= 6 and spikes > 400


@pytest.mark.full
@pytest.mark.skipif(not compare.PYTHON.exists(), reason="no .venv-vendors: run make vendors-setup")
def test_spikes_are_those_of_lava_itself() -> None:
    cases = compare.random_cases("lava", 6, np.random.default_rng(5))
    found = compare.theirs("lava", cases, compare.PYTHON)
    compared = 0
    for name, case in cases.items():
        if not any(compare.ours("lava", case).saturated.values()):
            same, other = of_lava(case | found[name])
            assert other == 0
            compared += same
    assert compared > 1000


# ------------------------------------------------------------------------------------------ C


def compare_with_c(folder: Path, data: Any, flags: tuple[str, ...]) -> None:
    network, x = random_networks.network(data.draw)
    assert verify_c.check(written(folder, network, np.minimum(x, 255)), str(CC), flags) == []
    run = simulate.run(network, {"input": x}, record=True)
    for bound in bounds(network):
        seen = {"current": run.currents, "membrane": run.membranes}[bound.state][bound.population]
        assert bound.low <= seen.min() and seen.max() <= bound.high


@needs_cc
@QUICK
@given(st.data())
def test_c_has_the_spikes_and_states_of_numpy(tmp_path_factory: Any, data: Any) -> None:
    flags = (*STRICT, "-O1")
    compare_with_c(tmp_path_factory.mktemp("c"), data, flags)


@pytest.mark.full
@needs_cc
@MANY
@given(st.data())
def test_c_is_clean_under_sanitizers(tmp_path_factory: Any, data: Any) -> None:
    """120 networks; half by the product that cores without a long one take."""
    flags = (*STRICT, *SANITIZED)
    if data.draw(st.booleans()):
        flags = (*flags, "-DMODEL_NO_LONG_PRODUCT")
    compare_with_c(tmp_path_factory.mktemp("c"), data, flags)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The C of a small recurrent network."""
    return recurrent(tmp_path / "bundle")


def verified(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(folder / "verify_c.py")]
    return subprocess.run(command, capture_output=True, text=True)


@needs_cc
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_both_compilers_take_it_without_a_warning(small: Path, cc: str) -> None:
    if shutil.which(cc) is None:
        pytest.skip(f"no {cc}")
    assert verify_c.check(small, cc, STRICT) == []
    assert verify_c.check(small, cc, (*STRICT, "-DMODEL_NO_LONG_PRODUCT")) == []


@needs_cc
def test_any_bytes_over_the_serial_port_are_taken(small: Path) -> None:
    """Random commands and places, under the sanitizers: it answers, and ends where the bytes end."""
    program = small / "host"
    verify_c.build(small / "c", program, str(CC), (*STRICT, *SANITIZED))
    random = np.random.default_rng(0)
    some = random.choice(np.frombuffer(b"RESVCT\0\1\2\4?\377", np.uint8), 100_000)
    for data in (random.integers(0, 256, 100_000, np.uint8), some):
        done = subprocess.run([str(program)], input=data.tobytes(), capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"") and b"?" in done.stdout
        assert set(b"RSVCT") <= set(done.stdout)


@needs_cc
def test_a_flipped_bit_a_swapped_layer_and_a_lost_event_are_found(small: Path) -> None:
    done = verified(small)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("pass: ")
    weights, model, serial = (small / "c" / f"{n}.c" for n in ("weights", "model", "serial"))
    text = weights.read_text()
    first = text.split("= {\n    ")[1].split(",")[0]
    weights.write_text(text.replace(f"    {first},", f"    {int(first) ^ 64},", 1))
    done = verified(small)
    assert done.returncode == 1 and "differs: current/hidden.lif: " in done.stderr
    weights.write_text(text)
    code = model.read_text()
    model.write_text(
        code.replace("fire_0(state);\n    fire_1(state);", "fire_1(state);\n    fire_0(state);")
    )
    done = verified(small)
    assert done.returncode == 1 and "membrane/out: " in done.stderr
    model.write_text(code)
    taken = "taken += (uint32_t)model_event"
    lost = "taken += channel == 0u ? 0u : (uint32_t)model_event"
    serial.write_text(serial.read_text().replace(taken, lost))
    done = verified(small)
    assert done.returncode == 1 and " events were not taken" in done.stderr


def test_without_a_compiler_that_is_said(small: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(sys, "argv", ["verify_c.py", str(small)])
    assert verify_c.main() == 0
    out = capsys.readouterr().out
    assert out.startswith("not compiled: ") and "apt-get install gcc" in out
    monkeypatch.setenv("CC", "no-such-compiler")
    assert verify_c.main() == 1
    assert "no-such-compiler: No such file" in capsys.readouterr().err


API = """
#include "model.h"
#include <stdio.h>
int main(void) {
    static model_state a, b;
    uint8_t out[MODEL_CLASSES];
    uint32_t i, n = 0;
    model_reset(&a);
    model_reset(&b);
    printf("%d %d ", model_event(&a, MODEL_CHANNELS, 0, 0), model_event(&a, 0, 1, 0));
    printf("%d %d ", model_event(&a, 0, 0, 1), model_event(&a, 0, 0, 0));
    printf("%u ", (unsigned)model_step(&a, 0));
    for (i = 0; i < 3u; ++i) {
        (void)model_event(&a, 1, 0, 0);
        n += model_step(&a, out);
        (void)model_step(&b, out);
    }
    printf("%u %d ", (unsigned)n, b.membrane[0] == 0 && a.membrane[0] != 0);
    while (model_event(&b, 0, 0, 0) == 1) {
        ++i;
    }
    printf("%u %u ", (unsigned)model_classify(&a), (unsigned)model_classify(&b));
    printf("%d ", i - 3u == MODEL_MOST_EVENTS);
    printf("%u\\n", (unsigned)sizeof(model_state));
    return 0;
}
"""


@needs_cc
def test_the_interface(tmp_path: Path) -> None:
    """Two inputs, three IF neurons of threshold 4.

    What is outside the input is not taken, nor is more than a step can sum; instances are separate; of
    equal counts the first class is taken. Under the sanitizer no sum overflows.
    """
    neurons = Population("n", (3,), np.asarray(4), reset="v_reset", output=True)
    link = Weight("input", "n", "w", np.array([[127, -128], [1, 5], [-128, 5]]), (2,))
    network = IntegerNetwork(CHIP, {"input": (2,)}, (neurons,), (link,))
    written(tmp_path, network, np.zeros((1, 1, 2), np.int64))
    (tmp_path / "c" / "api.c").write_text(API)
    sources = [str(tmp_path / "c" / f"{name}.c") for name in ("model", "weights", "api")]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", *SANITIZED]
    subprocess.run([str(CC), *flags, *sources, "-o", str(tmp_path / "api")], check=True)
    done = subprocess.run([str(tmp_path / "api")], capture_output=True, text=True, check=True)
    # The first step takes one event of input 0: 127 is above 4, 1 and -128 are not. Then input 1 makes
    # the second neuron spike three times, 5 + 1 and 5; the third is at -128 + 15.
    ram = layout_of(network).ram
    assert done.stdout == f"0 0 0 1 1 3 1 1 0 1 {ram}\n"


def test_what_needs_no_library() -> None:
    """No heap, no floats, no division in the model's text, and stdint.h alone."""
    random = np.random.default_rng(2)
    network = quantise.quantise(graphs.paper_scnn(random), CHIP)
    texts = c_files(network)
    model = texts["c/model.c"] + texts["c/weights.c"] + texts["c/model.h"] + texts["c/weights.h"]
    code = "".join(part.split("*/")[-1] for part in model.split("/*"))
    included = {line for line in code.splitlines() if line.startswith("#include")}
    assert included == {'#include "model.h"', '#include "weights.h"', "#include <stdint.h>"}
    assert not [word for word in ("malloc", "float", "double", "/", "%") if word in code]


# ---------------------------------------------------------------------------------- what fits


def test_bounds_by_hand() -> None:
    """Weights 3 and -2, inputs of at most 255: a from -510 to 765, times 64. u = a / (1 - 1/2), v before
    the reset at most 100 * 64 * 1/4 + u, and down to u / (1 - 1/4)."""
    n = Population(
        "n", (1,), np.asarray(100), np.asarray(2048), np.asarray(1024), "v_reset", output=True
    )
    link = Weight("input", "n", "w", np.array([[3, -2]]), (2,))
    network = IntegerNetwork(CHIP, {"input": (2,)}, (n,), (link,))
    current, membrane = bounds(network)
    assert (current.low, current.high) == (-2 * 510 * 64, 2 * 765 * 64)
    assert membrane.high == 100 * 64 / 4 + current.high
    assert membrane.low == pytest.approx(current.low / 0.75)  # float64 division
    assert not current.saturates and str(current).endswith("never saturates")
    endless = dataclasses.replace(network, populations=(dataclasses.replace(n, decay_mem=None),))
    assert str(bounds(endless)[1]) == (
        f"`n`: membrane unbounded to {100 * 64 + 2 * 765 * 64}, may saturate"
    )


def test_events_of_a_step_are_bounded_so_that_sums_are() -> None:
    """128 << 6 = 8192 an event: with 10 neurons in front, (2^31 - 1 - most - 10 * 8192) / 8192."""
    assert most_events([(1, 10)], 64, 8, 2**23 - 1) == (2**31 - 2**23 - 10 * 8192) // 8192
    assert most_events([(2, 0), (0, 5)], 64, 8, 0) == (2**31 - 1) // (2 * 8192)
    assert most_events([(0, 2**20)], 64, 8, 0) < 0


def refused(graph: Any, message: str, chip: profile.Profile = CHIP) -> None:
    errors = [
        f for f in constraints.check_constraints(graph, chip).findings if f.severity == "error"
    ]
    assert [f"{f.layer}: {f.reason}" for f in errors] == [message]
    with pytest.raises(GraphError):
        quantise.quantise(graph, chip)


def test_fit_refuses_what_is_not_generated() -> None:
    random = np.random.default_rng(4)
    graph = graphs.chain(
        (3,), ("w", nir.Linear(np.eye(3))), ("a", graphs.if_(3, dt=graphs.DT)),
        ("w2", nir.Linear(np.eye(3))), ("b", graphs.if_(3, dt=graphs.DT)),
    )  # fmt: skip
    assert judge.judge(graph, CHIP).verdict == "fits"
    delayed = nir.dict2NIRNode(graph).to_dict()
    delayed["metadata"] = graph["metadata"]
    for name in "ab":
        delayed["nodes"][name]["metadata"] = {"reset": "subtract", "spike_delay": int(name == "a")}
    refused(delayed, "a: spikes are delayed by 1")
    assert judge.judge(delayed, CHIP).verdict == "fits when changed"
    assert judge.judge(variant(delayed, CHIP), CHIP).verdict == "fits"
    wide = graphs.conv(random, (2, 8, 8), 2, 3, 1, 2)
    wide.dilation = np.array([2, 2])
    graph = graphs.chain((2, 8, 8), ("c", wide), ("n", graphs.if_((2, 8, 8), dt=graphs.DT)))
    refused(graph, "c: dilation is [2, 2], the target has 1")


def test_fit_refuses_a_cycle_of_two_populations() -> None:
    nodes = {
        "input": nir.Input(np.array([2])), "w": nir.Linear(np.eye(2)),
        "a": graphs.if_(2, dt=graphs.DT), "ab": nir.Linear(np.eye(2)),
        "b": graphs.if_(2, dt=graphs.DT), "ba": nir.Linear(np.eye(2)),
        "output": nir.Output(np.array([2])),
    }  # fmt: skip
    edges = [
        ("input", "w"),
        ("w", "a"),
        ("a", "ab"),
        ("ab", "b"),
        ("b", "ba"),
        ("ba", "a"),
        ("b", "output"),
    ]
    graph = nir.NIRGraph(nodes, edges, graphs.contract(), type_check=False).to_dict()
    found = constraints.check_constraints(graph, CHIP).findings
    errors = {f.layer: f.reason for f in found if f.severity == "error"}
    assert errors == {
        "a": "`b` feeds it within a cycle of several populations",
        "b": "`a` feeds it within a cycle of several populations",
    }


def test_fit_names_boards_and_what_is_too_large(tmp_path: Path) -> None:
    graph = graphs.paper_scnn(np.random.default_rng(5))
    found = constraints.check_constraints(graph, CHIP).findings
    notes = [f.reason for f in found if f.code == "board"]
    assert len(notes) == len(CHIP["boards.list"]) and notes[0].startswith(
        "RP2040 (Cortex-M0+, 133 MHz)"
    )
    network = quantise.quantise(graph, CHIP)
    ram = layout_of(
        network
    ).ram  # 4096 + 4096 + 512 + 256 + 10 neurons of 4 bytes, and a bit for each
    assert ram == 4 * (8970 + 128 + 128 + 16 + 8 + 1 + 10 + 2)
    assert f"RAM {ram + 256} of" in notes[0]
    board = {**CHIP["boards.list"][0], "ram": ram}
    facts = CHIP.facts | {"boards.list": Entry([board], "a test")}
    message = f": fits no board: {notes[0].replace('of 270336', f'of {ram}')}"
    refused(graph, message, dataclasses.replace(CHIP, facts=facts))


def test_a_network_of_more_neurons_than_a_sum_holds_is_refused() -> None:
    graph = graphs.chain(
        (2,), ("w", nir.Linear(np.ones((270000, 2)))), ("a", graphs.if_(270000, dt=graphs.DT)),
        ("w2", nir.Linear(np.ones((1, 270000)))), ("b", graphs.if_(1, dt=graphs.DT)),
    )  # fmt: skip
    found = constraints.check_constraints(graph, CHIP, integers=False).findings
    errors = [(f.layer, f.reason) for f in found if f.severity == "error"]
    said = "270000 neurons and inputs lead there: 32 bits do not hold every sum of their weights"
    assert errors == [("b", said)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("bits: {value: 24", "bits: {value: 25"), "`state.bits` is 25; the generated code has 24"),
        (("decay_bits: {value: 12", "decay_bits: {value: 8"), "`neuron.decay_bits` is 8; the generated"),
        (("ram: 270336", "ram: 0"), "`boards.list.value` must be a list of boards, each with name"),
        ((", core: Cortex-M0+", ""), "`boards.list.value` must be a list of boards, each with name"),
    ],
)  # fmt: skip
def test_a_profile_that_the_c_does_not_have_is_refused(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    text = (profile.FOLDER / "cortex-m.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(*change, 1))
    with pytest.raises(UserError) as caught:
        profile.load(str(path))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_boards_have_a_source_each() -> None:
    boards = CHIP["boards.list"]
    assert BOARDS[0](boards) and len({board["name"] for board in boards}) == len(boards)
    numbers = {board["name"]: (board["flash"], board["ram"], board["clock"]) for board in boards}
    # the makers' documents, written down independently
    assert numbers["RP2040"] == (2 * 2**20, 264 * 2**10, 133_000_000)
    assert numbers["STM32F446RE"] == (512 * 2**10, 128 * 2**10, 180_000_000)
    assert numbers["nRF52840"] == (2**20, 256 * 2**10, 64_000_000)


# ---------------------------------------------------------------------------------- emulated


@pytest.mark.full
@pytest.mark.skipif(bool(cortex_m.missing()), reason="no emulator: see make silicon")
def test_emulated_cores_have_every_spike_and_state(small: Path, capsys: Any) -> None:
    found = cortex_m.report(small, 2)
    assert [core["core"] for core in found["emulated"]] == list(cortex_m.CORES)
    for core in found["emulated"]:
        assert core["spike_entries"] == 2 * 40 * 12 and core["state_entries"] == 2 * 2 * 40 * 12
        steps = core["instructions_per_step"]
        # a neuron takes some 40 instructions, a weight some 5; a wrong calibration is off by far more
        assert 12 * 10 < steps["mean"] <= steps["most"] < 12 * 100 + (5 + 9 + 3) * 9 * 10
        assert core["ram"] == 4 * (24 + 2 + 3 + 2)
    weights = small / "c" / "weights.c"
    weights.write_text(weights.read_text().replace("    ", "    1 + ", 1))
    with pytest.raises(UserError, match=r"mps2-an385: current/hidden\.lif: "):
        cortex_m.report(small, 2)
