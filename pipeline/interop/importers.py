"""The readers: where each one lives, what it is given, and what it is known to do otherwise."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.interop.protocol import Answer, Request, read_answer, write_request
from spyx_nir.errors import UserError
from spyx_nir.meaning import dialects

ROOT = Path(__file__).parents[2]
SETUP = {".venv-peers": "make peers-setup", ".venv-vendors": "make vendors-setup"}


def python(environment: str = ".venv-peers") -> Path:
    """The interpreter of an environment of others, set up or not."""
    return ROOT / environment / "bin" / "python"


@dataclass(frozen=True)
class Reader:
    """One row of the matrix.

    title: with the version, for people. module: the adapter. environment: the folder
    of its Python. nir_version: of the file that it is given. profile: one of
    `spyx_nir.converter.adapt.DIALECTS`, or "". known: what it is known to do otherwise, tried in this
    order.
    """

    title: str
    module: str
    environment: str = ".venv-peers"
    nir_version: str = "1.0.8"
    profile: str = ""
    known: tuple[dialects.Rule, ...] = ()

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return python(self.environment)

    def ask(self, request: Request) -> Answer:
        """Run the adapter in a process of its own, on one thread.

        Networks of this size take twice as long on two, and two readers run side by side.

        Raises:
            UserError: the environment is missing, or the adapter ended without an answer.
        """
        self.check()
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "request.npz", Path(folder) / "answer.npz"
            write_request(source, request)
            done = subprocess.run(
                [str(self.python), "-m", self.module, str(source), str(target)],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            if done.returncode or not target.exists():
                last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                raise UserError(f"reader {self.title} ended with {done.returncode}: {last}")
            return read_answer(target)

    def conform(self, pack: Path, report: Path, arrays: Path) -> None:
        """Run the conformance pack in a process of its own; results and arrays go to the paths given.

        With a fixed hash seed: what nirtorch makes of some graphs depends on it.

        Raises:
            UserError: the environment is missing, or the runner ended without results.
        """
        self.check()
        runner = [str(self.python), str(pack / "run_conformance.py"), "--pack", str(pack)]
        given = ["--reader", self.module, "--json", str(report), "--save", str(arrays)]
        done = subprocess.run(
            [*runner, *given],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
        )
        if not report.exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(f"reader {self.title} ended with {done.returncode}: {last}")

    def check(self) -> None:
        """Refuse an environment that is not set up."""
        if not self.python.exists():
            setup = SETUP.get(self.environment, "set it up")
            raise UserError(f"{self.python}: no such file; run {setup}")


HERE, VENDORS = "pipeline.interop", ".venv-vendors"
PLAIN = (dialects.NIR_ALONE, dialects.EMPTY_CYCLES)
READERS: dict[str, Reader] = {
    "norse": Reader(
        "Norse 1.1.0",
        f"{HERE}.norse",
        profile="norse",
        known=(*PLAIN, dialects.NORSE),
    ),
    "spikingjelly": Reader(
        "SpikingJelly 2.0.0",
        f"{HERE}.spikingjelly",
        profile="spikingjelly",
        known=(*PLAIN, dialects.SPIKINGJELLY),
    ),
    "snntorch": Reader(
        "snnTorch 1.0.0",
        f"{HERE}.snntorch",
        profile="snntorch",
        known=(*PLAIN, dialects.SNNTORCH),
    ),
    "sinabs": Reader("sinabs 3.1.3", f"{HERE}.sinabs", profile="sinabs", known=(dialects.SINABS,)),
    "rockpool": Reader(
        "Rockpool 3.1.0", f"{HERE}.rockpool", VENDORS, "1.0.4", known=(dialects.ROCKPOOL,)
    ),
    "lava": Reader(
        "Lava 0.10.0, float", f"{HERE}.lava", VENDORS, "1.0.4", known=(dialects.NIR_ALONE,)
    ),
    "snn-mlir": Reader("snn-mlir 1.0.0", f"{HERE}.snn_mlir", profile="snn-mlir"),
    "sc-neurocore": Reader(
        "sc-neurocore 3.16.0", f"{HERE}.sc_neurocore", known=(*PLAIN, dialects.SC_NEUROCORE)
    ),
    "jaxsnn": Reader("jaxsnn 0.3.0", f"{HERE}.jaxsnn"),
}
# Those that only run the conformance pack: the package that reads files for most of the others, and ours.
OTHERS: dict[str, Reader] = {
    "nir": Reader("nir 1.0.8, `nir.read`", f"{HERE}.nir_package"),
    "spyx": Reader("Spyx, by `from_nir`", "pipeline.conformance.own:importer", ".venv"),
    "reference": Reader("the reference", "pipeline.conformance.own:reference", ".venv"),
}
