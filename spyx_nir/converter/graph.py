"""Layers to a NIR graph and back: order, names, subgraphs, chains and what is no chain."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from spyx_nir.converter import agreement, contract
from spyx_nir.converter import registry as registry  # fills the table of kinds
from spyx_nir.converter.agreement import Row
from spyx_nir.converter.as_dict import as_dict, node_dict
from spyx_nir.converter.fold import DROPOUT, fold, transparent
from spyx_nir.converter.kind import Exported, Node, exported_layers, exporter, load_layer
from spyx_nir.converter.known import (
    GRAPH_MODEL,
    class_name,
    closed,
    is_function,
    parent,
    public,
    redefined,
    runs_as,
)
from spyx_nir.converter.layer_cache import assemble, placed
from spyx_nir.converter.layout import Site, flatten_order
from spyx_nir.converter.steps import Program, Run, Step, label
from spyx_nir.errors import GraphError, naming_extra
from spyx_nir.meaning import dialects
from spyx_nir.meaning.equations import EQUATIONS, Shape, field_error
from spyx_nir.meaning.plan import (
    Plan,
    check_dt,
    make_plan,
    neighbours,
    positive_number,
    settled,
    step_dt,
)

SEQUENTIAL, STATELESS = "spyx.nn.Sequential", "flax.nnx.Sequential"
# What to train in the place of layers without a node.
INSTEAD = {
    "spyx.nn.ALIF": "train with spyx.nn.LIF or spyx.nn.CuBaLIF instead",
    "flax.nnx.max_pool": "train with spyx.nn.SumPool or nnx.avg_pool instead",
    **{
        f"flax.nnx.{kind}Norm": "train with nnx.BatchNorm, which becomes part of a weight, instead"
        for kind in ("Layer", "RMS", "Group", "Instance")
    },
}
# Quantised layers keep integers where the exporters read floats (post-training), or floats that they
# round when they run; qwix marks every module of a model that it treats.
QUANTISED = ("qwix", "spyx.quant")
QWIX_MARK = "qwix_path"


# ------------------------------------------------------------------------------------------ export


@dataclass(frozen=True)
class Written:
    """A graph, and the layers of its model in the order in which they run.

    run: the model, see `steps.Program`. left_out: why layers are left out that change what they get.
    """

    graph: nir.NIRGraph
    rows: list[Row]
    run: Run | None = None
    left_out: tuple[str, ...] = ()


def to_nir(
    model: Any,
    input_shape: Mapping[str, Sequence[int]],
    output_shape: Mapping[str, Sequence[int]],
    dt: float = 1.0,
    *,
    strict: bool = True,
    recurrent: str = "nested",
    check: bool = True,
    **metadata: Any,
) -> nir.NIRGraph:
    """Write a Spyx model as a NIR graph that means the same to every reader.

    Args:
        model: a `spyx.nn.Sequential`, an `nnx.Sequential` or a single layer; any module that calls such
            layers, in eval mode, which is traced on shapes (see `trace.program.trace`); or what `load`
            made of a graph that is no chain, alone.
        input_shape, output_shape: names, and shapes without batch, channels first, such as
            `{"input": (2, 34, 34)}`; one of each for a Sequential. A module gets several inputs as a
            mapping by these names; its outputs are named in their order, or by its own names.
        dt: the step; time constants come out in its unit, tau = dt/(1-beta).
        strict: raise on a layer that NIR cannot express; False leaves it out with a warning, and the
            graph then does something else than the model.
        recurrent: "nested" writes a recurrent layer as a subgraph of 4 nodes, "flat" as a cycle.
        check: run the model and its graph on random inputs, and raise where they differ, naming the
            first layer that does. Compiles every layer and the model once. Not done where a layer was
            left out.
        metadata: further keys of the contract: time_unit, input_bin_s, n_steps, classes, readout.

    Returns:
        The graph. Spiking nodes carry `reset` and `spike_delay` in their metadata, the graph the rest
        of the contract (see `spyx_nir.converter.contract`).

    Raises:
        GraphError: a value, shape or layer that cannot be written, or a model that does something else
            than its graph; names the layer. With code `untraceable` something between the layers that
            no node does; names the operation and the line of the model's source.
        MissingPackage: JAX, Flax or Spyx are not installed.

    Warns:
        UserWarning: a layer was left out (only with `strict=False`).
    """
    with naming_extra():
        written = _export(model, input_shape, output_shape, dt, strict, recurrent, metadata)
        if check and not written.left_out:
            _check(model, written)
    return written.graph


def export_named(
    model: Any,
    input_shape: Mapping[str, Sequence[int]],
    output_shape: Mapping[str, Sequence[int]],
    dt: float = 1.0,
    *,
    strict: bool = True,
    recurrent: str = "nested",
    **metadata: Any,
) -> tuple[nir.NIRGraph, list[str | None]]:
    """As `to_nir` without its check, and for each layer the path of the node that puts out what it does.

    A layer inside a subgraph is named with a dot (`rcubalif_1.lif`); None for a layer that has no
    node of its own. Of a model that is no Sequential the layers with a state alone, in the order in
    which they run.
    """
    with naming_extra():
        written = _export(model, input_shape, output_shape, dt, strict, recurrent, metadata)
    rows = written.rows
    if written.run is not None:
        rows = [row for row in rows if row.layers and hasattr(row.layer, "initial_state")]
    return written.graph, [row.path for row in rows]


def _check(model: Any, written: Written) -> None:
    """Refuse a graph that does something else than its model; see `agreement.check`."""
    run = written.run
    if run is None:
        if not hasattr(model, "initial_state"):
            model = _spyx_sequential([layer for row in written.rows for layer in row.layers])
        run = functools.partial(agreement.run, model)
    plan = make_plan(as_dict(written.graph))
    agreement.check(run, type(model).__name__, written.rows, plan, step_dt(plan, None))


def _export(
    model: Any,
    input_shape: Mapping[str, Sequence[int]],
    output_shape: Mapping[str, Sequence[int]],
    dt: float,
    strict: bool,
    recurrent: str,
    metadata: dict[str, Any],
) -> Written:
    """As `to_nir`, without its check."""
    dt = positive_number(dt, "`dt`")
    if recurrent not in ("nested", "flat"):
        what = f"`recurrent` must be nested or flat, got {recurrent!r}"
        raise GraphError(what, code="argument")
    if base := parent(model, {GRAPH_MODEL}):
        if name := redefined(model, base):
            raise _unsupported(f"the model ({label(model)}): {_own(model, name, base)}")
        return _export_graph(model, input_shape, output_shape, dt, metadata)
    inputs, outputs = _ports(input_shape, "input_shape"), _ports(output_shape, "output_shape")
    if both := sorted(inputs.keys() & outputs.keys()):
        raise GraphError(f"input and output are both called `{both[0]}`", code="ports")
    program = fold(_program(model, inputs, outputs, strict))
    writer = _Writer(inputs, outputs, dt, strict, recurrent == "flat")
    for step in program.steps:
        writer.add(step)
    for (name, shape), sources in zip(outputs.items(), program.outputs, strict=True):
        writer.finish(name, shape, sources)
    for reason in writer.left_out:
        warnings.warn(f"{reason}; it is left out", UserWarning, stacklevel=3)
    nir_graph = _checked(writer.nodes, writer.edges, dt, {**metadata, **writer.contract()})
    return Written(nir_graph, writer.rows, program.run, tuple(writer.left_out))


def _program(
    model: Any, inputs: dict[str, Shape], outputs: dict[str, Shape], strict: bool
) -> Program:
    """The steps of a model: of a Sequential its layers in a row, else what a trace finds.

    Raises:
        GraphError: a part that is no layer, or does what no node of NIR does.
    """
    layers, opaque = _layers(model)
    row = Program(
        tuple(Step(x, (k - 1,), (x,)) for k, x in enumerate(layers)), ((len(layers) - 1,),)
    )
    if not opaque:
        _one_port(inputs, "input_shape")
        _one_port(outputs, "output_shape")
        return row
    from spyx_nir.converter.trace import trace

    try:
        return trace(model, inputs, outputs)
    except GraphError:
        # A function of a library has no line of its own: it is named, or left out, as a layer is.
        if all(is_function(part) and (not strict or public(part)) for part in opaque):
            return row
        raise


@dataclass(frozen=True)
class _Value:
    """What leaves a step: a sum of nodes.

    paths: the nodes by the names that edges use. outputs: the same by the paths whose outputs they are
    (a recurrent subgraph's neuron). order: see `layout.flatten_order`.
    """

    paths: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: Shape
    order: np.ndarray | None = None


class _Writer:
    """Writes steps as nodes and edges, one after the other."""

    def __init__(
        self,
        inputs: dict[str, Shape],
        outputs: dict[str, Shape],
        dt: float,
        strict: bool,
        flat: bool,
    ):
        self.ports = {*inputs, *outputs}
        self.dt, self.strict, self.flat = dt, strict, flat
        self.nodes: dict[str, nir.NIRNode] = {
            name: nir.Input(np.array(shape)) for name, shape in inputs.items()
        }
        self.edges: list[tuple[str, str]] = []
        self.rows: list[Row] = []
        self.left_out: list[str] = []
        self.values: list[_Value] = []
        self.entries = [_Value((name,), (name,), shape) for name, shape in inputs.items()]
        self.orders: list[np.ndarray | None] = []

    def add(self, step: Step) -> None:
        """The nodes of a layer, and the edges that lead to them."""
        layer, where = step.layer, f"layer {len(self.values)} ({label(step.layer)}){step.place}"
        arrives = self._sum(step.sources, where)
        if transparent(layer):
            self._row(where, step, arrives, None)
            self.values.append(arrives)
            return
        site = Site(where, arrives.shape, self.dt, arrives.order)
        made = _made(layer, site)
        if made is None:
            self.left_out.append(f"{where}: {_reason_to_omit(layer, where, self.strict)}")
            self._row(where, step, arrives, None)
            self.values.append(arrives)
            return
        value, (_, first) = arrives, made[0]
        if step.note:
            first.metadata = {**first.metadata, "note": step.note}
        for suffix, node in made:
            name = f"{label(layer).lower()}_{len(self.values)}{suffix}"
            value = self._node(name, node, value, where)
        if getattr(layer, "nir_order", False):
            value = dataclasses.replace(value, order=None)
        self._row(where, step, arrives, value)
        self.values.append(value)

    def finish(self, name: str, declared: Shape, sources: tuple[int, ...]) -> None:
        """The Output `name`, which gets the sum of these steps."""
        value = self._sum(sources, f"output `{name}`")
        if self.left_out and any(path in self.entries[0].paths for path in value.paths):
            raise _unsupported(f"nothing would be left of the model: {self.left_out[0]}")
        if value.shape != declared:
            what = f"is {declared}, but the model puts out {value.shape} (channels first)"
            raise field_error("output_shape", what, "shape-mismatch")
        self.nodes[name] = nir.Output(np.array(declared))
        self._connect(value, name)
        self.orders.append(value.order)

    def contract(self) -> dict[str, Any]:
        """What the order of the outputs adds to the metadata."""
        ordered = [order for order in self.orders if order is not None]
        if ordered and len(self.orders) > 1:
            what = (
                "one of several outputs is a Flatten that no weight follows; NIR's order is another"
            )
            raise _unsupported(f"{what}: put a layer behind it, or export it alone")
        return {"output_order": "HWC" if ordered else None}

    def _node(self, name: str, node: nir.NIRNode, arrives: _Value, where: str) -> _Value:
        """One node behind `arrives`, and what leaves it."""
        self._free({name}, where)
        shape, order = _after(node, arrives.shape, arrives.order, where)
        if isinstance(node, nir.NIRGraph) and self.flat:
            cell, weight = f"{name}.lif", f"{name}.w_rec"
            self._free({cell, weight}, where)
            self.nodes |= {cell: node.nodes["lif"], weight: node.nodes["w_rec"]}
            self._connect(arrives, cell)
            self.edges += [(cell, weight), (weight, cell)]
            return _Value((cell,), (cell,), shape, order)
        self.nodes[name] = node
        self._connect(arrives, name)
        output = f"{name}.lif" if isinstance(node, nir.NIRGraph) else name
        return _Value((name,), (output,), shape, order)

    def _sum(self, sources: tuple[int, ...], where: str) -> _Value:
        """The sum of what leaves several steps."""
        parts = [self.values[k] if k >= 0 else self.entries[-1 - k] for k in sources]
        first = parts[0]
        for part in parts[1:]:
            if part.shape != first.shape:
                raise _unsupported(f"{where} adds shapes {first.shape} and {part.shape}")
            if not _same_order(part.order, first.order):
                what = "adds a flattened image to features in another order"
                raise _unsupported(f"{where} {what}; put a Linear between the Flatten and the sum")
        paths = [path for part in parts for path in part.paths]
        outputs = [path for part in parts for path in part.outputs]
        return _Value(tuple(paths), tuple(outputs), first.shape, first.order)

    def _connect(self, value: _Value, target: str) -> None:
        """Edges to `target`; what is added several times goes through a Scale."""
        for path, times in Counter(value.paths).items():
            source = path
            if times > 1:
                source = f"{path}_times_{times}"
                if source not in self.nodes:
                    self._free({source}, source)
                    factor = np.full(value.shape, times, np.float32)
                    self.nodes[source] = nir.Scale(factor)
                    self.edges.append((path, source))
            self.edges.append((source, target))

    def _row(self, where: str, step: Step, arrives: _Value, leaves: _Value | None) -> None:
        path, order = (leaves.outputs[0], leaves.order) if leaves else (None, arrives.order)
        self.rows.append(Row(where, step.runs, path, order, arrives.outputs, arrives.order))

    def _free(self, paths: set[str], where: str) -> None:
        if taken := paths.intersection(self.ports):
            what = f"{where} is written as `{taken.pop()}`: give the port another name"
            raise GraphError(what, code="name")


def _same_order(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _made(layer: Any, site: Site) -> Exported | None:
    """The nodes of a layer, or None where nothing exports it.

    Raises:
        GraphError: it is quantised, or a parameter cannot be written.
    """
    _refuse_quantised(layer, site.where)
    export = exporter(layer)
    if export is None:
        return None
    try:
        with warnings.catch_warnings(action="error", category=np.exceptions.ComplexWarning):
            return export(layer, site)
    except GraphError:
        raise
    except Exception as error:  # a parameter that is no array of real numbers, or gives none
        raise site.refuse(f"its parameters cannot be read: {error}") from None


def _checked(
    nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]], dt: float, metadata: dict[str, Any]
) -> nir.NIRGraph:
    metadata = contract.make(dt, **metadata)
    nir_graph = nir.NIRGraph(dict(sorted(nodes.items())), sorted(edges), metadata, type_check=False)
    make_plan(
        as_dict(nir_graph)
    )  # refuses NaN and infinite numbers, and whatever else has no meaning
    return nir_graph


def _export_graph(
    model: Any, input_shape: Any, output_shape: Any, dt: float, metadata: dict[str, Any]
) -> Written:
    """As `_export`, for a graph that was imported and is no chain: same nodes, current values."""
    shapes = dict(model.shapes)
    layers = dict(zip(model.paths, model.layers, strict=True))
    for what, given, ports in (
        ("input_shape", input_shape, model.inputs),
        ("output_shape", output_shape, model.outputs),
    ):
        own = {path: shapes[path] for path in ports}
        found = given if isinstance(given, Mapping) else {}
        if {name: tuple(np.ravel(shape).tolist()) for name, shape in found.items()} != own:
            allowed = f"must be {own}, as this graph was imported"
            raise field_error(what, f"{allowed}; got {given!r}", "ports")
    nodes: dict[str, nir.NIRNode] = {p: nir.Input(np.array(shapes[p])) for p in model.inputs}
    entries: dict[str, str] = {}
    leaving: dict[str, str] = {path: path for path in model.inputs}
    edges = []
    for path, sources in model.sources:
        if path in model.outputs:
            made: Exported = [("", nir.Output(np.array(shapes[path])))]
        elif path not in layers:  # a subgraph's Input or Output, which outputs what it gets
            continue
        else:
            layer = layers[path]
            site = Site(f"node `{path}` ({label(layer)})", shapes[sources[0][0]], dt, node=path)
            written = _made(layer, site)
            if written is None:
                raise site.refuse(_why_not(layer))
            made = written
            if path in model.delayed:
                made[0][1].metadata = {**made[0][1].metadata, "spike_delay": 1}
        names = [path + suffix for suffix, _ in made]
        nodes |= dict(zip(names, (node for _, node in made), strict=True))
        edges += list(itertools.pairwise(names))
        entries[path], leaving[path] = names[0], names[-1]
    before = dict(model.sources)

    def origins(path: str) -> Iterator[str]:
        for source, _ in before[path]:
            if source in leaving:
                yield leaving[source]
            else:
                yield from origins(source)

    for path, entry in entries.items():
        edges += [(origin, entry) for origin in origins(path)]
    nir_graph = _checked(nodes, edges, dt, metadata)
    rows = [Row(f"node `{path}`", (layer,), leaving[path]) for path, layer in layers.items()]
    return Written(nir_graph, rows)


def _layers(model: Any) -> tuple[list[Any], list[Any]]:
    """The parts of a model in a row, Sequentials opened; and those that only a trace can look into.

    Raises:
        GraphError: a graph instead of a model, or an nnx.Sequential of layers that keep a state.
    """
    if isinstance(model, nir.NIRGraph):
        raise field_error("model", "is a NIR graph already; a Spyx model is needed", "argument")
    layers: list[Any] = []

    def unroll(part: Any, alone: bool) -> None:
        base = parent(part, (SEQUENTIAL, STATELESS))
        if base is None or redefined(part, base):
            layers.append(part)
            return
        keeps = any(hasattr(layer, "initial_state") for layer in part.layers)
        if keeps and class_name(base) == STATELESS and not alone:
            raise _unsupported(
                f"layer {len(layers)} ({label(part)}) is an nnx.Sequential of layers that keep a "
                "state, which it loses when it runs; use a spyx.nn.Sequential"
            )
        for layer in part.layers:
            unroll(layer, False)

    unroll(model, True)
    return layers, [layer for layer in layers if _opaque(layer)]


def _opaque(part: Any) -> bool:
    """Whether only a trace can say what a part of a model does: a module or function of its own."""
    from flax import nnx

    if is_function(part):
        return exporter(part) is None and not transparent(part)
    return isinstance(part, nnx.Module) and not closed(part, exported_layers())


def _own(layer: Any, name: str, base: type) -> str:
    """What to say of a container or layer that redefines `name` of its parent."""
    usual = class_name(base)
    text = f"{type(layer).__name__} has its own `{name}`, so it may run otherwise than {usual}"
    if usual in (SEQUENTIAL, STATELESS):
        return f"{text}; put its layers into a plain {SEQUENTIAL} in the order in which they run"
    return f"{text}, the only one that NIR has an equivalent of; use that one"


def _why_not(layer: Any) -> str:
    """Why a layer has no equivalent, and what to do."""
    from flax import nnx

    base = parent(layer, exported_layers())
    if base is not None and (name := redefined(layer, base)):
        return _own(layer, name, base)
    if runs_as(layer, {DROPOUT}):
        return "its output is random while it trains; call model.eval() first"
    if isinstance(layer, nnx.Module) and any(
        part is not layer for _, part in nnx.iter_modules(layer)
    ):
        return (
            f"{class_name(type(layer))} is a module of several layers, and only its own code says how "
            f"they run; put them into a {SEQUENTIAL} in that order"
        )
    function = layer.func if isinstance(layer, functools.partial) else layer
    what = function if hasattr(function, "__qualname__") else type(function)
    name = class_name(what)
    instead = INSTEAD.get(name, "replace it by a layer that has one")
    return f"{name} has no equivalent in NIR; {instead}"


def _reason_to_omit(layer: Any, where: str, strict: bool) -> str:
    """Why a layer is left out.

    Raises:
        GraphError: with `strict`; or it is no layer at all, or more than one.
    """
    from flax import nnx

    if isinstance(layer, type):
        raise _unsupported(f"{where} is a class; a layer made from it is needed")
    if parent(layer, {GRAPH_MODEL}):
        what = "is a graph that branches: it is exported alone, in no Sequential"
        raise _unsupported(f"{where} {what}")
    several = isinstance(layer, nnx.Module) and len(list(nnx.iter_modules(layer))) > 1
    text = _why_not(layer)
    if strict or several:
        raise _unsupported(f"{where}: {text}")
    return text.split("; ")[0]


def _unsupported(what: str) -> GraphError:
    """The error of a layer or model that NIR cannot express."""
    return GraphError(what, code="unsupported")


def _refuse_quantised(layer: Any, where: str) -> None:
    from flax import nnx

    held = [layer, *getattr(layer, "__dict__", {}).values()]
    raw = [value.get_raw_value() if isinstance(value, nnx.Variable) else value for value in held]
    integers = any(type(value).__module__.startswith(QUANTISED) for value in raw)
    if integers or hasattr(layer, QWIX_MARK):
        raise _unsupported(
            f"{where} is quantised: NIR holds float weights. Export the float model that it was "
            "made from, or put its dequantised weights into nnx.Linear or nnx.Conv"
        )


def _ports(shapes: Mapping[str, Sequence[int]], what: str) -> dict[str, Shape]:
    """Shapes by name, checked."""
    if not isinstance(shapes, Mapping) or not shapes:
        such = "a mapping from one name to a shape, such as {'input': (2, 34, 34)}"
        raise field_error(what, f"must be {such}, got {shapes!r}", "ports")
    return dict(_port(name, shape, shapes, what) for name, shape in shapes.items())


def _port(name: Any, shape: Any, shapes: Any, what: str) -> tuple[str, Shape]:
    numbers = isinstance(shape, Sequence | np.ndarray | int | np.integer)
    try:
        found = np.ravel(shape if numbers and not isinstance(shape, str) else ())
    except ValueError:  # rows that differ in length
        found = np.array([])
    whole = found.size and found.dtype.kind in "iu" and found.min() >= 1
    if not isinstance(name, str) or not name or "/" in name or not whole:
        raise field_error(what, f"must map a name to sizes of 1 or more, got {shapes!r}", "ports")
    return name, tuple(int(n) for n in found)


def _one_port(shapes: dict[str, Shape], what: str) -> None:
    if len(shapes) != 1:
        such = "a mapping from one name to a shape, such as {'input': (2, 34, 34)}"
        raise field_error(what, f"must be {such}, got {shapes!r}", "ports")


def _after(
    node: nir.NIRNode, shape: Shape, order: np.ndarray | None, where: str
) -> tuple[Shape, np.ndarray | None]:
    """The shape and the feature order behind a node."""
    if isinstance(node, nir.NIRGraph):
        return shape, order
    fields = node_dict(node)
    fields.pop("metadata", None)
    try:
        out = tuple(int(n) for n in EQUATIONS[fields["type"]].shape(fields, shape))
    except GraphError as error:
        raise error.within(where) from None
    if isinstance(node, nir.Flatten):
        return out, order if len(shape) == 1 else flatten_order(shape)
    if isinstance(node, (nir.Linear, nir.Affine)):
        return out, None
    return out, order


# ------------------------------------------------------------------------------------------ import


@dataclass(frozen=True)
class Loaded:
    """A graph as a model: `model` follows Spyx's layer contract, a `spyx.nn.Sequential` for a chain.

    `names[i]` is the path of the node whose output layer i puts out; () where it is no chain.
    """

    model: Any
    names: tuple[str, ...]
    plan: Plan
    dt: float
    chain: bool


def load(
    nir_graph: nir.NIRGraph,
    dt: float | None = None,
    *,
    reset: Any = None,
    discretization: str | None = None,
    dialect: str | None = None,
) -> Loaded:
    """Build a model from a graph without running it.

    Args:
        nir_graph: of any writer. Its contract counts where it has one, else NIR's own rule.
        dt: the step, in the unit of the graph's time constants; None takes the contract's.
        reset: "v_reset", "subtract", "subtract_after_decay" or "none" for every neuron, or a mapping
            from node path to one of them; overrides the contract.
        discretization: "euler" or "exact", see docs/contract.md; overrides the contract.
        dialect: one of `meaning.dialects.DIALECTS`, to read the file as another framework does.

    Raises:
        GraphError: no graph, or one with a part that has no meaning; names the node.
        MissingPackage: JAX, Flax or Spyx are not installed.
    """
    if not isinstance(nir_graph, nir.NIRGraph):
        name = isinstance(nir_graph, str | os.PathLike)
        read = "; read a file with spyx_nir.converter.file.read" if name else ""
        what = f"a nir.NIRGraph is needed, got {type(nir_graph).__name__}{read}"
        raise GraphError(what, code="no-graph")
    plan = make_plan(as_dict(nir_graph), reset, discretization)
    if dialect is not None:
        plan = dialects.rule_of(dialect, plan).plan(plan)
        dt = dialects.step_of(dialect, plan, dt)
    step = step_dt(plan, dt)
    if dialect is None:
        check_dt(plan, step)
    plan = settled(plan, step)
    chain = _chain(plan) if plan.quiet or not _closes(plan) else None
    with naming_extra():
        made = (plan, step, dialect)
        model, names = _graph_model(*made) if chain is None else _sequential(chain, *made)
    return Loaded(model, names, plan, step, chain=chain is not None)


def _closes(plan: Plan) -> bool:
    """Whether an edge closes a cycle."""
    return any(closes for found in plan.sources.values() for _, closes in found)


def _chain(plan: Plan) -> list[tuple[str, str | None]] | None:
    """The nodes from Input to Output as (path, path of its recurrent weight); None if no chain."""
    if len(plan.inputs) != 1 or len(plan.outputs) != 1:
        return None
    after, before = neighbours(plan.nodes, plan.edges)
    recurrent: dict[str, str] = {}
    for path, node in plan.nodes.items():
        if node["type"] in ("Linear", "Affine") and before[path] == after[path] != []:
            (cell, *more) = before[path]
            flat = len(plan.arrives[cell]) == 1
            if not more and flat and EQUATIONS[plan.nodes[cell]["type"]].stateful:
                if cell in recurrent:
                    return None
                recurrent[cell] = path
    for cell, weight in recurrent.items():
        after[cell].remove(weight)
        before[cell].remove(weight)
    path, row = plan.inputs[0], []
    while after[path]:
        if len(after[path]) > 1:
            return None
        path = after[path][0]
        if len(before[path]) > 1:
            return None
        if plan.nodes[path]["type"] not in ("Input", "Output"):
            row.append((path, recurrent.get(path)))
    return row


def _sequential(
    chain: list[tuple[str, str | None]], plan: Plan, dt: float, dialect: str | None
) -> tuple[Any, tuple[str, ...]]:
    from spyx_nir.converter.nodes.recurrent import load_recurrent

    layers: list[Any] = []
    names: list[str] = []
    order: np.ndarray | None = None
    # `output_order` belongs to the contract: checked with it, and without it a stranger's own key.
    keep_spyx = "contract_version" in plan.metadata and "output_order" in plan.metadata
    types = [plan.nodes[path]["type"] for path, _ in chain]
    for index, (path, weight) in enumerate(chain):
        node = plan.nodes[path]
        site = Site(f"{node['type']} node `{path}`", plan.arrives[path], dt, order, path)
        site.in_sequential = True
        if node["type"] == "Flatten":
            # Spyx flattens channels last; a later weight absorbs that, an Output only by contract.
            absorbed = any(t in ("Linear", "Affine") for t in types[index + 1 :])
            site.spyx_flatten = (absorbed or keep_spyx) and len(plan.shapes[path]) == 1
            if site.spyx_flatten and order is None:
                order = flatten_order(plan.arrives[path])
        if weight is not None:
            load = functools.partial(_layer, dialect=dialect)
            layers.append(load_recurrent(node, plan.nodes[weight], site, load))
        else:
            layers.append(_layer(node, site, dialect))
        if node["type"] in ("Linear", "Affine"):
            order = None
        names.append(path)
    return assemble(_spyx_sequential, {"layers": layers}, place=True), tuple(names)


def _layer(node: Node, site: Site, dialect: str | None) -> Any:
    from spyx_nir.converter.dialect_layers import dialect_layer

    return load_layer(node, site) if dialect is None else dialect_layer(dialect, node, site)


def _spyx_sequential(layers: list[Any]) -> Any:
    import spyx.nn as snn

    return snn.Sequential(*layers)


def _graph_model(plan: Plan, dt: float, dialect: str | None) -> tuple[Any, tuple[str, ...]]:
    from spyx_nir.converter.layers import GraphModel

    layers = {}
    for path in plan.order:
        node = plan.nodes[path]
        if node["type"] not in ("Input", "Output"):
            site = Site(f"{node['type']} node `{path}`", plan.arrives[path], dt, node=path)
            layers[path] = _layer(node, site, dialect)
    return GraphModel(plan, placed(layers)), ()
