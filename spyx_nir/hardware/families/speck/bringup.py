"""How sinabs loads a bundle for Speck."""

from __future__ import annotations

from collections.abc import Sequence

from spyx_nir.hardware.network import IntegerNetwork

TEXT = """Layer by layer, sinabs 3.1.3 discretises the graph's floats to the integers of
`integer_vectors.npz` and its layers give these spikes; the whole path below needs samna and the board.

    import sinabs.from_nir
    from sinabs.backend.dynapcnn import DynapcnnNetwork

    model = sinabs.from_nir.from_nir("{file}", batch_size=1)
    network = DynapcnnNetwork(model, input_shape={shape}, discretize=True)
    network.to(device="{device}")

The vectors count events a step of {bin_ms:g} ms; the chip takes the events themselves, one by one, and
its spikes come event by event: compare counts over steps, and expect differences where the order of
events within a step matters. `events/recordings.npz` holds the vectors' recordings as events:

    import numpy
    from sinabs.backend.dynapcnn.chip_factory import ChipFactory

    with numpy.load("events/recordings.npz") as stored:
        start = stored["start"]
        events = stored["events"][start[0] : start[1]]  # the first recording: t, x, y, p
    first = network.chip_layers_ordering[0]
    for_chip = ChipFactory("{device}").xytp_to_events(events, first, reset_timestamps=False)

`t` is in microseconds from the recording's start, p is the channel:
{channels}.
Recording n is `events[start[n]:start[n + 1]]`. Counted by bins of {bin_ms:g} ms they are `input` of
`vectors.npz` again, which `events/encode.py` checks; `manifest.json` says where the times come from."""


def bringup(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    (shape,) = network.inputs.values()
    return TEXT.format(
        file=file,
        shape=shape,
        device=network.profile["graph.device"],
        bin_ms=bin_us / 1e3,
        channels="; ".join(f"channel {i} is {name}" for i, name in enumerate(channels)),
    )
