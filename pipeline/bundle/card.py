"""MODEL_CARD.md of a task's bundle: what its data are and who trained its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import tasks
from spyx_nir.bundle import card


def write(manifest: dict[str, Any]) -> str:
    """The card's text, `templates/task.md.j2` filled in from the manifest alone."""
    source = tasks.source(manifest["task"], manifest["parameters"]["data"]["source"])
    weights = manifest["weights"]
    return card.write(
        manifest,
        Path(__file__).parent / "templates" / "task.md.j2",
        about=tasks.find(manifest["task"]).ABOUT,
        source=source,
        simulated=source == "simulated",
        # Whether all that the weights were trained on is recorded here.
        known=weights["trained_here"] and weights["started_from"] is None,
    )
