"""Which kind of chip a profile describes, and what that kind answers for the family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.families.integer import boards, bringup, fpga, fpga_bringup
from spyx_nir.hardware.families.integer.counts import mean_spikes, of_graph, of_network
from spyx_nir.hardware.families.integer.supported import not_supported
from spyx_nir.hardware.findings import Finding, Row
from spyx_nir.hardware.network import IntegerNetwork
from spyx_nir.hardware.topology import Topology

KINDS = ({"boards.list": boards.BOARDS}, fpga.KEYS)


def is_fpga(profile: Profile) -> bool:
    """Whether a profile describes an FPGA; the others are boards with a microcontroller."""
    return "fpga.device" in profile


def place(graph: Topology, profile: Profile) -> tuple[list[dict[str, Any]], list[Finding]]:
    """See `Family.place`: no rows, as no core takes a layer of its own."""
    found = [*not_supported(graph, profile)]
    if found or not _wired(graph):
        return [], found  # the wiring is reported already
    room = fpga.place if is_fpga(profile) else boards.place
    return [], room(of_graph(graph), profile)


def resources(graph: Topology, profile: Profile) -> list[Row]:
    """See `Family.resources`: the memories of the chip, or of each board."""
    if not _wired(graph) or any(not_supported(graph, profile)):
        return []
    rows = fpga.rows if is_fpga(profile) else boards.rows
    return rows(of_graph(graph), profile)


def times(network: IntegerNetwork, bin_us: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """See `Family.times`.

    `mean`: of the test set; `most`: every neuron spikes, every input has one event. Both in `unit`, and
    by board in microseconds and as a share of the step; at one instruction a clock on a microcontroller.
    """
    profile, counts = network.profile, of_network(network)
    if is_fpga(profile):
        unit, work, places = "cycles", fpga.cycles, profile["fpga.boards"]
    else:
        unit, work, places = "instructions", boards.instructions, profile["boards.list"]
    mean, most = work(counts, mean_spikes(counts, metrics, bin_us / 1e6)), work(counts)
    return {
        "mark": "modelled",
        "step_us": bin_us,
        "unit": unit,
        "mean": mean,
        "most": most,
        "boards": [
            {
                "board": board["name"],
                "clock_hz": board["clock"],
                "mean_us": 1e6 * mean / board["clock"],
                "most_us": 1e6 * most / board["clock"],
                "mean_share": 1e6 * mean / board["clock"] / bin_us,
                "most_share": 1e6 * most / board["clock"] / bin_us,
            }
            for board in places
        ],
    }


def loading(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    about = fpga_bringup if is_fpga(network.profile) else bringup
    return about.bringup(network, file, channels, bin_us)


def files(network: IntegerNetwork, bin_us: int) -> dict[str, str]:
    """See `Family.files`: the C or the Verilog, and the program that compares it."""
    if is_fpga(network.profile):
        return fpga_bringup.files(network)
    return bringup.files(network, bin_us)


def _wired(graph: Topology) -> bool:
    """Whether there are neurons, and every link has one weight."""
    return bool(graph.populations) and all(len(graph.weights(link)) == 1 for link in graph.links)
