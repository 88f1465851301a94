"""Reading and writing `.nir` files (HDF5)."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import h5py
import nir
import numpy as np

from spyx_nir.converter import hdf5
from spyx_nir.converter.as_dict import as_dict
from spyx_nir.errors import GraphError, about, one_line
from spyx_nir.files import hdf5 as hdf5_file
from spyx_nir.limits import check_limit
from spyx_nir.meaning.equations import (
    DEFAULTS,
    EQUATIONS,
    SIZES,
    as_array,
    graph_error,
    node_error,
    same_shape,
    says_nothing,
)
from spyx_nir.meaning.plan import check_type

# What a function for files takes: a file's name, a graph, or a graph's dictionary.
Source: TypeAlias = str | os.PathLike[str] | nir.NIRGraph | Mapping[str, Any]

NIR_VERSIONS = ("1.0.8", "1.0.4")
# Values of one parameter. A damaged file may declare any shape; above this, one number stays one number.
MOST_WRITTEN_OUT = 2**24
# Nodes that have no metadata in nir 1.0.4: it fails where there is some.
BARE = ("AvgPool2d", "Conv2d", "Input", "Linear", "Output", "Scale")


# ----------------------------------------------------------------------------------------- reading


def read(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """Read a graph, whoever wrote the file; see `hdf5` for what a file may be.

    Every node has a known type and its fields, and edges are pairs of names. Whether the graph means
    something (edges that lead somewhere, shapes that fit, dt) is the question of `load` and of the
    reference.

    Raises:
        GraphError: one line with file, place, value and what is allowed.
    """
    content = read_dict(path)
    with about(path):
        return build(content)


def content_of(source: Source) -> dict[str, Any]:
    """The graph's dictionary of a .nir file, of a `nir.NIRGraph`, or as it is given.

    Raises:
        GraphError: as `read_dict`, or as `as_dict` of the registry.
    """
    if isinstance(source, nir.NIRGraph):
        return as_dict(source)
    return dict(source) if isinstance(source, Mapping) else read_dict(source)


def naming(source: Source) -> AbstractContextManager[None]:
    """Put the name of the file, where `source` is one, in front of what a GraphError inside says."""
    return about(source) if isinstance(source, str | os.PathLike) else nullcontext()


def read_dict(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A file's graph as a dictionary, in the form of `nir.NIRGraph.to_dict()`.

    Only its outline is checked: nodes are groups with a type that is text, edges are pairs of text.
    Tools that explain what is wrong with a file start here.

    Raises:
        GraphError: as `read`.
    """
    return outline(hdf5.read(path), path)


def outline(content: dict[str, Any], path: str | os.PathLike[str]) -> dict[str, Any]:
    """As `read_dict`, for what `hdf5.read(path)` gave."""
    with about(path):
        graph_dict = content.get("node")
        if not isinstance(graph_dict, dict):
            raise GraphError("no NIR graph: the group `node` is missing", node="", code="no-graph")
        kind = graph_dict.get("type")
        if not isinstance(kind, str) or kind != "NIRGraph":
            what = f"`node` is of type {kind!r:.60}; a NIRGraph is needed"
            raise GraphError(what, node="", code="no-graph")
        return _graph(graph_dict, "", Counter(), 0)


def _graph(group: dict[str, Any], prefix: str, count: Counter[str], depth: int) -> dict[str, Any]:
    own = prefix[:-1]
    check_limit("depth", depth, f"subgraph `{own}` is nested {depth} deep", own)
    members = group.get("nodes")
    if not isinstance(members, dict):
        raise graph_error(own, ": the group `nodes` is missing", "missing-field", "nodes")
    result = {**group, "nodes": {}, "edges": _edges(group.get("edges"), own)}
    count["edges"] += len(result["edges"])
    check_limit("edges", count["edges"], f"there are {count['edges']} edges", "")
    for name, node in members.items():
        count["nodes"] += 1
        check_limit("nodes", count["nodes"], f"there are {len(members)} nodes or more", "")
        path = prefix + name
        kind = node.get("type") if isinstance(node, dict) else None
        if not isinstance(kind, str):
            what = f"node `{path}` has no `type` that is text"
            raise GraphError(what, node=path, field="type", code="unknown-type")
        if kind == "NIRGraph":
            node = _graph(node, path + ".", count, depth + 1)
        if not isinstance(node.get("metadata", {}), dict):
            raise node_error(path, "`metadata` is no group", "field-value", "metadata")
        result["nodes"][name] = node
    if not isinstance(group.get("metadata", {}), dict):
        raise graph_error(own, ": `metadata` is no group", "field-value", "metadata")
    return result


def _edges(edges: Any, path: str) -> list[tuple[str, str]]:
    if edges is None:
        raise graph_error(path, ": `edges` is missing", "missing-field", "edges")
    if isinstance(edges, np.ndarray) and edges.size == 0:
        return []
    if not isinstance(edges, np.ndarray) or edges.dtype != object or edges.shape[1:] != (2,):
        kind = "text" if isinstance(edges, str) else getattr(edges, "dtype", "a group")
        what = f": `edges` is {kind} of shape {getattr(edges, 'shape', ())}"
        allowed = "(edges, 2) names of nodes are needed"
        raise graph_error(path, f"{what}; {allowed}", "field-value", "edges")
    return [(source, target) for source, target in edges]


def build(content: Mapping[str, Any], prefix: str = "") -> nir.NIRGraph:
    """The `nir.NIRGraph` of a dictionary; fields are checked by name, type and number of axes.

    Raises:
        GraphError: an unknown type of node, a field that is missing, unknown or of the wrong kind.
    """
    for name in content:
        if name not in ("type", "nodes", "edges", "metadata"):
            what = f": the field `{name}` has no meaning here; remove it"
            raise graph_error(prefix[:-1], what, "unknown-field", name)
    made = {}
    for name, node in content["nodes"].items():
        path = prefix + name
        made[name] = build(node, path + ".") if node["type"] == "NIRGraph" else _node(node, path)
    metadata = dict(content.get("metadata", {}))
    return nir.NIRGraph(made, list(content["edges"]), metadata, type_check=False)


def _node(node: Mapping[str, Any], path: str) -> nir.NIRNode:
    check_node(node, path)
    kind = node["type"]
    fields = {name: value for name, value in node.items() if name not in ("type", "metadata")}
    for name in (name for name, optional in EQUATIONS[kind].names.items() if optional):
        if says_nothing(name, fields.get(name)):
            del fields[name]
        if name != "v_reset" and name not in DEFAULTS:
            fields.setdefault(name, None)
    for name in {"shape", "input_type"} & set(fields):
        fields[name] = None if fields[name] is None else np.atleast_1d(fields[name])
    fields |= _spread(kind, fields)
    make = _MAKE.get(kind, getattr(nir, kind))
    try:
        with np.errstate(all="ignore"):
            return make(**fields, metadata=dict(node.get("metadata", {})))
    except Exception as error:  # nir's constructors compute with what they get
        shapes = {np.shape(value) for value in fields.values() if value is not None}
        unequal = EQUATIONS[kind].shape is same_shape and len(shapes) > 1
        code = "parameter-shapes" if unequal else "nir-refuses"
        raise node_error(path, f"nir refuses it: {one_line(error)}", code, kind=kind) from None


def _spread(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Single numbers among parameters of one shape, which nir wants all alike, in that shape."""
    shapes = {np.shape(value) for value in fields.values() if np.size(value) > 1}
    if EQUATIONS[kind].shape is not same_shape or len(shapes) != 1:
        return {}
    (shape,) = shapes
    if math.prod(shape) > MOST_WRITTEN_OUT:
        return {}
    single = {n: np.asarray(v) for n, v in fields.items() if v is not None and np.size(v) == 1}
    return {n: np.full(shape, v.reshape(()), v.dtype) for n, v in single.items()}


def check_node(node: Mapping[str, Any], path: str) -> None:
    """Refuse a node whose type or fields are not as NIR has them.

    Raises:
        GraphError: an unknown type, or a field that is missing, unknown or of the wrong kind.
    """
    kind = node["type"]
    check_type(path, kind)
    names = EQUATIONS[kind].names
    for name, value in node.items():
        if name in names:
            if not names[name] or not says_nothing(name, value):
                _check_field(kind, path, name, value)
        elif name not in ("type", "metadata"):
            what = f"the field `{name}` has no meaning here; remove it"
            raise node_error(path, what, "unknown-field", name, kind)
    for name, optional in names.items():
        if not optional and name not in node:
            raise node_error(path, f"the field `{name}` is missing", "missing-field", name, kind)


def check_nodes(graph_dict: Mapping[str, Any]) -> None:
    """`check_node` for every node of a graph's dictionary, those of subgraphs included."""
    for path, node in nodes(graph_dict):
        check_node(node, path)


def is_number(value: Any) -> bool:
    """Whether a field holds numbers."""
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf"


def nodes(graph_dict: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a graph's dictionary that is no subgraph, with its dotted path."""
    for name, node in graph_dict["nodes"].items():
        if node["type"] == "NIRGraph":
            yield from nodes(node, f"{prefix}{name}.")
        else:
            yield prefix + name, node


def graphs(graph_dict: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The graph itself, as path "", and every subgraph with its dotted path; outer ones first."""
    yield prefix[:-1], graph_dict
    for name, node in graph_dict["nodes"].items():
        if node["type"] == "NIRGraph":
            yield from graphs(node, f"{prefix}{name}.")


_MAKE = {
    "Input": lambda shape, metadata: nir.Input(shape, metadata=metadata),
    "Output": lambda shape, metadata: nir.Output(shape, metadata=metadata),
    "Flatten": lambda input_type, metadata, **dims: nir.Flatten(
        {"input": input_type}, **dims, metadata=metadata
    ),
}

# Fields of whole numbers, and how many axes the others have where that is fixed.
WHOLE = {*SIZES, "stride", "dilation", "groups", "kernel_size", "start_dim", "end_dim", "padding"}
AXES = {"Linear": (2, 8), "Affine": (2, 8), "Conv1d": (3, 3), "Conv2d": (4, 4)}


def _check_field(kind: str, path: str, name: str, value: Any) -> None:
    """Refuse a field's value that no node of this kind has."""

    def refuse(found: str, code: str = "field-value") -> GraphError:
        return node_error(path, f"`{name}` {found}", code, name, kind)

    if isinstance(value, str) and name == "padding" and value in ("same", "valid"):
        return
    if not is_number(value):
        found = repr(value[:40]) if isinstance(value, str) else "no array of numbers"
        allowed = "numbers, 'same' or 'valid'" if name == "padding" else "numbers are needed"
        raise refuse(f"is {found}; {allowed}")
    if value.size == 0:
        raise refuse("holds nothing at all; numbers are needed", "empty-field")
    if name in WHOLE:
        # 8 axes and 2^31 are far beyond any network; what nir computes from them stays small.
        if value.size > 8 or value.ndim > 1:
            raise refuse(f"has shape {value.shape}; a few numbers are needed")
        if value.dtype.kind == "f" and not (value == np.floor(value)).all():
            raise refuse(f"is {value.tolist()}; whole numbers are needed")
        if (np.abs(value.astype(np.float64)) > 2**31).any():
            raise refuse(f"is {value.tolist()}; at most 2^31 is allowed")
    if name == "weight" and not AXES[kind][0] <= value.ndim <= AXES[kind][1]:
        raise refuse(f"has shape {value.shape}; {AXES[kind][0]} axes are needed")


# ----------------------------------------------------------------------------------------- writing


def write(
    path: str | os.PathLike[str], nir_graph: nir.NIRGraph, nir_version: str = "1.0.8"
) -> None:
    """Write a graph: nodes, edges and metadata sorted, so that equal graphs are equal bytes.

    Args:
        nir_version: "1.0.8", or "1.0.4" for readers that pin it: those fail on the field `v_reset`,
            so it is left out, which is right only where it is 0; they know no CubaLI and no metadata of
            `BARE` nodes.

    Raises:
        GraphError: something that the version asked for cannot say, or no file can hold.
    """
    if nir_version not in NIR_VERSIONS:
        what = f"`nir_version` must be one of {NIR_VERSIONS}, got {nir_version!r}"
        raise GraphError(what, code="argument")
    content = _sorted(as_dict(nir_graph))
    if nir_version == "1.0.4":
        content = _without_reset(content, "")
    with hdf5_file(path) as file:
        _store(file, "version", nir_version)
        _write(file.create_group("node"), content, "")


def _write(group: h5py.Group, content: dict[str, Any], place: str) -> None:
    for name, value in content.items():
        inner = f"{place}/{name}"
        if not isinstance(name, str) or name in ("", ".") or "/" in name:
            what = f"`{place}` holds the name {name!r}, which no HDF5 file can; rename it"
            raise GraphError(what, code="name")
        if isinstance(value, dict):
            if name != "metadata" or value:
                _write(group.create_group(name), value, inner)
        elif value is not None:
            if hasattr(value, "__array__"):  # of any framework
                value = as_array(value, f"`{inner}`")
            try:
                _store(group, name, np.array(value, object) if name == "edges" else value)
            except (TypeError, ValueError):
                allowed = "a file holds numbers, text and arrays of numbers"
                what = f"`{inner}` is {type(value).__name__} {value!r:.60}; {allowed}"
                raise GraphError(what, field=name, code="field-value") from None


def _store(group: h5py.Group, name: str, value: Any) -> None:
    """A dataset, through h5py's lower half: `group.create_dataset` takes ten times as long."""
    text = isinstance(value, str) or getattr(value, "dtype", None) == np.dtype(object)
    array = np.asarray(value, h5py.string_dtype() if text else None, order="C")
    if not text and array.dtype.kind not in "biuf":
        raise TypeError(f"{array.dtype} is no number")
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_obj_track_times(False)
    if array.size > 64 and not text:
        rows = max(1, 2**20 // array[0].nbytes)  # chunks of 1 MiB, HDF5's cache
        layout.set_chunk((min(len(array), rows), *array.shape[1:]))
        layout.set_deflate(4)
    h5py.h5d.create(
        group.id,
        name.encode(),
        h5py.h5t.py_create(array.dtype, logical=True),
        h5py.h5s.create_simple(array.shape) if array.ndim else h5py.h5s.create(h5py.h5s.SCALAR),
        layout,
    ).write(h5py.h5s.ALL, h5py.h5s.ALL, array)


def _sorted(content: dict[str, Any]) -> dict[str, Any]:
    ordered = {}
    for name in sorted(content):
        value = content[name]
        if isinstance(value, dict):
            value = _sorted(value)
        elif name == "edges":
            value = sorted(map(tuple, value), key=lambda edge: _edge_order(content, *edge))
        ordered[name] = value
    return ordered


def _edge_order(content: Mapping[str, Any], source: str, target: str) -> tuple[str, bool, str]:
    """By name, but edges into an Output last: nirtorch's executor, which Norse, sinabs and Rockpool
    use, walks depth first in this order and returns what it came to last."""
    node = content.get("nodes", {}).get(target, {})
    return source, isinstance(node, Mapping) and node.get("type") == "Output", target


def _without_reset(graph_dict: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A graph without `v_reset`, which must be 0 everywhere; nir 1.0.4 has no CubaLI."""
    kept = {}
    for name, node in graph_dict["nodes"].items():
        path = prefix + name
        if node["type"] == "NIRGraph":
            node = _without_reset(node, path + ".")
        elif node["type"] == "CubaLI":
            raise node_error(path, "nir 1.0.4 has no CubaLI", "older-nir", "type")
        elif node["type"] in BARE and node.get("metadata"):
            keys = ", ".join(node["metadata"])
            what = f"{node['type']} has no metadata in nir 1.0.4, remove {keys}"
            raise node_error(path, what, "older-nir", "metadata")
        elif np.any(node.get("v_reset", 0)):
            value = np.ravel(node["v_reset"])
            what = f"v_reset is {value[np.nonzero(value)[0][0]]:g}; nir 1.0.4 can only say 0"
            raise node_error(path, what, "older-nir", "v_reset")
        kept[name] = {field: value for field, value in node.items() if field != "v_reset"}
    return {**graph_dict, "nodes": kept}


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 over the file's content: sorted dataset paths, types, shapes, little-endian bytes.

    Unlike the digest of the bytes it does not depend on the HDF5 library or on compression.

    Raises:
        GraphError: as `read`.
    """
    return content_digest(hdf5.read(path))


def content_digest(content: dict[str, Any]) -> str:
    """As `digest`, for what `hdf5.read` gave."""
    total = hashlib.sha256()
    for name, value in sorted(_flat(content, ""), key=lambda found: found[0]):
        hdf5.add_to_digest(total, name, value)
    return total.hexdigest()


def _flat(group: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in group.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value
