"""Which known class a layer runs as: its own, or a parent's of which nothing is redefined.

Layers are exported by what their class does. A subclass counts as its parent only if everything that
the parent runs by is the parent's own: methods, the helpers that they call, and the attributes that
they read. A method can be replaced in a class between the two, in a mixin beside the parent, or on the
instance.
"""

from __future__ import annotations

import dis
import functools
import inspect
import itertools
from collections.abc import Collection, Iterator
from types import CellType, CodeType
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

    A plain value of a class, such as a default, redefines nothing: the exporters read the same value.
    What is computed at every access (a property) does.
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


# Modules whose own code says what they do. Any other module of these packages is one layer.
OPEN = {
    "flax.nnx.Module",
    "flax.nnx.Pytree",
    "flax.nnx.Representable",
    "flax.nnx.Object",
    "flax.nnx.SequenceReprMixin",
    "flax.nnx.MappingReprMixin",
    "flax.nnx.Sequential",
    "flax.nnx.List",
    "flax.nnx.Dict",
    "flax.nnx.WeightNorm",
    "spyx.nn.Sequential",
}
PACKAGES = ("flax.", "spyx.", "jax.")
GRAPH_MODEL = "spyx_nir.converter.layers.GraphModel"


def public(part: Any) -> bool:
    """Whether a layer or function is one of Flax, Spyx or JAX."""
    part = part.func if type(part) is functools.partial else part
    return str(getattr(part, "__module__", "")).startswith(PACKAGES)


def is_function(part: Any) -> bool:
    """Whether a part of a model is a function, not a module."""
    from flax import nnx

    return callable(part) and not isinstance(part, type | nnx.Module)


def closed(module: Any, known: Collection[str]) -> bool:
    """Whether a module is one layer, which nothing looks into: of `known`, or of a library."""
    for base in type(module).__mro__:
        name = class_name(base)
        if name in known or name == GRAPH_MODEL:
            return True
        if base.__module__.startswith(PACKAGES) and name not in OPEN:
            return True
    return False


def _used(base: type) -> frozenset[str]:
    """Every name that a run of a `base` may look up on the layer."""
    names: set[str] = set()
    todo = list(ENTRIES)
    while todo:
        name = todo.pop()
        if name not in names:
            names.add(name)
            todo += _looked_up(inspect.getattr_static(base, name, None))
    return frozenset(names)


def _looked_up(found: Any) -> list[str]:
    """The names that a method or property looks up on its first argument, the layer.

    Where it does anything else with the layer, such as calling a function with it, these are all names
    in its code and in that of the functions it holds.
    """
    function = getattr(found, "fget", None) or getattr(found, "__func__", found)
    own = _behind_self(function.__code__) if inspect.isfunction(function) else []
    return [name for code in _codes(function) for name in code.co_names] if own is None else own


def _behind_self(code: CodeType) -> list[str] | None:
    """The attributes that a method reads of its first argument; None if it does anything else with it."""
    if not code.co_argcount or "super" in code.co_names:
        return None
    layer, names = code.co_varnames[0], []
    for step, following in itertools.pairwise(dis.get_instructions(code)):
        if step.argval == layer or (isinstance(step.argval, tuple) and layer in step.argval):
            if step.opname != "LOAD_FAST" or following.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
                return None
            names.append(following.argval)
    return names


def _codes(function: Any) -> Iterator[CodeType]:
    """The code of a function, of the functions defined in it and of those it holds.

    A function that replaces another often holds it.
    """
    todo: list[Any] = [function]
    seen: set[int] = set()
    while todo:
        part = todo.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, CodeType):
            yield part
            todo += part.co_consts
        elif inspect.isfunction(part):
            todo += [part.__code__, getattr(part, "__wrapped__", None)]
            todo += [cell.cell_contents for cell in part.__closure__ or () if _filled(cell)]


def _filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
