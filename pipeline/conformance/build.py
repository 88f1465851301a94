"""Expected values of the cases, and the pack as a folder.

The reference computes them; `tests/conformance/` compares them with exact fractions, SciPy's
correlation, its filters and its integrators, which share no code with the reference.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.conformance import layers, neurons, topologies
from pipeline.conformance.case import EQUATIONS, Case, draw
from spyx_nir.converter import file
from spyx_nir.errors import GraphError, UserError
from spyx_nir.files import atomic_folder, write_json
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import Plan, make_plan

HERE = Path(__file__).parent
PARTS = (neurons, layers, topologies)
PACK_VERSION = 1
MODEL, DATA, ABOUT = "model.nir", "data.npz", "about.json"

# How near a membrane may come to its threshold. The membranes are about 1 large and the sum of at most 12
# inputs in 12 steps: float32, with 2^-24 for each operation, is off by less than 1e-5 there.
MARGIN = 2.0**-9
# Of an output that is no spike, for the same reason; relative to the largest value where that is above 1.
TOLERANCE = 1e-4
SEEDS = 2000


@dataclass(frozen=True)
class Built:
    """A case with its inputs and what they give, without a batch axis.

    inputs: (T, *shape) by name. outputs, spikes, membranes: by node path; membranes are those before
    the reset. margin: the smallest distance of a membrane from its threshold; infinite without one.
    """

    case: Case
    seed: int
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    spikes: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]
    margin: float

    @property
    def tolerance(self) -> float:
        """Of outputs and membranes, absolute."""
        arrays = (*self.outputs.values(), *self.membranes.values())
        largest = max((float(np.abs(array).max()) for array in arrays), default=0.0)
        return float(f"{TOLERANCE * max(1.0, largest):.2g}")

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays as `data.npz` has them."""
        parts = {
            "input": self.inputs, "output": self.outputs, "spikes": self.spikes,
            "membrane": self.membranes,
        }  # fmt: skip
        return {f"{part}/{name}": a for part, found in parts.items() for name, a in found.items()}


def cases() -> list[Case]:
    """Every case, by name.

    Raises:
        ValueError: two cases have one name.
    """
    found = [case for part in PARTS for case in part.cases()]
    if doubles := {case.name for case in found if sum(o.name == case.name for o in found) > 1}:
        raise ValueError(f"cases {sorted(doubles)}: a name is used twice")
    return sorted(found, key=lambda case: case.name)


def full_graph(case: Case) -> dict[str, Any]:
    """The graph with the metadata that every file of ours has."""
    metadata = {"contract_version": 1, "dt": case.dt, "time_unit": "step" if case.dt == 1 else "s"}
    return {**case.graph, "metadata": metadata}


def build_case(case: Case) -> Built:
    """The case with the first inputs that keep every membrane away from its threshold.

    Raises:
        UserError: no seed does, or a node never spikes.
    """
    plan = make_plan(full_graph(case))
    others = [make_plan(full_graph(replace(case, graph=other))) for other in case.others]
    for seed in range(1, 2 if case.values else SEEDS):
        built = _run(case, plan, seed)
        right = case.exact or built.margin >= MARGIN
        if right and _lively(built) and all(_differs(built, other) for other in others):
            return built
    raise UserError(f"case {case.name}: no inputs keep its membranes {MARGIN} off the threshold")


def _run(case: Case, plan: Plan, seed: int) -> Built:
    inputs = draw(case, seed)
    result = _result(plan, inputs)
    outputs, spikes, membranes = (
        {name: array[:, 0] for name, array in found.items()}
        for found in (result.outputs, result.spikes, result.membranes)
    )
    thresholds = {p: n.get("v_threshold", n.get("threshold")) for p, n in plan.nodes.items()}
    near = [np.abs(u - thresholds[path]).min() for path, u in membranes.items()]
    margin = float(min(near, default=np.inf))
    return Built(case, seed, inputs, outputs, spikes, membranes, margin)


def _result(plan: Plan, inputs: dict[str, np.ndarray]) -> reference.Result:
    return reference.run(plan, {name: x[:, None] for name, x in inputs.items()})


def _differs(built: Built, other: Plan) -> bool:
    """Whether another graph gives other outputs, by more than the tolerance."""
    found = _result(other, built.inputs).outputs
    return any(
        np.abs(found[name][:, 0] - output).max() > built.tolerance
        for name, output in built.outputs.items()
    )


def _lively(built: Built) -> bool:
    """Every spiking node fires and is silent, every output changes."""
    fires = all(0 < spikes.mean() < 1 for spikes in built.spikes.values())
    return fires and all(np.ptp(output) > 0 for output in built.outputs.values())


def about(built: Built) -> dict[str, Any]:
    """What `about.json` says."""
    case = built.case
    margin: Any = None if np.isinf(built.margin) else built.margin
    why_margin = "no membrane of this case is compared with a threshold"
    if margin is not None:
        why_margin = (
            "smallest distance of a membrane from its threshold; float32 is off by less than 1e-5"
        )
    if case.exact:
        why_margin = (
            "every value is exact in binary: a membrane equals its threshold without rounding"
        )
    return {
        "name": case.name,
        "tests": case.tests,
        "kinds": list(case.kinds),
        "equation": {kind: EQUATIONS[kind] for kind in case.kinds},
        "dt": case.dt,
        "steps": len(next(iter(built.inputs.values()))),
        "needs_contract": case.needs_contract,
        "delayed_edges": [list(edge) for edge in case.delayed],
        "tolerance": {
            "spikes": 0,
            "values": built.tolerance,
            "why": "spikes are compared exactly; other values may be off by what float32 rounds away "
            "in 12 steps, of which this is about ten times as much",
        },
        "margin": {"value": margin, "why": why_margin},
    }


def write(folder: Path, nir_version: str = "1.0.8") -> list[Built]:
    """Write the pack to `folder`, which is made anew; returns its cases.

    Args:
        nir_version: of the files, as `spyx_nir.converter.file.write` has it. A case that nir 1.0.4 cannot
            express has no file; its `about.json` says why (`no_file`).

    Raises:
        UserError: `folder` holds something else than a pack.
    """
    if folder.exists() and not (folder / "index.json").is_file():
        raise UserError(f"{folder}: exists and holds no pack; name a folder that is new")
    built = [build_case(case) for case in cases()]
    with atomic_folder(folder) as temporary:
        for one in built:
            _write_case(temporary / "cases" / one.case.name, one, nir_version)
        names = [one.case.name for one in built]
        write_json(temporary / "index.json", {"version": PACK_VERSION, "cases": names})
        for name in ("run_conformance.py", "README.md"):
            shutil.copyfile(HERE / name, temporary / name)
    return built


def _write_case(folder: Path, built: Built, nir_version: str) -> None:
    folder.mkdir(parents=True)
    facts = about(built)
    try:
        file.write(folder / MODEL, file.build(full_graph(built.case)), nir_version)
    except GraphError as error:
        facts["no_file"] = str(error)
    write_json(folder / ABOUT, facts)
    with (folder / DATA).open("wb") as stream:
        np.savez_compressed(stream, **built.arrays())  # type: ignore[arg-type]


def size(folder: Path) -> int:
    """Bytes of all files in `folder`."""
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def read_index(folder: Path) -> list[str]:
    """The names of a pack's cases."""
    return json.loads((folder / "index.json").read_text(encoding="utf-8"))["cases"]
