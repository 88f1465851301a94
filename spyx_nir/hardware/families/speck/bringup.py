"""How sinabs loads a bundle for Speck, and what to compare on the board."""

from __future__ import annotations

from collections.abc import Sequence

from spyx_nir.hardware.families.speck.event_rule import cube
from spyx_nir.hardware.network import IntegerNetwork

TEXT = """`sinabs.nir` is the graph as sinabs 3.1.3 reads it: the numbers of `{file}`, a Linear as an
Affine with a bias of 0, one threshold for a layer, names in the order in which layers run. sinabs imports
samna, which fetches a program for the board when it is imported.

    import nir
    import numpy
    import torch
    from sinabs.backend.dynapcnn import DynapcnnNetwork
    from sinabs.nir import from_nir

    with numpy.load("test_data_set_0/integer_vectors.npz") as stored:
        vectors = dict(stored)
    with numpy.load("events/recordings.npz") as stored:
        stored = dict(stored)
    model = from_nir(nir.read("sinabs.nir"), batch_size=1)
    network = DynapcnnNetwork(model, input_shape={shape}, discretize=True)
{reset}
Without the board, layer by layer: sinabs discretises to the integers of the vectors, and its layers, in
steps, give their spikes.

    neurons = {neurons}
    weights = {weights}
    floats = torch.tensor(vectors["input"][:, 0].astype(numpy.float32))
    for layer in network.dynapcnn_layers.values():
        layer.spk_layer.reset_states()
    with torch.no_grad():
        output = network(floats).numpy()
    for index, layer in network.dynapcnn_layers.items():
        weight = vectors["weight/" + weights[index]]
        found = layer.conv_layer.weight.detach().numpy().reshape(weight.shape)
        print(weights[index], int((found != weight).sum()), "differ")
        threshold = vectors["threshold/" + neurons[index]]
        print(neurons[index], int(layer.spk_layer.spike_threshold) - int(threshold), "differ")
    expected = vectors["spikes/" + neurons[-1]][:, 0]
    print("output in steps", int((output.reshape(expected.shape) != expected).sum()), "differ")

On the board: find it and configure it with every layer monitored. The configuration holds the states of
the layers, so they are reset before.

    from sinabs.backend.dynapcnn.io import events_to_xytp, get_device_map
    from sinabs.backend.dynapcnn.chip_factory import ChipFactory

    print(list(get_device_map()))  # {device}:0 is among them
    for layer in network.dynapcnn_layers.values():
        layer.spk_layer.reset_states()
    network.to(device="{device}:0", monitor_layers="all")
    print(network.layer2core_map)  # layer -> core

Send a recording's events, one by one, and record the spikes of every layer. Before each recording the
states are set to 0, as they are before each of the vectors: IF neurons have no leak.

    chip = ChipFactory("{device}:0")
    for recording in range(len(stored["start"]) - 1):
        first, last = stored["start"][recording], stored["start"][recording + 1]
        network.reset_states()
        sent = chip.xytp_to_events(stored["events"][first:last], network.layer2core_map[0], False)
        received = network(sent)
        for index, core in network.layer2core_map.items():
            spikes = events_to_xytp(received, core)
            expected = stored["count/" + neurons[index]][recording]
            found = numpy.zeros(expected.shape, int)
            place = (spikes["channel"], spikes["y"], spikes["x"])[: found.ndim]
            numpy.add.at(found, place, 1)
            print(recording, neurons[index], int(abs(found - expected).sum()), "differ")
        print(recording, "class", int(found.ravel().argmax()))

`events/recordings.npz` holds the recordings: `t` in microseconds from the recording's start, as it was
recorded, up to the last step of the vectors, and p, the channel:
{channels}.
Recording n is `events[start[n]:start[n + 1]]`. Counted by bins of {bin_ms:g} ms they are `input` of
`integer_vectors.npz`, whose spikes are those in steps; `events/encode.py` checks this. `count/` has how
often each neuron spikes when events come one by one, which is what the chip does: a neuron spikes at most
once an event, and the order of events counts. `verify_integers.py` checks it. Of the spikes that one
event causes, the order there is that of their addresses (y, x, channel); that of the chip is not
published, so expect small differences behind the first layer.

- A core that gets more synaptic operations a second than it can do stalls the whole chip: the output is
  delayed, then wrong. `target.event_by_event` of `manifest.json` has the operations of every layer in a
  recording.
- Monitoring shows the spikes before the pooling, and is traffic of its own: to measure times monitor the
  last layer only (`monitor_layers=[-1]`).
- Live input from the sensor: `DynapcnnNetwork(..., dvs_input=True)`, with a `DVSLayer` in front that
  crops to {shape[2]} x {shape[1]}.
- The chip's readout layer takes channel 4 k of the last core for class k + 1
  (`sinabs.backend.dynapcnn.utils.extend_readout_layer`); the monitored spikes above do not pass it."""

RESET = """
sinabs gives all neurons a reset by subtraction; some layers here reset to 0:

    from sinabs.activation import MembraneReset

    for index in {layers}:
        network.dynapcnn_layers[index].spk_layer.reset_fn = MembraneReset()
"""


def bringup(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    (shape,) = network.inputs.values()
    to_zero = [i for i, p in enumerate(network.populations) if p.reset == "v_reset"]
    return TEXT.format(
        file=file,
        shape=cube(shape),
        neurons=[p.name for p in network.populations],
        weights=[network.into(p)[0].node for p in network.populations],
        reset=RESET.format(layers=to_zero) if to_zero else "",
        device=network.profile["graph.device"],
        bin_ms=bin_us / 1e3,
        channels="; ".join(f"channel {i} is {name}" for i, name in enumerate(channels)),
    )
