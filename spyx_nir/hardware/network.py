"""A network in a chip's integers: what the simulators run and what is loaded on a chip.

Shapes are those of NIR, channels first, without the batch axis. A population's float model is
`value = integer * 2^-exponent` for its weights and its threshold alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.grid import weight_range


@dataclass(frozen=True)
class Weight:
    """What one population, or an input, sends to another.

    node: the NIR node that holds it. values: (targets, sources), or (F, C / groups, height, width).
    pools: square windows that are summed before, one after the other, without overlap. shape: what
    arrives at the weight behind them. stride, padding, dilation: of a convolution, (vertical,
    horizontal). delay: further steps that a spike takes, of a matrix; it broadcasts to `values`.
    """

    source: str
    target: str
    node: str
    values: np.ndarray
    shape: tuple[int, ...]
    pools: tuple[int, ...] = ()
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    delay: np.ndarray | None = None

    @property
    def longest_delay(self) -> int:
        """The largest of `delay`, 0 where there is none."""
        return 0 if self.delay is None else int(self.delay.max())

    def by_delay(self) -> list[tuple[int, np.ndarray]]:
        """Each delay and the weights that have it, 0 where another one has."""
        if self.delay is None:
            return [(0, self.values)]
        return [
            (int(steps), np.where(self.delay == steps, self.values, 0))
            for steps in np.unique(self.delay)
        ]

    def currents(self, spikes: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """What arrives at the target: (B, *source shape) counts to (B, F, H, W) or (B, targets).

        Integers as floats, which multiply fast: float64 holds sums up to 2^53 exactly, float32, which
        takes half the time, up to 2^24. A matrix is too small for that to matter.
        """
        values = self.values if values is None else values
        if values.ndim == 2:
            x = self.pooled(spikes.astype(np.float64))
            return x.reshape(len(x), -1) @ np.asarray(values, np.float64).T
        each = np.abs(values).reshape(len(values), -1).sum(axis=1).max(initial=0)
        largest = float(each) * float(spikes.max(initial=0)) * float(np.prod(self.pools)) ** 2
        kind = np.float32 if largest < 2**24 else np.float64
        x = self.pooled(spikes.astype(kind))
        w = self.kernel(values.astype(kind))
        x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in self.padding)])
        taps = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
        taps = taps[:, :, :: self.stride[0], :: self.stride[1]]
        return np.moveaxis(np.tensordot(taps, w, axes=([1, 4, 5], [1, 2, 3])), -1, 1)

    def kernel(self, values: np.ndarray) -> np.ndarray:
        """A convolution's weights as one dense kernel, (F, C, height, width).

        Zeros are between dilated taps and where a group does not reach.
        """
        if self.groups == 1 and self.dilation == (1, 1):
            return values
        outputs, inputs, *size = values.shape
        tall, wide = (d * (n - 1) + 1 for d, n in zip(self.dilation, size, strict=True))
        full = np.zeros((outputs, inputs * self.groups, tall, wide), values.dtype)
        each = outputs // self.groups
        for group in range(self.groups):
            rows = slice(group * each, (group + 1) * each)
            columns = slice(group * inputs, (group + 1) * inputs)
            full[rows, columns, :: self.dilation[0], :: self.dilation[1]] = values[rows]
        return full

    def pooled(self, x: np.ndarray) -> np.ndarray:
        """(B, *source shape) counts summed over the windows, (B, *shape)."""
        for size in self.pools:
            b, c, h, width = x.shape
            x = x[:, :, : h // size * size, : width // size * size]
            x = x.reshape(b, c, h // size, size, width // size, size).sum(axis=(3, 5))
        return x


@dataclass(frozen=True)
class Population:
    """Neurons of one kind.

    threshold: () or `shape`. decay_syn, decay_mem: the chip's integers (a shift; n of n / 4096), () or
    `shape`; None where the neuron has no such state or it does not decay. bias: what is added to the
    membrane in every step, in its unit, () or `shape`; None where nothing is. output: an Output shows
    it. membrane: its membrane is what is read, its threshold is out of reach.
    """

    name: str
    shape: tuple[int, ...]
    threshold: np.ndarray
    decay_syn: np.ndarray | None = None
    decay_mem: np.ndarray | None = None
    reset: str = "subtract"
    output: bool = False
    exponent: np.ndarray = field(default_factory=lambda: np.zeros((), np.int64))
    bias: np.ndarray | None = None
    membrane: bool = False


@dataclass(frozen=True)
class IntegerNetwork:
    """Populations in the order in which a step runs, and the weights between them."""

    profile: Profile
    inputs: dict[str, tuple[int, ...]]
    populations: tuple[Population, ...]
    weights: tuple[Weight, ...]

    def into(self, population: Population) -> list[Weight]:
        """The weights that end in a population."""
        return [weight for weight in self.weights if weight.target == population.name]

    def leakless(self) -> list[str]:
        """Populations whose membranes have no leak and no floor: a recording's rest stays there."""
        profile = self.profile
        if profile["state.floor"] != "none":
            return []
        kept = (
            2 ** (profile["neuron.decay_bits"] or 0)
            if profile["neuron.decay"] == "fraction"
            else None
        )
        return [
            p.name
            for p in self.populations
            if p.decay_mem is None or (kept is not None and int(np.max(p.decay_mem)) == kept)
        ]

    def check(self) -> None:
        """Refuse what the chip cannot hold.

        Raises:
            GraphError: a weight, threshold or decay outside the chip's range; names node and value.
        """
        profile = self.profile
        step = profile["weights.step"]
        low, high = weight_range(profile["weights.bits"], step)
        for weight in self.weights:
            found = weight.values
            odd = (found < low) | (found > high) | (found % step != 0)
            if odd.any():
                place = tuple(int(i) for i in np.argwhere(odd)[0])
                raise GraphError(
                    f"weight `{weight.node}` is {int(found[place])} at {place}; {profile.name} has "
                    f"{low} to {high}" + (f" in steps of {step}" if step > 1 else ""),
                    node=weight.node,
                    field="weight",
                )
        most = 2 ** profile["state.threshold_bits"] - 1
        for population in self.populations:
            for name, value, least, limit in (
                ("threshold", population.threshold, 1, most),
                ("decay of the current", population.decay_syn, 0, _most(profile, "syn")),
                ("decay of the membrane", population.decay_mem, 0, _most(profile, "mem")),
            ):
                if value is not None and (value.min() < least or value.max() > limit):
                    worst = value.min() if value.min() < least else value.max()
                    raise GraphError(
                        f"`{population.name}`: {name} {int(worst)}; {profile.name} has "
                        f"{least} to {limit}",
                        node=population.name,
                    )


def _most(profile: Profile, what: str) -> int:
    """The largest integer that encodes a decay: a shift, or n of n / 2^bits."""
    full = 2 ** profile["neuron.decay_bits"]
    return full if profile["neuron.decay"] == "fraction" and what == "mem" else full - 1


@dataclass
class Run:
    """What a simulation gives, time-major: (T, B, *shape).

    spikes: counts per population, uint16. currents, membranes: integer states, the membranes after
    the reset; only where they were asked for, and membranes that are the output. saturated:
    population -> how often a state saturated (or wrapped), or a membrane that is read spiked.
    multiple: how often a neuron spiked more than once in a step. ties: how often a membrane was
    exactly at its threshold, where chips that compare >= and NIR, which compares >, differ.
    """

    spikes: dict[str, np.ndarray]
    saturated: dict[str, int]
    multiple: dict[str, int]
    ties: dict[str, int]
    currents: dict[str, np.ndarray] = field(default_factory=dict)
    membranes: dict[str, np.ndarray] = field(default_factory=dict)

    def shown(self, population: Population) -> np.ndarray:
        """What is read of a population, (T, B, *shape): its spikes, or its membrane."""
        kind = self.membranes if population.membrane else self.spikes
        return kind[population.name]


def start(
    network: IntegerNetwork, semantics: str, x: dict[str, np.ndarray], record: bool
) -> tuple[int, dict[str, np.ndarray], Run]:
    """Check network and input; T, states of 0 (population -> (B, *shape), int64), an empty result.

    record: the result has room for states.

    Raises:
        GraphError: another family's network, values the chip cannot hold, or input that does not fit.
    """
    profile = network.profile
    if profile.integer_semantics != semantics:
        raise GraphError(
            f"target {profile.name} has the integer semantics `{profile.integer_semantics}`, not "
            f"`{semantics}`"
        )
    network.check()
    if set(x) != set(network.inputs):
        raise GraphError(f"inputs must be {sorted(network.inputs)}, got {sorted(x)}")
    for name, data in x.items():
        shape = network.inputs[name]
        if data.ndim != 2 + len(shape) or data.shape[2:] != shape:
            raise GraphError(
                f"input `{name}` must be time-major (T, B, {', '.join(map(str, shape))}), "
                f"got shape {data.shape}"
            )
        if data.size and (data.min() < 0 or (data != np.floor(data)).any()):
            raise GraphError(f"input `{name}` must be counts of spikes: whole, 0 or more")
    sizes = {data.shape[:2] for data in x.values()}
    if len(sizes) != 1:
        raise GraphError(f"inputs differ in (T, B): {sorted(sizes)}")
    steps, batch = sizes.pop()
    shapes = {p.name: (batch, *p.shape) for p in network.populations}
    run = Run({}, dict.fromkeys(shapes, 0), dict.fromkeys(shapes, 0), dict.fromkeys(shapes, 0))
    for name, shape in shapes.items():
        run.spikes[name] = np.zeros((steps, *shape), np.uint16)
        for states in (run.currents, run.membranes) if record else ():
            states[name] = np.zeros((steps, *shape), np.int32)
    for population in network.populations:
        if population.membrane:
            run.membranes.setdefault(
                population.name, np.zeros((steps, batch, *population.shape), np.int32)
            )
    return steps, {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}, run
