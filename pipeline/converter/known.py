"""Which known class a layer runs as: its own, or a parent's of which nothing is redefined.

Layers are exported by what their class does. A subclass counts as its parent only if everything that
the parent runs by is the parent's own: methods, the helpers that they call, and the attributes that
they read. A method can be replaced in a class between the two, in a mixin beside the parent, or on the
instance.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from types import CodeType
from typing import Any

# What `spyx.nn.run` and the containers ask a layer for.
ENTRIES = ("__call__", "initial_state")
# With one of these any name may mean anything.
LOOKUP = ("__getattribute__", "__getattr__")


def class_name(cls: Any) -> str:
    """How a layer class or function is called in `Kind.exports`: its public module and name."""
    module = cls.__module__
    if module.startswith(("flax.nnx", "flax.linen.pooling")):  # nnx.avg_pool is linen's function
        module = "flax.nnx"
    return f"{module}.{cls.__qualname__}"


def parent(layer: Any, known: Collection[str]) -> type | None:
    """The first class in the layer's order of inheritance whose `class_name` is in `known`."""
    return next((base for base in type(layer).__mro__ if class_name(base) in known), None)


def redefined(layer: Any, base: type) -> str | None:
    """The first name, in sorted order, by which a layer may run otherwise than `base`; None if none.

    A plain value that stands in a class, such as a default, redefines nothing: the exporters read the
    same value. What is computed at every access (a property) does.
    """
    for name in sorted(_used(base).union(LOOKUP)):
        own = inspect.getattr_static(type(layer), name, None)
        usual = inspect.getattr_static(base, name, None)
        if own is not usual and (usual is not None or hasattr(own, "__get__")):
            return name
        if name in vars(layer) and (usual is not None or name in ENTRIES):
            return name
    return None


def runs_as(layer: Any, known: Collection[str]) -> type | None:
    """The class of `known` that says what this layer does, or None."""
    base = parent(layer, known)
    return None if base is None or redefined(layer, base) else base


@functools.cache
def _used(base: type) -> frozenset[str]:
    """Every name that a run of a `base` may look up: those in its code, and in its methods' code.

    Names of functions and modules are among them; that is harmless, for a layer seldom has an
    attribute of such a name.
    """
    names: set[str] = set()
    todo = list(ENTRIES)
    while todo:
        name = todo.pop()
        if name not in names:
            names.add(name)
            for code in _codes(inspect.getattr_static(base, name, None)):
                todo += code.co_names
    return frozenset(names)


def _codes(found: Any) -> Iterator[CodeType]:
    """The code of a function, method or property, and of the functions defined in it."""
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    function: Callable | None = inspect.unwrap(found) if callable(found) else None
    todo = [code] if isinstance(code := getattr(function, "__code__", None), CodeType) else []
    while todo:
        code = todo.pop()
        yield code
        todo += [const for const in code.co_consts if isinstance(const, CodeType)]
