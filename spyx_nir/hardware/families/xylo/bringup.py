"""How rockpool, XyloSim and samna load a bundle for Xylo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spyx_nir.hardware.families.xylo.simulator import leak
from spyx_nir.hardware.families.xylo.specification import NAME
from spyx_nir.hardware.network import IntegerNetwork

# rockpool's package of a chip: its module of boards, what finds one there, what the configuration calls
# hidden neurons, and whether `XyloSamna.reset_state` resets the chip (rockpool 3.1.0).
BOARDS = {
    "syns61201": ("xa2_devkit_utils", "find_xylo_a2_boards", "reservoir", True),
    "syns65302": ("xa3_devkit_utils", "find_xylo_a3_boards", "hidden", False),
    "syns63300": ("xylo_imu_devkit_utils", "find_xylo_imu_boards", "hidden", False),
}
TEXT = """Run the lines below from top to bottom, in the folder of this file. Without a board they run
XyloSim, with `board = True` the chip; that needs {packages}. Both take the numbers of `{name}` as they
are. Do not call rockpool's `channel_quantize`: it scales them again. Written for rockpool 3.1.0.

    import json
    import sys
    import types

    import numpy

    board = False
    with open("{name}", encoding="utf-8") as file:
        content = json.load(file)
    spec = {{key: numpy.array(value) for key, value in content["specification"].items()}}
    v = numpy.load("test_data_set_0/integer_vectors.npz")

Find the board:

    if board:
        from rockpool.devices.xylo.{device} import XyloSamna, config_from_specification
        from rockpool.devices.xylo.{device}.{utils} import {find}

        boards = {find}()
        if not boards:
            sys.exit("no board found")
    else:
        # rockpool's modules that drive boards import samna, and XyloSim needs none of them.
        for module in (
            "syns65302.afe_samna_pdm", "syns65302.xylo_samna_pdm", "syns63300.power_cycles_model",
        ):
            full = f"rockpool.devices.xylo.{{module}}"
            sys.modules.setdefault(full, types.ModuleType(full))
        from rockpool.devices.xylo.{device} import XyloSim

Configure. `dt` is how many seconds an input bin takes, which no spike depends on:

    if board:
        named = {{"bias_hidden" if key == "bias" else key: value for key, value in spec.items()}}
        config, valid, message = config_from_specification(**named)
        if not valid:
            sys.exit(f"samna refuses the configuration: {{message}}")
{quiet}        chip = XyloSamna(boards[0], config, dt={bin_s!r}, output_mode=content["output_mode"])
    else:
        mode = content["output_mode"]
        chip = XyloSim.from_specification(**spec, dt={bin_s!r}, output_mode=mode)

Compare the integers that the board reports:

    def report(what, found, expected):
        print(f"{{what}}: {{(numpy.asarray(found) != expected).sum()}} differ")

    if board:
        there = chip.config
        report("weights_in", there.input.weights, spec["weights_in"][:, :, 0])
        report("weights_rec", there.{hidden}.weights, spec["weights_rec"][:, :, 0])
        report("weights_out", there.readout.weights, spec["weights_out"])
        for neurons, end in ((there.{hidden}.neurons, ""), (there.readout.neurons, "_out")):
            report(f"threshold{{end}}", [n.threshold for n in neurons], spec[f"threshold{{end}}"])
            report(f"dash_syn{{end}}", [n.i_syn_decay for n in neurons], spec[f"dash_syn{{end}}"])
            report(f"dash_mem{{end}}", [n.v_mem_decay for n in neurons], spec[f"dash_mem{{end}}"])
            if "bias" in spec:
                report(f"bias{{end}}", [n.v_mem_bias for n in neurons], spec[f"bias{{end}}"])

Reset, send, record, sample by sample. Inputs are counts of spikes a step, at most 15:

    answers = []
    for sample in range(v["input"].shape[1]):
{reset}
        output, _, record = chip(v["input"][:, sample].astype(int), record=True)
        answers.append((numpy.asarray(output), record))

Compare spikes of hidden neurons, their states, then outputs and classes:

    for sample, (output, record) in enumerate(answers):
        for name, ids in content["hidden"].items():
            for key, recorded in (("spikes", "Spikes"), ("current", "Isyn"), ("membrane", "Vmem")):
                found, place = numpy.asarray(record[recorded])[:, ids], f"{{key}}/{{name}}"
                report(f"sample {{sample}}, {{place}}", found, v[place][:, sample])
        place = f"{read}/{{content['output']}}"
        report(f"sample {{sample}}, {{place}}", output, v[place][:, sample])
    print("classes:", [int(output.sum(axis=0).argmax()) for output, _ in answers])

Save into `measured/`, the one folder that `verify.py` does not look at:

    import os

    os.makedirs("measured", exist_ok=True)
    numpy.savez("measured/xylo_answers.npz", output=numpy.stack([output for output, _ in answers]))

Every line printed says 0; the classes are those below. For a stream or live input, call `chip` with the
steps that have come, as often as you like, and do not reset in between: states carry over from call to
call. {live}
`{file}` has the same weights for `rockpool.nn.modules.torch.nir.from_nir`, which reads biases otherwise:
see below."""
RESETS = "        chip.reset_state()"
DECAYS = """        if board:
            # rockpool 3.1.0 does not reset this chip. Without weights and biases, states decay to 0.
            chip.config = quiet
            chip(numpy.zeros(({steps}, {inputs}), int))
            chip.config = config
        else:
            chip.reset_state()"""
QUIET = """        nothing = {key: 0 * named[key] for key in named if key.startswith(("weights", "bias"))}
        quiet, _, _ = config_from_specification(**{**named, **nothing})
"""
LIVE = {
    "syns61201": "`XyloMonitor` of the same package runs the chip on its microphone in real time",
    "syns65302": "`XyloMonitor` of the same package runs the chip on its microphone in real time",
    "syns63300": "`XyloIMUMonitor` of the same package runs the chip on its motion sensor in real time",
}


def bringup(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    device = network.profile["graph.device"]
    (output,) = (p for p in network.populations if p.output)
    utils, find, hidden, resets = BOARDS[device]
    inputs = sum(shape[0] for shape in network.inputs.values())
    reset = RESETS if resets else DECAYS.format(steps=settling(network), inputs=inputs)
    front = f"{LIVE[device]}; this network's inputs are not those of that front end ({channels[0]}, ...)."
    return TEXT.format(
        name=NAME,
        packages="samna and bitstruct" if device == "syns61201" else "samna",
        file=file,
        device=device,
        utils=utils,
        find=find,
        hidden=hidden,
        bin_s=bin_us / 1e6,
        reset=reset,
        quiet="" if resets else QUIET,
        live=front,
        read="membrane" if output.membrane else "spikes",
    )


def settling(network: IntegerNetwork) -> int:
    """Steps without input and spikes after which the slowest state has decayed from its bound to 0."""
    bound = 2 ** (network.profile["state.bits"] - 1) - 1

    def steps(dashes: list[np.ndarray | None]) -> int:
        state, dash, count = (
            np.asarray(bound),
            max(int(np.max(d)) for d in dashes if d is not None),
            0,
        )
        while state > 0:
            state, count = state - leak(state, np.asarray(dash)), count + 1
        return count

    fields = ("decay_syn", "decay_mem")
    return sum(steps([getattr(p, field) for p in network.populations]) for field in fields)
