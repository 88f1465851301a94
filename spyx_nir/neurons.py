"""Neurons that NIR expresses exactly, with Spyx's layer contract.

Every layer has `initial_state(batch) -> state` and `__call__(x, state) -> (out, state)`, so
`spyx.nn.run` and `spyx.nn.Sequential` run it. Unlike the stock Spyx neurons, which spike on the
membrane of the previous step, these integrate first, spike in the same step and then reset, in the
order of NIR's equations under forward Euler.

Shapes: `x` and the output are (B, *hidden_shape), float32; a parameter is a scalar or has
`hidden_shape` (channels last in spatial layers). Decays are per step and unitless: with NIR's time
constants beta = 1 - dt/tau. `gain` is what the input is multiplied with before it is integrated
(NIR: r * dt/tau); None means exactly 1. `v_leak` None means exactly 0. The membrane starts at 0, or at
`v_leak` with `start_at_leak`. `rngs` is taken as by Spyx's layers; nothing is random here.

Per step, with u the membrane before the reset (source: NIR's `nir/ir/neuron.py`, Euler step):

    I        v' = v + gain*x;                               output v'
    LI       v' = beta*v + (1-beta)*v_leak + gain*x;        output v'
    CubaLI   i' = alpha*i + gain_in*x
             v' = beta*v + (1-beta)*v_leak + gain*i';       output v'
             with `gain_x`, an exact step: gain*i + gain_x*x in the place of gain*i'
    IF, LIF, CubaLIF   u = v' as above, z = u > threshold;  output z, then
        v_reset:              v' = v_reset where z, else u
        subtract:             v' = u - threshold*z
        subtract_after_decay: v' = u, and threshold*z is taken off after the next decay
        none:                 v' = u
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from spyx import axn

RESETS = ("v_reset", "subtract", "subtract_after_decay", "none")
MOST_SPIKES = 2.0**16  # of a `MultiSpike` in a step, as in `meaning.dialects`
# What a neuron fires with: a step from 0 to 1 just above 0, and its surrogate gradient.
Activation = Callable[[jax.Array], jax.Array]


@cache
def surrogate() -> Activation:
    """One surrogate gradient for all imported neurons, so that equal models share a compilation."""
    activation: Activation = axn.superspike()
    return activation


class Constant(nnx.Variable[jax.Array]):
    """A number that belongs to a layer and is not trained (threshold, gain, leak, reset)."""


def _constant(value: Any) -> Constant | None:
    return None if value is None else Constant(jnp.asarray(value, jnp.float32))


class Integrator(nnx.Module):
    """The membrane of all neurons here; the subclasses choose what leaks and what spikes.

    State: the membrane v (B, *hidden_shape), or the pair (v, i) where there is a synaptic current.
    """

    spikes = False
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Flax constructs through its metaclass, whose signature is (*args, **kwargs).
        _, *shown = inspect.signature(cls.__init__).parameters.values()
        cls.__signature__ = inspect.Signature(shown)

    def __init__(
        self,
        hidden_shape: Sequence[int],
        alpha: Any = None,
        beta: Any = None,
        gain: Any = None,
        gain_in: Any = None,
        v_leak: Any = None,
        start_at_leak: bool = False,
        gain_x: Any = None,
    ):
        self.hidden_shape = tuple(hidden_shape)
        self.alpha = None if alpha is None else nnx.Param(jnp.asarray(alpha, jnp.float32))
        self.beta = None if beta is None else nnx.Param(jnp.asarray(beta, jnp.float32))
        self.gain = _constant(gain)
        self.gain_in = _constant(gain_in)
        self.gain_x = _constant(gain_x)
        self.v_leak = _constant(v_leak)
        self.start_at_leak = bool(start_at_leak) and v_leak is not None

    def initial_state(self, batch_size: int) -> Any:
        """The state before the first step, for a batch of `batch_size`."""
        zeros = jnp.zeros((batch_size, *self.hidden_shape), jnp.float32)
        v = zeros + self.v_leak[...] if self.start_at_leak and self.v_leak is not None else zeros
        return v if self.alpha is None else (v, zeros)

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """One step: input current x (B, *hidden_shape) and state to output and new state."""
        u, i = self.integrate(x, state)
        out, v = self.emit(u)
        return out, v if i is None else (v, i)

    def integrate(self, x: jax.Array, state: Any) -> tuple[jax.Array, jax.Array | None]:
        """The membrane u before the reset and the current i, or None without one.

        Linear in x and state for given parameters, but with `subtract_after_decay`.
        """
        v, i, given = state, None, x
        if self.alpha is not None:
            v, before = state
            i = self.alpha[...] * before + (x if self.gain_in is None else self.gain_in[...] * x)
            x = i if self.gain_x is None else before
        u = v
        if self.beta is not None:
            beta = self.beta[...]
            u = beta * u if self.v_leak is None else beta * u + (1 - beta) * self.v_leak[...]
        u = u + (x if self.gain is None else self.gain[...] * x)
        if self.gain_x is not None:
            u = u + self.gain_x[...] * given
        return self._after_decay(u, v), i

    def emit(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Output and the membrane after the reset."""
        return u, u

    def _after_decay(self, u: jax.Array, v: jax.Array) -> jax.Array:
        return u


class SpikingIntegrator(Integrator):
    """An integrator with a threshold, a surrogate gradient and a reset.

    Args:
        threshold, v_reset: scalar or `hidden_shape`.
        activation: a Spyx surrogate such as `spyx.axn.superspike()`, called on u - threshold.
        reset: one of `RESETS`.

    Raises:
        ValueError: `reset` is none of `RESETS`.
    """

    spikes = True

    def __init__(
        self,
        hidden_shape: Sequence[int],
        threshold: Any = 1.0,
        activation: Activation | None = None,
        reset: str = "v_reset",
        v_reset: Any = 0.0,
        **leaks: Any,
    ):
        super().__init__(hidden_shape, **leaks)
        if reset not in RESETS:
            raise ValueError(f"`reset` must be one of {', '.join(RESETS)}, got {reset!r}")
        self.threshold = Constant(jnp.asarray(threshold, jnp.float32))
        self.v_reset = Constant(jnp.asarray(v_reset, jnp.float32))
        self.reset = reset
        self.spike = axn.superspike() if activation is None else activation

    def _after_decay(self, u: jax.Array, v: jax.Array) -> jax.Array:
        if self.reset != "subtract_after_decay":
            return u
        threshold = self.threshold[...]
        return u - threshold * self.spike(v - threshold)

    def emit(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Spikes and the membrane after the reset."""
        threshold = self.threshold[...]
        z = self.spike(u - threshold)
        if self.reset == "v_reset":
            # The reset itself carries no gradient: only the spike that leaves does.
            return z, jnp.where(u > threshold, self.v_reset[...], u)
        return z, u - threshold * z if self.reset == "subtract" else u


class I(Integrator):
    """Integrator without leak or spike, NIR's `I`."""

    def __init__(
        self, hidden_shape: Sequence[int], *, gain: Any = None, rngs: nnx.Rngs | None = None
    ):
        super().__init__(hidden_shape, gain=gain)


class LI(Integrator):
    """Leaky integrator, NIR's `LI`."""

    def __init__(
        self,
        hidden_shape: Sequence[int],
        beta: Any,
        *,
        gain: Any = None,
        v_leak: Any = None,
        start_at_leak: bool = False,
        rngs: nnx.Rngs | None = None,
    ):
        super().__init__(
            hidden_shape, beta=beta, gain=gain, v_leak=v_leak, start_at_leak=start_at_leak
        )


class CubaLI(Integrator):
    """Current-based leaky integrator, NIR's `CubaLI`."""

    def __init__(
        self,
        hidden_shape: Sequence[int],
        alpha: Any,
        beta: Any,
        *,
        gain: Any = None,
        gain_in: Any = None,
        v_leak: Any = None,
        start_at_leak: bool = False,
        gain_x: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        super().__init__(hidden_shape, alpha, beta, gain, gain_in, v_leak, start_at_leak, gain_x)


class IF(SpikingIntegrator):
    """Integrate and fire, NIR's `IF`."""

    def __init__(
        self,
        hidden_shape: Sequence[int],
        threshold: Any = 1.0,
        activation: Activation | None = None,
        *,
        reset: str = "v_reset",
        v_reset: Any = 0.0,
        gain: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        super().__init__(hidden_shape, threshold, activation, reset, v_reset, gain=gain)


class LIF(SpikingIntegrator):
    """Leaky integrate and fire, NIR's `LIF`."""

    def __init__(
        self,
        hidden_shape: Sequence[int],
        beta: Any,
        threshold: Any = 1.0,
        activation: Activation | None = None,
        *,
        reset: str = "v_reset",
        v_reset: Any = 0.0,
        gain: Any = None,
        v_leak: Any = None,
        start_at_leak: bool = False,
        rngs: nnx.Rngs | None = None,
    ):
        leaks = {"beta": beta, "gain": gain, "v_leak": v_leak, "start_at_leak": start_at_leak}
        super().__init__(hidden_shape, threshold, activation, reset, v_reset, **leaks)


class CubaLIF(SpikingIntegrator):
    """Current-based leaky integrate and fire, NIR's `CubaLIF`."""

    def __init__(
        self,
        hidden_shape: Sequence[int],
        alpha: Any,
        beta: Any,
        threshold: Any = 1.0,
        activation: Activation | None = None,
        *,
        reset: str = "v_reset",
        v_reset: Any = 0.0,
        gain: Any = None,
        gain_in: Any = None,
        v_leak: Any = None,
        start_at_leak: bool = False,
        gain_x: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        leaks = {"beta": beta, "gain": gain, "v_leak": v_leak, "start_at_leak": start_at_leak}
        leaks |= {"alpha": alpha, "gain_in": gain_in, "gain_x": gain_x}
        super().__init__(hidden_shape, threshold, activation, reset, v_reset, **leaks)


class MultiSpike(Integrator):
    """A neuron of the dialects of sinabs and Rockpool: several spikes a step, which NIR has not.

    u = beta*v + drive, drive being x, or the current i' = alpha*i + gain_in*x where there is an `alpha`,
    plus `bias`. Spikes: the thresholds that fit into u (u >= threshold), at most `MOST_SPIKES`; each is
    taken off. The membrane stays at `lowest` thresholds or above. The surrogate gradient is the first's.

    Args:
        threshold, bias: scalar or `hidden_shape`. lowest: in thresholds, such as -1; None: no bound.
    """

    spikes = True

    def __init__(
        self,
        hidden_shape: Sequence[int],
        threshold: Any = 1.0,
        activation: Activation | None = None,
        *,
        alpha: Any = None,
        beta: Any = None,
        gain_in: Any = None,
        bias: Any = None,
        lowest: float | None = None,
        rngs: nnx.Rngs | None = None,
    ):
        super().__init__(hidden_shape, alpha, beta, gain_in=gain_in)
        self.threshold = Constant(jnp.asarray(threshold, jnp.float32))
        self.bias = _constant(bias)
        self.lowest = lowest
        self.spike = axn.superspike() if activation is None else activation

    def emit(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Numbers of spikes and the membrane after the reset."""
        threshold = self.threshold[...]
        u = u if self.bias is None else u + self.bias[...]
        fit = jnp.minimum(jnp.floor(u / threshold), MOST_SPIKES)
        count = jnp.where(u >= threshold, fit, 0.0)
        first = self.spike(u - threshold)
        z = first + jax.lax.stop_gradient(count - first)
        v = u - z * threshold
        return z, v if self.lowest is None else jnp.maximum(v, self.lowest * threshold)


class Recurrent(nnx.Module):
    """A neuron layer whose output of the previous step comes back through a weight.

    The cell's input at step t is x[t] + z[t-1] @ recurrent_w + recurrent_b (if any, from t = 0 on).

    Args:
        cell: any layer of this module with a 1-D `hidden_shape` (N,).
        bias: whether there is a `recurrent_b` (N,).

    `recurrent_w` is (N, N), source neuron first, as in Spyx. State: (state of the cell, z (B, N)).
    """

    def __init__(self, cell: Integrator, *, bias: bool = False, rngs: nnx.Rngs):
        (size,) = cell.hidden_shape
        self.hidden_shape = cell.hidden_shape
        self.cell = cell
        self.recurrent_w = nnx.Param(
            nnx.initializers.orthogonal(scale=0.5)(rngs.params(), (size, size), jnp.float32)
        )
        self.recurrent_b = nnx.Param(jnp.zeros((size,), jnp.float32)) if bias else None

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """One step: input x (B, N) and state to output (B, N) and new state."""
        inner, z = state
        x = x + z @ self.recurrent_w[...]
        if self.recurrent_b is not None:
            x = x + self.recurrent_b[...]
        z, inner = self.cell(x, inner)
        return z, (inner, z)

    def initial_state(self, batch_size: int) -> Any:
        """The state before the first step: zeros but for a membrane that starts at its leak."""
        return self.cell.initial_state(batch_size), jnp.zeros(
            (batch_size, *self.hidden_shape), jnp.float32
        )
