"""What the neuron files in `nodes/` share: time constants, contracts, Spyx's neurons or exact ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Node
from spyx_nir.converter.layer_cache import GIVEN, assemble
from spyx_nir.converter.layout import Site, decay_of, gain_of, last, tau_of
from spyx_nir.meaning.equations import Shape

NodeType = Callable[..., nir.NIRNode]
# All that a Spyx neuron knows of `parts`: its input has the factor 1, its leak goes to 0.
DECAYS = {"alpha", "beta"}


def decays(layer: Any, site: Site, *names: str, clip: bool) -> list[np.ndarray]:
    """The decays of a layer in NIR's shape.

    Spyx clips decays to [0, 1] when it runs, so its layers are read clipped; the exact neurons do
    not clip, so theirs must be in the range.

    Raises:
        GraphError: a decay outside the range.
    """
    found = []
    for name in names:
        value = getattr(layer, name)[...]
        decay = site.decay(value, name)
        if not clip and not np.array_equal(decay, site.to_nir(value, name)):
            raise site.refuse(f"`{name}` is outside [0, 1]: {np.asarray(value).ravel()[:3]}")
        found.append(decay)
    return found


def leakless(layer: Any, decay: np.ndarray) -> bool:
    """Whether a membrane keeps all it has, and starts at 0, as NIR's neurons without leak do."""
    return bool((decay == 1).all()) and not getattr(layer, "start_at_leak", False)


def fields(site: Site, **values: Any) -> dict[str, np.ndarray]:
    """NIR fields of one shape and one type: float32 unless a value needs float64 to survive."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    dtype = np.result_type(np.float32, *(a.dtype for n, a in arrays.items() if n[:3] == "tau"))
    return {
        name: np.ascontiguousarray(np.broadcast_to(array.astype(dtype), site.shape))
        for name, array in arrays.items()
    }


def factor(gain: Any, rate: Any, dtype: Any = np.float32) -> np.ndarray:
    """The r or w_in with rate * r = gain, rounded so that the product never exceeds the gain.

    Spikes and round thresholds make exact ties common: a membrane of exactly 1 stays silent at a
    threshold of 1. A product one rounding above 1 would let it fire in every other reader; one below
    does not. `rate` is dt/tau, or dt for a neuron without leak.
    """
    rate = np.asarray(rate, np.float64)
    gain = np.broadcast_to(np.asarray(gain, np.float64), rate.shape)
    with np.errstate(over="ignore"):  # an infinite r is refused with its node's name
        r = (gain / rate).astype(dtype)
    while (over := np.abs(rate * r.astype(np.float64)) > np.abs(gain)).any():
        r = np.where(over, np.nextafter(r, np.zeros_like(r)), r)
    return r


def membrane(beta: np.ndarray, gain: Any, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """`tau` and `r` of a leaky membrane whose input has the factor `gain`: r = gain * tau/dt."""
    tau = tau_of(beta, dt)
    return tau, factor(gain, dt / np.asarray(tau, np.float64), tau.dtype)


def endless(gain: Any, site: Site) -> np.ndarray:
    """`r` of a membrane without leak whose input has the factor `gain`: r = gain/dt."""
    return factor(gain, np.full(site.shape, site.dt))


def leak_of(layer: Any, site: Site, beta: np.ndarray) -> np.ndarray:
    """`v_leak` in NIR's shape: 0 where nothing leaks to it, unless the membrane starts there."""
    v_leak = optional(layer, "v_leak", site, 0.0)
    return v_leak if getattr(layer, "start_at_leak", False) else np.where(beta == 1, 0, v_leak)


def check_own(layer: Any, site: Site, *names: str) -> None:
    """An exact neuron must have no more decays and no other leak than the node that it becomes.

    Raises:
        GraphError: a parameter beside `names` is set.
    """
    for name in ("alpha", "beta", "v_leak"):
        if name not in names and getattr(layer, name) is not None:
            raise site.refuse(f"`{name}` is set, which NIR's {type(layer).__name__} has not")


def optional(layer: Any, name: str, site: Site, default: float) -> np.ndarray:
    """A constant of an exact neuron in NIR's shape, or its default."""
    value = getattr(layer, name, None)
    return site.to_nir(default if value is None else value[...], name)


def threshold_of(layer: Any, site: Site) -> np.ndarray:
    """The threshold of a neuron in NIR's shape; what it fires with must be a step there.

    Raises:
        GraphError: its activation is no step from 0 to 1 just above 0.
    """
    if odd := _no_step(layer.spike, last(site.shape)):
        raise site.refuse(
            f"its activation is no step from 0 to 1 just above 0, NIR's only one: {odd}; use one of "
            "`spyx.axn`"
        )
    return site.to_nir(layer.threshold, "threshold")


def delayed_threshold(layer: Any, site: Site) -> np.ndarray:
    """As `threshold_of`, for a Spyx neuron that fires on the membrane of the step before.

    Raises:
        GraphError: below 0, the silent membrane before the first step would fire; NIR's does not.
    """
    threshold = threshold_of(layer, site)
    if (threshold < 0).any():
        raise site.refuse(
            f"`threshold` is {threshold.min():g}: below 0 it fires before its first input, which NIR "
            "cannot say; use 0 or more"
        )
    return threshold


# Asked of every neuron: where steps and plateaus of several spikes, ternary spikes or slopes begin.
CORE = np.array([1e-30, 1e-6, 0.01, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 30, 100, 1e3, 1e6, 1e30])
ASKED = 150_000


def _no_step(activation: Callable[[Any], Any], shape: Shape) -> str | None:
    """An answer by which an activation is no step over the membranes of a layer; None if it is one.

    It is asked without compiling it, in the layer's shape, for numbers of every size that float32
    has, dealt to the neurons: all together, those above 0 alone and the others alone, so that an
    answer that depends on its neighbours differs.
    """
    import jax

    size = max(int(np.prod(shape)), 1)
    rows = max(2 * len(CORE) + 1, -(-ASKED // size))
    core = np.concatenate([CORE, -CORE, [0.0]])
    dealt = np.resize(_of_every_size(), (rows - len(core)) * size).reshape(-1, size)
    asked = np.concatenate([np.broadcast_to(core[:, None], (len(core), size)), dealt])
    asked = asked.astype(np.float32).reshape(-1, *shape)
    positive = np.abs(asked) + (asked == 0)
    for question in (asked, positive, -np.abs(asked)):
        with jax.disable_jit():
            answer = np.asarray(activation(jax.numpy.asarray(question)))
        if answer.shape != question.shape:
            return f"of shape {question.shape[1:]} it makes {answer.shape[1:]}"
        if (wrong := answer != (question > 0)).any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"{question[place]:g} above threshold gives {answer[place]:g}"
    return None


@cache
def _of_every_size() -> np.ndarray:
    """float32 numbers of both signs, one for every sign, exponent and first seven bits, and more.

    Whole and half numbers to a hundred, with the next float32 on either side, come first.
    """
    halves = np.arange(1, 201, dtype=np.float32) / 2
    near = [np.nextafter(halves, np.float32(0)), halves, np.nextafter(halves, np.float32(np.inf))]
    bits = np.arange(2**16, dtype=np.uint32) << 16
    bits += np.random.default_rng(0).integers(2**16, size=bits.size, dtype=np.uint32)
    every = bits.view(np.float32)
    normal = np.isfinite(every) & (np.abs(every) >= np.finfo(np.float32).tiny)
    found = np.concatenate([*near, *(-array for array in near), every[normal]])
    return np.random.default_rng(0).permutation(found)


def spyx_node(make: NodeType, layer: Any, site: Site, reset: str, **values: Any) -> nir.NIRNode:
    """The node of a Spyx neuron, whose spike is delayed by one step; `values` are its other fields."""
    values |= {"v_threshold": delayed_threshold(layer, site), "v_reset": 0.0}
    return make(**fields(site, **values), metadata={"reset": reset, "spike_delay": 1})


def exact_node(
    make: NodeType, layer: Any, site: Site, reset: str | None = None, **values: Any
) -> nir.NIRNode:
    """The node of an exact neuron; `values` are the fields of its membrane, `reset` None its own."""
    contract: dict[str, Any] = {}
    if layer.spikes:
        contract = {"reset": reset or layer.reset, "spike_delay": 0}
        v_reset = optional(layer, "v_reset", site, 0.0)
        values |= {"v_threshold": threshold_of(layer, site), "v_reset": v_reset}
    if layer.start_at_leak:
        contract["v_init"] = "v_leak"
    return make(**fields(site, **values), metadata=contract)


def parts(node: Node, site: Site) -> dict[str, Any]:
    """`alpha`, `beta`, `gain_in`, `gain`, `gain_x`, `v_leak` of a node, float32, in Spyx's order.

    `gain_x`: of a node with an exact step, see `equations.exact_node`.
    """
    made: dict[str, Any] = {}
    dt = site.dt
    tau = node.get("tau", node.get("tau_mem"))
    if "tau_syn" in node:
        made["alpha"] = site.to_spyx(decay_of(node["tau_syn"], dt))
        made["gain_in"] = gain_of(dt / np.asarray(node["tau_syn"], np.float64) * node["w_in"])
    if tau is None:
        made["gain"] = gain_of(dt * np.asarray(node["r"], np.float64))
    else:
        made["beta"] = site.to_spyx(decay_of(tau, dt))
        made["gain"] = gain_of(dt / np.asarray(tau, np.float64) * node["r"])
        made["v_leak"] = node["v_leak"] if np.any(node["v_leak"]) else None
    if "carry" in node:
        carry, rate = node["carry"], dt / np.asarray(tau, np.float64)
        made["gain"] = (node["r"] * carry).astype(np.float32)
        made["gain_x"] = (node["r"] * (rate - carry) * node["w_in"]).astype(np.float32)
    for name in ("gain", "gain_in", "gain_x", "v_leak"):
        if made.get(name) is not None:
            made[name] = site.to_spyx(made[name])
            if not np.isfinite(made[name]).all():
                raise site.refuse(f"dt = {dt:g} gives its input a factor that float32 cannot hold")
    if node.get("v_init") == "v_leak" and made["v_leak"] is not None:
        made["start_at_leak"] = True
    return {name: value for name, value in made.items() if value is not None}


def load_spiking(node: Node, site: Site, exact: str, spyx: str | None, spyx_reset: str) -> Any:
    """An exact neuron, or, where the layer must delay its spike, the Spyx neuron.

    `exact` and `spyx` name classes of `spyx_nir.neurons` and `spyx.nn`. Where Spyx's neuron does
    something else than the node says (None: it cannot run there at all), a `SpikeDelay` exact one.
    """
    found = parts(node, site)
    same = node["reset"] == spyx_reset and found.keys() <= DECAYS
    # Spyx's neuron decides on the membrane before the step: below 0 the silent one would fire.
    same = same and np.min(node["v_threshold"]) >= 0
    delayed = node["spike_delay"] and site.in_sequential
    if delayed and same and spyx is not None:
        return spyx_layer(spyx, node, site, found)
    found["threshold"] = site.to_spyx(node["v_threshold"])
    found["v_reset"] = site.to_spyx(node["v_reset"])
    layer = exact_layer(exact, site, found, node["reset"])
    return assemble(_delayed, {"neuron": layer}) if delayed else layer


def spyx_layer(name: str, node: Node, site: Site, arrays: dict[str, Any]) -> Any:
    """The neuron `spyx.nn.<name>` with a node's threshold: a number where all are equal, else an array.

    `arrays` are its decays, float32 of any shape, though the constructor takes scalars only, and its
    `recurrent_w` where it has one.
    """
    threshold = site.to_spyx(node["v_threshold"])
    common = float(threshold.flat[0]) if (threshold == threshold.flat[0]).all() else None
    held = arrays if common is not None else {**arrays, "threshold": threshold}
    return assemble(_spyx, held, name, last(site.shape), common)


def _spyx(
    name: str, shape: Shape, common: float | None, *, threshold: Any = None, **arrays: Any
) -> Any:
    import spyx.nn as snn
    from flax import nnx

    layer = getattr(snn, name)(
        shape,
        *(0.5 for _ in arrays.keys() & DECAYS),
        threshold=threshold if common is None else common,
        rngs=GIVEN,
    )
    for attribute, value in arrays.items():
        setattr(layer, attribute, nnx.Param(value))
    return layer


def exact_layer(name: str, site: Site, found: dict[str, Any], reset: str | None = None) -> Any:
    """The neuron `spyx_nir.neurons.<name>`; `reset` None where it does not spike."""
    arrays = {key: value for key, value in found.items() if key != "start_at_leak"}
    return assemble(_exact, arrays, name, last(site.shape), reset, "start_at_leak" in found)


def _exact(name: str, shape: Shape, reset: str | None, start_at_leak: bool, **arrays: Any) -> Any:
    from spyx_nir import neurons

    options: dict[str, Any] = {"start_at_leak": True} if start_at_leak else {}
    if reset is not None:
        options |= {"reset": reset, "activation": neurons.surrogate()}
    return getattr(neurons, name)(shape, **arrays, **options)


def _delayed(neuron: Any) -> Any:
    from spyx_nir.converter.layers import SpikeDelay

    return SpikeDelay(neuron)
