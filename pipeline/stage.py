"""The shape every stage shares: `python -m pipeline.<stage> <task>`, one process, one task."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline import environment, params, rehash
from spyx_nir.errors import Parser, exit_status
from spyx_nir.memory import keep_memory

CACHE = Path(".cache") / "jax"


def main(
    stage: Callable[..., None],
    description: str,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Parse `<task>`, `--params` and `options`, run `stage` on the task, exit with its status.

    `options` maps a flag to what `ArgumentParser.add_argument` takes; `stage` gets its value under
    the flag's name.
    """
    # Python 3.11 calls `python -m pipeline.train` train.py.
    prog = f"python -m pipeline.{Path(sys.argv[0]).stem}"
    parser = Parser(prog=prog, description=description)
    parser.add_argument("task", help="a task of the params file, such as braille or nmnist")
    parser.add_argument(
        "--params", default="params.yaml", metavar="FILE", help="default: %(default)s"
    )
    for flag, settings in (options or {}).items():
        parser.add_argument(flag, **settings)
    given = vars(parser.parse_args())
    task, file = given.pop("task"), given.pop("params")
    environment.settle()
    start_sooner()
    keep_memory()

    def command() -> None:
        environment.check_platform()
        rehash.check_inputs()
        loaded = params.load(task, file)
        stage(loaded, **given)

    sys.exit(exit_status(command))


def start_sooner() -> None:
    """Keep what JAX compiles, and leave out imports that no stage needs. Before JAX is imported.

    The cache is in the project folder and may be deleted at any time; an entry that cannot be
    read is compiled again. Programs made for one kind of processor are not offered to another.
    """
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / _processor()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # Spyx imports its data loaders, and with them grain, orbax and tonic: a third of all imports.
    import_when_asked("spyx.data")


def import_when_asked(name: str) -> None:
    """Enter the module `package.module` without running it; the first use of anything in it does.

    The package may then import it at no cost. A package that is not installed is left alone.
    """
    package = importlib.util.find_spec(name.rpartition(".")[0])
    if name in sys.modules or package is None:
        return
    places = package.submodule_search_locations
    spec = importlib.machinery.PathFinder.find_spec(name, places)
    if spec is None or spec.loader is None:
        return
    loader, module = spec.loader, importlib.util.module_from_spec(spec)

    def first_use(attribute: str) -> Any:
        # Whoever looks through all modules asks for names such as __warningregistry__.
        if attribute.startswith("__") and attribute != "__all__":
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        del module.__getattr__
        try:
            loader.exec_module(module)
        except BaseException:
            module.__getattr__ = first_use  # type: ignore[method-assign]
            raise
        return getattr(module, attribute)

    module.__getattr__ = first_use  # type: ignore[method-assign]
    sys.modules[name] = module


def _processor() -> str:
    """A name for the instructions that this processor knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    text = "\n".join([platform.machine(), platform.processor(), *facts])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
