"""Pickles of lists, dicts, strings, numbers and NumPy arrays, and of nothing else.

A pickle is a program: its GLOBAL opcodes name any callable of any module. This reader knows the
few names that NumPy arrays need and refuses every other before it is looked up. Python 2 wrote its
texts and the bytes of its arrays as one type; both are read as Latin-1, which keeps every byte.
"""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray, numeric

from spyx_nir.errors import UserError
from spyx_nir.files import unreadable

SMALL = 2**20  # values that are cheap enough not to ask
MULTIPLIED = 4  # values for each byte of a file, which takes at least one for each of its own


class _Refused(Exception):
    """A name that is no part of plain data."""


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 stores bytes; the only codec it uses."""
    if encoding != "latin1":
        raise _Refused(f"the codec {encoding!r}")
    return text.encode("latin1")


class _NdArray:
    """Stands for the class that `_reconstruct` is given, so that nothing else can be made of it."""


def _reconstruct(kind: object, shape: object, code: object) -> np.ndarray:
    """An empty array, as every pickle by NumPy begins one; its numbers follow as bytes."""
    if kind is not _NdArray or shape != (0,):
        raise _Refused(f"an array of shape {shape!r:.40} without its numbers")
    return np.ndarray((0,), np.int8)


# Where NumPy 1 (`core`) and 2 (`_core`) say that an array, its type and its scalars are rebuilt.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{c}.multiarray", "_reconstruct"): _reconstruct for c in ("core", "_core")},
    **{
        (f"numpy.{core}.{module.__name__.rpartition('.')[2]}", name): getattr(module, name)
        for core in ("core", "_core")
        for module, name in (
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
            dicts, strings, numbers and NumPy arrays; or its references stand for far more than
            the file holds.
    """
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            found = _Unpickler(stream, encoding="latin1").load()
        _check_references(found, max(SMALL, MULTIPLIED * size))
        return found
    except OSError as error:
        raise UserError(f"{path}: {unreadable(path, error)}") from None
    except _Refused as refused:
        raise UserError(
            f"{path}: refused, the pickle asks for {refused}; only lists, dicts, strings, "
            "numbers and NumPy arrays are read"
        ) from None
    except RecursionError:
        raise UserError(f"{path}: refused, its lists are nested too deep") from None
    except MemoryError:
        raise UserError(f"{path}: the pickle asks for more memory than there is") from None
    except Exception as error:  # a damaged pickle can raise nearly anything, a crash is none
        raise UserError(
            f"{path}: not a readable pickle (truncated?): {type(error).__name__}: {error}"
        ) from None


def _check_references(value: Any, most: int) -> None:
    """Refuse lists that hold lists that hold one another again and again, or themselves.

    A pickle stores what is there twice once. Whoever reads the lists one by one meets it twice.
    """
    counts: dict[int, int] = {}
    todo: list[tuple[Any, bool]] = [(value, False)]
    open_now: set[int] = set()
    while todo:
        one, counted = todo.pop()
        if counted:
            open_now.discard(id(one))
            counts[id(one)] = 1 + sum(counts.get(id(m), _size(m)) for m in _members(one))
            if counts[id(one)] > most:
                raise _Refused(f"{counts[id(one)]} values by references of references")
        elif _holds(one) and id(one) not in counts:
            if id(one) in open_now:
                raise _Refused("a list that holds itself")
            open_now.add(id(one))
            todo.append((one, True))
            todo += [(m, False) for m in _members(one) if _holds(m)]


def _holds(one: Any) -> bool:
    """Whether a value holds others."""
    if isinstance(one, np.ndarray):
        return one.dtype == object
    return isinstance(one, list | tuple | dict | set)


def _members(one: Any) -> Iterable[Any]:
    if isinstance(one, np.ndarray):
        return one.ravel().tolist()
    return itertools.chain(one.keys(), one.values()) if isinstance(one, dict) else one


def _size(one: Any) -> int:
    """How many letters or numbers a value is."""
    if isinstance(one, np.ndarray):
        return 1 + one.size
    return 1 + len(one) if isinstance(one, str | bytes) else 1
