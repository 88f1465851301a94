"""The networks: what they are made of, that they fire, and their files."""

import dataclasses
import json
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spyx.nn as snn
from end_to_end import tiny_task
from flax import nnx

from pipeline import tasks
from pipeline.training import decays, engine, networks, safetensors
from spyx_nir.errors import UserError


def with_network(task, **changes):
    return dataclasses.replace(task, network=dataclasses.replace(task.network, **changes))


def kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def test_braille_is_the_network_of_the_paper():
    model = networks.build(tiny_task("braille", "v_reset"))
    assert kinds(model) == ["Linear", "Recurrent", "Linear", "CubaLIF"]
    shapes = {name: value.shape for name, value in networks.named_parameters(model).items()}
    assert shapes == {
        "layers.0.kernel": (12, 38),
        "layers.1.cell.alpha": (),
        "layers.1.cell.beta": (),
        "layers.1.recurrent_w": (38, 38),
        "layers.2.kernel": (38, 7),
        "layers.3.alpha": (),
        "layers.3.beta": (),
    }


def test_nmnist_is_the_network_of_the_paper():
    model = networks.build(tiny_task("nmnist", "v_reset"))
    assert kinds(model) == [
        *("Conv", "IF", "Conv", "IF", "SumPool", "Conv", "IF", "SumPool", "Flatten"),
        *("Linear", "IF", "Linear", "IF"),
    ]
    shapes = {name: value.shape for name, value in networks.named_parameters(model).items()}
    assert shapes == {
        "layers.0.kernel": (5, 5, 2, 16),
        "layers.2.kernel": (3, 3, 16, 16),
        "layers.5.kernel": (3, 3, 16, 8),
        "layers.9.kernel": (128, 256),
        "layers.11.kernel": (256, 10),
    }
    sizes = [layer.hidden_shape for layer in model.layers if hasattr(layer, "hidden_shape")]
    assert sizes == [(16, 16, 16), (16, 16, 16), (8, 8, 8), (256,), (10,)]


@pytest.fixture
def returning(monkeypatch):
    """Let `network` of the Braille task return what it is given."""
    return lambda made: monkeypatch.setattr(tasks.find("braille"), "network", lambda task: made)


def test_a_list_of_layers_is_a_network(returning):
    task = tiny_task("braille", "v_reset")
    own = networks.build(task)
    returning(list(own.layers))
    model = networks.build(task)
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (20, 2, 12)), jnp.float32)
    assert (snn.run(model, x)[0] == snn.run(own, x)[0]).all()
    assert list(networks.named_parameters(model)) == list(networks.named_parameters(own))


@pytest.mark.parametrize(
    ("made", "got"),
    [
        (None, "NoneType"),
        ([], r"\[\]"),
        ([3], r"\[3\]"),
        (lambda x: x, "function"),
        (nnx.Sequential(nnx.relu), "Sequential"),
        (snn.IF((3,)), "IF"),
    ],
    ids=["nothing", "no layer", "a number", "a function", "without state", "one neuron"],
)
def test_what_is_no_sequence_of_layers_is_one_line(returning, made, got):
    returning(made)
    with pytest.raises(UserError, match=rf"tasks/braille.py: `network` must return .* got {got}$"):
        networks.build(tiny_task("braille", "v_reset"))


def test_subtract_builds_stock_spyx_neurons():
    braille = networks.build(tiny_task("braille", "subtract"))
    assert [type(braille.layers[i]) for i in (1, 3)] == [snn.RCuBaLIF, snn.CuBaLIF]
    nmnist = networks.build(tiny_task("nmnist", "subtract"))
    assert [type(nmnist.layers[i]) for i in (1, 3, 6, 10, 12)] == [snn.IF] * 5


@pytest.mark.parametrize("reset", ["v_reset", "subtract"])
@pytest.mark.parametrize(("name", "rate"), [("braille", 0.06), ("nmnist", 0.07)])
def test_every_layer_fires_before_training(name, rate, reset):
    # The rates are those of the real recordings: events per bin and pixel or taxel.
    task = tiny_task(name, reset)
    shape = (8, task.data.bins * 10, *networks.input_shape(task))
    events = np.random.default_rng(0).poisson(rate, shape).astype(np.uint8)
    _, layers = engine.trace(networks.build(task), networks.to_model_layout(events))
    rates = [float(out.mean()) for out, state in layers if state is not None]
    assert all(0.001 < rate < 0.5 for rate in rates), rates


def test_the_seed_decides_the_weights():
    task = tiny_task("braille", "v_reset")
    other = dataclasses.replace(task, train=dataclasses.replace(task.train, seed=99))
    first, again, different = (networks.build(t).layers[0].kernel[...] for t in (task, task, other))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, different)


def test_a_quarter_of_the_variance_halves_the_first_weights():
    task = tiny_task("nmnist", "v_reset")
    whole, quarter = (
        networks.named_parameters(networks.build(with_network(task, first_gain=gain)))
        for gain in (1.0, 0.25)
    )
    for name, value in whole.items():
        np.testing.assert_array_equal(value[...], 2 * quarter[name][...], err_msg=name)


def test_model_layout_puts_time_first_and_channels_last():
    events = np.arange(2 * 3 * 2 * 4 * 5, dtype=np.uint8).reshape(2, 3, 2, 4, 5)
    ours = networks.to_model_layout(events)
    assert ours.shape == (3, 2, 4, 5, 2)
    assert ours.dtype == jnp.float32
    assert float(ours[2, 1, 3, 4, 0]) == events[1, 2, 0, 3, 4]
    assert networks.to_model_layout(np.zeros((2, 3, 12), np.uint8)).shape == (3, 2, 12)


@pytest.mark.parametrize("dt", [1e-4, 1.0, 5e-3])
def test_a_snapped_decay_survives_nirs_time_constant(dt):
    random = np.random.default_rng(8)
    for decay in [0.0, 0.45, 0.5, 0.55, 0.7, 0.75, 0.85, 0.9, *random.random(500), 1 - 1e-6]:
        snapped = np.float32(decays.snap_decay(decay, dt))
        tau = np.float32(dt / (1 - np.float64(snapped)))
        assert np.float32(1 - dt / np.float64(tau)) == snapped
        # tau is rounded to 2^-24 of itself, and so is 1 - decay; a decay to 2^-25 of 1.
        assert abs(snapped - decay) < 2**-22


def test_the_decays_of_the_braille_network_are_snapped():
    task = with_network(tiny_task("braille", "v_reset"), beta_out=0.123456789)
    dt = task.export.dt
    for name, value in networks.named_parameters(networks.build(task)).items():
        if name.endswith(("alpha", "beta")):
            assert decays.snap_decay(float(value[...]), dt) == float(value[...])


def test_weights_are_stored_as_multiples_of_a_power_of_two():
    weights = {"layers.0.kernel": np.float32([0.1, -0.1, 0.124, 0.126, 3.0, 0.0])}
    found = decays.snapped(weights, 1.0, 2)["layers.0.kernel"]
    assert found.dtype == np.float32
    assert found.tolist() == [0.0, 0.0, 0.0, 0.25, 3.0, 0.0]
    assert decays.snapped(weights, 1.0)["layers.0.kernel"] is weights["layers.0.kernel"]


def test_membranes_of_the_digits_network_are_exact_and_never_meet_their_threshold():
    """float32 gives what float64 gives, bit for bit, in whichever order it adds."""
    task = tiny_task("nmnist", "v_reset")
    model = networks.build(task)
    bits = task.network.weight_bits
    parameters = {name: value[...] for name, value in networks.named_parameters(model).items()}
    model = networks.with_parameters(model, decays.snapped(parameters, 1.0, bits))
    events = np.random.default_rng(0).poisson(0.2, (4, 15, 2, 34, 34)).astype(np.uint8)
    with jax.enable_x64(True):
        _, exact = engine.trace(model, jnp.asarray(networks.to_model_layout(events), jnp.float64))
    _, layers = engine.trace(model, networks.to_model_layout(events))
    neurons = [i for i, (_, state) in enumerate(layers) if state is not None]
    assert len(neurons) == 5
    for i in neurons:
        assert layers[i][0].any()
        np.testing.assert_array_equal(layers[i][0], exact[i][0])
        np.testing.assert_array_equal(layers[i][1], exact[i][1])
        # Half a step of 2^-bits between a membrane and its threshold.
        away = np.asarray(layers[i][1], np.float64) - float(model.layers[i].threshold)
        assert np.abs(away).min() >= 2.0 ** -(bits + 1)


@pytest.mark.parametrize("decay", [-0.1, 1.5, float("nan")])
def test_a_decay_without_time_constant_is_refused(decay):
    with pytest.raises(ValueError, match=f"from 0 to 1, got {decay}"):
        decays.snap_decay(decay, 1e-4)


def test_decays_are_stored_as_spyx_clips_them():
    """Spyx draws default decays around 0.5, some below 0 or above 1, and clips them when it runs."""
    drawn = np.float32([-0.05, 0.0, 0.5, 1.0, 1.06])
    found = decays.snapped({"layers.1.beta": drawn}, 1.0)["layers.1.beta"]
    assert found.tolist() == np.asarray(jnp.clip(drawn, 0, 1)).tolist()


@pytest.fixture
def saved(tmp_path):
    task, path = tiny_task("braille", "v_reset"), tmp_path / "weights.safetensors"
    model = networks.with_parameters(
        networks.build(task),
        {
            name: np.random.default_rng(1).random(value.shape, np.float32)
            for name, value in networks.named_parameters(networks.build(task)).items()
        },
    )
    networks.save_weights(model, task, path, epoch=3, validation_accuracy=0.5)
    return task, path, model


def test_weights_come_back_and_repeat_their_bytes(saved, tmp_path):
    task, path, model = saved
    for name, value in networks.named_parameters(networks.from_weights(task, path)).items():
        np.testing.assert_array_equal(value[...], networks.named_parameters(model)[name][...])
    for i in range(5):  # safetensors itself orders metadata at random
        networks.save_weights(model, task, tmp_path / f"{i}", validation_accuracy=0.5, epoch=3)
        assert (tmp_path / f"{i}").read_bytes() == path.read_bytes()
    _, metadata = safetensors.read(path)
    assert metadata["task"] == "braille"
    assert json.loads(metadata["epoch"]) == 3


def test_weights_say_whether_training_here_made_them(saved, tmp_path):
    task, path, model = saved
    assert safetensors.origin(path) == {"trained_here": True, "started_from": None}
    networks.save_weights(model, task, tmp_path / "given")
    assert safetensors.origin(tmp_path / "given") == {"trained_here": False, "started_from": None}


def test_weights_of_another_network_are_refused(saved):
    task, path, _ = saved
    with pytest.raises(UserError, match="trained with other network parameters; run"):
        networks.from_weights(with_network(task, threshold=2.0), path)


def test_other_keys_or_shapes_are_refused(saved):
    task, path, _ = saved
    arrays, metadata = safetensors.read(path)
    safetensors.write(path, {**arrays, "layers.9.kernel": np.zeros(3)}, metadata)
    with pytest.raises(UserError, match=r"`layers.9.kernel` is in the file or in the network"):
        networks.from_weights(task, path)
    safetensors.write(path, {**arrays, "layers.0.kernel": np.zeros((3, 2), np.float32)}, metadata)
    with pytest.raises(UserError, match=r"`layers.0.kernel` is float32\(3, 2\), the network has"):
        networks.from_weights(task, path)


def test_a_missing_or_broken_file_is_told(saved):
    task, path, _ = saved
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        networks.from_weights(task, path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="not a whole safetensors file"):
        networks.from_weights(task, path)
    path.unlink()
    with pytest.raises(UserError, match="no such file; run `dvc repro`"):
        networks.from_weights(task, path)


def test_decays_of_single_neurons_differ_and_survive_the_way_through_nir():
    task = with_network(tiny_task("braille", "v_reset"), decays="neuron", decay_spread=1.0)
    found = networks.named_parameters(networks.build(task))
    first = {name: np.asarray(value[...]) for name, value in found.items() if ".alpha" in name}
    assert {name: value.shape for name, value in first.items()} == {
        "layers.1.cell.alpha": (38,),
        "layers.3.alpha": (7,),
    }
    for decay in first.values():
        assert len(set(decay.tolist())) == decay.size
        tau = np.float32(task.export.dt / (1 - decay.astype(np.float64)))
        back = np.float32(1 - task.export.dt / tau.astype(np.float64))
        assert np.array_equal(back, decay)
    # Dealt, not drawn: whatever the seed, the logits are the quantiles of a normal distribution
    # around that of the file's 0.55. float32 carries a logit to 1e-6, snapping moves it a step more.
    hidden = np.sort(first["layers.1.cell.alpha"].astype(np.float64))
    logits = np.log(hidden / (1 - hidden)) - np.log(0.55 / 0.45)
    shares = [NormalDist().cdf(logit) for logit in logits]
    np.testing.assert_allclose(shares, (np.arange(38) + 0.5) / 38, atol=1e-5)


def test_channels_come_last_for_lines_and_images():
    for shape in ((2, 12), (2, 5, 6)):
        events = np.random.default_rng(0).integers(0, 9, (4, 3, *shape)).astype(np.uint8)
        turned = np.asarray(networks.to_model_layout(events))
        np.testing.assert_array_equal(turned[2, 1, ..., 1], events[1, 2, 1])
        assert turned.shape == (3, 4, *shape[1:], 2)
