"""A graph as a picture: SVG, by the standard library alone.

Layers from top to bottom by the longest way from an Input; an edge over several layers bends around the
nodes in between (Sugiyama, Tagawa and Toda 1981). An edge that closes a cycle leads back on the right
side, dashed: it carries the output of the step before.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from spyx_nir.converter import file
from spyx_nir.converter.adapt import flat
from spyx_nir.converter.contract import UNITS
from spyx_nir.converter.lint import span
from spyx_nir.errors import GraphError
from spyx_nir.meaning.equations import EQUATIONS
from spyx_nir.meaning.plan import Plan, make_plan, set_order, settled, single_number

MOST_DRAWN = 2000  # nodes; a picture of more is not legible
CHARACTER, LINE, PAD = 6.6, 15, 8  # px at a font size of 12
GAP, ROW, MARGIN = 28, 40, 24  # px between nodes, between layers, around the picture
LONGEST = 44  # characters of a line
SWEEPS = 8
COLOURS = {"port": "#e8e8e8", "weight": "#d6e6f7", "neuron": "#fde3c4", "other": "#dcefd9"}
SIZES = ("stride", "padding", "dilation", "groups", "kernel_size", "start_dim", "end_dim")


@dataclass
class Box:
    """A node of the picture, or a bend of an edge, without lines.

    x and y: its upper left corner. top and bottom: of its layer; a bend is as high as that.
    """

    lines: list[str]
    layer: int
    kind: str = "bend"
    title: str = ""
    x: float = 0.0
    y: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    above: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)

    @property
    def width(self) -> float:
        return 2 * PAD + CHARACTER * max(map(len, self.lines)) if self.lines else 8

    @property
    def height(self) -> float:
        return 2 * PAD + LINE * len(self.lines) if self.lines else self.bottom - self.top

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def draw(
    graph_dict: dict[str, Any], title: str = "", notes: Mapping[str, str] | None = None
) -> str:
    """A graph as the text of an SVG.

    Args:
        graph_dict: as `file.read_dict` gives it. title: in the first line.
        notes: a last line for some of the nodes, by their path.

    Raises:
        GraphError: the graph has no meaning, or more than `MOST_DRAWN` nodes.
    """
    graph_dict = flat(graph_dict)
    plan = _undelayed(make_plan(graph_dict))
    if len(plan.nodes) > MOST_DRAWN:
        what = f"there are {len(plan.nodes)} nodes; at most {MOST_DRAWN} are drawn"
        raise GraphError(what, code="too-large")
    boxes, routes = _boxes(plan, dict(file.nodes(graph_dict)))
    for path, note in (notes or {}).items():
        boxes[path].lines.append(_short(note))
    _place(boxes)
    back = [(s, t) for t, found in plan.sources.items() for s, closes in found if closes]
    head = [line for line in (title, _about(plan)) if line]
    top = LINE * len(head) + (PAD if head else 0)
    edges = [*_forward(boxes, routes), *_back(boxes, sorted(back))]
    right = max((*(b.x + b.width for b in boxes.values()), *(x for _, x in edges)))
    width = max(right, CHARACTER * max(map(len, head), default=0)) + 2 * MARGIN
    height = max(b.y + b.height for b in boxes.values()) + 2 * MARGIN + top
    body = [f'<g transform="translate({MARGIN} {MARGIN + top:g})">']
    body += [path for path, _ in edges]
    body += [text for path, box in boxes.items() if box.lines for text in _node(box, plan, path)]
    body.append("</g>")
    said = [_text(MARGIN, MARGIN + LINE * n, line, bold=not n) for n, line in enumerate(head)]
    return "\n".join([*_start(width, height, title), *said, *body, "</svg>", ""])


def _undelayed(plan: Plan) -> Plan:
    """The plan in the order of its edges: where a spike is delayed, its own order may be another."""
    nodes = {p: {**n, "spike_delay": 0} if "reset" in n else n for p, n in plan.nodes.items()}
    plan = dataclasses.replace(plan, nodes=nodes)
    set_order(plan)
    return plan


# ------------------------------------------------------------------------------------- what it says


def _about(plan: Plan) -> str:
    parts = []
    if "dt" in plan.metadata:
        unit = plan.metadata.get("time_unit")
        known = f" {unit}" if isinstance(unit, str) and unit in UNITS else ""
        parts.append(f"dt = {single_number(plan.metadata['dt']):g}{known}")
    if plan.exact:
        parts.append("exact steps")
    parts.append(f"{len(plan.nodes)} nodes")
    if any(closes for found in plan.sources.values() for _, closes in found):
        parts.append("dashed: the output of the step before")
    return ", ".join(parts)


def _kind(kind: str) -> str:
    if kind in ("Input", "Output"):
        return "port"
    equation = EQUATIONS[kind]
    if equation.spikes or (equation.stateful and kind != "Delay"):
        return "neuron"
    return "weight" if kind in ("Linear", "Affine", "Conv1d", "Conv2d") else "other"


def _shape(shape: tuple[Any, ...]) -> str:
    return "×".join(map(str, shape))


def _lines(path: str, plan: Plan, stored: Mapping[str, Any], euler: Plan | None) -> list[str]:
    """The text of a node: name, type and shapes, parameters, its part of the contract."""
    node, kind = plan.nodes[path], plan.nodes[path]["type"]
    into, out = _shape(plan.arrives[path]), _shape(plan.shapes[path])
    lines = [path, f"{kind}  {into}" if into == out else f"{kind}  {into} → {out}"]
    if "weight" in node:
        lines.append(f"weight {_shape(np.shape(node['weight']))}, {span(node['weight'])}")
    lines += _wrapped([f"{n} {_size(node[n])}" for n in SIZES if n in node and kind != "Flatten"])
    values = [
        f"{name} {span(value)}"
        for name, value in sorted(node.items())
        if name not in (*SIZES, "weight", "bias", "shape", "input_shape", "input_type", "type")
        and isinstance(value, np.ndarray)
        and value.dtype.kind in "fiu"
    ]
    lines += _wrapped(values)
    if euler is not None:
        dt = single_number(plan.metadata["dt"])
        with np.errstate(all="ignore"):
            decays = [
                f"{name.replace('tau', 'decay')} {span(1 - dt / np.asarray(value, np.float64))}"
                for name, value in euler.nodes[path].items()
                if name.startswith("tau")
            ]
        lines += _wrapped(decays)
    own = stored.get("metadata", {})
    contract = [f"{name} {own[name]}" for name in ("reset", "spike_delay", "v_init") if name in own]
    return [_short(line) for line in (*lines, *_wrapped(contract))]


def _wrapped(parts: list[str]) -> list[str]:
    """Parts joined by commas, in lines that are not too long."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 2 <= LONGEST:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return lines


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _size(value: Any) -> str:
    if isinstance(value, str):
        return value
    sizes = np.ravel(value).tolist()
    return str(sizes[0]) if len(set(sizes)) == 1 else _shape(tuple(sizes))


# ---------------------------------------------------------------------------------------- placement


def _boxes(
    plan: Plan, stored: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Box], list[list[str]]]:
    """The boxes by path, bends among them, and for each forward edge the boxes that it passes."""
    dt = plan.metadata.get("dt")
    euler = None if dt is None else settled(plan, single_number(dt))
    layers: dict[str, int] = {}
    for path in plan.order:
        before = [layers[source] for source, closes in plan.sources[path] if not closes]
        layers[path] = max(before, default=-1) + 1
    boxes = {
        path: Box(
            _lines(path, plan, stored[path], euler), layer, _kind(plan.nodes[path]["type"]), path
        )
        for path, layer in layers.items()
    }
    routes = []
    for target, found in plan.sources.items():
        for source, closes in found:
            if closes:
                continue
            route = [source]
            for layer in range(layers[source] + 1, layers[target]):
                name = f"{source}\n{target}\n{layer}"  # no node has such a name
                boxes[name] = Box([], layer)
                route.append(name)
            routes.append([*route, target])
    for route in routes:
        for one, other in itertools.pairwise(route):
            boxes[one].below.append(other)
            boxes[other].above.append(one)
    return boxes, routes


def _place(boxes: dict[str, Box]) -> None:
    """Order the boxes of each layer by their neighbours, then give all of them their places."""
    rows: list[list[str]] = [[] for _ in range(1 + max(box.layer for box in boxes.values()))]
    for path, box in boxes.items():
        rows[box.layer].append(path)
    for row in rows:
        _pack(row, boxes, dict.fromkeys(row))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted: dict[str, float | None] = {}
            for path in row:
                near = boxes[path].above if down else boxes[path].below
                middles = [boxes[other].middle for other in near]
                wanted[path] = sum(middles) / len(middles) if middles else None
            if sweep < SWEEPS // 2:
                places = {p: boxes[p].middle if w is None else w for p, w in wanted.items()}
                row.sort(key=places.__getitem__)
            _pack(row, boxes, wanted)
    left = min(box.x for box in boxes.values())
    y = 0.0
    for row in rows:
        tallest = max(boxes[path].height for path in row)
        for path in row:
            boxes[path].x -= left
            boxes[path].top, boxes[path].bottom = y, y + tallest
            boxes[path].y = y + (tallest - boxes[path].height) / 2
        y += tallest + ROW


def _pack(row: list[str], boxes: dict[str, Box], wanted: dict[str, float | None]) -> None:
    """Places from left to right without overlap, as near to the wanted middles as that leaves them."""
    x, moved = 0.0, []
    for index, path in enumerate(row):
        box, at = boxes[path], wanted[path]
        start = (box.x if at is None else at - box.width / 2) if index or at is not None else box.x
        place = max(start, x) if index else start
        if at is not None:
            moved.append(start - place)
        box.x, x = place, place + box.width + GAP
    shift = sum(moved) / len(moved) if moved else 0.0
    for path in row:
        boxes[path].x += shift


# --------------------------------------------------------------------------------------------- SVG


def _start(width: float, height: float, title: str) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans Mono, Menlo, monospace" '
        'font-size="11">'
    )
    yield f"<title>{_escaped(title or 'graph')}</title>"
    yield (
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#444"/></marker>'
        '<marker id="back" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#b03030"/></marker></defs>'
    )
    yield '<rect width="100%" height="100%" fill="white"/>'


def _text(x: float, y: float, line: str, bold: bool = False, colour: str = "#222") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{weight}>{_escaped(line)}</text>'


def _escaped(line: str) -> str:
    """Text for XML, which has no control characters."""
    return escape("".join(c if c.isprintable() else "?" for c in line))


def _node(box: Box, plan: Plan, path: str) -> Iterator[str]:
    round_by = 14 if box.kind == "port" else 4
    yield f"<g><title>{_escaped(box.title)}</title>"
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{round_by}" fill="{COLOURS[box.kind]}" stroke="#666"/>'
    )
    for index, line in enumerate(box.lines):
        yield _text(box.x + PAD, box.y + PAD + 11 + LINE * index, line, bold=index == 0)
    if len(plan.sources[path]) > 1:  # several edges add up
        yield (
            f'<circle cx="{box.middle:.1f}" cy="{box.y:.1f}" r="7" fill="white" stroke="#444"/>'
            f'<path d="M{box.middle - 4:.1f} {box.y:.1f} h8 m-4 -4 v8" stroke="#444" fill="none"/>'
        )
    yield "</g>"


def _forward(boxes: dict[str, Box], routes: list[list[str]]) -> Iterator[tuple[str, float]]:
    """The edges that lead down, with how far right they reach."""
    for route in routes:
        first, *passed = (boxes[path] for path in route)
        x, y = first.middle, first.y + first.height
        path = f"M{x:.1f} {y:.1f}"
        for box in passed:
            bend = (box.y - y) / 2
            path += (
                f" C{x:.1f} {y + bend:.1f} {box.middle:.1f} {box.y - bend:.1f} "
                f"{box.middle:.1f} {box.y:.1f}"
            )
            x, y = box.middle, box.y
            if not box.lines:
                y = box.bottom
                path += f" V{y:.1f}"
        yield f'<path d="{path}" fill="none" stroke="#444" marker-end="url(#end)"/>', x


def _back(boxes: dict[str, Box], edges: list[tuple[str, str]]) -> Iterator[tuple[str, float]]:
    """The edges that close a cycle, around the right of all boxes in between, short ones inside.

    They leave and arrive at the right side of a box, or between the layers where another box is there.
    """
    edges = sorted(edges, key=lambda edge: abs(boxes[edge[0]].layer - boxes[edge[1]].layer))
    for index, (source, target) in enumerate(edges):
        one, other = boxes[source], boxes[target]
        low, high = sorted((one.layer, other.layer))
        between = [box.x + box.width for box in boxes.values() if low <= box.layer <= high]
        far = max(between) + GAP + 14 * index
        y1 = one.y + one.height / 2 + (10 if source == target else 0)
        path = f"M{one.x + one.width:.1f} {y1:.1f}"
        if _blocked(one, boxes):
            y1 = one.bottom + ROW / 4
            path = f"M{one.middle + 20:.1f} {one.y + one.height:.1f} V{y1:.1f}"
        y2 = other.y + other.height / 2 + 9 * (index % 4) - 9
        end = f"H{other.x + other.width:.1f}"
        if _blocked(other, boxes):
            y2 = other.top - ROW / 4
            end = f"H{other.middle + 20:.1f} V{other.y:.1f}"
        path = f"{path} H{far:.1f} V{y2:.1f} {end}"
        line = (
            f'<path d="{path}" fill="none" stroke="#b03030" stroke-dasharray="5 3" '
            'stroke-linejoin="round" marker-end="url(#back)"/>'
        )
        yield line, far


def _blocked(box: Box, boxes: dict[str, Box]) -> bool:
    """Whether another box is right of this one in its layer."""
    return any(b.layer == box.layer and b.x > box.x and b.lines for b in boxes.values())
