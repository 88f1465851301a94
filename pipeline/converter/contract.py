"""What a NIR file cannot say, as metadata: written by `to_nir`, read by `load` and the reference.

Graph metadata holds scalars and strings only, so that it survives every version of `nir`:

    contract_version  1
    dt                the step the graph was made for, in `time_unit`
    time_unit         "s" or "step"
    flatten_order     "CHW": NIR's order, which every weight behind a Flatten here follows
    output_order      "HWC" where the model ends behind a Flatten that no weight follows: the model
                      itself hands out channels last; else missing
    input_bin_s       how long one input bin lasted in the recording, seconds
    n_steps           how many steps a sample has
    classes           JSON list of class names, in the order of the output
    readout           "spike_count": the class with the most output spikes; "max_membrane"

A neuron node's own metadata holds `reset`, `spike_delay` and, rarely, `v_init` (see
`pipeline.converter.reference`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pipeline.errors import GraphError

VERSION = 1
READOUTS = ("spike_count", "max_membrane")
UNITS = ("s", "step")


def make(
    dt: float,
    *,
    time_unit: str | None = None,
    input_bin_s: float | None = None,
    n_steps: int | None = None,
    classes: Sequence[str] | None = None,
    readout: str | None = None,
    output_order: str | None = None,
) -> dict[str, Any]:
    """The metadata of a graph; what is None is left out. `time_unit` None: "step" for dt = 1.

    Raises:
        GraphError: a value outside what the contract allows.
    """
    unit = time_unit or ("step" if dt == 1 else "s")
    for name, value, allowed in (("time_unit", unit, UNITS), ("readout", readout, READOUTS)):
        if value is not None and value not in allowed:
            raise GraphError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}")
    told: dict[str, Any] = {
        "contract_version": VERSION,
        "dt": float(dt),
        "time_unit": unit,
        "flatten_order": "CHW",
        "input_bin_s": None if input_bin_s is None else float(input_bin_s),
        "n_steps": None if n_steps is None else int(n_steps),
        "classes": None if classes is None else json.dumps(list(classes)),
        "readout": readout,
        "output_order": output_order,
    }
    return {name: value for name, value in sorted(told.items()) if value is not None}


def check(metadata: dict[str, Any]) -> None:
    """Refuse a contract that this version does not understand.

    Raises:
        GraphError: a newer contract, or a flatten order other than CHW.
    """
    version = metadata.get("contract_version")
    if version is None:
        return
    try:
        known = int(version) <= VERSION
    except (TypeError, ValueError):
        known = False
    if not known:
        raise GraphError(f"contract_version is {version!r}; this reader knows up to {VERSION}")
    if metadata.get("flatten_order", "CHW") != "CHW":
        raise GraphError(f"flatten_order is {metadata['flatten_order']!r}; only CHW is known")
