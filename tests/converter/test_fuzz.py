"""Junk in every place of a graph: it runs and gives finite numbers, or it is refused in one line.

The fast run is a taste; `make test-full` takes PIPELINE_FUZZ_SECONDS (60) for it.
"""

from __future__ import annotations

import copy
import os
import time
import warnings

import nir
import numpy as np
import pytest
from node_examples import examples
from small_graphs import chain, graph

from spyx_nir.converter import load
from spyx_nir.converter.graph import as_dict
from spyx_nir.converter.registry import KINDS
from spyx_nir.converter.runner import model_input
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference

JUNK = [
    None,
    0,
    1,
    -1,
    2.5,
    1e300,
    10**30,
    float("nan"),
    float("inf"),
    True,
    "",
    "same",
    "valid",
    "x",
    b"same",
    b"\xff",
    [],
    [1, 2],
    [1, [2, 3]],
    (0, 0),
    (),
    {},
    {"input": None},
    {"input": np.array([3])},
    object(),
    1j,
    np.float32(1),
    np.int64(-3),
    np.array(2),
    np.array(0.5),
    np.array([]),
    np.array([1]),
    np.array([1, 2, 3]),
    np.array([1.0, np.nan, 3.0]),
    np.array([0.0, -1.0, 2.0]),
    np.array(["a", "b"]),
    np.array([None, 1], object),
    np.ones((3, 3)),
    np.ones((1, 1, 1)),
    np.ones((2, 2, 3, 3)),
    np.ones((0, 3)),
    np.array([1 + 2j]),
    np.array([True, False, True]),
    np.array("2020-01-01", "datetime64[D]"),
    np.zeros(3, [("a", int)]),
    np.full(3, 1e39),
    set(),
    "two\nlines",
    lambda: 0,
]
METADATA = [{"reset": junk} for junk in ("subtract", "half", 3, None, b"subtract", [], {})] + [
    {"spike_delay": junk} for junk in (0, 1, 2, "x", None, 0.5, [1, [2]], {}, np.array([1]))
]
CONTRACTS = [
    {key: junk}
    for key in ("contract_version", "dt", "time_unit", "flatten_order", "output_order", "classes")
    for junk in (1, 0.5, "x", None, [], [1, [2]], {}, np.array([1, 2]), b"CHW", 1j, float("nan"))
]
EXAMPLES = [pair for kind in KINDS for pair in examples(kind, np.random.default_rng(0))]


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def spoiled(rng):
    """A small sound graph with one to three places changed."""
    node, shape = pick(rng, EXAMPLES)
    node = copy.deepcopy(node)
    outs = [np.array(value) for value in node.output_type.values() if value is not None]
    whole = chain(node, shape=shape, out=outs[0] if outs else shape)
    for _ in range(int(rng.integers(1, 4))):
        if not isinstance(whole.nodes, dict) or not isinstance(whole.edges, list):
            break  # no graph any more: nothing is left that could be damaged further
        what = rng.integers(8)
        target = pick(rng, list(whole.nodes.values()))
        inner = getattr(target, "nodes", None)  # damaged before, perhaps
        if isinstance(inner, dict) and inner:
            target = pick(rng, list(inner.values()))
        if what < 4 and hasattr(target, "__dict__"):
            setattr(target, pick(rng, sorted(vars(target))), pick(rng, JUNK))
        elif what == 4 and hasattr(target, "__dict__"):
            target.metadata = pick(rng, METADATA)
        elif what == 5:
            whole.metadata = pick(rng, CONTRACTS)
        elif what == 6:
            ends = [*whole.nodes, "ghost", 3, None]
            whole.edges = [*whole.edges, (pick(rng, ends), pick(rng, ends))]
        else:
            whole.nodes[pick(rng, [*whole.nodes, "more", 3, ""])] = pick(
                rng, [None, 3, whole, graph({}, []), nir.Scale(np.ones(3)), node]
            )
    return whole, shape


def survives(seed):
    """'run' or 'refused'; anything else raises."""
    rng = np.random.default_rng(seed)
    whole, shape = spoiled(rng)
    x = np.ones((2, 1, *shape), np.float32)
    if rng.random() < 0.1:
        x = pick(rng, JUNK)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*legacy wiring")
            loaded = load(whole, 1.0)
            data = model_input(loaded, x)
            state = loaded.model.initial_state(1)
            given = {n: a[0] for n, a in data.items()} if isinstance(data, dict) else data[0]
            output, _ = loaded.model(given, state)
            exact = reference.run(as_dict(whole), x, 1.0).outputs
    except GraphError as error:
        text = str(error)
        assert text
        assert "\n" not in text
        return "refused"
    outputs = output if isinstance(output, dict) else dict.fromkeys(exact, output)
    for name, value in outputs.items():
        assert np.isfinite(value).all(), (seed, name)
        assert np.size(value) == exact[name][0].size
    return "run"


def many(seconds, start=0):
    counts = {"run": 0, "refused": 0}
    end, seed = time.monotonic() + seconds, start
    while time.monotonic() < end:
        try:
            counts[survives(seed)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        seed += 1
    return counts


def test_junk_is_run_or_refused():
    counts = {"run": 0, "refused": 0}
    for seed in range(200):
        counts[survives(seed)] += 1
    assert counts["run"] > 10
    assert counts["refused"] > 50


@pytest.mark.full
@pytest.mark.timeout(0)
def test_much_junk_is_run_or_refused():
    seconds = float(os.environ.get("PIPELINE_FUZZ_SECONDS", "60"))
    counts = many(seconds, start=10_000)
    print(f"\n{sum(counts.values())} graphs in {seconds:g} s: {counts}")
    assert min(counts.values()) > 0
