"""A training that was killed: `models/<task>/checkpoint/epoch.safetensors` has its last epoch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.training import distributed, safetensors
from pipeline.training.trainer import Progress
from spyx_nir.errors import UserError

TREES = ("parameters", "average", "best")
FACTS = ("epoch", "best_epoch", "quality", "rows")


class Checkpoint:
    """The checkpoint below `folder` of a training whose data, parameters and libraries have `digest`."""

    def __init__(self, folder: Path, digest: str):
        self.file, self.digest = folder / "checkpoint" / "epoch.safetensors", digest

    def save(self, progress: Progress, seconds: float) -> None:
        """Store `progress`, after `seconds` of training, in place of the last one."""
        arrays = {
            f"{tree}.{name}": array
            for tree in TREES
            for name, array in getattr(progress, tree).items()
        }
        arrays |= {f"optimiser.{i:03}": leaf for i, leaf in enumerate(progress.optimiser)}
        facts = {name: json.dumps(getattr(progress, name)) for name in FACTS}
        metadata = {"digest": self.digest, "seconds": repr(seconds), **facts}
        safetensors.write(self.file, arrays, metadata)

    def load(self) -> tuple[Progress, float] | None:
        """The progress and its seconds; None if there is no whole file of this digest.

        With several hosts, all get what the first one has stored.
        """
        blob = distributed.from_first(self.file.read_bytes() if self.file.exists() else b"")
        try:
            arrays, metadata = safetensors.unpack(blob, self.file)
        except UserError:
            return None
        if metadata.get("digest") != self.digest:
            return None

        def group(prefix: str) -> dict[str, np.ndarray]:
            start = prefix + "."
            return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}

        leaves = group("optimiser")
        facts: dict[str, Any] = {name: json.loads(metadata[name]) for name in FACTS}
        facts |= {tree: group(tree) for tree in TREES}
        progress = Progress(**facts, optimiser=[leaves[name] for name in sorted(leaves)])
        return progress, float(metadata["seconds"])

    def remove(self) -> None:
        """Remove it with its folder."""
        shutil.rmtree(self.file.parent, ignore_errors=True)
