"""The record that every folder in `families/` fills in: all that the rest asks about a chip family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spyx_nir.hardware.facts import Check, Profile
from spyx_nir.hardware.network import IntegerNetwork, Population, Run

if TYPE_CHECKING:
    import jax

    from spyx_nir.hardware.findings import Finding, Row
    from spyx_nir.hardware.topology import Topology

Step = tuple[Callable[..., Any], Callable[..., Any]]  # see `Training.neuron_step`


@dataclass(frozen=True)
class Training:
    """A family's part of quantisation-aware training (QAT), in JAX.

    Fields:
        neuron_step: `neuron_step(network, population, steepness)` gives `step(state, drive) -> state,
            spikes, counts` and `start(shape) -> state`. shape is (B, *shape of the population), channels
            last; drive, spikes and every array of the state have it and are float32 that hold integers;
            counts as `straight_through.counters`. steepness: of the surrogate slope.
        weights: `weights(values, bits, step)`: what the family's toolchain makes of a layer's integer
            weights, float32 with gradients; by default it leaves them.
    """

    neuron_step: Callable[[IntegerNetwork, Population, float], Step]
    weights: Callable[[jax.Array, int, int], jax.Array] = lambda values, bits, step: values


@dataclass(frozen=True)
class EventDriven:
    """A family whose chips take events one by one: its rule for that, compiled, and its part of QAT.

    Fields:
        program: `program(network).run(addresses, marks) -> population -> trains of spikes`, see
            `families.speck.event_kernel`.
        run_along: `run_along(network, seen, steepness) -> population -> spikes` with gradients, see
            `families.speck.qat`.
    """

    program: Callable[[IntegerNetwork], Any]
    run_along: Callable[[IntegerNetwork, Mapping[str, Any], float], dict[str, jax.Array]]


@dataclass(frozen=True)
class Family:
    """Chips that compute alike.

    Fields:
        name: `integer_semantics` of their profiles.
        run: `run(network, x, record) -> Run`: the simulator, see `simulate.run`. The text of its module
            is in every bundle's verify_integers.py: it may use NumPy, `network` and nothing else.
        training: gives the JAX side, which it imports when it is called.
        bringup: `bringup(network, file, channels, bin_us)`: BRINGUP.md's text on how to load the bundle.
            file: the graph's name in the bundle. channels: what each input channel is. bin_us: a step in
            microseconds.
        delays_inputs, delays_neurons: whether spikes of inputs, and of neurons, arrive a step later.
        needs: keys of a profile that must have a value, besides `profile.INTEGERS`.
        decays_after_adding: whether a current decays after its input is added; NIR's decays before.
        convolutions: what of a convolution it has besides stride and padding: groups, dilation.
        counts_fan_out_to_outputs: whether weights to output neurons count for `limits.fan_out`.
        run_events: `run_events(network, addresses) -> population -> trains of spikes`, of one recording,
            by the rule of chips that take events instead of counts of a step; as `run`, in every bundle.
        event_driven: gives the same compiled, and its part of QAT; it imports numba and JAX when it is
            called.
        graphs: `graphs(graph)`: name -> a graph's dictionary that the bundle has besides, for a toolchain
            that does not read `model.nir` as it is; graph: as `quantise.on_grid` gives it.
        keys: what only profiles of this family have, by "section.key"; see `profile.KEYS`.
        kinds: further keys, where the family has several kinds of chips: a profile has those of one, the
            one whose section it has.
        states_differ: for BRINGUP.md, a sentence on states of the chip that are not the simulator's.
        simulated: the keys among them that `run` asks for.
        files: `files(network, bin_us)`: further files of a bundle, name -> text. bin_us as for `bringup`.
        addresses: `addresses(network)`: what the address map of a bundle has for these chips alone.
        check_profile: raises a UserError where facts of a profile contradict each other.
        place: rows of the cores in use, and what fits on none.
        resources: rows of the utilisation table besides those of the limits.
        times: `times(network, bin_us, metrics)`: the entry `real_time` of a network's metrics, modelled;
            empty where nothing says how long a step takes. metrics: as metrics/<task>-<target>.json.
    """

    name: str
    run: Callable[..., Run]
    training: Callable[[], Training]
    bringup: Callable[[IntegerNetwork, str, Sequence[str], int], str]
    needs: Sequence[str] = ()
    delays_inputs: bool = False
    delays_neurons: bool = False
    decays_after_adding: bool = False
    convolutions: Sequence[str] = ()
    counts_fan_out_to_outputs: bool = True
    run_events: Callable[..., dict[str, Any]] | None = None
    event_driven: Callable[[], EventDriven] | None = None
    graphs: Callable[[Mapping[str, Any]], dict[str, dict[str, Any]]] = lambda graph: {}
    keys: Mapping[str, Check] = field(default_factory=dict)
    kinds: Sequence[Mapping[str, Check]] = ()
    states_differ: str = ""
    simulated: Sequence[str] = ()
    files: Callable[[IntegerNetwork, int], dict[str, str]] = lambda network, bin_us: {}
    addresses: Callable[[IntegerNetwork], dict[str, Any]] = lambda network: {}
    check_profile: Callable[[Profile], None] = lambda profile: None
    place: Callable[[Topology, Profile], tuple[list[dict[str, Any]], list[Finding]]] = (
        lambda topology, profile: ([], [])
    )
    resources: Callable[[Topology, Profile], list[Row]] = lambda topology, profile: []
    times: Callable[[IntegerNetwork, int, Mapping[str, Any]], dict[str, Any]] = (
        lambda network, bin_us, metrics: {}
    )

    @property
    def hidden_spike_delay(self) -> int:
        """`spike_delay` of hidden neurons in a graph for the chip.

        Where inputs arrive later too, a graph without delays has the same spikes, some steps earlier.
        """
        return int(self.delays_neurons and not self.delays_inputs)
