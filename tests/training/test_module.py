"""A task whose network is a module of its own, with a residual sum, BatchNorm and Dropout."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from end_to_end import ROOT
from test_train import changed, small, write_samples

from pipeline import tasks, train
from pipeline.deploy import deploy
from pipeline.export import export
from pipeline.parity import parity
from pipeline.schema import Task
from pipeline.training import networks
from spyx_nir.converter import file
from spyx_nir.errors import UserError

PAGE = (ROOT / "docs" / "new-task.md").read_text(encoding="utf-8")


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Braille with the network that the page shows."""
    _, code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"Task": Task}
    exec(code, names)
    monkeypatch.setattr(tasks.find("braille"), "network", names["network"])
    return changed(changed(small(epochs=3), "network", threshold=0.3), "deploy", vectors=4)


@pytest.mark.full
def test_it_goes_from_training_to_a_bundle(task: Any, tmp_path: Any) -> None:
    root = write_samples(task, tmp_path)
    train.train(task, root)
    export(task, root)
    parity(task, root)
    deploy(task, root)
    folder = root / "models" / "braille"
    graph = file.read(folder / "model.nir")
    kinds = sorted(type(node).__name__ for node in graph.nodes.values())
    assert kinds == ["Affine", "Input", "LIF", "LIF", "LIF", "Linear", "Linear", "Output"]
    assert "BatchNorm" in graph.nodes["linear_0"].metadata["note"]
    # Training has moved the statistics from 0 and 1, and stored them with the weights.
    model = networks.from_weights(task, folder / "weights.safetensors")
    assert not np.allclose(model.norm.mean[...], 0)
    assert not np.allclose(model.norm.var[...], 1)


def test_the_folded_norm_is_what_evaluation_runs(task: Any) -> None:
    """The exported weight is a*W, its bias c: BatchNorm's definition with numbers of its own."""
    model = networks.build(task)
    random = np.random.default_rng(0)
    size = task.network.hidden
    mean, var = random.normal(size=size), random.uniform(0.5, 2, size)
    model.norm.mean[...], model.norm.var[...] = mean.astype(np.float32), var.astype(np.float32)
    node = networks.to_graph(task, model).nodes["linear_0"]
    factor = 1 / np.sqrt(var + 1e-5)
    weight = np.asarray(model.first.kernel[...]).T
    # Each number is rounded to float32 once.
    np.testing.assert_allclose(node.weight, weight * factor[:, None], rtol=1e-6)
    np.testing.assert_allclose(node.bias, -mean * factor, rtol=1e-6)


def test_a_batch_changes_the_statistics_and_draws_a_mask(task: Any) -> None:
    from pipeline.training.forward import FloatForward

    forward = FloatForward(task)
    parameters = forward.initial()
    events = (np.random.default_rng(1).random((5, task.data.bins, 12)) < 0.4).astype(np.uint8)
    (out, layers), changes = forward.train(parameters, events, True)
    assert set(changes) == {"norm.mean", "norm.var"}
    assert "norm.mean" not in forward.free(parameters)
    assert [name.split(" ")[0] for name in layers] == ["a", "b", "out"]
    again, _ = forward.train(parameters, events, True)
    np.testing.assert_array_equal(out, again[0])
    evaluated, seen = forward.run(parameters, events)
    assert list(seen) == list(layers)
    assert evaluated.shape == out.shape


def test_a_module_whose_output_does_not_spike_is_refused(
    task: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = tasks.find("braille").network

    from flax import nnx

    class Readout(nnx.Module):
        def __init__(self, inner: Any):
            self.inner = inner
            self.head = nnx.Linear(len(task.data.classes), len(task.data.classes), rngs=nnx.Rngs(0))

        def initial_state(self, batch: int) -> Any:
            return self.inner.initial_state(batch)

        def __call__(self, x: Any, state: Any) -> Any:
            x, state = self.inner(x, state)
            return self.head(x), state

    monkeypatch.setattr(tasks.find("braille"), "network", lambda task: Readout(build(task)))
    with pytest.raises(UserError, match=r"its output, linear_\d, does not spike"):
        train.train(task, write_samples(task, tmp_path))
