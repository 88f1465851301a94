"""How rockpool and XyloSim load a bundle for Xylo."""

from __future__ import annotations

from collections.abc import Sequence

from spyx_nir.hardware.network import IntegerNetwork

TEXT = """The integers go in as they are; rockpool 3.1.0's own quantiser would scale them
anew. Matrices are (sources, targets) there. XyloSim takes the same specification and needs no board.

    import sys
    import types

    import numpy

    # Without samna: rockpool's modules that drive boards import it, and XyloSim needs none of them.
    for name in (
        "syns65302.afe_samna_pdm", "syns65302.xylo_samna_pdm", "syns63300.power_cycles_model",
    ):
        full = f"rockpool.devices.xylo.{{name}}"
        sys.modules[full] = types.ModuleType(full)
    from rockpool.devices.xylo.{device} import XyloSim

    v = numpy.load("test_data_set_0/integer_vectors.npz")
    spec = dict(
{specification}
    )
    # rockpool's dt is how many seconds a step takes, which no spike depends on: an input bin.
    simulator = XyloSim.from_specification(**spec, dt={bin_s!r})
    for sample in range(v["input"].shape[1]):
        simulator.reset_state()
        spikes, _, record = simulator(v["input"][:, sample].astype(int), record=True)
        print(f"output spikes: {{(spikes != v['spikes/{output}'][:, sample]).sum()}} differ")

Every line printed should say 0. With samna and a board, leave the loop over modules out;
`config_from_specification(**spec)` of `rockpool.devices.xylo.{device}` gives the chip's configuration.
`{file}` holds the same numbers for `rockpool.nn.modules.torch.nir.from_nir`. Inputs are counts of spikes
a step, at most 15."""


def bringup(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    (output,) = (p.name for p in network.populations if p.output)
    return TEXT.format(
        file=file,
        device=network.profile["graph.device"],
        bin_s=bin_us / 1e6,
        specification=_specification(network),
        output=output,
    )


def _specification(network: IntegerNetwork) -> str:
    """Xylo's specification, as lines of Python; hidden populations are one behind the other there."""
    sizes = {name: shape[0] for name, shape in network.inputs.items()}
    sizes |= {p.name: p.shape[0] for p in network.populations}
    hidden, shown = (
        [p.name for p in network.populations if p.output is output] for output in (False, True)
    )

    def block(source: str, target: str) -> str:
        found = [w.node for w in network.weights if (w.source, w.target) == (source, target)]
        sum_of = " + ".join(f'v["weight/{node}"].T' for node in found)
        return sum_of or f"numpy.zeros(({sizes[source]}, {sizes[target]}), int)"

    def matrix(sources: list[str], targets: list[str]) -> str:
        if len(sources) == len(targets) == 1:
            return block(sources[0], targets[0])
        rows = [f"[{', '.join(block(s, t) for t in targets)}]" for s in sources]
        return f"numpy.block([{', '.join(rows)}])"

    def vector(kind: str, names: list[str]) -> str:
        parts = [f'numpy.broadcast_to(v["{kind}/{n}"], ({sizes[n]},))' for n in names]
        return parts[0] if len(parts) == 1 else f"numpy.concatenate([{', '.join(parts)}])"

    lines = [
        f"weights_in={matrix([*network.inputs], hidden)}",
        f"weights_rec={matrix(hidden, hidden)}",
        f"weights_out={matrix(hidden, shown)}",
    ]
    for names, suffix in ((hidden, ""), (shown, "_out")):
        for field, kind in (
            ("dash_syn", "decay_syn"), ("dash_mem", "decay_mem"), ("threshold", "threshold"),
        ):  # fmt: skip
            lines.append(f"{field}{suffix}={vector(kind, names)}")
    return ",\n".join(f"        {line}" for line in lines) + ","
