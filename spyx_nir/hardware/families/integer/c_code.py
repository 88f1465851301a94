"""C99 that computes what `simulator` computes: model.h, model.c, weights.h and weights.c.

No heap, no floats, no division, no library but stdint.h. A spike walks its own weights: a matrix is kept
by sources, a kernel by (channel, row, column), so that a spike adds rows to states side by side. What
arrives is added to the state itself; `model_step` finishes a step. The first event behind a step, or the
next `model_step`, decays the states and sends the spikes that close a cycle, so that between steps the
states are those of the rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware.families.integer.bounds import bounds
from spyx_nir.hardware.families.integer.layout import Layout, Map, as_map, layout, pooled
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

TEXTS = Path(__file__).with_name("c")
SHARED = ("serial.h", "serial.c", "host.c")
RECIPROCAL_BITS = 16
FOLDER = "c"
# Inlined, a convolution takes registers from the loop over neurons that calls it.
NOINLINE = """#if defined(__GNUC__)
#define MODEL_NOINLINE __attribute__((noinline)) /* leaves registers to the loop that calls it */
#else
#define MODEL_NOINLINE
#endif"""


def c_files(network: IntegerNetwork) -> dict[str, str]:
    """Name -> text of the C sources of a network.

    Raises:
        GraphError: several inputs or outputs, a shape of more than three axes, or more neurons than
            sums of 32 bits hold.
    """
    plan = _Plan(network)
    made = {
        "model.h": plan.header(),
        "model.c": plan.source(),
        "weights.h": plan.declarations(),
        "weights.c": plan.weights(),
    }
    made |= {name: (TEXTS / name).read_text(encoding="utf-8") for name in SHARED}
    return {f"{FOLDER}/{name}": text for name, text in made.items()}


def layout_of(network: IntegerNetwork) -> Layout:
    """Where the C keeps the states of a network."""
    populations = network.populations
    return layout((p.name, p.shape, p.decay_syn is not None, p.output) for p in populations)


def most_events(sizes: list[tuple[int, int]], unit: int, weight_bits: int, most: int) -> int:
    """How many events a step may take so that no sum leaves 32 bits, whatever the weights are.

    Args:
        sizes: per population, how many links lead there from the input, and how many neurons lead there.
        unit: what a weight of 1 adds to a state. most: the largest state.
    """
    each = unit * 2 ** (weight_bits - 1)
    found = [2**31]
    for links, neurons in sizes:
        room = 2**31 - 1 - most - each * neurons
        found.append(room // (each * max(links, 1)) if links or room < 0 else 2**31)
    return min(found)


def event_limit(network: IntegerNetwork) -> int:
    """`most_events` of a network of one input."""
    (source,) = network.inputs
    sizes = {p.name: math.prod(p.shape) for p in network.populations}
    into = [network.into(p) for p in network.populations]
    return most_events(
        [
            (
                sum(weight.source == source for weight in weights),
                sum(sizes[weight.source] for weight in weights if weight.source != source),
            )
            for weights in into
        ],
        2 ** network.profile["state.threshold_shift"],
        network.profile["weights.bits"],
        2 ** (network.profile["state.bits"] - 1) - 1,
    )


class _Plan:
    """The pieces of the text."""

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        self.layout = layout_of(network)
        outputs = [p for p in network.populations if p.output]
        if len(network.inputs) != 1 or len(outputs) != 1:
            raise GraphError(
                f"one input and one output are needed, the network has {sorted(network.inputs)} and "
                f"{[p.name for p in outputs]}"
            )
        ((self.input, shape),) = network.inputs.items()
        self.maps: dict[str, Map] = {self.input: as_map(shape)}
        self.maps |= {name: place.shape for name, place in self.layout.places.items()}
        (self.output,) = outputs
        self.order = {p.name: number for number, p in enumerate(network.populations)}
        profile = network.profile
        self.most = 2 ** (profile["state.bits"] - 1) - 1
        self.unit = 2 ** profile["state.threshold_shift"]
        self.events = event_limit(network)

    # ------------------------------------------------------------------------------------ model.h

    def header(self) -> str:
        channels, height, width = self.maps[self.input]
        places = "\n".join(
            f"   {safe(name)}: {' x '.join(map(str, place.shape))}, neurons from {place.neuron}"
            + ("" if place.current is None else f", currents from {place.current}")
            + f", words of spikes from {place.word}"
            for name, place in self.layout.places.items()
        )
        said = "\n".join(f"   {safe(str(bound))}" for bound in bounds(self.network))
        currents = ""
        if self.layout.currents:
            currents = "    int32_t current[MODEL_CURRENTS];\n"
        return f"""/* A spiking network in integers, generated. The rule is that of verify_integers.py.

   Populations (channels x height x width), in the order of a step; neuron (c, y, x) is number
   (y * width + x) * channels + c behind the first:
{places}

   States in the worst case, by interval analysis of the weights, with at most
   {self.network.profile["neuron.input_spikes_per_step"]} events of an input in a step:
{said}
*/
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_CHANNELS {channels}u
#define MODEL_HEIGHT {height}u
#define MODEL_WIDTH {width}u
#define MODEL_CLASSES {self.layout.classes}u
#define MODEL_NEURONS {self.layout.neurons}u
#define MODEL_CURRENTS {self.layout.currents}
#define MODEL_WORDS {self.layout.words}u
#define MODEL_MOST_EVENTS {self.events}u /* of a step: with more, a sum could leave 32 bits */

/* All that changes. The caller owns it; several may be used side by side. */
typedef struct {{
{currents}    int32_t membrane[MODEL_NEURONS];
    uint32_t spikes[MODEL_WORDS]; /* of the last step: bit n % 32 of word n / 32 */
    uint32_t counts[MODEL_CLASSES]; /* output spikes since the reset */
    uint32_t events; /* of the running step */
    uint32_t running; /* whether a step has begun */
}} model_state;

/* Before a recording: every state is 0. */
void model_reset(model_state *state);

/* Adds an event to the running step. Returns 1, or 0 for one that is outside the input or beyond
   MODEL_MOST_EVENTS: it is not taken. */
int model_event(model_state *state, uint32_t channel, uint32_t y, uint32_t x);

/* Ends the step. Writes 0 or 1 for each class to `spikes_out`, which may be 0; returns their sum. */
uint32_t model_step(model_state *state, uint8_t *spikes_out);

/* The class with most spikes since the reset; the first of equals. */
uint32_t model_classify(const model_state *state);

#endif
"""

    # ------------------------------------------------------------------------------------ model.c

    def source(self) -> str:
        links = [self._link(k, weight) for k, weight in enumerate(self.network.weights)]
        rule = (TEXTS / "rule.c").read_text(encoding="utf-8").strip()
        if not self._decays():
            start, end = rule.index("/* x * n / 4096"), rule.index("static int32_t saturated")
            rule = rule[:start] + rule[end:]
        if not any("add16(" in link for link in links):
            rule = rule[: rule.index("/* As add")].strip()
        if any(weight.values.ndim == 4 for weight in self.network.weights):
            rule += "\n\n" + NOINLINE
        defines = f"#define MODEL_MOST {self.most}\n#define MODEL_UNIT {self.unit}"
        fires = [self._fire(p) for p in self.network.populations]
        parts = [
            '#include "model.h"\n\n#include "weights.h"',
            defines,
            rule,
            *links,
            self._begin(),
            *fires,
            self._api(),
        ]
        return "\n\n".join(part.strip() for part in parts) + "\n"

    def _decays(self) -> bool:
        return any(
            p.decay_syn is not None or p.decay_mem is not None for p in self.network.populations
        )

    def _accumulator(self, population: Population) -> str:
        """Where what arrives at a population is added."""
        place = self.layout.places[population.name]
        if place.current is None:
            return f"&s->membrane[{place.neuron}]"
        return f"&s->current[{place.current}]"

    def _link(self, k: int, weight: Weight) -> str:
        target = next(p for p in self.network.populations if p.name == weight.target)
        shape = self.maps[weight.source]
        window, arrives = pooled(shape, weight.pools)
        inline = "MODEL_NOINLINE " if weight.values.ndim == 4 else ""
        head = (
            f"/* `{safe(weight.node)}`: a spike of `{safe(weight.source)}` to "
            f"`{safe(weight.target)}`. */\n"
            f"{inline}static void link_{k}(model_state *s, uint32_t c, uint32_t y, uint32_t x)\n{{\n"
        )
        lines = list(self._pool(window, shape, arrives))
        if weight.values.ndim == 2:
            lines += self._matrix(k, target, arrives)
        else:
            lines += self._convolution(k, weight, target, arrives)
        return head + "".join(f"    {line}\n" for line in lines) + "}"

    def _pool(self, window: int, shape: Map, arrives: Map) -> Iterator[str]:
        if window == 1:
            return
        yield f"y = {_quotient('y', window, shape[1])};"
        yield f"x = {_quotient('x', window, shape[2])};"
        if arrives[1] * window != shape[1] or arrives[2] * window != shape[2]:
            yield f"if (y >= {arrives[1]}u || x >= {arrives[2]}u) {{"
            yield "    return; /* outside every window */"
            yield "}"

    def _matrix(self, k: int, target: Population, arrives: Map) -> Iterator[str]:
        count = self.layout.places[target.name].size
        channels, height, width = arrives
        index = "c"
        if height * width == 1:
            yield "(void)y;"
            yield "(void)x;"
        else:
            index = f"((y * {width}u + x) * {channels}u + c)"
        row = f"&model_weight_{k}[{index} * {count}u]"
        yield f"{_add(count)}({self._accumulator(target)}, {row}, {count}u);"

    def _convolution(
        self, k: int, weight: Weight, target: Population, arrives: Map
    ) -> Iterator[str]:
        features, inner, tall, wide = weight.values.shape
        groups = arrives[0] // inner
        each = features // groups
        _, height, width = self.layout.places[target.name].shape
        group = f" + {_quotient('c', inner, arrives[0])} * {each}u" if groups > 1 else ""
        down, right = weight.stride
        yield f"int32_t *state = {self._accumulator(target)};"
        yield f"const int8_t *kernel = &model_weight_{k}[c * {tall * wide * each}u];"
        yield "uint32_t row, column, first, place, tap;"
        yield f"y += {weight.padding[0]}u;"
        yield f"x += {weight.padding[1]}u;"
        for name, along, size, stride, most in (
            ("row", "y", tall, down, arrives[1] + weight.padding[0]),
            ("first", "x", wide, right, arrives[2] + weight.padding[1]),
        ):
            start = _quotient(f"({along} + {stride}u - {size}u)", stride, most + stride)
            yield f"{name} = {along} < {size}u ? 0u : {start};"
        yield f"for (; row < {height}u && {_times('row', down)} <= y; ++row) {{"
        yield f"    place = (row * {width}u + first) * {features}u{group};"
        tap = f"(y - {_times('row', down)}) * {wide}u + (x - {_times('first', right)})"
        yield f"    tap = ({tap}) * {each}u;"
        walk = f"column < {width}u && {_times('column', right)} <= x"
        yield f"    for (column = first; {walk}; ++column) {{"
        yield f"        {_add(each)}(&state[place], &kernel[tap], {each}u);"
        yield f"        place += {features}u;"
        yield f"        tap -= {right * each}u;"
        yield "    }"
        yield "}"

    def _begin(self) -> str:
        lines = ["uint32_t i;"] if self._decays() or self._closing() else []
        for p in self.network.populations:
            place = self.layout.places[p.name]
            if place.current is not None:
                lines += _loop(
                    place.size, f"s->current[{_plus(place.current)}i]", p, "syn", self.order
                )
            elif p.decay_mem is not None:
                lines += _loop(
                    place.size, f"s->membrane[{_plus(place.neuron)}i]", p, "mem", self.order
                )
        for k, weight in self._closing():
            lines += self._send(k, weight)
        lines.append("s->running = 1u;")
        about = "/* Before a step: decay, and the spikes that close a cycle. */\n"
        body = "".join(f"    {line}\n" for line in lines)
        return f"{about}static void begin(model_state *s)\n{{\n{body}}}"

    def _closing(self) -> list[tuple[int, Weight]]:
        """Links whose spikes arrive in the next step."""
        return [
            (k, w)
            for k, w in enumerate(self.network.weights)
            if w.source != self.input and self.order[w.source] >= self.order[w.target]
        ]

    def _send(self, k: int, weight: Weight) -> Iterator[str]:
        place = self.layout.places[weight.source]
        _, height, width = place.shape
        if height * width == 1:
            yield f"for (i = 0; i < {place.words}u; ++i) {{"
            yield f"    uint32_t bits = s->spikes[{_plus(place.word)}i], c = i << 5;"
            yield "    for (; bits != 0u; bits >>= 1, ++c) {"
            yield "        if ((bits & 1u) != 0u) {"
            yield f"            link_{k}(s, c, 0, 0);"
            yield "        }"
            yield "    }"
            yield "}"
            return
        yield "i = 0;"
        yield "{"
        yield from _over_map(place.shape)
        yield f"            if (((s->spikes[{_plus(place.word)}(i >> 5)] >> (i & 31u)) & 1u) != 0u) {{"
        yield f"                link_{k}(s, c, y, x);"
        yield "            }"
        yield "            ++i;"
        yield from ("        }", "    }", "}", "}")

    def _fire(self, p: Population) -> str:
        place = self.layout.places[p.name]
        n = self.order[p.name]
        flat = place.shape[1] * place.shape[2] == 1
        lines = [
            f"int32_t *v = &s->membrane[{place.neuron}];",
            *([] if place.current is None else [f"int32_t *u = &s->current[{place.current}];"]),
            f"uint32_t *spikes = &s->spikes[{place.word}];",
            "uint32_t i;",
            f"for (i = 0; i < {place.words}u; ++i) {{",
            "    spikes[i] = 0;",
            "}",
        ]
        links = [
            (k, w)
            for k, w in enumerate(self.network.weights)
            if w.source == p.name and self.order[w.target] > n
        ]
        sent = [f"    link_{k}(s, {'i, 0, 0' if flat else 'c, y, x'});" for k, _ in links]
        threshold = (
            f"{int(p.threshold) * self.unit}"
            if p.threshold.ndim == 0
            else (f"model_threshold_{n}[i]")
        )
        reset = "0" if p.reset == "v_reset" else f"m - {threshold}"
        kept = "v[i]" if p.decay_mem is None else f"decayed(v[i], {_decay(p, 'mem', n)})"
        summed = f"{kept} + u[i]"
        fired = [
            f"if (m > {threshold}) {{",
            f"    m = {reset};",
            "    spikes[i >> 5] |= (uint32_t)1 << (i & 31u);",
            *sent,
            "}",
            "v[i] = m;",
        ]
        if place.current is None:  # most neurons neither spike nor saturate: one comparison says so
            lowest = f"{self.most + 1}u"
            body = [
                f"if ((uint32_t)v[i] + {lowest} > (uint32_t){threshold} + {lowest}) {{",
                "    int32_t m = saturated(v[i]);",
                *(f"    {line}" for line in fired),
                "}",
            ]
        else:
            body = ["int32_t m;", "u[i] = saturated(u[i]);", f"m = saturated({summed});", *fired]
        if flat:
            lines += [f"for (i = 0; i < {place.size}u; ++i) {{"]
            lines += [f"    {line}" for line in body] + ["}"]
        else:
            uses = bool(sent)
            lines += (
                ["i = 0;", *_over_map(place.shape)]
                if uses
                else [f"for (i = 0; i < {place.size}u; ++i) {{"]
            )
            indent = "            " if uses else "    "
            lines += [f"{indent}{line}" for line in body]
            lines += [f"{indent}++i;", "        }", "    }", "}"] if uses else ["}"]
        text = "".join(f"    {line}\n" for line in lines)
        return f"/* `{safe(p.name)}` spikes. */\nstatic void fire_{n}(model_state *s)\n{{\n{text}}}"

    def _api(self) -> str:
        place = self.layout.places[self.output.name]
        fed = [k for k, w in enumerate(self.network.weights) if w.source == self.input]
        sent = "".join(f"    link_{k}(state, channel, y, x);\n" for k in fed)
        fires = "".join(f"    fire_{n}(state);\n" for n in self.order.values())
        currents = ""
        if self.layout.currents:
            currents = """    for (i = 0; i < (uint32_t)MODEL_CURRENTS; ++i) {
        state->current[i] = 0;
    }
"""
        return f"""void model_reset(model_state *state)
{{
    uint32_t i;
{currents}    for (i = 0; i < MODEL_NEURONS; ++i) {{
        state->membrane[i] = 0;
    }}
    for (i = 0; i < MODEL_WORDS; ++i) {{
        state->spikes[i] = 0;
    }}
    for (i = 0; i < MODEL_CLASSES; ++i) {{
        state->counts[i] = 0;
    }}
    state->events = 0;
    state->running = 0;
}}

int model_event(model_state *state, uint32_t channel, uint32_t y, uint32_t x)
{{
    if (channel >= MODEL_CHANNELS || y >= MODEL_HEIGHT || x >= MODEL_WIDTH ||
        state->events >= MODEL_MOST_EVENTS) {{
        return 0;
    }}
    if (state->running == 0u) {{
        begin(state);
    }}
    ++state->events;
{sent}    return 1;
}}

uint32_t model_step(model_state *state, uint8_t *spikes_out)
{{
    uint32_t i, sum = 0;
    if (state->running == 0u) {{
        begin(state);
    }}
{fires}    for (i = 0; i < MODEL_CLASSES; ++i) {{
        uint32_t spike = (state->spikes[{_plus(place.word)}(i >> 5)] >> (i & 31u)) & 1u;
        sum += spike;
        state->counts[i] += spike;
        if (spikes_out != 0) {{
            spikes_out[i] = (uint8_t)spike;
        }}
    }}
    state->events = 0;
    state->running = 0;
    return sum;
}}

uint32_t model_classify(const model_state *state)
{{
    uint32_t i, best = 0;
    for (i = 1; i < MODEL_CLASSES; ++i) {{
        if (state->counts[i] > state->counts[best]) {{
            best = i;
        }}
    }}
    return best;
}}"""

    # ---------------------------------------------------------------------------------- weights.c

    def declarations(self) -> str:
        lines = [f"extern {head};" for head, _, _ in self._arrays()]
        return "\n".join(
            [
                "/* The network's numbers, generated. */",
                "#ifndef WEIGHTS_H", "#define WEIGHTS_H", "", "#include <stdint.h>", "",
                *lines,
                "", "#endif", "",
            ]
        )  # fmt: skip

    def weights(self) -> str:
        parts = ['#include "weights.h"']
        for head, about, values in self._arrays():
            numbers = [str(int(n)) for n in values]
            rows = [", ".join(numbers[i : i + 16]) for i in range(0, len(numbers), 16)]
            text = ",\n".join(f"    {row}" for row in rows)
            parts.append(f"/* {about} */\n{head} = {{\n{text}\n}};")
        return "\n\n".join(parts) + "\n"

    def _arrays(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """The head, what it is, and the values of each array."""
        for k, weight in enumerate(self.network.weights):
            values = self._ordered(weight).ravel()
            order = (
                "(source, target)" if weight.values.ndim == 2 else "(channel, row, column, target)"
            )
            yield (
                f"const int8_t model_weight_{k}[{values.size}]",
                f"`{safe(weight.node)}`, {order}",
                values,
            )
        for p in self.network.populations:
            n = self.order[p.name]
            for name, kind, array, unit in (
                ("threshold", "int32_t", p.threshold, self.unit),
                ("decay_syn", "uint16_t", p.decay_syn, 1),
                ("decay_mem", "uint16_t", p.decay_mem, 1),
            ):
                if array is not None and np.ndim(array):
                    values = channels_last(array).ravel() * unit
                    head = f"const {kind} model_{name}_{n}[{values.size}]"
                    yield head, f"{name} of `{safe(p.name)}`", values

    def _ordered(self, weight: Weight) -> np.ndarray:
        """A weight's values in the order in which a spike walks them."""
        if weight.values.ndim == 4:
            features, inner, tall, wide = weight.values.shape
            _, (channels, _, _) = pooled(self.maps[weight.source], weight.pools)
            groups = channels // inner
            split = weight.values.reshape(groups, features // groups, inner, tall, wide)
            return split.transpose(0, 2, 3, 4, 1).reshape(channels, tall, wide, -1)
        _, arrives = pooled(self.maps[weight.source], weight.pools)
        target = self.layout.places[weight.target].shape
        whole = weight.values.reshape(*target, *arrives)
        return whole.transpose(4, 5, 3, 1, 2, 0)


def channels_last(states: np.ndarray) -> np.ndarray:
    """States (..., C, H, W) or of fewer axes in the order of the C, for one population."""
    return np.moveaxis(states, 0, -1) if states.ndim > 1 else states


def _loop(size: int, state: str, p: Population, which: str, order: dict[str, int]) -> list[str]:
    n = _decay(p, which, order[p.name])
    return [
        f"for (i = 0; i < {size}u; ++i) {{",
        f"    {state} = decayed({state}, {n});",
        "}",
    ]


def _decay(p: Population, which: str, number: int) -> str:
    """n of n / 4096 of a population, as C."""
    value = p.decay_syn if which == "syn" else p.decay_mem
    assert value is not None
    if np.ndim(value) == 0:
        return f"{int(value)}u"
    return f"model_decay_{which}_{number}[i]"


def _over_map(shape: Map) -> list[str]:
    channels, height, width = shape
    return [
        "uint32_t y, x, c;",
        f"for (y = 0; y < {height}u; ++y) {{",
        f"    for (x = 0; x < {width}u; ++x) {{",
        f"        for (c = 0; c < {channels}u; ++c) {{",
    ]


def _add(count: int) -> str:
    """The function that adds a row of so many weights."""
    return "add16" if count % 16 == 0 else "add"


def _plus(first: int) -> str:
    return f"{first}u + " if first else ""


def _times(name: str, factor: int) -> str:
    return name if factor == 1 else f"{name} * {factor}u"


def _quotient(dividend: str, divisor: int, most: int) -> str:
    """`dividend / divisor` as a product and a shift."""
    if divisor == 1:
        return dividend
    return f"(({dividend} * {reciprocal(divisor, most)}u) >> {RECIPROCAL_BITS})"


def reciprocal(divisor: int, most: int) -> int:
    """n / divisor is n * this >> RECIPROCAL_BITS, for n from 0 to `most`, within 32 bits.

    Raises:
        GraphError: it is not, for one of them.
    """
    factor = -(-(2**RECIPROCAL_BITS) // divisor)
    numbers = np.arange(most + 1, dtype=np.int64)
    if (numbers * factor >> RECIPROCAL_BITS != numbers // divisor).any() or most * factor >= 2**32:
        raise GraphError(f"a map of {most} beside windows or strides of {divisor} is too large")
    return factor


def safe(name: str) -> str:
    """A name that ends no comment."""
    return re.sub(r"[^\w .,:`-]", "_", name)
