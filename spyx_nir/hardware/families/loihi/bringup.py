"""How lava-nc loads a bundle for Loihi."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spyx_nir.hardware.network import IntegerNetwork

PROGRAM = Path(__file__).with_name("on_lava.py")
TEXT = """Run the lines below from top to bottom, in the folder of this file. lava-nc 0.10.0 reads no NIR:
`on_lava.py`, of this bundle, makes its processes from `integer_vectors.npz`. It needs NumPy, SciPy and
lava-nc, which is made for Python 3.10 and older: 3.11 refuses its dataclasses' mutable defaults. With
`chip = False` the lines run Lava's fixed-point models (`Loihi2SimCfg`), with `chip = True` a Loihi 2
(`Loihi2HwCfg`), which needs lava-loihi. The first was run with lava-nc 0.10.0. The second was run with a
stand-in alone: no chip was at hand.

    import numpy as np
    import on_lava

    chip = False
    v = dict(np.load("test_data_set_0/integer_vectors.npz"))

Find the board:

    if chip:
        from lava.utils import loihi

        loihi.use_slurm_host(loihi_gen=loihi.ChipGeneration.N3B3)  # or loihi.use_ethernet_host

Configure, reset, send and record: the first two samples, one behind the other. `LIFReset` sets currents
and membranes to 0 before the input of every step t, counted from 1, for which t % reset_interval is
reset_offset. Here reset_offset is 1 and reset_interval is `len(v["input"])`, the steps of a
sample.{in_flight} Lava's models on the CPU take `reset="states"` too, which sets all states from
outside, those of connections included.

    some = v | {{"input": v["input"][:, :2]}}
    found = on_lava.run(some, reset="LIFReset" if chip else "states", chip=chip)

Compare integers, states (both in Lava alone) and the spikes of each layer; every line says 0:

    for key in sorted(found):
        timed = key.startswith(("spikes/", "current/", "membrane/"))
        expected = v[key][:, :2] if timed else v[key]
        print(f"{{key}}: {{(found[key] != expected).sum()}} of {{found[key].size}} differ")

Outputs and classes, as said below:

    counts = found["{kind}/{output}"].sum(axis=0).astype(int)
    print("outputs:", counts.tolist())
    print("classes:", counts.argmax(-1).tolist())

Save into `measured/`, the one folder that `verify.py` does not look at:

    import os

    os.makedirs("measured", exist_ok=True)
    np.savez("measured/loihi_answers.npz", **found)

On the chip compare spikes, no membranes: after a spike a membrane is 128 there and 0 in Lava; what
follows does not depend on it, a maintainer says (lava-nc/lava#282). The integers equal lava-nc 0.10.0's
fixed-point models. Whether those are the chip's, bit for bit, is disputed (lava-nc/lava#322). Inputs are
counts of events, sent with `num_message_bits=8`; between populations are plain spikes.
{keeps}"""
IN_FLIGHT = """ What a connection has not delivered by
then still arrives. With currents, biases, delays or recurrence, as here, that can change the next sample:
its spikes then differ, and the counts say how many."""
KEEPS = """
**Reset between recordings.** {names} no leak, so what a recording leaves in membranes stays
there, and later recordings are answered wrong. `manifest.json` says how many of a stream of recordings
are right without a reset (`target.stream`)."""


def bringup(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    kept = network.leakless()
    (output,) = (p for p in network.populations if p.output)
    names = ", ".join(f"`{name}`" for name in kept) + (" has" if len(kept) == 1 else " have")
    lasting = any(p.decay_syn is not None or p.bias is not None for p in network.populations)
    lasting |= any(w.source == w.target or w.delay is not None for w in network.weights)
    return TEXT.format(
        in_flight=IN_FLIGHT if lasting else "",
        kind="membrane" if output.membrane else "spikes",
        output=output.name,
        keeps=KEEPS.format(names=names) if kept else "",
    )


def files(network: IntegerNetwork, bin_us: int) -> dict[str, str]:
    """See `Family.files`."""
    return {PROGRAM.name: PROGRAM.read_text(encoding="utf-8")}
