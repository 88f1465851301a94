"""A stand-in for samna, under which rockpool's own code finds a board and configures it.

Any attribute of a module or of an object is there: configurations keep what they are given, numbers that
nothing set are 0. Standard library alone: it runs in the environment of the vendors' programs.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any, ClassVar

BOARDS = ("XyloA2TestBoard", "XyloAudio3TestBoard", "XyloImuTestBoard")


class Anything:
    """An object with every attribute; as a number 0, as a truth value false."""

    def __init__(self, *_: Any, **given: Any):
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.__dict__[name] = made = Anything()
        return made

    def __bool__(self) -> bool:
        return False

    def __index__(self) -> int:
        return 0


class Module(types.ModuleType):
    """A module whose capitalised attributes are classes, and others modules."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name[0].isupper():
            made: Any = type(name, (Anything,), {})
        else:
            full = f"{self.__name__}.{name}"
            made = sys.modules.setdefault(full, Module(full))
        setattr(self, name, made)
        return made


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds samna, bitstruct and everything in them."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] not in (
            "samna",
            "bitstruct",
        ):  # Audio 2's module of boards imports both
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> Module:
        return Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        return


def install() -> None:
    """Let samna and bitstruct be this stand-in, to which one board of each kind is connected."""
    sys.meta_path.append(Finder())  # behind what is installed
    import samna  # type: ignore[import-not-found]

    samna.device.get_all_devices = lambda: [Anything(device_type_name=name) for name in BOARDS]
    samna.device.open_device = lambda device: device
    for chip in ("xyloCore2", "xyloAudio3", "xyloImu"):
        getattr(samna, chip).validate_configuration = lambda config: (True, "")
