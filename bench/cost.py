"""Our counts of what a network costs against NeuroBench's harness: make bench-cost.

    python -m bench.cost [--record FOLDER]

For every generic bundle, the harness runs a torch copy of its `model.nir` on its golden vectors, in the
environment of `make peers-setup`; `spyx_nir.neurobench` counts the same run of the reference. Every
number must agree to 4 digits. `--record` writes a small network, its input and what the harness made
of it, for tests that run without that environment.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.commands.release import bundles
from pipeline.interop import importers
from spyx_nir import neurobench
from spyx_nir.converter import file
from spyx_nir.errors import UserError, exit_status
from spyx_nir.files import atomic, write_json
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

HERE = Path(__file__).parent
ROOT = HERE.parent
PYTHON = importers.python()
DIGITS = 1e-4  # relative: what "equal to 4 digits" means here
RECORDED_DT = 1e-3


def ours(path: Path, x: np.ndarray, labels: np.ndarray, dt: float) -> dict[str, Any]:
    """`spyx_nir.neurobench` on the reference's run of a file; x is (N, T, *shape)."""
    plan = make_plan(file.read_dict(path))
    meter = neurobench.Meter(len(x))
    run = reference.run(plan, np.swapaxes(x, 0, 1), dt, watch=neurobench.watch(plan, meter))
    right = reference.predict(run.output) == labels
    return neurobench.report(neurobench.of_graph(plan), [meter.counts], float(right.mean()))


def theirs(
    path: Path, x: np.ndarray, labels: np.ndarray, dt: float, python: Path = PYTHON
) -> dict[str, Any]:
    """The harness on a torch copy of a file."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "request.npz", Path(folder) / "answer.json"
        np.savez(source, path=str(path.absolute()), dt=dt, x=x, labels=labels)
        script = str(HERE / "peers" / "run_neurobench.py")
        subprocess.run([str(python), script, str(source), str(target)], check=True)
        return json.loads(target.read_text(encoding="utf-8"))


def flat(found: dict[str, Any]) -> dict[str, float]:
    """The keys of NeuroBench, those of SynapticOperations with a dot."""
    operations = found["SynapticOperations"]
    inner = {f"SynapticOperations.{key}": value for key, value in operations.items()}
    return {key: value for key, value in found.items() if key != "SynapticOperations"} | inner


def differing(mine: dict[str, Any], harness: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """The keys whose numbers differ by more than 4 digits: (ours, the harness's)."""
    a, b = flat(mine), flat(harness)
    return {
        key: (a.get(key, np.nan), b.get(key, np.nan))
        for key in sorted(a.keys() | b.keys())
        if not abs(a.get(key, np.nan) - b.get(key, np.nan)) <= DIGITS * abs(b.get(key, np.nan))
    }


def bundle(folder: Path, python: Path) -> int:
    """Compare on a bundle's golden vectors; how many numbers differ."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    with np.load(folder / manifest["vectors"]["file"], allow_pickle=False) as vectors:
        x = np.swapaxes(vectors["input"], 0, 1)
    case = folder / "model.nir", x, np.asarray(manifest["vectors"]["labels"]), manifest["dt"]
    mine, harness = ours(*case), theirs(*case, python)
    print(f"{manifest['task']}: {len(x)} recordings, ours | NeuroBench 2.3.0")
    expected = flat(harness)
    for key, value in flat(mine).items():
        print(f"  {key:34} {value:.10g} | {expected.get(key, np.nan):.10g}")
    wrong = differing(mine, harness)
    print(f"{manifest['task']}: {len(wrong)} numbers differ {sorted(wrong) or ''}".rstrip())
    return len(wrong)


# ------------------------------------------------------------------------------ the recorded network


def small(rng: np.random.Generator) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """A graph with what counting can get wrong, x (N, T, 2, 9, 8) and labels (N,).

    Pruned weights, a bias, stride, padding, dilation, groups, sums of spikes, input of counts,
    recurrence, three kinds of neuron, and a sample in which nothing happens.
    """

    def weights(*shape: int) -> np.ndarray:
        kept = rng.random(shape) < 0.7
        return (rng.normal(0.1, 0.6, shape) * kept).astype(np.float32)

    def neurons(shape: tuple[int, ...], **more: float) -> dict[str, np.ndarray]:
        rest = {"v_reset": 0.0, "v_threshold": 1.0, **more}
        return {key: np.full(shape, value, np.float32) for key, value in rest.items()}

    steps = 1 / RECORDED_DT  # so that what arrives is not scaled by dt
    leaky = {"v_leak": 0.0}
    conv = {"type": "Conv2d", "input_shape": np.array([9, 8])}
    inner = {
        "input": {"type": "Input", "shape": np.array([6])},
        "lif": {"type": "CubaLIF", **neurons((6,), tau_syn=0.002, tau_mem=0.004, r=4.0, w_in=2.0,
                                             **leaky)},
        "w_rec": {"type": "Affine", "weight": weights(6, 6), "bias": weights(6)},
        "output": {"type": "Output", "shape": np.array([6])},
    }  # fmt: skip
    back = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    nodes = {
        "input": {"type": "Input", "shape": np.array([2, 9, 8])},
        "conv_0": {
            **conv, "weight": weights(4, 2, 3, 3), "bias": weights(4), "stride": np.array([1, 1]),
            "padding": np.array([1, 2]), "dilation": np.array([1, 2]), "groups": np.array(1),
        },
        "if_1": {"type": "IF", **neurons((4, 9, 8), r=steps)},
        "pool_2": {"type": "SumPool2d", "kernel_size": np.array([2, 2]), "stride": np.array([2, 2]),
                   "padding": np.array([0, 0])},
        "conv_3": {
            **conv, "weight": weights(4, 4, 3, 3), "bias": np.zeros(4, np.float32),
            "input_shape": np.array([4, 4]),
            "stride": np.array([2, 2]), "padding": np.array([1, 1]), "dilation": np.array([1, 1]),
            "groups": np.array(1),
        },
        "if_4": {"type": "IF", **neurons((4, 2, 2), r=steps, v_threshold=0.5)},
        "flatten_5": {"type": "Flatten", "start_dim": np.array(0), "end_dim": np.array(-1),
                      "input_type": np.array([4, 2, 2])},
        "linear_6": {"type": "Linear", "weight": weights(6, 16)},
        "recurrent_7": {"type": "NIRGraph", "nodes": inner, "edges": back, "metadata": {}},
        "affine_8": {"type": "Affine", "weight": weights(3, 6), "bias": np.abs(weights(3))},
        "lif_9": {"type": "LIF", **neurons((3,), tau=0.005, r=5.0, **leaky)},
        "output": {"type": "Output", "shape": np.array([3])},
    }  # fmt: skip
    names = list(nodes)
    graph = {
        "type": "NIRGraph",
        "nodes": nodes,
        "edges": list(itertools.pairwise(names)),
        "metadata": {"dt": RECORDED_DT, "time_unit": "s", "contract_version": 1},
    }
    x = (rng.random((5, 20, 2, 9, 8)) < 0.15).astype(np.uint8)
    x[1] *= rng.integers(1, 4, x[1].shape, dtype=np.uint8)
    x[2] = 0
    return graph, x, np.arange(5) % 3


def record(folder: Path, python: Path) -> None:
    """Write `small.nir`, `small.npz` (input, labels) and `small.json`, what the harness says."""
    graph, x, labels = small(np.random.default_rng(4))
    file.write(folder / "small.nir", file.build(graph))
    with atomic(folder / "small.npz") as temporary:
        np.savez_compressed(temporary, x=x, labels=labels)
    write_json(folder / "small.json", theirs(folder / "small.nir", x, labels, RECORDED_DT, python))


def main(arguments: argparse.Namespace) -> int:
    """0 if every number agrees.

    Raises:
        UserError: the environment or a bundle is missing.
    """
    if not arguments.python.exists():
        raise UserError(f"{arguments.python}: no such file; run make peers-setup")
    if arguments.record is not None:
        record(arguments.record, arguments.python)
        return 0
    folders = [folder for folder in bundles(ROOT).values() if folder.name == "generic"]
    return int(sum(bundle(folder, arguments.python) for folder in folders) > 0)


def parse(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="write the small network")
    parser.add_argument("--python", type=Path, default=PYTHON, help="of the harness's environment")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(parse())))
