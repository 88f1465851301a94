"""The steps of a model from the jaxpr of its run: which layer gets what from which."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.extend.core import Literal

from spyx_nir.converter.steps import Step, label
from spyx_nir.converter.trace import operations
from spyx_nir.converter.trace.calls import Call, layer_p
from spyx_nir.converter.trace.values import (
    UNKNOWN,
    Final,
    Foreign,
    Held,
    Known,
    Next,
    Signal,
    Value,
    internal,
    line_of,
)
from spyx_nir.errors import GraphError

# Where an equation holds the jaxpr that it runs once.
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")
LOOPS = ("scan", "while", "cond")
# Arguments of a call that a layer also takes as attributes.
SWITCHES = ("use_running_average", "deterministic")


class Reader:
    """Reads one jaxpr.

    Args:
        paths: for the id of each array of the model the path of its layer.
        time: the name of the leading axis that is time; None where it is to be found out.
    """

    def __init__(self, paths: dict[int, str], time: str | None):
        self.paths, self.time = paths, time
        self.steps: list[Step] = []
        self.loops = 0
        self._made: set[int] = set()
        self._taken: dict[tuple[int, int], tuple[int, int]] = {}
        self._seen: dict[tuple[int, ...], int] = {}

    # ------------------------------------------------------------------- what `operations` needs

    def add(self, layer: Any, terms: tuple[int, ...]) -> int:
        """See `operations.Builder`."""
        self.steps.append(Step(layer, terms, (layer,), self._line))
        self._made.add(len(self.steps) - 1)
        return len(self.steps) - 1

    def own(self, index: int) -> Any:
        """See `operations.Builder`."""
        return self.steps[index].layer if index in self._made else None

    def sources(self, index: int) -> tuple[int, ...]:
        """See `operations.Builder`."""
        return self.steps[index].sources

    # -------------------------------------------------------------------------------- the jaxpr

    def read(
        self, jaxpr: Any, constants: Sequence[Value], arguments: Sequence[Value]
    ) -> list[Value]:
        """The outputs of a jaxpr, given what its constants and arguments are."""
        env: dict[Any, Value] = {}

        def look(atom: Any) -> Value:
            return Known(atom.val) if isinstance(atom, Literal) else env[atom]

        env.update(zip(jaxpr.constvars, constants, strict=True))
        env.update(zip(jaxpr.invars, arguments, strict=True))
        for equation in jaxpr.eqns:
            outputs = self._equation(equation, [look(atom) for atom in equation.invars])
            env.update(zip(equation.outvars, outputs, strict=True))
        return [look(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, values: list[Value]) -> list[Value]:
        name, params = equation.primitive.name, equation.params
        if equation.primitive is layer_p:
            self._at(equation)
            stateless = len(values) == params["call"].variables + 1
            if not (stateless and isinstance(values[-1], Known)):
                return self._layer(params["call"], values)
        if all(isinstance(value, Known) for value in values):
            return self._evaluated(equation, values)
        if name == "scan":
            return self._scan(equation, values)
        inner = next((params[key] for key in INNER if key in params), None)
        if inner is not None and name not in LOOPS:
            return self._inline(equation, inner, values)
        foreign = next((value for value in values if isinstance(value, Foreign)), None)
        if foreign is None:
            self._at(equation)
            avals = {
                "before": equation.invars[0].aval.shape,
                "after": equation.outvars[0].aval.shape,
            }
            found = operations.apply(self, name, values, {**params, **avals})
            if found is not None:
                return [found]
            foreign = self._foreign(name, values)
        return [foreign] * len(equation.outvars)

    def _inline(self, equation: Any, inner: Any, values: list[Value]) -> list[Value]:
        """A jaxpr that an equation runs once.

        JAX traces a function of a library once for all who call it: its lines are those of the first
        caller, so the line of this call counts for all of it.
        """
        jaxpr = getattr(inner, "jaxpr", inner)
        constants = [Known(value) for value in getattr(inner, "consts", ())]
        file = getattr(jaxpr.debug_info, "func_filename", None) or ""
        outer = self._fixed
        if not outer and internal(file):
            self._at(equation)
            self._fixed = self._line
        try:
            return self.read(jaxpr, constants, values)
        finally:
            self._fixed = outer

    def _at(self, equation: Any) -> None:
        """Remember the line of an equation."""
        self._line = self._fixed or line_of(equation.source_info)

    _line, _fixed = UNKNOWN, ""

    def _foreign(self, name: str, values: Sequence[Value]) -> Foreign:
        remedy = operations.REMEDIES.get(name, "")
        what = f"`{name}`"
        if any(isinstance(value, Held | Next | Final) for value in values):
            what += " on a neuron's state"
        elif any(isinstance(v, Signal) and len(v.lead) > 1 for v in values):
            what += " over several steps of time"
        return Foreign(what, self._line, remedy)

    def _evaluated(self, equation: Any, values: Sequence[Value]) -> list[Value]:
        """An equation on known arrays alone."""
        known = [value.value for value in values if isinstance(value, Known)]
        params = equation.primitive.get_bind_params(equation.params)
        # Since JAX 0.10 the functions that an equation calls are among its parameters.
        functions, params = params if isinstance(params, tuple) else ((), params)
        found = equation.primitive.bind(*functions, *known, **params)
        return [
            Known(value) for value in (found if equation.primitive.multiple_results else [found])
        ]

    # ----------------------------------------------------------------------------------- layers

    def _layer(self, call: Call, values: list[Value]) -> list[Value]:
        variables, arguments = values[: call.variables], values[call.variables :]
        if bad := next((value for value in values if isinstance(value, Foreign)), None):
            raise bad.error()
        layer, place = self._rebuilt(call, variables)
        where = label(layer) + place
        signal, *state = arguments
        if not isinstance(signal, Signal):
            raise _unsupported(f"{where} gets no signal that depends on the input in this step")
        stateful = hasattr(layer, "initial_state")
        if stateful and (len(signal.lead) != 1 or not self.loops):
            raise _unsupported(f"{where} runs outside of the loop over time")
        if not stateful and state:
            raise _unsupported(f"{where} is called with more arrays than its input")
        index = len(self.steps)
        note = self._shared(variables, index)
        self.steps.append(Step(layer, signal.terms, (layer,), place, note))
        if stateful:
            self._take(layer, where, index, state)
        lead = len(signal.lead)
        shape = call.shapes[0].shape
        outputs: list[Value] = [Signal((index,), signal.lead, tuple(shape[lead:]))]
        return outputs + [Next(index, j) for j in range(len(call.shapes) - 1)]

    def _rebuilt(self, call: Call, variables: Sequence[Value]) -> tuple[Any, str]:
        """The layer with its numbers, and what messages say of its place."""
        place = [] if self._line == UNKNOWN else [self._line]
        if not all(isinstance(value, Known) for value in variables):
            raise _unsupported(f"{self._line}: a layer's parameters depend on the model's input")
        known = [value.value for value in variables if isinstance(value, Known)]
        count = sum(value is None for value in call.fixed) - len(known)
        layer, arguments = call.rebuilt([*known, *[None] * count])
        paths = [self.paths[id(value)] for value in known if id(value) in self.paths]
        place = [f"`{paths[0]}`", *place] if paths else place
        for option, value in call.options.items():
            if option not in SWITCHES and value is not None:
                raise _unsupported(f"{self._line}: {label(layer)} is called with `{option}`")
            if value is not None:
                setattr(layer, option, value)
        for value in arguments[1:]:
            if isinstance(value, bool):
                if not isinstance(layer, nnx.BatchNorm | nnx.Dropout):
                    raise _unsupported(f"{self._line}: {label(layer)} is called with {value}")
                setattr(layer, SWITCHES[isinstance(layer, nnx.Dropout)], value)
        return layer, f" ({', '.join(place)})" if place else ""

    def _shared(self, variables: Sequence[Value], index: int) -> str:
        """Remember whose arrays these are; what to note of a second call of the same layer."""
        key = tuple(id(value.value) for value in variables if isinstance(value, Known))
        first = self._seen.setdefault(key, index) if key else index
        return "" if first == index else "the model runs one layer at several places"

    def _take(self, layer: Any, where: str, index: int, state: Sequence[Value]) -> None:
        """A layer's state must be its own: carried by the loop, from `initial_state` on."""
        for j, value in enumerate(state):
            if not isinstance(value, Held):
                raise _unsupported(
                    f"{where} gets a state that is not the one it put out in the step before"
                )
            if (value.scan, value.index) in self._taken:
                raise _unsupported(f"{where} shares its state with another call")
            self._taken[value.scan, value.index] = index, j
        batch = state[0].start.shape[0] if state and isinstance(state[0], Held) else 1
        usual = jax.tree.leaves(layer.initial_state(batch))
        given = [np.asarray(value.start) for value in state if isinstance(value, Held)]
        same = len(usual) == len(given) and all(
            np.array_equal(np.asarray(a), b) for a, b in zip(usual, given, strict=True)
        )
        if not same:
            raise _unsupported(f"{where} does not start from its `initial_state`")

    # ------------------------------------------------------------------------------------- time

    def _scan(self, equation: Any, values: list[Value]) -> list[Value]:
        """A loop over time."""
        self._at(equation)
        params, line = equation.params, self._line
        jaxpr = params["jaxpr"]
        consts = values[: params["num_consts"]]
        carry = values[params["num_consts"] :][: params["num_carry"]]
        rows = values[params["num_consts"] + params["num_carry"] :]
        if bad := self._no_loop(params, rows):
            return [bad] * len(equation.outvars)
        number = self.loops + 1
        inner = jaxpr.jaxpr
        starts = inner.invars[len(consts) :][: len(carry)]
        held = [
            value if start is end else self._carried(value, number, index)
            for index, (value, start, end) in enumerate(
                zip(carry, starts, inner.outvars[: len(carry)], strict=True)
            )
        ]
        each = [
            dataclasses.replace(row, lead=row.lead[1:]) for row in rows if isinstance(row, Signal)
        ]
        self.loops = number
        found = self.read(inner, [Known(value) for value in jaxpr.consts], [*consts, *held, *each])
        self._check_states(number, found[: len(carry)])
        assert self.time is not None
        time = self.time
        finals: list[Value] = [Final()] * len(carry)
        return finals + [
            dataclasses.replace(value, lead=(time, *value.lead))
            if isinstance(value, Signal)
            else value
            if isinstance(value, Foreign)
            else Foreign("a state, as an output,", line)
            for value in found[len(carry) :]
        ]

    def _carried(self, value: Value, number: int, index: int) -> Value:
        if isinstance(value, Known):
            return Held(number, index, value.value)
        return value if isinstance(value, Foreign) else self._foreign("scan", [value])

    def _no_loop(self, params: dict[str, Any], rows: Sequence[Value]) -> Foreign | None:
        """Why a scan is no loop over time; None if it is one."""
        for row in rows:
            if isinstance(row, Foreign):
                return row
        leads = {row.lead[0] if row.lead else "" for row in rows if isinstance(row, Signal)}
        signals = all(isinstance(row, Signal) for row in rows)
        if not rows or not signals or len(leads) != 1 or params["reverse"]:
            return self._foreign("scan", rows)
        (axis,) = leads
        self.time = axis if self.time is None else self.time
        return None if axis == self.time else self._foreign("scan", rows)

    def _check_states(self, number: int, ends: Sequence[Value]) -> None:
        """What a layer made of its state must be what it gets in the next step."""
        from spyx_nir.converter.fold import transparent

        for (scan, index), (step, j) in self._taken.items():
            if scan != number or ends[index] == Next(step, j):
                continue
            layer, place = self.steps[step].layer, self.steps[step].place
            if not transparent(layer):
                raise _unsupported(
                    f"{label(layer)}{place} does not get the state that it put out in the step before"
                )


def _unsupported(what: str) -> GraphError:
    return GraphError(what, code="untraceable")
