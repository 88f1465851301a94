"""The reference as one text, for programs that have NumPy and nothing of ours."""

from __future__ import annotations

import inspect

from spyx_nir.converter.registry import kinds
from spyx_nir.meaning import reference


def reference_source() -> str:
    """Python source that needs NumPy only and defines `run(graph, x, dt)` of the reference.

    It is the text of `reference.py` and of the equations in `nodes/`, so there is one implementation.
    """
    text = inspect.getsource(reference).replace(
        "from spyx_nir.errors import GraphError\n",
        'class GraphError(ValueError):\n    """A graph or an input that the reference refuses."""\n',
    )
    pieces = [text]
    seen: set[str] = set()
    rows = []
    for kind in sorted(kinds().values(), key=lambda k: k.type):
        equation = kind.equation
        if equation is None:
            continue
        for function in (*kind.numpy, equation.shape, equation.step):
            if function.__module__ != reference.__name__ and function.__name__ not in seen:
                seen.add(function.__name__)
                pieces.append(inspect.getsource(function))
        rows.append(
            f'EQUATIONS["{kind.type}"] = Equation(\n    {equation.step.__name__}, '
            f'{equation.shape.__name__}, "{equation.fields}", {equation.stateful}, {equation.spikes}\n)\n'
        )
    return "\n\n".join(pieces) + "\n\n" + "".join(rows)
