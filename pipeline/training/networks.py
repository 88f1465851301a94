"""The network of a task with its weights: built, stored, read, and as a NIR graph."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import spyx.nn as snn
from flax import nnx

from pipeline import tasks
from pipeline.schema import Task
from pipeline.tasks import input_shape as input_shape
from pipeline.training import safetensors
from spyx_nir.errors import UserError

if TYPE_CHECKING:
    import nir


# What training changes, and a file of weights has.
STORED = (nnx.Param, nnx.BatchStat)


def build(task: Task) -> Any:
    """The untrained network of `task` in eval mode; its weights depend on `task.train.seed` alone.

    Raises:
        UserError: what the task's `network` returns is no module with Spyx's layer interface, and no
            sequence of layers.
    """
    module = tasks.find(task.name)
    model = module.network(task)
    if isinstance(model, (list, tuple)) and model and all(map(callable, model)):
        model = snn.Sequential(*model)
    parts = list(nnx.iter_modules(model)) if isinstance(model, nnx.Module) else []
    if len(parts) < 2 or not hasattr(model, "initial_state"):
        got = f"{model!r:.60}" if isinstance(model, (list, tuple)) else type(model).__name__
        raise UserError(
            f"pipeline/tasks/{task.name}.py: `network` must return a spyx.nn.Sequential, a list of "
            f"layers, or an nnx.Module of layers with `initial_state(batch)`, got {got}"
        )
    model.eval()  # Dropout and BatchNorm as in the exported graph; `FloatForward` trains them
    return model


def one_step(task: Task) -> jax.Array:
    """One silent step of one sample of a task, as a network takes it."""
    return to_model_layout(np.zeros((1, 1, *input_shape(task)), np.uint8))[0]


def shapes(task: Task) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Shape of one time step, in NIR's order, of the input and of the output, by their nodes."""
    return {"input": input_shape(task)}, {"output": (len(task.data.classes),)}


def to_model_layout(events: Any) -> jax.Array:
    """Prepared events (N, T, ...) in NIR's order to what a network takes.

    Returns:
        (T, N, W), (T, N, W, C) or (T, N, H, W, C), float32: time first, channels last.
    """
    events = jnp.asarray(events)
    order = (1, 0, *range(3, events.ndim), 2)
    return events.transpose(order).astype(jnp.float32)


def to_graph(task: Task, model: Any) -> nir.NIRGraph:
    """The network `model` of `task` as a graph with its contract.

    Raises:
        GraphError: a layer or value cannot be written, or layers do not fit together.
    """
    from spyx_nir.converter import to_nir

    return to_nir(
        model,
        *shapes(task),
        task.export.dt,
        strict=True,
        time_unit=task.export.time_unit,
        input_bin_s=task.data.bin_s,
        n_steps=task.data.bins,
        classes=task.data.classes,
        readout="spike_count",
    )


def node_names(task: Task, model: Any) -> list[str | None]:
    """For every layer of `model` the node of its graph that has the layer's output, if there is one."""
    from spyx_nir.converter import export_named

    return export_named(model, *shapes(task), task.export.dt, strict=True)[1]


def named_parameters(model: nnx.Module) -> dict[str, Any]:
    """Every parameter of `model` by its dotted path, such as `layers.0.kernel`, in sorted order.

    With the statistics of BatchNorm, which training changes, too.
    """
    flat = nnx.to_flat_state(nnx.state(model, nnx.Any(*STORED)))
    return dict(sorted((_dotted(path), parameter) for path, parameter in flat))


def save_weights(
    model: nnx.Module, task: Task, path: str | os.PathLike[str], **facts: object
) -> None:
    """Write the parameters of `model` with the task, its network and `facts` as metadata."""
    arrays = {name: np.asarray(value[...]) for name, value in named_parameters(model).items()}
    texts = {key: json.dumps(value) for key, value in facts.items()}
    safetensors.write(path, arrays, {"task": task.name, "network": _definition(task), **texts})


def from_weights(task: Task, path: str | os.PathLike[str]) -> Any:
    """The network of `task` with the weights that `save_weights` wrote.

    Raises:
        UserError: the file is missing or broken, or belongs to another network.
    """
    arrays, metadata = safetensors.read(path)
    if metadata.get("network") != _definition(task):
        raise UserError(f"{path}: trained with other network parameters; run `dvc repro`")
    model = build(task)
    parameters = named_parameters(model)
    if arrays.keys() != parameters.keys():
        odd = sorted(arrays.keys() ^ parameters.keys())[0]
        raise UserError(
            f"{path}: `{odd}` is in the file or in the network, not in both; run `dvc repro`"
        )
    for name, parameter in parameters.items():
        if arrays[name].shape != parameter.shape or arrays[name].dtype != parameter.dtype:
            raise UserError(
                f"{path}: `{name}` is {arrays[name].dtype}{arrays[name].shape}, "
                f"the network has {parameter.dtype}{parameter.shape}"
            )
    return with_parameters(model, arrays)


def with_parameters(model: nnx.Module, arrays: Mapping[str, Any]) -> Any:
    """A copy of `model` with the parameters `arrays`, named as by `named_parameters`."""
    graph, state = nnx.split(model)
    flat = [
        (path, variable.replace(jnp.asarray(arrays[_dotted(path)])))
        if isinstance(variable, STORED)
        else (path, variable)
        for path, variable in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(flat))


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _definition(task: Task) -> str:
    """What of the parameters decides which function the weights belong to."""
    network = dataclasses.asdict(task.network)
    module = type(task.network).__module__.rsplit(".", 1)[-1]
    facts = {"task": module, "outputs": len(task.data.classes)}
    return json.dumps({**network, **facts}, sort_keys=True)
