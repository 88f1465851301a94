"""Verilog-2005 that computes what `simulator` computes: network.v, its modules, and hex files of numbers.

The modules of `rtl/` are written by hand; network.v joins them for one network. States and weights are in
memories whose words have LANES numbers side by side: a map is channels last, its places begin a word, and
lanes that are left over hold zeros. A spike adds rows of weights, LANES at once, to sums of 32 bits; a
pass over a population decays them, or fires. The order is that of the C: decays and the spikes that close
a cycle come before the first event of a step, so that between steps the states are those of the rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware.families.integer.c_code import (
    channels_last,
    event_limit,
    layout_of,
    reciprocal,
    safe,
)
from spyx_nir.hardware.families.integer.layout import Map, as_map, pooled
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

TEXTS = Path(__file__).with_name("rtl")
MODULES = (
    "accumulate.v", "constants.v", "dump.v", "events.v", "link_convolution.v", "link_dense.v",
    "memory.v", "neuron.v", "neurons.v", "pool.v", "saturate.v", "scan.v", "sequencer.v",
)  # fmt: skip
FOLDER = "rtl"
SUM_BITS = 32  # of a sum within a step, as in the C: `event_limit` is for that
FACTOR_BITS = 13  # of a decay, n of n / 4096 with n from 0 to 4096
WEIGHT_BITS = 8
LANES, LANES_OF_MANY, MANY = 2, 8, 1000  # MANY: neurons
MOST_LANES = 16
OPERATIONS = ("STOP", "DECAY", "FIRE", "SEND", "SHOW", "WALK")


def rtl_files(network: IntegerNetwork, lanes: int | None = None) -> dict[str, str]:
    """Name -> text of the Verilog and the hex files of a network.

    lanes: how many neurons are computed side by side, a power of two up to 16; None: `lanes_of`.

    Raises:
        GraphError: several inputs or outputs, a shape of more than three axes, dilation, delays, biases,
            a membrane that is read, or more neurons than sums of 32 bits hold.
    """
    plan = Plan(network, lanes or lanes_of(network))
    made = {name: (TEXTS / name).read_text(encoding="utf-8") for name in MODULES}
    made |= {"network.v": plan.top(), "bench.v": plan.bench(), **plan.numbers()}
    return {f"{FOLDER}/{name}": text for name, text in made.items()}


def lanes_of(network: IntegerNetwork) -> int:
    """How many lanes a network has where nobody says."""
    return LANES_OF_MANY if layout_of(network).neurons >= MANY else LANES


@dataclass(frozen=True)
class Part:
    """A population in words of LANES neurons: its number, its first word, the words of a place."""

    population: Population
    shape: Map
    number: int
    first: int
    place_words: int

    @property
    def words(self) -> int:
        """How many words its states take."""
        return self.shape[1] * self.shape[2] * self.place_words

    @property
    def last(self) -> int:
        """The last of its words."""
        return self.first + self.words - 1

    @property
    def sum_decay(self) -> np.ndarray | None:
        """What the sums decay by between steps: the currents, or membranes where there are none."""
        p = self.population
        return p.decay_mem if p.decay_syn is None else p.decay_syn


@dataclass(frozen=True)
class Link:
    """A weight, where its rows begin, and their words: (rows, words of a row, LANES)."""

    weight: Weight
    number: int
    first: int
    rows: np.ndarray


def bits(most: int) -> int:
    """How many bits a number up to `most` takes, 1 at least."""
    return max(1, int(most).bit_length())


class Plan:
    """What network.v is made of."""

    def __init__(self, network: IntegerNetwork, lanes: int) -> None:
        if lanes not in (1, 2, 4, 8, MOST_LANES):
            raise GraphError(f"{lanes} lanes; 1, 2, 4, 8 and {MOST_LANES} are possible")
        self.network, self.lanes = network, lanes
        self.profile = network.profile
        self.state_bits: int = self.profile["state.bits"]
        self.shift: int = self.profile["state.threshold_shift"]
        outputs = [p for p in network.populations if p.output]
        if len(network.inputs) != 1 or len(outputs) != 1:
            raise GraphError(
                f"one input and one output are needed, the network has {sorted(network.inputs)} and "
                f"{[p.name for p in outputs]}"
            )
        ((self.input, shape),) = network.inputs.items()
        self.shape = _map(self.input, shape)
        self.output = outputs[0].name
        _check(network)
        self.parts: dict[str, Part] = {}
        self.words = 0
        for number, population in enumerate(network.populations):
            form = _map(population.name, population.shape)
            part = Part(population, form, number, self.words, -(-form[0] // lanes))
            self.parts[population.name] = part
            self.words += part.words
        self.links: list[Link] = []
        self.weight_words = 0
        for number, weight in enumerate(network.weights):
            rows = self._rows(weight)
            self.links.append(Link(weight, number, self.weight_words, rows))
            self.weight_words += rows.shape[0] * rows.shape[1]
        self.events = event_limit(network)
        maps = [self.shape, *(part.shape for part in self.parts.values())]
        self.channel_bits = max(bits(max(c for c, _, _ in maps) - 1), bits(lanes - 1))
        self.row_bits = bits(max(h for _, h, _ in maps) - 1)
        self.column_bits = bits(max(w for _, _, w in maps) - 1)

    # -------------------------------------------------------------------------------------- numbers

    def map_of(self, name: str) -> Map:
        """The map of an input or a population."""
        return self.shape if name == self.input else self.parts[name].shape

    def _rows(self, weight: Weight) -> np.ndarray:
        """The rows of a link in the order of their addresses, (rows, words, LANES)."""
        part = self.parts[weight.target]
        _, arrives = pooled(self.map_of(weight.source), weight.pools)
        if weight.values.ndim == 2:
            whole = weight.values.reshape(*part.shape, *arrives).transpose(4, 5, 3, 1, 2, 0)
            return _padded(whole, self.lanes).reshape(math.prod(arrives), part.words, self.lanes)
        if self._of_groups(weight):
            features, inner, tall, wide = weight.values.shape
            split = weight.values.reshape(-1, features // weight.groups, inner, tall, wide)
            ordered = split.transpose(0, 2, 3, 4, 1)
        else:
            ordered = weight.kernel(weight.values).transpose(1, 2, 3, 0)
        full = _padded(ordered, self.lanes)
        return full.reshape(-1, full.shape[-1] // self.lanes, self.lanes)

    def _of_groups(self, weight: Weight) -> bool:
        """Whether a row has the features of a group alone: where groups begin words."""
        return weight.groups > 1 and len(weight.values) // weight.groups % self.lanes == 0

    def numbers(self) -> dict[str, str]:
        """The hex files: weights, and what differs within a population."""
        lines: list[str] = []
        for link in self.links:
            order = "source" if link.weight.values.ndim == 2 else "channel, row, column"
            about = f"`{safe(link.weight.node)}`: rows by ({order}) of {link.rows.shape[1]} words"
            lines += [f"// {about}", *_hex(link.rows.reshape(-1, self.lanes), WEIGHT_BITS)]
        found = {"weights.hex": "\n".join(lines) + "\n"}
        for name, width, arrays in self._tables():
            if _differs(arrays):
                rows = np.concatenate(
                    [self._spread(p, a) for p, a in zip(self.parts.values(), arrays, strict=True)]
                )
                found[f"{name}.hex"] = "\n".join(_hex(rows, width)) + "\n"
        return found

    def _tables(self) -> Iterator[tuple[str, int, list[np.ndarray | None]]]:
        """Name, bits, and for each population its value: thresholds, and the two decays of a pass."""
        parts = list(self.parts.values())
        unit = 2**self.shift
        yield "threshold", self.state_bits, [p.population.threshold * unit for p in parts]
        yield "decay_of_sums", FACTOR_BITS, [part.sum_decay for part in parts]
        yield (
            "decay_of_membranes",
            FACTOR_BITS,
            [None if p.population.decay_syn is None else _kept(p.population) for p in parts],
        )

    def _spread(self, part: Part, value: np.ndarray | None) -> np.ndarray:
        """A population's numbers, one for each lane of its words."""
        whole = np.broadcast_to(0 if value is None else value, part.population.shape)
        last = channels_last(whole).reshape(part.shape[1], part.shape[2], part.shape[0])
        return _padded(last, self.lanes).reshape(-1, self.lanes)

    # -------------------------------------------------------------------------------------- network.v

    def program(self) -> dict[str, list[tuple[str, int, int]]]:
        """Program -> its operations, each (operation, number of the population, number of the link)."""
        order = {name: part.number for name, part in self.parts.items()}
        begin = [("DECAY", p.number, 0) for p in self.parts.values() if p.sum_decay is not None]
        event, step = [], []
        for link in self.links:
            source, target = link.weight.source, link.weight.target
            if source == self.input:
                event.append(("WALK", 0, link.number))
            elif order[source] >= order[target]:
                begin.append(("SEND", order[source], link.number))
        for name, number in order.items():
            step.append(("FIRE", number, 0))
            for link in self.links:
                if link.weight.source == name and order[link.weight.target] > number:
                    step.append(("SEND", number, link.number))
            if name == self.output:
                step.append(("SHOW", number, 0))
        stop = [("STOP", 0, 0)]
        return {"AT_BEGIN": begin + stop, "AT_EVENT": event + stop, "AT_STEP": step + stop}

    def sizes(self) -> dict[str, int]:
        """The localparams of network.v."""
        channels, height, width = self.shape
        found = layout_of(self.network)
        return {
            "CLASSES": math.prod(self.parts[self.output].shape),
            "CHANNELS": channels,
            "HEIGHT": height,
            "WIDTH": width,
            "MOST_EVENTS": self.events,
            "CLASS_BITS": bits(math.prod(self.parts[self.output].shape) - 1),
            "CHANNEL_BITS": bits(channels - 1),
            "ROW_BITS": bits(height - 1),
            "COLUMN_BITS": bits(width - 1),
            "EVENT_BITS": bits(self.events),
            "NEURONS": found.neurons,  # words of a dump of membranes
            "CURRENTS": found.currents,  # of one of currents
            "SPIKE_WORDS": found.words,  # of one of spikes
        }

    def bench(self) -> str:
        """The text of bench.v, which simulators run."""
        text = (TEXTS / "bench.v.in").read_text(encoding="utf-8")
        text = text.replace("@cycles@", str(self.most_cycles()))
        return text.replace("@sizes@", _localparams(self.sizes()))

    def most_cycles(self) -> int:
        """No step takes more clock cycles between its events and its end, nor does a reset."""
        found = 100 + 16 * self.words
        for link in self.links:
            values = link.weight.values
            taps = math.prod(values.shape[2:])
            sources = math.prod(self.map_of(link.weight.source))
            found += self.words + sources * (taps * link.rows.shape[1] + 8)
        return found

    def top(self) -> str:
        """The text of network.v."""
        sizes = self.sizes()
        programs = self.program()
        places = [op for operations in programs.values() for op in operations]
        at, start = {}, 0
        for name, operations in programs.items():
            at[name], start = start, start + len(operations)
        parts = list(self.parts.values())
        currents = [p for p in parts if p.population.decay_syn is not None]
        inner = {
            "LANES": self.lanes,
            "LANE_BITS": bits(self.lanes - 1),
            "SUM_BITS": SUM_BITS,
            "STATE_BITS": self.state_bits,
            "STATE_WORDS": self.words,
            "ADDRESS_BITS": bits(self.words - 1),
            "MEMBRANE_WORDS": max((p.last + 1 for p in currents), default=0),
            "WEIGHT_WORDS": self.weight_words,
            "WEIGHT_ADDRESS_BITS": bits(self.weight_words - 1),
            "FACTOR_BITS": FACTOR_BITS,
            "SPIKE_CHANNEL_BITS": self.channel_bits,
            "SPIKE_ROW_BITS": self.row_bits,
            "SPIKE_COLUMN_BITS": self.column_bits,
            "POPULATION_BITS": bits(len(parts) - 1),
            "LINK_BITS": bits(len(self.links) - 1),
            "PLACE_BITS": bits(len(places) - 1),
            **at,
        }
        text = (TEXTS / "network.v.in").read_text(encoding="utf-8")
        channels, height, width = self.parts[self.output].shape
        shown = "spike_channel"
        if height * width > 1:
            shown = f"(spike_y * {width} + spike_x) * {channels} + spike_channel"
        decays = any(p.sum_decay is not None for p in parts)
        subtracts = any(p.population.reset != "v_reset" for p in parts)
        values = {
            "populations": "\n".join(
                f"//   {safe(part.population.name)}: {' x '.join(map(str, part.shape))}, words "
                f"{part.first} to {part.last}"
                for part in parts
            ),
            "sizes": _localparams(sizes),
            "inner": _localparams(inner),
            "operations": "\n".join(
                f"    localparam [2:0] {name} = {number};" for number, name in enumerate(OPERATIONS)
            ),
            "program": "\n".join(
                f"            {place}: begin operation = {op}; operand = {p}; link = {k}; end"
                for place, (op, p, k) in enumerate(places)
            ),
            "table": "\n".join(self._row(part) for part in parts),
            "links": "\n\n".join(self._instance(link) for link in self.links),
            "wires": "\n".join(_WIRES.format(k=k) for k in range(len(self.links))),
            **{
                f"any_{what}": f" {sign} ".join(f"{what}_{k}" for k in range(len(self.links)))
                for what, sign in (
                    ("busy", "||"),
                    ("reading", "||"),
                    ("weight", "|"),
                    ("state", "|"),
                )
            },
            "constants": "\n\n".join(self._constants()),
            "membranes": _MEMBRANES if currents else _NO_MEMBRANES,
            "last_population": str(len(parts) - 1),
            "last_current": str(currents[-1].number if currents else 0),
            "decays": str(int(decays)),
            "subtracts": str(int(subtracts)),
            "weight_shift": str(self.shift),
            "shown": shown,
        } | {
            f"range_{name.lower()}": f"[{n - 1}:0]" for name, n in sizes.items() if "_BITS" in name
        }
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        return text

    def _row(self, part: Part) -> str:
        p = part.population
        sums = 0 if _varies(part.sum_decay) or part.sum_decay is None else int(part.sum_decay)
        kept = 0
        if p.decay_syn is not None and not _varies(_kept(p)):
            kept = int(_kept(p))
        threshold = 0 if _varies(p.threshold) else int(p.threshold) << self.shift
        fields = {
            "first": part.first,
            "last": part.last,
            "last_channel": part.shape[0] - 1,
            "last_column": part.shape[2] - 1,
            "has_current": int(p.decay_syn is not None),
            "subtract": int(p.reset != "v_reset"),
            "sum_decay": sums,
            "membrane_decay": kept,
            "threshold": threshold,
        }
        lines = "\n".join(f"                {key} = {value};" for key, value in fields.items())
        return f"            {part.number}: begin  // {safe(p.name)}\n{lines}\n            end"

    def _constants(self) -> Iterator[str]:
        """Where decays and thresholds come from: the table above, or a file."""
        for (name, width, arrays), (wire, address, value) in zip(
            self._tables(),
            (
                ("thresholds", "threshold_address", "threshold"),
                ("sum_decays", "decay_address", "sum_decay"),
                ("membrane_decays", "decay_address", "membrane_decay"),
            ),
            strict=True,
        ):
            head = f"    wire [LANES*{width}-1:0] {wire}"
            if not _differs(arrays):
                yield f"{head} = {{LANES{{{value}}}}};"
                continue
            yield (
                f"{head};\n    constants #(\n        .BITS(LANES * {width}), .WORDS(STATE_WORDS), "
                f'.ADDRESS_BITS(ADDRESS_BITS), .FILE("{name}.hex")\n    ) of_{wire} (\n'
                f"        .clk(clk), .read_address({address}), .read_data({wire})\n    );"
            )

    def _instance(self, link: Link) -> str:
        weight, part = link.weight, self.parts[link.weight.target]
        source = self.map_of(weight.source)
        window, arrives = pooled(source, weight.pools)
        reciprocal(window, max(source[1:]))
        values = {"HEIGHT": arrives[1], "WIDTH": arrives[2], "WINDOW": window}
        if weight.values.ndim == 2:
            kind = "link_dense"
            values = {"CHANNELS": arrives[0], **values}
        else:
            kind = "link_convolution"
            values |= self._convolution(weight, arrives, part)
        values |= {
            "ROW_WORDS": link.rows.shape[1],
            "FIRST_WEIGHT": link.first,
            "FIRST_STATE": part.first,
        }
        listed = _wrapped([f".{key}({value})" for key, value in values.items()])
        k = link.number
        return f"""    // {safe(weight.node)}: from {safe(weight.source)} to {safe(weight.target)}
    {kind} #(
{listed},
        .CHANNEL_BITS(SPIKE_CHANNEL_BITS), .ROW_BITS(SPIKE_ROW_BITS),
        .COLUMN_BITS(SPIKE_COLUMN_BITS),
        .WEIGHT_BITS(WEIGHT_ADDRESS_BITS), .STATE_BITS(ADDRESS_BITS)
    ) link_{k} (
        .clk(clk), .rst(rst), .start(start_link && link == {k}),
        .channel(link_channel), .y(link_y), .x(link_x),
        .busy(busy_{k}), .reading(reading_{k}), .weight(weight_{k}), .state(state_{k})
    );"""

    def _convolution(self, weight: Weight, arrives: Map, part: Part) -> dict[str, int]:
        _, inner, tall, wide = weight.values.shape
        largest = max(
            arrives[axis + 1] + weight.padding[axis] + weight.stride[axis] + size
            for axis, size in enumerate((tall, wide))
        )
        for stride in weight.stride:
            reciprocal(stride, largest)
        groups = self._of_groups(weight)
        if groups:
            reciprocal(inner, arrives[0])
        return {
            "KERNEL_HEIGHT": tall,
            "KERNEL_WIDTH": wide,
            "STRIDE_Y": weight.stride[0],
            "STRIDE_X": weight.stride[1],
            "PAD_Y": weight.padding[0],
            "PAD_X": weight.padding[1],
            "OUT_HEIGHT": part.shape[1],
            "OUT_WIDTH": part.shape[2],
            "OUT_WORDS": part.place_words,
            "GROUP_CHANNELS": inner if groups else 0,
            "MAP_BITS": bits(largest) + 1,
        }


_WIRES = """    wire busy_{k}, reading_{k};
    wire [WEIGHT_ADDRESS_BITS-1:0] weight_{k};
    wire [ADDRESS_BITS-1:0] state_{k};"""
_MEMBRANES = """    memory #(
        .BITS(LANES * STATE_BITS), .WORDS(MEMBRANE_WORDS), .ADDRESS_BITS(ADDRESS_BITS)
    ) of_membranes (
        .clk(clk), .write(clearing || (left_write && fires && has_current)),
        .write_address(clearing ? clear_address : left_address),
        .write_data(clearing ? {LANES*STATE_BITS{1'b0}} : left),
        .read_address(read_address), .read_data(membranes)
    );"""
_NO_MEMBRANES = "    assign membranes = {LANES*STATE_BITS{1'b0}};  // no population has a current"


def _check(network: IntegerNetwork) -> None:
    """Refuse what the modules do not have."""
    for weight in network.weights:
        for odd, what in (
            (weight.dilation != (1, 1), f"dilation {weight.dilation}"),
            (weight.delay is not None, "delays"),
        ):
            if odd:
                raise GraphError(
                    f"weight `{weight.node}`: {what}; the generated Verilog has none",
                    node=weight.node,
                )
    for population in network.populations:
        for odd, what in (
            (population.bias is not None, "a bias"),
            (population.membrane, "a membrane that is read"),
        ):
            if odd:
                raise GraphError(
                    f"`{population.name}`: {what}; the generated Verilog has none",
                    node=population.name,
                )


def _map(name: str, shape: tuple[int, ...]) -> Map:
    if not 1 <= len(shape) <= 3:
        raise GraphError(
            f"`{name}`: shape {shape}; the generated Verilog has 1 to 3 axes", node=name
        )
    return as_map(shape)


def _kept(population: Population) -> np.ndarray:
    """n of n / 4096 of the membrane behind a current."""
    return np.asarray(4096) if population.decay_mem is None else population.decay_mem


def _varies(value: np.ndarray | None) -> bool:
    return value is not None and np.ndim(value) > 0


def _differs(arrays: list[np.ndarray | None]) -> bool:
    """Whether a number has to come from a file: where it differs within a population."""
    return any(_varies(array) for array in arrays)


def _padded(values: np.ndarray, lanes: int) -> np.ndarray:
    """Zeros behind the last axis, up to whole words."""
    after = -values.shape[-1] % lanes
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, after)])


def _hex(rows: np.ndarray, width: int) -> list[str]:
    """A word a line, lane 0 in the lowest bits."""
    digits = -(-rows.shape[1] * width // 4)
    found = []
    for row in rows.astype(np.int64).tolist():
        word = sum((value % 2**width) << (lane * width) for lane, value in enumerate(row))
        found.append(f"{word:0{digits}x}")
    return found


def _localparams(values: dict[str, int]) -> str:
    return "\n".join(f"    localparam {name} = {value};" for name, value in values.items())


def _wrapped(pieces: list[str]) -> str:
    """Pieces with commas, in lines of 100 characters."""
    lines, line = [], " " * 8
    for number, piece in enumerate(pieces):
        piece += "," if number < len(pieces) - 1 else ""
        if len(line) + len(piece) > 98:
            lines.append(line.rstrip())
            line = " " * 8
        line += piece + " "
    return "\n".join([*lines, line.rstrip()])
