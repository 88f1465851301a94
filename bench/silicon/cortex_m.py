"""The C of the bundles for Cortex-M on emulated cores: every golden spike and state, instructions, sizes.

gcc for ARM compiles the bundle's C with `firmware.c`; QEMU runs it on the boards mps2-an385 (Cortex-M3),
-an386 (M4), -an500 (M7) and -an505 (M33); the golden recordings go to its UART as c/serial.h has it. QEMU
counts instructions (-icount): an instruction takes 64 ns of emulated time there, which SysTick sees as
1.6 ticks at 25 MHz, 1.28 at the M33's 20 MHz. Instructions are no cycles: memory that waits, and cores
that issue two at once, are not in it.

The whole test set runs in the same C on this computer, and its spikes are compared with NumPy's. Writes
metrics/emulated/<task>-cortex-m.json for each task that has the bundle.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import prepared
from spyx_nir import files, neurobench
from spyx_nir.bundle.templates import verify_integers
from spyx_nir.errors import UserError, exit_status
from spyx_nir.hardware import profile, simulate
from spyx_nir.hardware.families.integer import protocol, verify_c

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
CC, SIZE, QEMU = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
PACKAGES = {CC: "gcc-arm-none-eabi", SIZE: "binutils-arm-none-eabi", QEMU: "qemu-system-arm"}


@dataclass(frozen=True)
class Machine:
    """A machine of QEMU: its name, the clock of its SysTick in hertz, its linker script."""

    name: str
    clock: float = 25e6
    script: str = "mps2.ld"

    @property
    def ticks_per_instruction(self) -> float:
        """Of the firmware's clock, which counts 1/256 of a tick."""
        return 2**SHIFT * self.clock / 1e9 * 256


SHIFT = 6  # of -icount: an instruction takes 2^6 ns
CORES = {
    "cortex-m3": Machine("mps2-an385"),
    "cortex-m4": Machine("mps2-an386"),
    "cortex-m7": Machine("mps2-an500"),
    "cortex-m33": Machine("mps2-an505", 20e6, "mps2-an505.ld"),
}
COMPILED_ONLY = ("cortex-m0plus",)  # of the RP2040; QEMU 7.2 has no board with it
# No call of memset: gcc makes one of a loop that writes zeros, and there is no library.
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic")
FLAGS = (
    *verify_c.FLAGS, *WARNINGS, "-mthumb", "-ffreestanding", "-fno-tree-loop-distribute-patterns",
)  # fmt: skip
TIMEOUT_S = 900.0


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PACKAGES if shutil.which(name) is None]


def absent() -> list[str]:
    """What is not installed: the command that installs it."""
    if not (names := missing()):
        return []
    packages = " ".join(dict.fromkeys(PACKAGES[name] for name in names))
    return [f"{', '.join(names)}: not installed; apt-get install {packages}"]


def compile_for(core: str, sources: Path, place: Path) -> dict[str, int]:
    """Compile a bundle's C for a core; flash and RAM of the model alone, in bytes.

    Flash is code and numbers of model.c and weights.c; RAM is `model_state`, which the caller owns.

    Raises:
        UserError: the compiler warns or fails.
    """
    flags = [*FLAGS, f"-mcpu={core}", f"-I{sources}", "-c"]
    names = [
        *(sources / f"{name}.c" for name in ("model", "weights", "serial")),
        HERE / "firmware.c",
    ]
    for name in names:
        _run([CC, *flags, str(name), "-o", str(place / f"{name.stem}.o")])
    rows = _run([SIZE, *(str(place / f"{name}.o") for name in ("model", "weights", "firmware"))])
    text = [[int(n) for n in row.split()[:3]] for row in rows.splitlines()[1:]]
    return {"flash": text[0][0] + text[0][1] + text[1][0] + text[1][1], "code": text[0][0],
            "ram": text[2][2]}  # fmt: skip


def link(core: str, script: str, place: Path) -> Path:
    """The firmware of the compiled parts."""
    program = place / "firmware.elf"
    parts = [str(place / f"{name}.o") for name in ("model", "weights", "serial", "firmware")]
    flags = [f"-mcpu={core}", "-mthumb", "-nostdlib", "-T", str(HERE / script)]
    _run([CC, *flags, *parts, "-lgcc", "-o", str(program)])
    return program


def emulate(program: Path, machine: str, sent: bytes, due: int) -> bytes:
    """What the firmware answers, `due` bytes.

    Raises:
        UserError: it does not answer in time.
    """
    command = [
        QEMU, "-M", machine, "-kernel", str(program), "-icount", f"shift={SHIFT},sleep=off",
        "-display", "none", "-monitor", "none", "-serial", "stdio",
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as done:
        assert done.stdin is not None and done.stdout is not None
        late = threading.Timer(TIMEOUT_S, done.kill)
        feeding = threading.Thread(target=_feed, args=(done.stdin, sent))
        late.start()
        feeding.start()
        answer = done.stdout.read(due)
        late.cancel()
        done.kill()
        feeding.join()
    if len(answer) != due:
        raise UserError(
            f"{machine}: {len(answer)} of {due} bytes came back; {QEMU} {machine} stopped"
        )
    return answer


def _feed(stream: Any, data: bytes) -> None:
    try:
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        pass


def measure(bundle: Path, core: str, machine: Machine, recordings: int) -> dict[str, Any]:
    """Compile, run, compare.

    Raises:
        UserError: a program is missing or fails; a spike or a state differs.
    """
    with np.load(bundle / verify_c.VECTORS, allow_pickle=False) as loaded:
        arrays = {key: first(key, loaded[key], recordings) for key in loaded.files}
    network, x = verify_c.network_of(arrays), arrays["input"]
    steps, samples = x.shape[:2]
    most = network["chip"]["neuron.input_spikes_per_step"]
    due = samples * protocol.layouts(network, steps)[0].itemsize
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sizes = compile_for(core, bundle / "c", place)
        program = link(core, machine.script, place)
        sent = b"T" + verify_c.commands(x, most)
        answer = emulate(program, machine.name, sent, due + 5)
    nothing = int.from_bytes(answer[1:5], "little")
    found = verify_c.answers(answer[5:], network, steps, samples)
    if problems := verify_c.differences(found, arrays):
        raise UserError(f"{bundle.parent.parent.name} on {machine.name}: {problems[0]}")
    calls = found["events"].astype(np.int64) + 1
    instructions = (found["ticks"] - calls * nothing) / machine.ticks_per_instruction
    synops = synaptic_operations(arrays, network)
    return {
        "core": core,
        "machine": machine.name,
        **sizes,
        "instructions_per_step": {
            "mean": float(instructions.mean()), "most": float(instructions.max()),
        },
        "instructions_per_synaptic_operation": float(instructions.sum() / max(synops, 1)),
        **entries(arrays),
    }  # fmt: skip


def entries(arrays: dict[str, np.ndarray]) -> dict[str, int]:
    """How many recordings, entries of spikes and of states integer_vectors.npz has; 0 differ."""
    sizes = {"spike_entries": ("spikes/",), "state_entries": ("membrane/", "current/")}
    return {
        "recordings": arrays["input"].shape[1],
        **{
            name: sum(array.size for key, array in arrays.items() if key.startswith(kinds))
            for name, kinds in sizes.items()
        },
        "differing": 0,
    }


def golden_on_host(bundle: Path) -> dict[str, int] | None:
    """The golden recordings in C on this computer; None where there is no C compiler.

    Raises:
        UserError: a spike or a state differs.
    """
    if (cc := verify_c.compiler()) is None:
        return None
    if problems := verify_c.check(bundle, cc):
        raise UserError(f"{bundle.parent.parent.name} on this computer: {problems[0]}")
    with np.load(bundle / verify_c.VECTORS, allow_pickle=False) as loaded:
        found = entries(dict(loaded))
    print(
        f"{bundle.parent.parent.name} in C on this computer: {found['recordings']} golden recordings, "
        f"{found['spike_entries']} entries of spikes, {found['state_entries']} of states, 0 differ",
        flush=True,
    )
    return found


def on_host(task: str, bundle: Path, chunk: int = 100) -> int | None:
    """The whole test set in C on this computer beside NumPy: entries of spikes, of which 0 differ.

    None where there is no C compiler or no prepared data, which is said.

    Raises:
        UserError: a spike differs.
    """
    data, cc = ROOT / "data" / "prepared" / f"{task}.h5", verify_c.compiler()
    if cc is None or not data.exists():
        print(f"{task}: test set not run in C: {'no C compiler' if cc is None else f'no {data}'}")
        return None
    with np.load(bundle / verify_c.VECTORS, allow_pickle=False) as loaded:
        arrays = dict(loaded)
    integers = replace(verify_integers.network_of(arrays), profile=profile.load("cortex-m"))
    network = verify_c.network_of(arrays)
    most = network["chip"]["neuron.input_spikes_per_step"]
    events, _ = prepared.read(data).subset("test")
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "host"
        verify_c.build(bundle / "c", program, cc)
        for start in range(0, len(events), chunk):
            x = simulate.padded(integers, events[start : start + chunk])
            (frames,) = x.values()
            sent = verify_c.commands(frames, most, states=0)
            done = subprocess.run([str(program)], input=sent, capture_output=True, check=True)
            found = verify_c.answers(done.stdout, network, *frames.shape[:2], states=0)
            for name, spikes in simulate.run(integers, x).spikes.items():
                if (found[f"spikes/{name}"] != spikes).any():
                    raise UserError(
                        f"{task}: spikes of `{name}` differ in C, from recording {start}"
                    )
                compared += spikes.size
    print(
        f"{task}: {len(events)} test recordings in C on this computer: {compared} entries of spikes, "
        "0 differ",
        flush=True,
    )
    return compared


def first(key: str, array: np.ndarray, recordings: int) -> np.ndarray:
    """An array of integer_vectors.npz with as many recordings, (T, N, ...), where it has them."""
    kinds = ("input", "spikes", "membrane", "current")
    return array[:, :recordings] if key.partition("/")[0] in kinds else array


def synaptic_operations(arrays: dict[str, np.ndarray], network: dict[str, Any]) -> int:
    """How often a weight is added: for each spike and event, as many targets as it has."""
    found = 0
    for w in network["weights"]:
        values = arrays[f"weight/{w['node']}"]
        inside = w["source"] in network["inputs"]
        spikes = arrays["input"] if inside else arrays[f"spikes/{w['source']}"]
        node = {"weight": np.ones_like(values), "stride": w["stride"], "padding": w["padding"]}
        shape = tuple(w["shape"]) if values.ndim > 2 else (values.shape[1],)
        fan = neurobench.fan_out(node, shape)
        total = spikes.astype(np.int64).sum(axis=(0, 1))
        for size in w["pools"]:
            c, h, width = total.shape
            total = total[:, : h // size * size, : width // size * size]
            total = total.reshape(c, h // size, size, width // size, size).sum(axis=(2, 4))
        found += int((total.reshape(fan.shape) * fan).sum())
    return found


def report(bundle: Path, recordings: int) -> dict[str, Any]:
    """All cores of one bundle."""
    cores = []
    for core, machine in CORES.items():
        found = measure(bundle, core, machine, recordings)
        cores.append(found)
        steps = found["instructions_per_step"]
        print(
            f"{bundle.parent.parent.name} on {machine.name} ({core}, emulated): {found['spike_entries']} "
            f"entries of spikes, {found['state_entries']} of states, 0 differ; "
            f"{steps['mean']:.0f} instructions a step, {steps['most']:.0f} at most, "
            f"{found['instructions_per_synaptic_operation']:.2f} a synaptic operation; flash "
            f"{found['flash']} bytes, RAM {found['ram']}",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        compiled = [
            {"core": core, **compile_for(core, bundle / "c", Path(folder))}
            for core in COMPILED_ONLY
        ]
    return {
        "emulated": cores,
        "compiled": compiled,
        "compiler": _run([CC, "-dumpfullversion"]).strip(),
        "emulator": _run([QEMU, "--version"]).splitlines()[0],
    }


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:300]
        raise UserError(f"{command[0]}: {said or f'exit code {done.returncode}'}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.silicon.cortex_m", description=__doc__)
    parser.add_argument("--recordings", type=int, default=16, help="golden recordings that are run")
    parser.add_argument("--only", metavar="TASK", help="one of them")
    arguments = parser.parse_args()
    if lines := absent():
        raise UserError(lines[0])
    bundles = sorted((ROOT / "models").glob(f"{arguments.only or '*'}/deploy/cortex-m"))
    if not bundles:
        raise UserError("models/*/deploy/cortex-m: no bundle; run make repro")
    for bundle in bundles:
        task = bundle.parent.parent.name
        try:
            found = report(bundle, arguments.recordings)
            found["host_golden"] = golden_on_host(bundle)
            found["host_spike_entries"] = on_host(task, bundle)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            raise UserError(f"{bundle.relative_to(ROOT)}: {error}") from None
        files.write_json(ROOT / "metrics" / "emulated" / f"{task}-cortex-m.json", found)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
