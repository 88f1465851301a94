"""Pickles of lists, dicts, strings, numbers and NumPy arrays, and of nothing else.

A pickle is a program: its GLOBAL opcodes name any callable of any module. This reader knows the
few names that NumPy arrays need and refuses every other before it is looked up. Python 2 wrote its
texts and the bytes of its arrays as one type; both are read as Latin-1, which keeps every byte.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray, numeric

from spyx_nir.errors import UserError
from spyx_nir.files import unreadable


class _Refused(Exception):
    """A name that is no part of plain data."""


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 stores bytes; the only codec it uses."""
    if encoding != "latin1":
        raise _Refused(f"the codec {encoding!r}")
    return text.encode("latin1")


# Where NumPy 1 (`core`) and 2 (`_core`) say that an array, its type and its scalars are rebuilt.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    **{
        (f"numpy.{core}.{module.__name__.rpartition('.')[2]}", name): getattr(module, name)
        for core in ("core", "_core")
        for module, name in (
            (multiarray, "_reconstruct"),
            (multiarray, "scalar"),
            (numeric, "_frombuffer"),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Refused(f"{module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise _Refused("a persistent id")


def load(path: str | Path) -> Any:
    """Read a pickle of plain data; nothing that it names is ever called but NumPy's rebuilding.

    Raises:
        UserError: the file is missing, truncated, no pickle, or asks for anything but lists,
            dicts, strings, numbers and NumPy arrays.
    """
    try:
        with open(path, "rb") as stream:
            return _Unpickler(stream, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"{path}: {unreadable(path, error)}") from None
    except _Refused as refused:
        raise UserError(
            f"{path}: refused, the pickle asks for {refused}; only lists, dicts, strings, "
            "numbers and NumPy arrays are read"
        ) from None
    except MemoryError:
        raise UserError(f"{path}: the pickle asks for more memory than there is") from None
    except Exception as error:  # a damaged pickle can raise nearly anything, a crash is none
        raise UserError(
            f"{path}: not a readable pickle (truncated?): {type(error).__name__}: {error}"
        ) from None
