"""The keys of a task in params.yaml: their types, what values are allowed, and what they do.

`pipeline.params` reads and checks a file by these dataclasses. The range of a key is beside its type:
`Annotated[float, above(0)]`. The `Network` of a task module (`pipeline.tasks`) may have such ranges, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple


class Range(NamedTuple):
    """Which values a key may have. allowed: the same in words, after `must be`."""

    holds: Callable[[Any], bool]
    allowed: str


def at_least(bound: float, unit: str = "") -> Range:
    """bound <= value."""
    return Range(lambda value: value >= bound, f"at least {bound}{unit}")


def above(bound: float) -> Range:
    """bound < value."""
    return Range(lambda value: value > bound, f"above {bound}")


def between(low: float, high: float, unit: str = "") -> Range:
    """low <= value <= high."""
    return Range(lambda value: low <= value <= high, f"from {low} to {high}{unit}")


def from_to_below(low: float, high: float, what: str = "") -> Range:
    """low <= value < high."""
    return Range(lambda value: low <= value < high, f"{what}from {low} to below {high}")


@dataclass(frozen=True)
class Data:
    """Where recordings come from and how events become bins."""

    source: Literal["simulated", "folder", "download"]
    path: str
    seed: Annotated[int, at_least(0)]
    classes: Annotated[
        tuple[str, ...],
        Range(lambda names: 2 <= len(names) == len(set(names)), "at least 2 different classes"),
    ]
    bins: Annotated[int, at_least(1)]
    bin_us: Annotated[int, at_least(1, " (microseconds)")]
    merge_polarity: bool
    simulated_per_class: Annotated[int, at_least(4)]
    validation: Annotated[float, Range(lambda value: 0 <= value < 0.5, "0 or a fraction below 0.5")]
    test: Annotated[float, Range(lambda value: 0 < value < 0.9, "a fraction above 0 and below 0.9")]

    @property
    def bin_s(self) -> float:
        """How long a bin lasts, in seconds: the float nearest to it."""
        return self.bin_us / 1e6


@dataclass(frozen=True)
class Train:
    """How the network is trained.

    start_from: weights.safetensors of an earlier training of the same network; None for random weights.
    warm_up: share of all steps in which the learning rate rises from zero.
    logit_scale: what one output spike adds to its class's logit in the cross-entropy.
    weight_decay: of AdamW, for weights alone.
    learn_decays: whether the neurons' decays are trained, too, with `decay_lr_multiplier` times the
        learning rate.
    ema_decay: share of the exponential moving average of the parameters that a step keeps. The average is
        what is evaluated and stored; 0 switches it off.
    min_rate_penalty, max_rate_penalty: weights of the penalties on neurons with fewer than `min_spikes`
        and on layers with more than `max_spikes` spikes per recording.
    max_rotation to event_drop_rate: augmentation, see `pipeline.training.augmentation`.
    """

    seed: Annotated[int, at_least(0)]
    start_from: str | None
    epochs: Annotated[int, at_least(1)]
    batch_size: Annotated[int, at_least(1)]
    learning_rate: Annotated[float, above(0)]
    warm_up: Annotated[float, from_to_below(0, 1)]
    logit_scale: Annotated[float, above(0)]
    label_smoothing: Annotated[float, from_to_below(0, 1)]
    weight_decay: Annotated[float, at_least(0)]
    learn_decays: bool
    decay_lr_multiplier: Annotated[float, above(0)]
    ema_decay: Annotated[float, from_to_below(0, 1)]
    min_rate_penalty: Annotated[float, at_least(0)]
    min_spikes: Annotated[float, at_least(0)]
    max_rate_penalty: Annotated[float, at_least(0)]
    max_spikes: Annotated[float, at_least(0)]
    max_rotation: Annotated[float, between(0, 180, " (degrees)")]
    max_scale: Annotated[float, between(0, 0.5)]
    max_shear: Annotated[float, between(0, 0.5)]
    max_shift: Annotated[int, between(0, 16, " (pixels)")]
    elastic_alpha: Annotated[float, between(0, 16, " (pixels)")]
    max_time_warp: Annotated[float, between(0, 0.5)]
    max_time_shift: Annotated[int, at_least(0, " (bins)")]
    event_drop_rate: Annotated[float, from_to_below(0, 1)]


@dataclass(frozen=True)
class Export:
    """The step that turns decays into time constants, and its unit."""

    dt: Annotated[float, above(0)]
    time_unit: Literal["s", "step"]


@dataclass(frozen=True)
class Parity:
    """How far float32 may be from the float64 reference.

    At most `max_differing_fraction` of all spike entries may differ, and where a difference starts,
    the reference's membrane is within `max_tie_distance` thresholds of the threshold.
    """

    max_differing_fraction: Annotated[float, from_to_below(0, 1)]
    max_tie_distance: Annotated[float, from_to_below(0, 1)]


@dataclass(frozen=True)
class Deploy:
    """What goes into a bundle."""

    vectors: Annotated[int, at_least(1)]


@dataclass(frozen=True)
class Target:
    """A chip that a task is deployed to, and its quantisation-aware training; the rest is `Train`'s.

    leak: share of the membrane that IF neurons lose in a step, on the chip alone, so that one recording's
        membranes do not reach the next; 0, or no such key: none.
    """

    name: str
    epochs: Annotated[int, at_least(1)]
    learning_rate: Annotated[float, above(0)]
    leak: Annotated[float, from_to_below(0, 1)] = 0.0


@dataclass(frozen=True)
class SharedTarget:
    """A chip that runs the network of another target of the task, whose chip computes alike.

    network_of: the other target. Nothing is trained or simulated again for this one.
    """

    name: str
    network_of: str


@dataclass(frozen=True)
class Task:
    """One block of params.yaml. targets: chips by name; `generic`, plain NIR, needs no entry."""

    name: str
    data: Data
    network: Any  # the `Network` of pipeline/tasks/<name>.py
    train: Train
    export: Export
    parity: Parity
    deploy: Deploy
    targets: dict[str, Target | SharedTarget]

    def trained(self, target: str) -> Target:
        """A target with a training of its own.

        Raises:
            TypeError: it takes the network of another.
        """
        found = self.targets[target]
        if isinstance(found, SharedTarget):
            raise TypeError(f"{target} takes the network of {found.network_of}")
        return found

    @property
    def seeds(self) -> dict[str, int]:
        """What an accuracy depends on besides the settings: the seed of the data (simulation, splits)
        and that of the training (weights, order, augmentation)."""
        return {"data": self.data.seed, "train": self.train.seed}
