"""The reference as one text, for programs that have NumPy and nothing of ours."""

from __future__ import annotations

import inspect
import re

from spyx_nir import errors, limits
from spyx_nir.meaning import equations, plan, reference

_OURS = re.compile(r"^from (?:spyx_nir|__future__)\b[^\n(]*(?:\([^)]*\))?\n", re.MULTILINE)


def reference_source() -> str:
    """Python source that needs NumPy only and defines `run(graph, x, dt)` of the reference.

    It is the text of `limits.py`, `equations.py`, `plan.py` and `reference.py`: there is one
    implementation.
    """
    texts = [
        _OURS.sub("", inspect.getsource(module)) for module in (limits, equations, plan, reference)
    ]
    kinds_of_error = (inspect.getsource(kind) for kind in (errors.UserError, errors.GraphError))
    return "\n\n".join([*kinds_of_error, *texts])
