"""Layers that become part of another layer, or nothing, when a trained model runs.

    BatchNorm (eval)   y = a*x + c by channel, a = scale/sqrt(var + eps), c = bias - a*mean:
                       into the Linear or Conv before it (W' = a*W, b' = a*b + c) or behind it
                       (W' = W*a, b' = b + W c); else a layer of its own with a diagonal weight
    LoRA, LoRALinear   W' = W + A B
    Dropout (eval), identity, ActivityRegularization   nothing

The sums are taken in float64 and rounded once to float32.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from spyx_nir.converter.known import runs_as
from spyx_nir.converter.layer_cache import initial_values
from spyx_nir.converter.steps import Program, Step, label
from spyx_nir.errors import GraphError

COUNTS = "spyx.nn.ActivityRegularization"
DROPOUT = "flax.nnx.Dropout"
BATCH_NORM = "flax.nnx.BatchNorm"
LORA, LORA_LINEAR = "flax.nnx.LoRA", "flax.nnx.LoRALinear"
WEIGHTS = ("flax.nnx.Linear", "flax.nnx.Conv")


def transparent(layer: Any) -> bool:
    """Whether a layer's output is its input."""
    from flax import nnx

    if layer is nnx.identity:
        return True
    if runs_as(layer, {DROPOUT}):
        return bool(layer.deterministic or layer.rate == 0)
    return runs_as(layer, {COUNTS}) is not None


def fold(program: Program) -> Program:
    """The program with merged LoRA, and BatchNorm inside its neighbours.

    Raises:
        GraphError: a BatchNorm that is training, or a LoRA around something else than an nnx.Linear.
    """
    steps = [_merged(step) for step in program.steps]
    for index, step in enumerate(steps):
        if runs_as(step.layer, {BATCH_NORM}):
            _fold_norm(steps, index, program.outputs)
    return dataclasses.replace(program, steps=tuple(steps))


def _merged(step: Step) -> Step:
    layer = step.layer
    if runs_as(layer, {LORA}):
        base, lora = layer.base_module, layer
    elif runs_as(layer, {LORA_LINEAR}):
        base, lora = layer, layer.lora
    else:
        return step
    from flax import nnx

    plain = base is None or runs_as(base, {"flax.nnx.Linear", LORA_LINEAR}) is not None
    if not plain or lora.dtype not in (None, np.float32) or np.ndim(lora.lora_a[...]) != 2:
        what = "only around an nnx.Linear, in float32, can it be merged into one weight"
        raise _refused(step, f"it is a LoRA of {label(base)}: {what}")
    kernel = _double(lora.lora_a) @ _double(lora.lora_b)
    bias = None
    if base is not None:
        kernel = kernel + _double(base.kernel)
        bias = None if base.bias is None else np.asarray(base.bias[...])
    kernel = kernel.astype(np.float32)
    # Of a base what it computes besides its weight: its types and its product.
    names = ("dtype", "precision", "dot_general", "promote_dtype", "preferred_element_type")
    own: dict[str, Any] = {} if base is None else {name: getattr(base, name) for name in names}
    inner, outer = kernel.shape
    made = nnx.Linear(inner, outer, **own, **initial_values(kernel, bias))
    return dataclasses.replace(
        step, layer=made, note=_noted(step, "LoRA is merged into the weight")
    )


def _fold_norm(steps: list[Step], index: int, outputs: tuple[tuple[int, ...], ...]) -> None:
    """Put the BatchNorm of a step into the weights before or behind it, or write it as one."""
    from flax import nnx

    step = steps[index]
    factor, shift = _numbers(step)
    uses = [k for k, other in enumerate(steps) if index in other.sources]
    exposed = any(index in terms for terms in outputs)
    if len(step.sources) == 1 and (before := step.sources[0]) >= 0:
        alone = sum(s.sources.count(before) for s in steps) == 1
        alone = alone and not any(before in terms for terms in outputs)
        if alone and _is_weight(steps[before].layer):
            steps[before] = _with_numbers(steps[before], factor, shift, step, behind=True)
            steps[index] = dataclasses.replace(step, layer=nnx.identity, runs=())
            return
    after = [steps[k] for k in uses]
    if after and not exposed and all(_takes(s, index, shift) for s in after):
        for k in uses:
            steps[k] = _with_numbers(steps[k], factor, shift, step, behind=False)
        steps[index] = dataclasses.replace(step, layer=nnx.identity, runs=())
        return
    note = _noted(step, "BatchNorm is written as a diagonal weight")
    steps[index] = dataclasses.replace(step, layer=_diagonal(factor, shift), note=note)


def _numbers(step: Step) -> tuple[np.ndarray, np.ndarray]:
    """The factor a and the shift c of a BatchNorm, float64 by channel."""
    norm = step.layer
    if not norm.use_running_average:
        raise _refused(step, "it normalises by each batch while it trains; call model.eval() first")
    if norm.axis != -1 or norm.dtype not in (None, np.float32) or norm.mean[...].ndim != 1:
        what = "is understood over the last axis, in float32, with one mean per channel"
        raise _refused(step, f"a BatchNorm {what}")
    factor = 1 / np.sqrt(_double(norm.var) + norm.epsilon)
    if norm.scale is not None:
        factor = factor * _double(norm.scale)
    shift = -factor * _double(norm.mean)
    return factor, shift if norm.bias is None else shift + _double(norm.bias)


def _is_weight(layer: Any) -> bool:
    return runs_as(layer, WEIGHTS) is not None and layer.kernel[...].ndim in (2, 3, 4)


def _takes(step: Step, index: int, shift: np.ndarray) -> bool:
    """Whether a BatchNorm before a step can be put into its weight: padding zeros are not shifted."""
    layer = step.layer
    if step.sources != (index,) or not _is_weight(layer):
        return False
    if runs_as(layer, {"flax.nnx.Linear"}):
        return True
    plain = layer.feature_group_count == 1 and layer.mask is None
    return plain and (not shift.any() or layer.padding == "VALID")


def _with_numbers(
    step: Step, factor: np.ndarray, shift: np.ndarray, norm: Step, *, behind: bool
) -> Step:
    """A weight with a BatchNorm that is behind it, or before it."""
    from flax import nnx

    layer = step.layer
    kernel = _double(layer.kernel)
    bias = 0.0 if layer.bias is None else _double(layer.bias)
    if behind:
        kernel, bias = kernel * factor, factor * bias + shift
    else:
        inner = kernel.reshape(-1, *kernel.shape[-2:]).sum(axis=0)
        kernel, bias = kernel * factor[:, None], bias + shift @ inner
    made = nnx.clone(layer)
    made.kernel = nnx.Param(np.asarray(kernel, np.float32))
    made.bias = nnx.data(nnx.Param(np.asarray(bias, np.float32)))
    made.use_bias = True
    runs = (*step.runs, *norm.runs) if behind else (*norm.runs, *step.runs)
    what = f"the BatchNorm {'behind' if behind else 'before'} it is part of its weight and bias"
    return dataclasses.replace(step, layer=made, runs=runs, note=_noted(step, what))


def _diagonal(factor: np.ndarray, shift: np.ndarray) -> Any:
    from flax import nnx

    kernel = np.diag(factor).astype(np.float32)
    given = initial_values(kernel, shift.astype(np.float32))
    return nnx.Linear(factor.size, factor.size, **given)


def _noted(step: Step, note: str) -> str:
    return f"{step.note}; {note}" if step.note else note


def _double(variable: Any) -> np.ndarray:
    return np.asarray(variable[...], np.float64)


def _refused(step: Step, what: str) -> GraphError:
    return GraphError(f"{label(step.layer)}{step.place}: {what}", code="unsupported")
