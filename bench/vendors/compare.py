"""Our integer simulators against the vendors' programs: make vendors.

    python -m bench.vendors.compare [--record FOLDER]

Cases are random networks, some of which saturate, spike several times in a step and stand exactly at
their threshold. Every spike and every state of every step is compared. The vendors' programs run in
an environment of their own, `.venv-vendors` (make vendors-setup). `--record` writes the cases and what
the vendors' programs made of them, for tests that run without that environment.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import atomic
from pipeline.hardware import loihi, profile, two_layers, xylo
from pipeline.hardware.network import Network, Run

HERE = Path(__file__).parent
PYTHON = HERE.parent.parent / ".venv-vendors" / "bin" / "python"
RULES: dict[str, tuple[str, Any, str, str]] = {
    "xylosim": ("xylo-audio-2", xylo.run, "subtract", "run_xylosim.py"),
    "lava": ("loihi", loihi.run, "v_reset", "run_lava.py"),
}
# What a result is called -> the population and the field of our run that it is compared with.
RESULTS = {
    "hidden": ("hidden", "spikes"),
    "out": ("out", "spikes"),
    "current": ("hidden", "currents"),
    "membrane": ("hidden", "membranes"),
    "current_out": ("out", "currents"),
    "membrane_out": ("out", "membranes"),
}
Arrays = dict[str, np.ndarray]


def network_of(vendor: str, case: Arrays) -> Network:
    """A case's network."""
    target, _, reset, _ = RULES[vendor]
    return two_layers.from_arrays(case, profile.load(target), reset)


def ours(vendor: str, case: Arrays) -> Run:
    """Our simulator on a case; its input is (N, T, channels)."""
    x = {"input": np.swapaxes(case["input"], 0, 1)}
    return RULES[vendor][1](network_of(vendor, case), x, record=True)


def theirs(vendor: str, cases: dict[str, Arrays], python: Path = PYTHON) -> dict[str, Arrays]:
    """The vendor's program on cases."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "cases.npz", Path(folder) / "results.npz"
        np.savez(source, allow_pickle=False, **_flat(cases))
        script = HERE / RULES[vendor][3]
        subprocess.run([str(python), str(script), str(source), str(target)], check=True)
        with np.load(target, allow_pickle=False) as loaded:
            return nested({key: loaded[key] for key in loaded.files})


def nested(arrays: Arrays) -> dict[str, Arrays]:
    """`{"case/field": array}` as `{case: {field: array}}`."""
    found: dict[str, Arrays] = {}
    for key, value in arrays.items():
        name, _, field = key.partition("/")
        found.setdefault(name, {})[field] = value
    return found


def _flat(cases: dict[str, Arrays]) -> Arrays:
    return {f"{name}/{key}": value for name, case in cases.items() for key, value in case.items()}


def differing(run: Run, expected: Arrays) -> dict[str, int]:
    """How many entries differ, by result."""
    counts = {}
    for key, (population, field) in RESULTS.items():
        mine = np.swapaxes(getattr(run, field)[population], 0, 1)
        counts[key] = int((mine != expected[key]).sum()) if key in expected else 0
    return counts


def random_cases(vendor: str, count: int, rng: np.random.Generator) -> dict[str, Arrays]:
    """`count` small networks with inputs (N, T, channels) of one or several spikes a step."""
    cases = {}
    for number in range(count):
        n, h, o = (int(rng.integers(2, top)) for top in (9, 13, 6))
        samples, steps = 2, 48
        hard = number % 3 == 2  # large weights and dense input: saturation, several spikes a step
        size = 127 if hard else 60
        case = {
            "weights_in": rng.integers(-size, size + 1, (n, h)),
            "weights_rec": rng.integers(-size, size + 1, (h, h)) * (rng.random((h, h)) < 0.6),
            "weights_out": rng.integers(-size, size + 1, (h, o)),
        }
        x = (rng.random((samples, steps, n)) < (0.8 if hard else 0.25)).astype(np.int64)
        if vendor == "xylosim":
            case |= {
                "threshold": rng.integers(20, 300, h), "threshold_out": rng.integers(20, 300, o),
                "decay_syn": rng.integers(0, 6, h), "decay_syn_out": rng.integers(0, 6, o),
                "decay_mem": rng.integers(0, 7, h), "decay_mem_out": rng.integers(0, 7, o),
            }  # fmt: skip
            if hard:  # long memories that reach the bounds of 16 bits
                case["decay_syn"] += 6
                case["decay_mem"] += 5
                x *= rng.integers(1, 20, x.shape)
        else:
            step = 2 if hard else 1
            for key in ("weights_in", "weights_rec", "weights_out"):
                case[key] = np.clip(case[key] * 2 * step, -256, 254)
            x *= rng.integers(1, 2 if number % 3 else 5, x.shape)  # some with graded input
            for suffix, size_ in (("", h), ("_out", o)):
                case |= {
                    f"threshold{suffix}": np.full(size_, rng.integers(50, 2000)),
                    f"decay_syn{suffix}": np.full(size_, rng.integers(0, 4096)),
                    f"decay_mem{suffix}": np.full(size_, rng.integers(1, 4097)),
                }
            if hard and number % 2:  # currents that wrap around 24 bits, membranes that are clipped
                case["decay_syn"][:] = case["decay_syn_out"][:] = 4095
                case["decay_mem"][:] = 4096
                case["threshold"][:] = 131071
                case["weights_in"] = np.minimum(np.abs(case["weights_in"]), 254)
                case["weights_rec"][:] = 0
                x = np.ones_like(x)
        cases[f"case{number:02}"] = {**case, "input": x}
    return cases


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", type=Path, default=PYTHON, help="of the vendors' environment")
    parser.add_argument("--cases", type=int, default=12, help="networks for each vendor")
    parser.add_argument("--vendor", choices=RULES, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path, help="a folder for golden vectors")
    arguments = parser.parse_args()
    if not arguments.python.exists():
        print(f"error: {arguments.python}: no such file; run make vendors-setup", file=sys.stderr)
        return 1
    wrong = 0
    for vendor in arguments.vendor or RULES:
        cases = random_cases(vendor, arguments.cases, np.random.default_rng(arguments.seed))
        results = theirs(vendor, cases, arguments.python)
        totals = dict.fromkeys(RESULTS, 0)
        spikes = saturated = entries = 0
        for name, case in cases.items():
            run = ours(vendor, case)
            for key, count in differing(run, results[name]).items():
                totals[key] += count
            spikes += sum(int(s.sum()) for s in run.spikes.values())
            saturated += sum(run.saturated.values())
            entries += sum(s.size for s in run.spikes.values())
        wrong += sum(totals.values())
        told = ", ".join(f"{key} {count}" for key, count in totals.items())
        print(
            f"{vendor}: {len(cases)} networks, {entries} entries, {spikes} spikes, {saturated} states "
            f"at their bounds; differing: {told}"
        )
        if arguments.record:
            small = {
                name: {k: v.astype(np.int32) for k, v in (case | results[name]).items()}
                for name, case in cases.items()
            }
            with atomic(arguments.record / f"{vendor}.npz") as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **_flat(small))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
