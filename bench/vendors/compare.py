"""Our integer simulators against the vendors' programs: make vendors.

    python -m bench.vendors.compare [--record FOLDER]

Random networks, some of which saturate, spike several times in a step and stand exactly at their
threshold; and the networks of the bundles, as shipped, on recordings of their test sets. Every
spike and every state of every step is compared; with sinabs and SANA-FE, every spike. The vendors'
programs run in an environment of their own, `.venv-vendors` (make vendors-setup). `--record` writes the
random cases and what the vendors' programs made of them, for tests that run without that environment.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.vendors import lava_networks, two_layers, xylo_networks
from bench.vendors.cases import nested
from pipeline.interop import importers
from spyx_nir.bundle import integers
from spyx_nir.bundle.folder import OLD_NIR, VECTORS
from spyx_nir.bundle.templates import verify_integers
from spyx_nir.converter import file
from spyx_nir.errors import UserError, exit_status
from spyx_nir.files import atomic
from spyx_nir.hardware import profile, quantise, simulate
from spyx_nir.hardware.families.xylo.simulator import hidden_ids
from spyx_nir.hardware.families.xylo.specification import specification
from spyx_nir.hardware.network import IntegerNetwork, Run

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PYTHON = importers.python(importers.VENDORS)
# What a result is called -> the population and the field of our run that it is compared with.
RESULTS = {
    "hidden": ("hidden", "spikes"),
    "out": ("out", "spikes"),
    "current": ("hidden", "currents"),
    "membrane": ("hidden", "membranes"),
    "current_out": ("out", "currents"),
    "membrane_out": ("out", "membranes"),
}
CHIPS = {"xylosim": "xylo-audio-2", "lava": "loihi", "sanafe": "loihi", "sinabs": "speck-2f"}
VENDORS = list(CHIPS)
PROGRAMS = {"xylosim": "subtract", "lava": "v_reset"}  # that take two layers: with which reset
RECORDED = 8  # forms of networks, for tests that run without Lava
XYLO_RECORDED = 10  # the same for XyloSim
MOST_ENERGY_SAMPLES = 10  # a recording takes SANA-FE seconds
Arrays = dict[str, np.ndarray]


def network_of(vendor: str, case: Arrays) -> IntegerNetwork:
    """A case's network."""
    return two_layers.from_arrays(case, profile.load(CHIPS[vendor]), PROGRAMS[vendor])


def ours(vendor: str, case: Arrays) -> Run:
    """Our simulator on a case; its input is (N, T, channels)."""
    x = {"input": np.swapaxes(case["input"], 0, 1)}
    return simulate.run(network_of(vendor, case), x, record=True)


def theirs(
    vendor: str, cases: dict[str, Arrays], python: Path = PYTHON, extra: Sequence[str] = ()
) -> dict[str, Arrays]:
    """The vendor's program on cases; `extra` are further arguments of its script."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "cases.npz", Path(folder) / "results.npz"
        np.savez(source, allow_pickle=False, **_flat(cases))
        script = HERE / f"run_{vendor}.py"
        command = [str(python), str(script), str(source), str(target), *extra]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
        with np.load(target, allow_pickle=False) as loaded:
            return nested({key: loaded[key] for key in loaded.files})


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


def lava_forms(arguments: argparse.Namespace) -> int:
    """Random networks of every form that bundles for Loihi have, in Lava; how many entries differ."""
    rng = np.random.default_rng(arguments.seed)
    cases: dict[str, Arrays] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2 * arguments.cases):
            network, x = lava_networks.draw(number, rng)
            vectors = Path(folder) / integers.NAME
            integers.write(vectors, network, x)
            with np.load(vectors, allow_pickle=False) as loaded:
                cases[f"form{number:02}"] = dict(loaded)
    results = theirs("lava", cases, arguments.python)
    kinds = _kinds(cases, results)
    entries = sum(values.size for found in results.values() for values in found.values())
    print(
        f"lava: {len(cases)} random networks with skips, recurrence, biases, delays, odd maps, groups, "
        f"dilation, outputs that never fire, {entries} entries; differing: {_told(kinds)}"
    )
    if arguments.record:
        kept = {
            name: {k: v for k, v in cases[name].items() if k not in results[name]} | results[name]
            for name in list(cases)[:RECORDED]
        }
        with atomic(arguments.record / "lava_forms.npz") as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **_flat(kept))
    return sum(kinds.values())


def xylo_forms(arguments: argparse.Namespace) -> int:
    """Random networks of every form that bundles for Xylo have, in XyloSim; how many entries differ."""
    rng = np.random.default_rng(arguments.seed)
    networks, ours_, cases, totals = {}, {}, {}, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2 * arguments.cases):
            name = f"form{number:03}"
            networks[name], x = xylo_networks.draw(number, rng)
            vectors = Path(folder) / integers.NAME
            run = integers.write(vectors, networks[name], x)
            totals["spikes"] += sum(int(counts.sum()) for counts in run.spikes.values())
            totals["saturated"] += sum(run.saturated.values())
            with np.load(vectors, allow_pickle=False) as loaded:
                ours_[name] = dict(loaded)
            cases[name] = xylo_case(networks[name], x)
    found = theirs("xylosim", cases, arguments.python)
    results = {name: xylo_results(network, found[name]) for name, network in networks.items()}
    kinds = _kinds(ours_, results)
    entries = sum(values.size for each in results.values() for values in each.values())
    print(
        f"xylosim: {len(cases)} random networks with skips, recurrence between populations, biases, "
        f"membranes as outputs, {entries} entries, {totals['spikes']} spikes, {totals['saturated']} "
        f"states at their bounds; differing: {_told(kinds)}"
    )
    if arguments.record:
        kept = {name: ours_[name] | results[name] for name in list(ours_)[:XYLO_RECORDED]}
        with atomic(arguments.record / "xylo_forms.npz") as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **_flat(kept))
    return sum(kinds.values())


def xylo_case(network: IntegerNetwork, x: np.ndarray) -> Arrays:
    """A network and its input (T, N, inputs) as `run_xylosim.py` takes them."""
    (output,) = (p for p in network.populations if p.output)
    mode = np.array("Vmem" if output.membrane else "Spike")
    return {**specification(network), "mode": mode, "input": np.swapaxes(x, 0, 1)}


def xylo_results(network: IntegerNetwork, found: Arrays) -> Arrays:
    """What `run_xylosim.py` found, by the keys and with the axes of integer_vectors.npz."""
    kinds = {"spikes": "hidden", "current": "current", "membrane": "membrane"}
    results = {
        f"{kind}/{name}": found[key][:, :, ids]
        for name, ids in hidden_ids(network).items()
        for kind, key in kinds.items()
    }
    (output,) = (p for p in network.populations if p.output)
    results |= {f"{kind}/{output.name}": found[f"{kind}_out"] for kind in ("current", "membrane")}
    results[f"{'membrane' if output.membrane else 'spikes'}/{output.name}"] = found["out"]
    return {key: np.swapaxes(values, 0, 1) for key, values in results.items()}


def _kinds(cases: dict[str, Arrays], results: dict[str, Arrays]) -> dict[str, int]:
    """How many spikes, currents and membranes of `results` differ from those in `cases`."""
    kinds = dict.fromkeys(("spikes", "current", "membrane"), 0)
    for name, found in results.items():
        for key, values in found.items():
            kinds[key.partition("/")[0]] += int((values != cases[name][key]).sum())
    return kinds


def _told(kinds: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in kinds.items())


# ------------------------------------------------------------------------- the shipped networks


def shipped(task: str, target: str, samples: int) -> tuple[Path, IntegerNetwork, np.ndarray]:
    """A task's bundle for a chip, its integers, and test recordings (N, T, ...), silence included.

    The integers are those of the bundle's file of vectors; the contract of its graph must say the same.
    """
    from pipeline.datasets import prepared

    chip = profile.load(target)
    bundle = ROOT / "models" / task / "deploy" / target
    with np.load(bundle / VECTORS / integers.NAME, allow_pickle=False) as loaded:
        network = replace(verify_integers.network_of(dict(loaded)), profile=chip)
    content = file.read_dict(bundle / "model.nir")
    quantise.check_recovery(content, network)
    network = quantise.recover(content, chip)  # the same, with the exponents
    events, _ = prepared.read(ROOT / "data" / "prepared" / f"{task}.h5").subset("test")
    (x,) = simulate.padded(network, events[:samples]).values()
    return bundle, network, np.swapaxes(x, 0, 1)


def braille(vendor: str, samples: int, python: Path) -> int:
    """The shipped Braille integers on recordings, and what rockpool's own importer reads in the graph."""
    bundle, network, events = shipped("braille", CHIPS[vendor], samples)
    case = {**two_layers.to_arrays(network), "input": events}
    extra: list[str] = []
    if vendor == "xylosim":
        graph = bundle / f"model-nir-{OLD_NIR}.nir"
        extra = [str(graph), str(file.read_dict(graph)["metadata"]["dt"])]
    found = theirs(vendor, {"braille": case}, python, extra)["braille"]
    run = ours(vendor, case)
    counts = differing(run, found)
    text = ", ".join(f"{key} {count}" for key, count in counts.items())
    wrong = sum(counts.values())
    if extra:
        hidden, out = (p.exponent for p in network.populations)
        misread = 0
        for key in case:
            if f"read_{key}" in found:
                scaled = key.startswith(("weights", "threshold"))
                exponent = (out if key.endswith("_out") else hidden) if scaled else 0
                misread += int((found[f"read_{key}"] * 2.0**exponent != case[key]).sum())
        text += f"; integers that rockpool reads otherwise: {misread}"
        wrong += misread
    entries = sum(spikes.size for spikes in run.spikes.values())
    print(f"{vendor}: Braille, {len(events)} recordings, {entries} entries; differing: {text}")
    return wrong


def images(samples: int, python: Path) -> int:
    """The shipped N-MNIST integers in Lava, on recordings: every spike and every state."""
    _, network, events = shipped("nmnist", "loihi", samples)
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder) / integers.NAME
        integers.write(vectors, network, np.swapaxes(events, 0, 1))
        with np.load(vectors, allow_pickle=False) as loaded:
            case = dict(loaded)
    results = theirs("lava", {"nmnist": case}, python)
    kinds = _kinds({"nmnist": case}, results)
    entries = sum(values.size for values in results["nmnist"].values())
    print(f"lava: N-MNIST, {len(events)} recordings, {entries} entries; differing: {_told(kinds)}")
    return sum(kinds.values())


def nmnist(samples: int, python: Path) -> int:
    """The shipped N-MNIST graph, layer by layer discretised by sinabs, on recordings."""
    bundle, network, events = shipped("nmnist", "speck-2f", samples)
    nodes = dict(file.nodes(file.read_dict(bundle / "model.nir")))
    case: Arrays = {"input": events}
    for k, (weight, population) in enumerate(
        zip(network.weights, network.populations, strict=True)
    ):
        values = nodes[weight.node]["weight"]
        if values.ndim == 2:  # a convolution whose kernel is the whole map
            before = (*network.populations[k - 1].shape, 1, 1)[:3]
            size = math.prod(weight.pools)
            values = values.reshape(len(values), before[0], before[1] // size, before[2] // size)
        case |= {
            f"weight{k}": values,
            f"threshold{k}": np.asarray(nodes[population.name]["v_threshold"]).ravel()[0],
            f"stride{k}": np.array(weight.stride),
            f"padding{k}": np.array(weight.padding),
            f"pool{k}": np.array(weight.pools, int),
        }
    found = theirs("sinabs", {"nmnist": case}, python)["nmnist"]
    run = simulate.run(network, {"input": np.swapaxes(events, 0, 1)})
    integers = spikes = entries = 0
    for k, (weight, population) in enumerate(
        zip(network.weights, network.populations, strict=True)
    ):
        integers += int((found[f"weight{k}"].ravel() != weight.values.ravel()).sum())
        integers += int(found[f"threshold{k}"] != population.threshold)
        mine = np.swapaxes(run.spikes[population.name], 0, 1)
        spikes += int((mine != found[f"spikes{k}"].reshape(mine.shape)).sum())
        entries += mine.size
    print(
        f"sinabs: N-MNIST, {len(events)} recordings, {entries} entries; differing: spikes {spikes}; "
        f"integers that sinabs rounds otherwise: {integers}"
    )
    return integers + spikes


def sanafe(samples: int, python: Path) -> int:
    """The Braille network in SANA-FE: its modelled energy and latency of Loihi 1, and why spikes differ.

    SANA-FE computes Loihi's rule in floating point and truncates a membrane, behind its decay, to
    1/64; Lava truncates currents too. That rule, written down here, must give SANA-FE's spikes.
    """
    _, network, events = shipped("braille", "loihi", samples)
    case = {**two_layers.to_arrays(network), "input": (events > 0).astype(np.int64)}
    found = theirs("sanafe", {"braille": case}, python)["braille"]
    rule = truncating_membranes_only(case)
    run = ours("lava", case)
    integers = {k: int((np.swapaxes(run.spikes[k], 0, 1) != found[k]).sum()) for k in rule}
    wrong = {k: int((rule[k] != found[k]).sum()) for k in rule}
    entries = sum(spikes.size for spikes in rule.values())
    print(
        f"sanafe: Braille, {len(events)} recordings, {entries} entries; differing from its rule: "
        f"{wrong}, from Lava's: {integers}; modelled of Loihi 1, not measured: "
        f"{found['energy'].mean():.3g} J and {found['latency'].mean():.3g} s a recording"
    )
    return sum(wrong.values())


def truncating_membranes_only(case: Arrays) -> Arrays:
    """Spikes (N, T, neurons) by SANA-FE's rule (sanafe 2.2.9, src/models.cpp, LoihiLifModel)."""
    x = case["input"]
    names = {"hidden": "", "out": "_out"}
    sizes = {name: case[f"threshold{suffix}"].size for name, suffix in names.items()}
    spikes = {name: np.zeros((*x.shape[:2], size), np.int64) for name, size in sizes.items()}
    u = {name: np.zeros((len(x), size)) for name, size in sizes.items()}
    v = {name: np.zeros((len(x), size)) for name, size in sizes.items()}
    for t in range(1, x.shape[1]):  # in the first step nothing arrives
        hidden = spikes["hidden"][:, t - 1]
        arriving = {
            "hidden": x[:, t - 1] @ case["weights_in"] + hidden @ case["weights_rec"],
            "out": hidden @ case["weights_out"],
        }
        for name, suffix in names.items():
            decay_syn, decay_mem = (case[f + suffix] / 4096 for f in ("decay_syn", "decay_mem"))
            u[name] = u[name] * decay_syn + arriving[name]
            v[name] = np.trunc(v[name] * decay_mem * 64) / 64 + u[name]
            fired = v[name] > case[f"threshold{suffix}"]
            v[name][fired] = 0
            spikes[name][:, t] = fired
    return spikes


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.vendors.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", type=Path, default=PYTHON, help="of the vendors' environment")
    parser.add_argument("--cases", type=int, default=12, help="random networks for each vendor")
    parser.add_argument("--samples", type=int, default=50, help="recordings for trained networks")
    parser.add_argument("--vendor", choices=VENDORS, action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path, help="a folder for golden vectors")
    arguments = parser.parse_args()
    if not arguments.python.exists():
        raise UserError(f"{arguments.python}: no such file; run make vendors-setup")
    vendors = arguments.vendor or VENDORS
    wrong = 0
    for vendor in vendors:
        if vendor in PROGRAMS:
            wrong += random_part(vendor, arguments)
        if vendor == "xylosim":
            wrong += xylo_forms(arguments)
        if vendor == "lava":
            wrong += lava_forms(arguments)
    for task, users in (("braille", [*PROGRAMS, "sanafe"]), ("nmnist", ["sinabs", "lava"])):
        users = [vendor for vendor in users if vendor in vendors]
        deploy = ROOT / "models" / task / "deploy"
        needed = [
            *(deploy / CHIPS[vendor] / VECTORS / integers.NAME for vendor in users),
            ROOT / "data" / "prepared" / f"{task}.h5",
        ]
        missing = [path for path in needed if not path.exists()]
        if users and missing:
            print(f"{task}: not compared, {missing[0]} is missing; run make repro")
            wrong += 1
            continue
        for vendor in users:
            if vendor == "sinabs":
                wrong += nmnist(arguments.samples, arguments.python)
            elif task == "nmnist":
                wrong += images(arguments.samples, arguments.python)
            elif vendor == "sanafe":
                wrong += sanafe(min(arguments.samples, MOST_ENERGY_SAMPLES), arguments.python)
            else:
                wrong += braille(vendor, arguments.samples, arguments.python)
    return int(wrong > 0)


def random_part(vendor: str, arguments: argparse.Namespace) -> int:
    """Random networks; how many entries differ."""
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
    told = ", ".join(f"{key} {count}" for key, count in totals.items())
    print(
        f"{vendor}: {len(cases)} random networks, {entries} entries, {spikes} spikes, {saturated} "
        f"states at their bounds; differing: {told}"
    )
    if arguments.record:
        small = {
            name: {k: v.astype(np.int32) for k, v in (case | results[name]).items()}
            for name, case in cases.items()
        }
        with atomic(arguments.record / f"{vendor}.npz") as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **_flat(small))
    return sum(totals.values())


if __name__ == "__main__":
    sys.exit(exit_status(main))
