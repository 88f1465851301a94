"""What every bundle needs: a parity report that is a pass, for the files that are there now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spyx_nir import files
from spyx_nir.errors import UserError


def passed(folder: Path, task: str) -> dict[str, Any]:
    """The parity report of `folder`, if it is a pass for the files there.

    Raises:
        UserError: no report, no pass, or `model.nir` or the weights are not the ones it checked.
    """
    path = folder / "parity.json"
    again = f"run python -m pipeline.parity {task}"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        verdict, checked = report["verdict"], report["model_nir"]["sha256"]
        checked_weights = report["weights_sha256"]
        report["differing_samples"], report["accuracy"]["trained"], report["neurobench"][0]
        report["weights"]["trained_here"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; nothing is deployed unchecked, {again}") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise UserError(f"{path}: not a report of the parity stage; {again}") from None
    if verdict != "pass":
        reasons = "; ".join(map(str, report.get("reasons", [])))
        raise UserError(f"{path}: the verdict is `{verdict}`, `pass` is needed ({reasons})")
    for name, digest in (("model.nir", checked), ("weights.safetensors", checked_weights)):
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file}: no such file; run dvc repro")
        if (now := files.sha256(file)) != digest:
            raise UserError(
                f"{file}: changed after parity (SHA-256 now {now[:12]}..., parity checked "
                f"{digest[:12]}...); {again}"
            )
    return report
