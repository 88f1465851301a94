"""What a framework's own exporter writes, run by the reference: does the file mean the network?"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.interop.importers import ROOT, VENDORS, python
from pipeline.interop.rules import NORSE_CELL, ROCKPOOL_EXPSYN, SINABS_NORM, SNNTORCH_ZERO
from pipeline.interop.support import Row, reason
from spyx_nir.converter import file
from spyx_nir.converter.repair import repair
from spyx_nir.errors import GraphError, UserError
from spyx_nir.meaning import dialects, reference
from spyx_nir.meaning.plan import make_plan

# float32 in the framework, weights of multiples of 1/8, 24 steps; see `pipeline.conformance.build`.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exporter:
    """A framework's exporter.

    title: with the version. dt: the step that its files mean. environment: the folder of its Python.
    known: what it is known to do otherwise. resets: rules of the contract that its files do not say.
    """

    title: str
    dt: float
    environment: str = ".venv-peers"
    known: tuple[dialects.Rule, ...] = ()
    resets: tuple[str, ...] = ()


EXPORTERS = {
    "norse": Exporter("Norse 1.1.0", 1e-6, known=(dialects.NORSE, NORSE_CELL)),
    "spikingjelly": Exporter("SpikingJelly 2.0.0", 1e-3, known=(dialects.SPIKINGJELLY,)),
    "snntorch": Exporter(
        "snnTorch 1.0.0",
        1e-4,
        known=(dialects.EMPTY_CYCLES, SNNTORCH_ZERO),
        resets=("subtract", "subtract_after_decay"),
    ),
    "sinabs": Exporter("sinabs 3.1.3", 1.0, known=(dialects.SINABS, SINABS_NORM)),
    "rockpool": Exporter(
        "Rockpool 3.1.0", 1e-3, VENDORS, known=(dialects.ROCKPOOL, ROCKPOOL_EXPSYN)
    ),
}


def run(name: str, folder: Path) -> list[Row]:
    """Export a framework's networks into `folder` and judge them.

    Raises:
        UserError: the environment is missing or the framework cannot be imported.
    """
    exporter = EXPORTERS[name]
    program = [str(python(exporter.environment)), "-m", "pipeline.interop.exporters"]
    done = subprocess.run([*program, name, str(folder)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"exporter of {exporter.title} ended with {done.returncode}: {last}")
    return sorted(_judged(exporter, folder), key=lambda row: row.case)


def _judged(exporter: Exporter, folder: Path) -> Iterator[Row]:
    for path in folder.glob("*.txt"):
        yield Row(path.stem, (), "refused", path.read_text(encoding="utf-8"))
    for path in folder.glob("*.npz"):
        with np.load(path, allow_pickle=False) as archive:
            x, expected = archive["input"], archive["output"]
        try:
            verdict, why = judge(exporter, path.with_suffix(".nir"), x, expected)
        except GraphError as error:
            verdict, why = "wrong", f"the file is refused: {error}"
        yield Row(path.stem, (), verdict, why)


def judge(exporter: Exporter, path: Path, x: np.ndarray, expected: np.ndarray) -> tuple[str, str]:
    """The verdict on one file, and why; a file that must be repaired first is explained at best.

    Raises:
        GraphError: the reference refuses the file, repaired or not.
    """
    content, faults = repair(file.read_dict(path))
    repaired = "; ".join(sorted({f"repaired: {fault.code}" for fault in faults}))

    def agrees(rule: dialects.Rule | None, reset: str | None = None) -> bool:
        plan, steps = make_plan(content, reset), None
        if rule is not None:
            plan, steps = rule.plan(plan), rule.steps
        result = reference.run(plan, x[:, None], exporter.dt, counts=rule is not None, steps=steps)
        found = result.output[:, 0]
        return found.shape == expected.shape and bool(
            np.abs(found - expected).max() <= TOLERANCE * max(1.0, np.abs(expected).max())
        )

    if agrees(None):
        return ("explained", repaired) if repaired else ("faithful", "")
    for reset in exporter.resets:
        if agrees(None, reset):
            return "explained", f"the file does not say that it resets by `{reset}`"
    for rule in exporter.known:
        if agrees(rule):
            return "explained", "; ".join(filter(None, (rule.text, repaired)))
    return "wrong", f"no known rule gives what the framework did{'; ' * bool(repaired)}{repaired}"


def table(found: dict[str, list[Row]]) -> str:
    """Framework by network, as Markdown."""
    lines = ["| exporter | network | verdict | why |", "|---|---|---|---|"]
    for name, rows in found.items():
        for row in rows:
            why = reason(row.verdict, row.why) if row.why else ""
            lines.append(f"| {EXPORTERS[name].title} | {row.case} | {row.verdict} | {why} |")
    return "\n".join(lines)
