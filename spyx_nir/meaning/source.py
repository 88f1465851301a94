"""The reference as one text, for programs that have NumPy and nothing of ours."""

from __future__ import annotations

import inspect
import re

from spyx_nir.meaning import equations, plan, reference

_OURS = re.compile(r"^from (?:spyx_nir|__future__)\b[^\n(]*(?:\([^)]*\))?\n", re.MULTILINE)
_ERROR = (
    'class GraphError(ValueError):\n    """A graph or an input that the reference refuses."""\n'
)


def reference_source() -> str:
    """Python source that needs NumPy only and defines `run(graph, x, dt)` of the reference.

    It is the text of `equations.py`, `plan.py` and `reference.py`, so there is one implementation.
    """
    texts = [_OURS.sub("", inspect.getsource(module)) for module in (equations, plan, reference)]
    return "\n\n".join([_ERROR, *texts])
