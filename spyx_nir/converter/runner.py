"""Running an imported model on data, compiled once per shape."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from spyx_nir.converter.graph import Loaded, load
from spyx_nir.converter.layout import last, to_last
from spyx_nir.meaning.equations import as_array, field_error
from spyx_nir.meaning.reference import check_input, check_sizes, named_inputs


def _walk(graphdef: Any, variables: Any, x: Any, every: bool) -> Any:
    """Scan a model over time; `every` also returns each step's state instead of the last one."""
    model = nnx.merge(graphdef, variables)
    state = model.initial_state(jax.tree.leaves(x)[0].shape[1])

    def step(carry: Any, x_t: Any) -> tuple[Any, Any]:
        out, carry = model(x_t, carry)
        return carry, (out, carry if every else None)

    final, (outputs, states) = jax.lax.scan(step, state, x)
    return outputs, states if every else final


_scan = functools.partial(jax.jit, static_argnums=(0, 3))(_walk)


def run(model: Any, x: Any, *, return_all_states: bool = False) -> tuple[Any, Any]:
    """Run a model with Spyx's layer contract over time-major data.

    A second call with a model of the same structure and data of the same shape re-uses the compiled
    program; `spyx.nn.run` outside `jax.jit` traces again at every call.

    Args:
        model: a `spyx.nn.Sequential`, a single neuron, or what `load` builds.
        x: (T, B, ...), channels last, or a mapping of such arrays.
        return_all_states: the state after every step, (T, B, ...) per entry, instead of the last.

    Returns:
        (outputs (T, B, ...), state).
    """
    if not hasattr(model, "initial_state"):
        import spyx.nn as snn

        model = snn.Sequential(model)
    graphdef, variables = nnx.split(model)
    x = jax.tree.map(jnp.asarray, x)
    try:
        hash(graphdef)
    except TypeError:  # a layer made with lists, such as `padding=[(1, 1)]`: no key for the cache
        return _walk(graphdef, variables, x, return_all_states)
    return _scan(graphdef, variables, x, return_all_states)


def from_nir(
    nir_graph: Any,
    input_data: Any,
    dt: float | None = 1,
    *,
    return_all_states: bool = False,
    rngs: Any = None,
    reset: Any = None,
    discretization: str | None = None,
    dialect: str | None = None,
) -> tuple[Any, Any]:
    """Build a model from a NIR graph and run it on data, as `spyx.nir.from_nir` does.

    Args:
        nir_graph: a `nir.NIRGraph` by any writer.
        input_data: time-major (T, B, ...), finite numbers. Images channels last, (T, B, H, W, C), as
            Spyx runs; channels first is taken where only that fits the graph's input shape. A
            mapping by name for several inputs.
        dt: the step, in the unit of the graph's time constants, as at export; None takes the
            contract's.
        return_all_states: also return every layer's state after every step.
        rngs: taken for compatibility; nothing is random here.
        reset, discretization: override what the file says about resets and steps, see `load`.
        dialect: "norse", "rockpool", "sinabs" or "snntorch": read as that framework does.

    Returns:
        (model, outputs), or (model, (outputs, states)). Outputs are (T, B, ...), channels last, a
        mapping by name for several outputs; states mirror `model.initial_state` with a leading T.

    Raises:
        GraphError: the graph or the data is refused; names the node, the value and what is allowed.
    """
    del rngs
    loaded = load(nir_graph, dt, reset=reset, discretization=discretization, dialect=dialect)
    outputs, states = run(
        loaded.model, model_input(loaded, input_data), return_all_states=return_all_states
    )
    return loaded.model, (outputs, states) if return_all_states else outputs


def model_input(loaded: Loaded, data: Any) -> Any:
    """Check data against a loaded graph's inputs and lay it out as the model takes it.

    Returns:
        float32 (T, B, ...), channels last; a mapping where there are several inputs.

    Raises:
        GraphError: shape, type or values do not fit; names the input.
    """
    plan, made = loaded.plan, {}
    for name, given in named_inputs(data, plan).items():
        array, shape = as_array(given, f"input `{name}`"), plan.shapes[name]
        if array.shape[2:] == shape != last(shape):
            array = to_last(array, len(shape))
        made[name] = np.asarray(check_input(array, name, last(shape)), np.float32)
    check_sizes(made)
    return made[plan.inputs[0]] if len(made) == 1 else made


def reorder_layers(init_params: Any, trained_params: Any) -> Any:
    """`trained_params` with its keys in the order of `init_params`, nested mappings included.

    Raises:
        GraphError: a key is missing or extra; lists them all.
    """
    missing: list[str] = []
    extra: list[str] = []

    def walk(first: Any, second: Any, path: str) -> Any:
        if not isinstance(first, Mapping):
            if isinstance(second, Mapping):
                extra.extend(f"{path}{key}" for key in second)
            return second
        if not isinstance(second, Mapping):
            missing.extend(f"{path}{key}" for key in first)
            return second
        extra.extend(f"{path}{key}" for key in second if key not in first)
        missing.extend(f"{path}{key}" for key in first if key not in second)
        return {
            key: walk(first[key], second[key], f"{path}{key}.") for key in first if key in second
        }

    for name, value in (("init_params", init_params), ("trained_params", trained_params)):
        if not isinstance(value, Mapping):
            what = f"must be a mapping, got {type(value).__name__}"
            raise field_error(name, what, "argument")
    ordered = walk(init_params, trained_params, "")
    if missing or extra:
        found = {"missing": missing, "extra": extra}
        parts = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in found.items() if keys)
        raise field_error("trained_params", f"does not match `init_params`; {parts}", "argument")
    return ordered
