"""The integer rules step by step, with numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.vendors import two_layers
from spyx_nir.errors import GraphError
from spyx_nir.hardware import profile, simulate
from spyx_nir.hardware.families.xylo import simulator as xylo
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

XYLO, LOIHI, SPECK = (profile.load(name) for name in ("xylo-audio-2", "loihi", "speck-2f"))


def one(chip: profile.Profile, weight: int, threshold: int, **options: Any) -> IntegerNetwork:
    """One input, one neuron."""
    population = Population("n", (1,), np.asarray(threshold), output=True, **options)
    return IntegerNetwork(
        chip,
        {"input": (1,)},
        (population,),
        (Weight("input", "n", "w", np.array([[weight]]), (1,)),),
    )


def drive(*counts: int) -> dict[str, np.ndarray]:
    return {"input": np.array(counts).reshape(-1, 1, 1)}


def states(run: Any) -> tuple[list[int], list[int], list[int]]:
    return tuple(a["n"].ravel().tolist() for a in (run.currents, run.membranes, run.spikes))


def shift(k: int) -> np.ndarray:
    return np.asarray(k)


def test_xylo_adds_then_decays_the_current_and_rounds_decays_down() -> None:
    """i: 100 -> 100 - (100 >> 1) = 50 -> 25 -> 25 - 12 = 13; v: 50; 50 - (50 >> 2) + 25 = 63; ..."""
    network = one(XYLO, 100, 1000, decay_syn=shift(1), decay_mem=shift(2))
    i, v, n = states(simulate.run(network, drive(1, 0, 0), record=True))
    assert (i, v, n) == ([50, 25, 13], [50, 63, 63 - 15 + 13], [0, 0, 0])


def test_xylo_decays_by_one_where_the_shift_leaves_nothing() -> None:
    """3 >> 4 = 0, so 3 -> 2; -3 >> 4 = -1, so -3 -> -2 -> -1 -> 0."""
    for weight, expected in ((3, [2, 1, 0, 0]), (-3, [-2, -1, 0, 0])):
        network = one(XYLO, weight, 1000, decay_syn=shift(4), decay_mem=shift(4))
        assert states(simulate.run(network, drive(1, 0, 0, 0), record=True))[0] == expected


def test_xylo_output_spikes_once_at_the_threshold_and_hidden_often() -> None:
    """v = 60 at threshold 20: an output subtracts 20 once a step, a hidden neuron spikes 3 times."""
    network = one(XYLO, 120, 20, decay_syn=shift(1), decay_mem=shift(15))
    i, v, n = states(simulate.run(network, drive(1), record=True))
    assert (i, v, n) == ([60], [40], [1])
    hidden = Population("n", (1,), np.asarray(20), shift(1), shift(15))
    run = simulate.run(
        IntegerNetwork(XYLO, network.inputs, (hidden,), network.weights), drive(1), record=True
    )
    assert states(run) == ([60], [0], [3])
    assert run.multiple == {"n": 1} and run.ties == {"n": 0}
    tie = simulate.run(one(XYLO, 40, 20, decay_syn=shift(1), decay_mem=shift(15)), drive(1))
    assert tie.ties == {"n": 1} and tie.spikes["n"].item() == 1


def test_xylo_takes_15_spikes_of_an_input_and_saturates() -> None:
    network = one(XYLO, 127, 32767, decay_syn=shift(15), decay_mem=shift(15))
    run = simulate.run(network, drive(*[40] * 20), record=True)
    i = states(run)[0]
    assert i[0] == 15 * 127 - 1  # the shift of 15 leaves 0, so it decays by 1
    assert max(i) == 32766 and run.saturated["n"] > 0


def test_xylo_saturates_spike_by_spike() -> None:
    """127 * 15 is added at 32000 before -128 * 15 is: the sum at once would not meet the bound."""
    up, down = np.array([[127, -128]]), np.array([[32000]])
    weights = [Weight("a", "n", "w", up, (2,))]
    spikes, order = {"a": np.array([[15, 15]])}, {"a": np.arange(2)}
    total, met = xylo.deliver(down, weights, spikes, 2**15, order)
    assert (total.item(), met) == (32767 - 15 * 128, 1)
    total, met = xylo.deliver(down - 2000, weights, spikes, 2**15, order)
    assert (total.item(), met) == (30000 - 15, 0)
    # The other way round it meets no bound.
    total, met = xylo.deliver(down, weights, spikes, 2**15, {"a": np.array([1, 0])})
    assert (total.item(), met) == (32000 - 15, 0)


def test_xylo_hidden_spikes_arrive_one_step_later() -> None:
    hidden = Population("h", (1,), np.asarray(50), shift(1), shift(1))
    out = Population("n", (1,), np.asarray(10), shift(1), shift(1), output=True)
    weights = (
        Weight("input", "h", "a", np.array([[100]]), (1,)),
        Weight("h", "n", "b", np.array([[60]]), (1,)),
    )
    run = simulate.run(
        IntegerNetwork(XYLO, {"input": (1,)}, (hidden, out), weights), drive(1, 0, 0)
    )
    assert run.spikes["h"].ravel().tolist() == [1, 0, 0]
    assert run.spikes["n"].ravel().tolist() == [0, 1, 1]


def test_loihi_shifts_input_by_six_bits_and_truncates_toward_zero() -> None:
    """a = 10 one step late: u = 640; u = 640 * 2048 >> 12 = 320, v = 640 * 3000 >> 12 + 320 = 788."""
    n = {"decay_syn": np.asarray(2048), "decay_mem": np.asarray(3000), "reset": "v_reset"}
    u, v, z = states(simulate.run(one(LOIHI, 10, 1000, **n), drive(1, 0, 0), record=True))
    assert (u, v, z) == ([0, 640, 320], [0, 640, 468 + 320], [0, 0, 0])
    u, v, _ = states(simulate.run(one(LOIHI, -10, 1000, **n), drive(1, 0, 0), record=True))
    assert (u, v) == ([0, -640, -320], [0, -640, -468 - 320])


def test_loihi_spikes_above_the_threshold_only_and_resets_to_zero() -> None:
    """An IF: v grows by 10 << 6 a step; 20 << 6 is not above 20 << 6."""
    _u, v, z = states(
        simulate.run(one(LOIHI, 10, 20, reset="v_reset"), drive(1, 1, 1, 0), record=True)
    )
    assert z == [0, 0, 0, 1]
    assert v == [0, 640, 1280, 0]


def test_loihi_wraps_currents_and_clips_membranes() -> None:
    """u grows by 254 * 255 << 6 = 4145280 a step: 2^23 is passed in the third."""
    n = {"decay_syn": np.asarray(4095), "decay_mem": np.asarray(4096), "reset": "v_reset"}
    run = simulate.run(one(LOIHI, 254, 131071, **n), drive(*[300] * 5), record=True)
    u, v, z = states(run)
    step = 254 * 255 << 6
    second = (step * 4095 >> 12) + step
    third = (second * 4095 >> 12) + step
    assert third > 2**23
    assert u[:4] == [0, step, second, third - 2**24]
    assert z[1:3] == [0, 1] and v[1:3] == [step, 0]  # step + second passes 2^23 - 1, which fires
    assert run.saturated["n"] >= 2


def test_speck_spikes_as_often_as_the_threshold_fits_and_has_a_floor() -> None:
    network = one(SPECK, 50, 20)
    run = simulate.run(network, drive(1, 0, 2), record=True)
    assert run.spikes["n"].ravel().tolist() == [2, 0, 5]
    assert run.membranes["n"].ravel().tolist() == [10, 10, 10]
    run = simulate.run(one(SPECK, -50, 20), drive(1, 1), record=True)
    assert run.membranes["n"].ravel().tolist() == [-20, -20]
    run = simulate.run(one(SPECK, 50, 20, reset="v_reset"), drive(1), record=True)
    assert (run.spikes["n"].item(), run.membranes["n"].item()) == (2, 0)


def test_speck_counts_what_16_bits_do_not_hold() -> None:
    run = simulate.run(one(SPECK, 127, 32767), drive(250, 250))
    assert run.saturated == {"n": 1}


def test_convolution_and_pooling_by_loops() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 3, (2, 3, 9, 9))
    w = rng.integers(-9, 9, (4, 3, 3, 3))
    weight = Weight("a", "b", "w", w, (3, 4, 4), (2,), (2, 1), (1, 0))
    pooled = np.zeros((2, 3, 6, 4), int)  # 9 // 2 = 4, one row of padding above and below
    for r in range(4):
        for c in range(4):
            pooled[:, :, r + 1, c] = x[:, :, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].sum(axis=(2, 3))
    expected = np.zeros((2, 4, 2, 2), int)
    for b, f, r, c in np.ndindex(expected.shape):
        expected[b, f, r, c] = (pooled[b, :, 2 * r : 2 * r + 3, c : c + 3] * w[f]).sum()
    assert (weight.currents(x) == expected).all()


@pytest.mark.parametrize(
    ("network", "x", "message"),
    [
        (one(XYLO, 128, 10), drive(1), "weight `w` is 128 at .0, 0.; xylo-audio-2 has -128 to 127"),
        (one(LOIHI, 3, 10), drive(1), "weight `w` is 3 at .0, 0.; loihi has -256 to 254 in steps"),
        (one(XYLO, 1, 32768), drive(1), "`n`: threshold 32768; xylo-audio-2 has 1 to 32767"),
        (one(XYLO, 1, 1, decay_mem=shift(16)), drive(1), "`n`: decay of the membrane 16"),
        (one(XYLO, 1, 1), {"other": np.ones((1, 1, 1))}, "inputs must be"),
        (one(XYLO, 1, 1), {"input": np.ones((1, 1))}, "must be time-major"),
        (one(XYLO, 1, 1), drive(-1), "must be counts of spikes"),
        (one(XYLO, 1, 1), {"input": np.full((1, 1, 1), 0.5)}, "must be counts of spikes"),
    ],
)
def test_what_a_chip_cannot_hold_is_refused(network: IntegerNetwork, x: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        simulate.run(network, x)


def test_another_chips_network_is_refused() -> None:
    with pytest.raises(
        GraphError, match="target loihi has the integer semantics `lava`, not `xylo`"
    ):
        xylo.run(one(LOIHI, 2, 10), drive(1))


def test_two_layers_there_and_back() -> None:
    rng = np.random.default_rng(4)
    arrays = {
        "weights_in": rng.integers(-9, 9, (3, 4)), "weights_rec": rng.integers(-9, 9, (4, 4)),
        "weights_out": rng.integers(-9, 9, (4, 2)),
        **{f + s: rng.integers(1, 9, n) for f in two_layers.FIELDS for s, n in (("", 4), ("_out", 2))},
    }  # fmt: skip
    back = two_layers.to_arrays(two_layers.from_arrays(arrays, XYLO, "subtract"))
    assert back.keys() == arrays.keys()
    assert all((back[key] == arrays[key]).all() for key in arrays)
