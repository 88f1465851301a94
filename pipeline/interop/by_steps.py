"""What the readers that are built of torch modules share: run step by step, record every neuron."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pipeline.interop.protocol import Answer, Refused, Request


def run(model: Any, request: Request, batched: bool = True, reset: Any = None) -> Answer:
    """Run `(output, state) = model(frame, state)` over every step and record what neurons put out.

    Args:
        model: a module whose submodules carry the names of the file's nodes.
        batched: all samples at once; else one after the other, frames without a batch axis, for
            models that flatten the batch axis as well.
        reset: called before every run, for models that keep states of their own.
    """
    x = torch.from_numpy(request.x.astype(np.float32))
    parts = [x] if batched else list(x)
    recorded: dict[str, list[torch.Tensor]] = {name: [] for name in request.nodes}
    for name in request.nodes:
        module(model, name).register_forward_hook(
            lambda _, __, out, name=name: recorded[name].append(first(out))
        )
    spikes: dict[str, list[np.ndarray]] = {name: [] for name in request.nodes}
    axis = 1 if batched else 0  # of time
    with torch.no_grad():
        for part in parts:
            state = None
            if reset is not None:
                reset(model)
            for frame in part.unbind(axis):
                _, state = model(frame, state)
            for name, steps in recorded.items():
                spikes[name].append(torch.stack(steps, axis).numpy().astype(np.uint8))
                steps.clear()
    return Answer({k: v[0] if batched else np.stack(v) for k, v in spikes.items()})


def output(model: Any, inputs: dict[str, np.ndarray], batched: bool = True) -> np.ndarray:
    """What the model returns for its only input, (T, *shape) both, step by step.

    Raises:
        Refused: there are several inputs, and such a model takes one tensor.
    """
    found, state = [], None
    with torch.no_grad():
        for frame in torch.from_numpy(only(inputs)):
            out, state = model(frame[None] if batched else frame, state)
            found.append(first(out)[0] if batched else first(out))
    return torch.stack(found).numpy()


def only(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The only input.

    Raises:
        Refused: there are several.
    """
    if len(inputs) != 1:
        raise Refused(f"its model takes one tensor, the graph has {len(inputs)} inputs")
    (x,) = inputs.values()
    return x


def first(out: Any) -> Any:
    """The output of a module that may also return its state and records."""
    return out[0] if isinstance(out, tuple) else out


def module(model: Any, path: str) -> Any:
    """The submodule of a node; nirtorch writes a dot in a name as an underscore."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        return model.get_submodule(path.replace(".", "_"))
