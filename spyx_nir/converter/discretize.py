"""The same network in Euler steps: for readers and chips that know no others."""

from __future__ import annotations

from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.converter.repair import copy
from spyx_nir.meaning.equations import exact_node, node_error
from spyx_nir.meaning.plan import make_plan, settled_node, step_dt

Graph = dict[str, Any]


def as_euler(
    graph_dict: Graph, dt: float | None = None, discretization: str | None = None
) -> Graph:
    """A graph whose Euler steps are the exact steps of this one; one in Euler steps as it is.

    tau of LIF and LI becomes dt / (1 - exp(-dt/tau)); r stays.

    Args:
        dt: the step, in the unit of the time constants; None takes the contract's.
        discretization: "euler" or "exact", whatever the file says.

    Raises:
        GraphError: no step is known, or a CubaLIF or CubaLI has an exact step, which adds the input to
            the membrane past the current: no Euler step does.
    """
    plan = make_plan(graph_dict, discretization=discretization)
    if not plan.exact:
        return graph_dict
    dt = step_dt(plan, dt)
    made = copy(graph_dict)
    for path, node in file.nodes(made):
        if "tau_syn" in node:
            what = "in an exact step its input acts past the current, which no Euler step says; "
            what += "train with Euler steps"
            raise node_error(path, what, "discretization", kind=node["type"])
        if "tau" in node:
            settled = exact_node(settled_node(node, dt), dt)
            dtype = np.asarray(node["tau"]).dtype
            node["tau"] = np.asarray(settled["tau"], np.result_type(dtype, np.float64))
    metadata = {**made.get("metadata", {})}
    metadata.pop("discretization", None)
    if "contract_version" in metadata:
        metadata["contract_version"] = 1
    return {**made, "metadata": metadata}
