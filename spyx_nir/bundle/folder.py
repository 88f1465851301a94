"""The files of every bundle, in the order in which they depend on each other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import files
from spyx_nir.bundle import events, manifest, standalone, vectors
from spyx_nir.bundle.manifest import About
from spyx_nir.converter import file
from spyx_nir.errors import UserError
from spyx_nir.meaning.plan import Plan
from spyx_nir.meaning.source import reference_source

OLD_NIR = "1.0.4"
VECTORS = "test_data_set_0"
AT_ONCE = 2  # scripts of a bundle that run side by side


@dataclass(frozen=True)
class Golden:
    """Test samples and what the graph answers. x, output, spikes: time-major (T, N, ...)."""

    chosen: np.ndarray  # (N,) indices into the test set
    labels: np.ndarray | None  # (N,) class indices; None where nobody gave them
    x: np.ndarray
    output: np.ndarray
    spikes: Mapping[str, np.ndarray]


def complete(
    bundle: Path,
    graph: Any,
    plan: Plan,
    about: About,
    golden: Golden,
    card: Callable[[dict[str, Any]], str],
) -> None:
    """Add everything that belongs to the `model.nir` in the folder `bundle`, and verify it.

    Args:
        graph: what `model.nir` holds. plan: of it. about: what the graph does not say.
        card: the text of MODEL_CARD.md, from what manifest.json holds.

    Raises:
        UserError: the file for nir 1.0.4 would mean something else, or the bundle does not verify.
    """
    file.write(bundle / f"model-nir-{OLD_NIR}.nir", graph, nir_version=OLD_NIR)
    place = bundle / VECTORS
    place.mkdir(exist_ok=True)
    vectors.write_npz(place / "vectors.npz", golden.x, golden.output, golden.spikes)
    vectors.write_nir_data(place / "nir_data.h5", golden.x, golden.output, golden.spikes, about.dt)
    made = manifest.build(
        about,
        plan=plan,
        contract={k: manifest.plain(v) for k, v in sorted(graph.metadata.items())},
        digests={
            path.relative_to(bundle).as_posix(): {
                "sha256": files.sha256(path),
                **({"content": file.digest(path)} if path.suffix == ".nir" else {}),
            }
            for path in sorted(bundle.rglob("*"))
            if path.is_file()
        },
        vectors={
            "file": f"{VECTORS}/vectors.npz",
            "test_samples": golden.chosen.tolist(),
            "labels": None if golden.labels is None else golden.labels.tolist(),
            "predicted": golden.output.sum(axis=0, dtype=np.int64).argmax(-1).tolist(),
        },
    )
    files.write_json(bundle / "manifest.json", made)
    files.write_text(bundle / "MODEL_CARD.md", card(made))
    files.write_text(bundle / "verify.py", standalone.source("verify.py", reference_source()))
    files.write_text(bundle / "SHA256SUMS", sums(bundle))
    check(bundle)


def sums(folder: Path) -> str:
    """The text of SHA256SUMS for every file under `folder`, as `sha256sum -c` reads it."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return "".join(f"{files.sha256(folder / name)}  {name}\n" for name in names)


def check(bundle: Path) -> None:
    """Run the bundle's verify*.py and events/encode.py, in a Python that sees installed packages only.

    Raises:
        UserError: one does not pass.
    """

    def run(script: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-I", str(script)], capture_output=True, text=True)

    scripts = [*sorted(bundle.glob("verify*.py")), *bundle.glob(f"{events.FOLDER}/*.py")]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for done in threads.map(run, scripts):
            if done.returncode != 0:
                said = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-1:])
                raise UserError(f"the bundle does not verify, so it was not published: {said}")
