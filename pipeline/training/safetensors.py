"""Named arrays in one safetensors file: written atomically, the same bytes for the same content."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import files
from spyx_nir.errors import UserError


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write `arrays` (any shapes, little-endian) and `metadata` to `path`, atomically."""
    from safetensors.numpy import save

    # Unlike ascontiguousarray this leaves a scalar a scalar.
    contiguous = {name: np.array(array, order="C") for name, array in arrays.items()}
    blob = save(contiguous, dict(metadata))
    with files.atomic(path) as temporary:
        temporary.write_bytes(_sorted_metadata(blob))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file that `write` made.

    Raises:
        UserError: the file is missing, cut off or no safetensors file.
    """
    try:
        return unpack(Path(path).read_bytes(), path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro`") from None


def origin(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Where the weights of a file come from, as far as the file says.

    `trained_here`: whether the stage `train` wrote it. `started_from`: the SHA-256 of the weights that
    training started from (`train.start_from`), None for random ones.

    Raises:
        UserError: as `read`.
    """
    _, metadata = read(path)
    return {
        "trained_here": "epoch" in metadata,
        "started_from": json.loads(metadata.get("started_from", "null")),
    }


def unpack(
    blob: bytes, path: str | os.PathLike[str]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """As `read`, from the bytes of the file; `path` is what an error calls it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(blob)
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None
    return arrays, _header(blob).get("__metadata__", {})


def _header(blob: bytes) -> dict[str, Any]:
    return json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])


def _sorted_metadata(blob: bytes) -> bytes:
    """`blob` with its metadata in sorted order: safetensors writes it in a random one."""
    size = int.from_bytes(blob[:8], "little")
    header = _header(blob)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return len(text).to_bytes(8, "little") + text + blob[8 + size :]
