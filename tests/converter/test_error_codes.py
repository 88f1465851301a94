"""What every GraphError carries for programs: the node, the field and a code, beside its message."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import nir
import numpy as np
import pytest
import spyx.nn as snn
from flax import nnx
from small_graphs import chain, changed, full, li, lif, linear

import spyx_nir as snir
from spyx_nir.converter import contract
from spyx_nir.converter.graph import as_dict
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

LIBRARY = Path(snir.__file__).parent
RNGS = nnx.Rngs(0)
PORTS: dict[str, Any] = {"input_shape": {"input": (3,)}, "output_shape": {"output": (3,)}}


def conv(**fields: Any) -> nir.NIRNode:
    """A Conv2d on (2, 4, 4)."""
    whole = nir.Conv2d((4, 4), full(0.5, (2, 2, 3, 3)), 1, 1, 1, 1, full(0, (2,)))
    return changed(whole, **fields)


def pool(kernel: int = 2, stride: int = 2, padding: int = 0) -> nir.NIRNode:
    return nir.SumPool2d(np.array(kernel), np.array(stride), np.array(padding))


def flatten(start: int = 0, shape: tuple[int, ...] = (2, 4, 4)) -> nir.NIRNode:
    return changed(
        nir.Flatten({"input": np.array(shape)}, 0, -1), start_dim=start, input_type={"input": shape}
    )


IMAGE, FLAT = (2, 4, 4), (3,)
# A node that does not take the shape, or whose own fields exclude each other: field and code.
NODES: dict[str, tuple[nir.NIRNode, tuple[int, ...], tuple[str | None, str]]] = {
    "a neuron of another size": (lif((4,)), FLAT, ("tau", "shape-mismatch")),
    "a weight of another size": (linear(3, 4), FLAT, ("weight", "shape-mismatch")),
    "a weight of one axis": (
        changed(linear(), weight=full(1.0, (3,))),
        FLAT,
        ("weight", "field-value"),
    ),
    "a bias of another size": (
        nir.Affine(full(1.0, (3, 3)), full(0.0, (4,))),
        FLAT,
        ("bias", "field-value"),
    ),
    "a bias per channel too many": (conv(bias=full(0, (3,))), IMAGE, ("bias", "field-value")),
    "a kernel on a line": (conv(), FLAT, ("weight", "shape-mismatch")),
    "groups": (conv(groups=2), IMAGE, ("weight", "shape-mismatch")),
    "no whole groups": (conv(groups=0.5), IMAGE, ("groups", "field-value")),
    "a declared input": (conv(input_shape=(4, 5)), IMAGE, ("input_shape", "shape-mismatch")),
    "padding by another name": (conv(padding="full"), IMAGE, ("padding", "field-value")),
    "padding without end": (conv(padding=2**20), IMAGE, ("padding", "too-large")),
    "a stride of 0": (conv(stride=0), IMAGE, (None, "field-value")),
    "a kernel too large": (conv(padding=0, dilation=2), IMAGE, (None, "shape-mismatch")),
    "a pooled line": (pool(), FLAT, (None, "shape-mismatch")),
    "a pooling window of 0": (pool(kernel=0), IMAGE, (None, "field-value")),
    "a pooling window too large": (pool(kernel=5), IMAGE, (None, "shape-mismatch")),
    "pooling padded without end": (pool(padding=2**20), IMAGE, ("padding", "too-large")),
    "axes that are not there": (flatten(start=3), IMAGE, ("start_dim", "shape-mismatch")),
    "a flattened shape": (flatten(shape=(2, 4, 5)), IMAGE, ("input_type", "shape-mismatch")),
    "an array of no numbers": (
        changed(linear(), weight=[[1.0], [1.0, 2.0]]),
        FLAT,
        ("weight", "field-value"),
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_an_error_of_a_shape_or_field_names_node_field_and_code(name: str) -> None:
    node, shape, expected = NODES[name]
    with pytest.raises(GraphError) as caught:
        make_plan(as_dict(chain(node, shape=shape)))
    assert (caught.value.node, caught.value.field, caught.value.code) == ("n0", *expected)


def test_an_output_that_declares_another_shape_is_named() -> None:
    with pytest.raises(GraphError) as caught:
        make_plan(as_dict(chain(lif(), out=(4,))))
    assert (caught.value.node, caught.value.field) == ("output", "shape")
    assert caught.value.code == "shape-mismatch"


def test_a_delay_that_is_no_whole_number_of_steps_is_named() -> None:
    delayed = as_dict(chain(nir.Delay(full(0.3))))
    with pytest.raises(GraphError) as caught:
        reference.run(delayed, np.zeros((2, 1, 3)), 1.0)
    error = caught.value
    assert (error.node, error.field, error.code) == ("n0", "delay", "field-value")


CONTRACTS: dict[str, object] = {
    "bin": 1,
    "time_unit": "min",
    "readout": "first",
    "n_steps": 0,
    "discretization": "zoh",
    "input_bin_s": -1.0,
    "classes": "cat",
}


@pytest.mark.parametrize("key", CONTRACTS)
def test_a_value_that_the_contract_excludes_names_its_key(key: str) -> None:
    values: dict[str, Any] = {key: CONTRACTS[key]}
    with pytest.raises(GraphError) as caught:
        contract.make(1.0, **values)
    assert (caught.value.field, caught.value.code) == (key, "contract")


class Own(nnx.Module):
    """A layer that NIR does not know."""

    def __call__(self, x: Any) -> Any:
        return jnp.abs(x)


def model() -> snn.Sequential:
    return snn.Sequential(snn.LI((3,), 0.5, rngs=RNGS))


WRONG: dict[str, tuple[Callable[[], Any], tuple[str | None, str]]] = {
    "a layer that NIR does not know": (
        lambda: snir.to_nir(snn.Sequential(Own()), **PORTS, strict=True),
        (None, "untraceable"),
    ),
    "a layer of another size": (
        lambda: snir.to_nir(snn.Sequential(snn.LI((4,), 0.5, rngs=RNGS)), **PORTS),
        (None, "unsupported"),
    ),
    "a graph for a model": (lambda: snir.to_nir(chain(li()), **PORTS), ("model", "argument")),
    "another output": (
        lambda: snir.to_nir(model(), {"input": (3,)}, {"output": (4,)}),
        ("output_shape", "shape-mismatch"),
    ),
    "a port without sizes": (
        lambda: snir.to_nir(model(), {"input": ()}, {"output": (3,)}),
        ("input_shape", "ports"),
    ),
    "two ports of one name": (
        lambda: snir.to_nir(model(), {"input": (3,)}, {"input": (3,)}),
        (None, "ports"),
    ),
    "a port with the name of a layer": (
        lambda: snir.to_nir(model(), {"li_0": (3,)}, {"output": (3,)}),
        (None, "name"),
    ),
    "another way to write recurrence": (
        lambda: snir.to_nir(model(), **PORTS, recurrent="deep"),
        (None, "argument"),
    ),
    "no step": (lambda: snir.to_nir(model(), **PORTS, dt=0.0), ("dt", "dt")),
    "no graph": (lambda: snir.load("model.nir"), (None, "no-graph")),
    "parameters of another model": (
        lambda: snir.reorder_layers({"a": 1}, {"b": 1}),
        ("trained_params", "argument"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_of_export_or_load_carries_a_code(name: str) -> None:
    work, expected = WRONG[name]
    with pytest.raises(GraphError) as caught:
        work()
    assert (caught.value.field, caught.value.code) == expected


def test_a_model_that_differs_from_its_graph_names_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = snn.LI.__call__
    monkeypatch.setattr(snn.LI, "__call__", lambda self, x, state: usual(self, 2 * x, state))
    with pytest.raises(GraphError) as caught:
        snir.to_nir(model(), **PORTS)
    assert (caught.value.node, caught.value.code) == ("li_0", "disagreement")


def test_a_model_that_does_not_run_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, x: Any, state: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(snn.LI, "__call__", broken)
    with pytest.raises(GraphError, match="does not run") as caught:
        snir.to_nir(model(), **PORTS)
    assert (caught.value.node, caught.value.code) == ("li_0", "not-run")


@pytest.mark.parametrize("room", ["converter", "meaning", "cli"])
def test_no_graph_error_is_made_without_a_code(room: str) -> None:
    """`hdf5.read` sets the code of what is raised below it, in one place."""
    found = [
        f"{path.name}:{call.lineno}"
        for path in sorted((LIBRARY / room).rglob("*.py"))
        if path.name != "hdf5.py"
        for call in ast.walk(ast.parse(path.read_text("utf8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "GraphError"
        if "code" not in {keyword.arg for keyword in call.keywords}
    ]
    assert found == []
