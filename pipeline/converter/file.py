"""Reading and writing `.nir` files (HDF5)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from pipeline.errors import GraphError
from pipeline.files import atomic

NIR_VERSIONS = ("1.0.8", "1.0.4")


def read(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """Read a graph. Types are not checked here: `load` computes shapes itself.

    Raises:
        GraphError: no such file, no HDF5, no NIR graph; names the file.
    """
    if not Path(path).is_file():
        raise GraphError(f"{path}: no such file")
    try:
        graph = nir.read(path, type_check=False)
    except Exception as error:
        raise GraphError(f"{path}: no readable NIR graph: {' '.join(str(error).split())}") from None
    if not isinstance(graph, nir.NIRGraph):
        raise GraphError(f"{path}: holds a {type(graph).__name__}, a NIRGraph is needed")
    return graph


def write(path: str | os.PathLike[str], graph: nir.NIRGraph, nir_version: str = "1.0.8") -> None:
    """Write a graph: nodes, edges and metadata sorted, so that equal graphs are equal bytes.

    Args:
        nir_version: "1.0.8", or "1.0.4" for readers that pin it: those fail on the field `v_reset`,
            so it is left out, which is right only where it is 0.

    Raises:
        GraphError: `v_reset` is not 0 somewhere and the older version is asked for.
    """
    if nir_version not in NIR_VERSIONS:
        raise GraphError(f"`nir_version` must be one of {NIR_VERSIONS}, got {nir_version!r}")
    content = _sorted(graph.to_dict())
    if nir_version == "1.0.4":
        content = _without_reset(content, "")
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("version", data=nir_version, dtype=h5py.string_dtype())
        _write(file.create_group("node"), content)


def _write(group: h5py.Group, content: dict[str, Any]) -> None:
    for name, value in content.items():
        if isinstance(value, dict):
            if name != "metadata" or value:
                _write(group.create_group(name), value)
        elif isinstance(value, str):
            group.create_dataset(name, data=value, dtype=h5py.string_dtype())
        elif isinstance(value, np.ndarray) and value.size > 64:
            group.create_dataset(name, data=value, compression="gzip")
        elif name == "edges":
            group.create_dataset(name, data=np.array(value, object), dtype=h5py.string_dtype())
        elif value is not None:
            group.create_dataset(name, data=value)


def _sorted(content: dict[str, Any]) -> dict[str, Any]:
    ordered = {}
    for name in sorted(content):
        value = content[name]
        if isinstance(value, dict):
            value = _sorted(value)
        elif name == "edges":
            value = sorted(tuple(edge) for edge in value)
        ordered[name] = value
    return ordered


def _without_reset(content: dict[str, Any], path: str) -> dict[str, Any]:
    kept = {}
    for name, value in content.items():
        if name == "v_reset":
            if np.any(value):
                raise GraphError(
                    f"node `{path}`: v_reset is {np.ravel(value)[0]:g}; nir 1.0.4 can only say 0"
                )
            continue
        inner = name if path == "" else f"{path}.{name}"
        inner = path if name == "nodes" else inner
        kept[name] = _without_reset(value, inner) if isinstance(value, dict) else value
    return kept


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 over the file's content: sorted dataset paths, types, shapes, little-endian bytes.

    Unlike the digest of the bytes it does not depend on the HDF5 library or on compression.
    """
    total = hashlib.sha256()
    with h5py.File(path, "r") as file:
        found: dict[str, Any] = {}
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    for name in sorted(found):
        array = np.asarray(found[name])
        if array.dtype.kind in "OSU":
            body = b"\0".join(
                e if isinstance(e, bytes) else str(e).encode() for e in array.ravel().tolist()
            )
            kind = "text"
        else:
            array = array.astype(array.dtype.newbyteorder("<"))
            body, kind = array.tobytes(), array.dtype.str
        total.update(f"{name}\0{kind}\0{array.shape}\0".encode() + body + b"\0")
    return total.hexdigest()
