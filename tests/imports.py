"""What a module imports, found in its text: imports in functions and by string included.

An import under `if TYPE_CHECKING` does not run and does not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Modules whose imports by string have a name that is made at run time: the folder that has them all.
# A task's own module, `pipeline.tasks.{name}`, is up to the caller.
BY_STRING = {
    "pipeline/conformance/run_conformance.py": "",  # the reader that a person names
    "spyx_nir/__init__.py": "",  # names its rooms, which nothing of ours asks it for
    "spyx_nir/cli/main.py": "spyx_nir/cli",
    "spyx_nir/converter/__init__.py": "spyx_nir/converter",
    "spyx_nir/converter/registry.py": "spyx_nir/converter/nodes",
    "spyx_nir/hardware/registry.py": "spyx_nir/hardware/families",
    "pipeline/tasks/__init__.py": "",
}


def closure(module: Path, own: Path | None = None) -> set[Path]:
    """All files of the project that `module` imports, itself included, relative to the project.

    Args:
        module: relative to the project. own: what imports of a task by its name lead to.

    Raises:
        ValueError: an import by string that this module does not know.
    """
    found: set[Path] = set()
    waiting = [module, *([own] if own else [])]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += imported(file)
    return found


@cache
def imported(file: Path) -> tuple[Path, ...]:
    """The files of the project that `file` imports; a package's `__init__` with every module in it."""
    return tuple(_imported(file))


def _imported(file: Path) -> Iterator[Path]:
    for node in _that_run(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(alias.name)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"{file}: line {node.lineno}: a relative import")
            for alias in node.names:
                yield from _files(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            match node.args[0]:
                case ast.Constant(value=str(name)):
                    yield from _files(name)
                case _ if file.as_posix() in BY_STRING:
                    if folder := BY_STRING[file.as_posix()]:
                        for pattern in ("*.py", "*/__init__.py"):
                            yield from (p.relative_to(ROOT) for p in (ROOT / folder).glob(pattern))
                case _:
                    raise ValueError(
                        f"{file}: line {node.lineno}: an import by a string made there"
                    )


def _that_run(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _that_run(child)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _files(name: str) -> Iterator[Path]:
    """The files that `import name` runs, where `name` is a module of the project or a name in one."""
    parts = name.split(".")
    if not (ROOT / parts[0]).is_dir():
        return
    for n in range(1, len(parts) + 1):
        place = Path(*parts[:n])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if (ROOT / file).is_file():
                yield file
