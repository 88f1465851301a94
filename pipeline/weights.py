"""Named arrays in one safetensors file: written atomically, the same bytes for the same content."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import numpy as np

from pipeline import files
from pipeline.errors import UserError


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
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return arrays, dict(stream.metadata() or {})
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro`") from None
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None


def _sorted_metadata(blob: bytes) -> bytes:
    """`blob` with its metadata in sorted order: safetensors writes it in a random one."""
    size = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return len(text).to_bytes(8, "little") + text + blob[8 + size :]
