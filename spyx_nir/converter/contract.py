"""What a NIR file cannot say, as metadata: written by `to_nir`, read by `load` and the reference.

Graph metadata holds scalars and strings only, so that it survives every version of `nir`:

    contract_version  1, or 2 where `discretization` is "exact", which version 1 does not know
    dt                the step the graph was made for, in `time_unit`
    time_unit         "s", "ms" or "step"
    discretization    "exact" where a step is the solution of the equations, not Euler's; else missing
    flatten_order     "CHW": NIR's order, which every weight behind a Flatten here follows
    output_order      "HWC" where the model ends behind a Flatten that no weight follows: the model
                      itself outputs channels last; else missing
    input_bin_s       how long one input bin lasted in the recording, seconds
    n_steps           how many steps a sample has
    classes           JSON list of class names, in the order of the output
    readout           "spike_count": the class with the most output spikes; "max_membrane"

A neuron node's own metadata holds `reset`, `spike_delay` and, rarely, `v_init` (see
`spyx_nir.meaning.reference`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf
from numbers import Integral, Real
from typing import Any

from spyx_nir.errors import GraphError
from spyx_nir.meaning.equations import DISCRETIZATIONS, field_error

READOUTS = ("spike_count", "max_membrane")
UNITS = ("s", "ms", "step")
# Keys that other programs write, and what a reader here does with them.
FOREIGN = {
    "dt": "read where it is one number: the step",
    "discretization": "read as euler or exact where it says so",
    "reset_mechanism": "not read: `subtract` is one of two rules, give --reset",
    "sc_neurocore.studio": "its dt is read, in ms; its neurons step exactly and spike at the threshold",
    "time_step": "not read: no unit, give --dt",
    "timestep": "not read: no unit, give --dt",
    "exporter": "not read: who wrote the file",
    "source": "not read: who wrote the file",
}


def make(
    dt: float,
    *,
    time_unit: str | None = None,
    input_bin_s: float | None = None,
    n_steps: int | None = None,
    classes: Sequence[str] | None = None,
    readout: str | None = None,
    output_order: str | None = None,
    discretization: str | None = None,
    **unknown: Any,
) -> dict[str, Any]:
    """The metadata of a graph; what is None is left out. `time_unit` None: "step" for dt = 1.

    Raises:
        GraphError: a key that the contract does not have, or a value outside what it allows.
    """

    def refuse(name: str, allowed: str, value: object) -> GraphError:
        return field_error(name, f"must be {allowed}, got {value!r:.200}", "contract")

    if unknown:
        given = (
            "to be given are time_unit, input_bin_s, n_steps, classes, readout and discretization"
        )
        name = next(iter(unknown))
        what = f"the contract has no key `{name}`; {given}"
        raise GraphError(what, field=name, code="contract")
    unit = time_unit or ("step" if dt == 1 else "s")
    for name, value, allowed in (
        ("time_unit", unit, UNITS),
        ("readout", readout, READOUTS),
        ("discretization", discretization, DISCRETIZATIONS),
    ):
        if value is not None and value not in allowed:
            raise refuse(name, f"one of {', '.join(allowed)}", value)
    whole = isinstance(n_steps, Integral) and not isinstance(n_steps, bool)
    if n_steps is not None and not (whole and 1 <= n_steps < 2**31):
        raise refuse("n_steps", "a whole number from 1 to 2^31 - 1", n_steps)
    if input_bin_s is not None and not (isinstance(input_bin_s, Real) and 0 < input_bin_s < inf):
        raise refuse("input_bin_s", "a finite number above 0", input_bin_s)
    listed = isinstance(classes, Sequence) and not isinstance(classes, str)
    if classes is not None and not (listed and all(isinstance(name, str) for name in classes)):
        raise refuse("classes", "a list of names", classes)
    metadata: dict[str, Any] = {
        "contract_version": 2 if discretization == "exact" else 1,
        "dt": float(dt),
        "time_unit": unit,
        "flatten_order": "CHW",
        "input_bin_s": None if input_bin_s is None else float(input_bin_s),
        "n_steps": None if n_steps is None else int(n_steps),
        "classes": None if classes is None else json.dumps(list(classes)),
        "readout": readout,
        "output_order": output_order,
        "discretization": discretization,
    }
    return {name: value for name, value in sorted(metadata.items()) if value is not None}
