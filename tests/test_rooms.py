"""The two houses: which module imports which. Imports in functions and by string count as well."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from imports import ROOT, imported

HOUSES = ("spyx_nir", "pipeline")


def graph(*houses: str) -> dict[Path, set[Path]]:
    """Every module of `houses` and the modules of the project that it imports.

    A package's own `__init__` runs before each of its modules; that is no import of theirs.
    """
    found = {}
    for house in houses:
        for path in sorted((ROOT / house).rglob("*.py")):
            file = path.relative_to(ROOT)
            above = {parent / "__init__.py" for parent in file.parents}
            found[file] = {other for other in imported(file) if other not in {file, *above}}
    return found


def circles(edges: dict[Path, set[Path]]) -> list[list[str]]:
    """The groups of modules that import each other, by Tarjan's algorithm, without recursion."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    groups = []
    for start in edges:
        work = [(start, iter(sorted(edges[start])))] if start not in index else []
        if work:
            index[start] = low[start] = len(index)
            stack.append(start)
        while work:
            node, others = work[-1]
            for other in others:
                if other not in edges:
                    continue
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    work.append((other, iter(sorted(edges[other]))))
                    break
                if other in stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = []
                    while True:
                        group.append(stack.pop())
                        if group[-1] == node:
                            break
                    if len(group) > 1:
                        groups.append(sorted(map(str, group)))
    return groups


def test_a_circle_is_seen() -> None:
    a, b, c, d = (Path(name) for name in "abcd")
    assert circles({a: {b}, b: {c}, c: {b, d}, d: set()}) == [["b", "c"]]
    assert circles({a: {b, c}, b: {d}, c: {d}, d: set()}) == []


def test_no_module_imports_itself_by_a_detour() -> None:
    edges = graph(*HOUSES)
    assert len(edges) > 100
    assert any(edges[file] for file in edges)
    assert circles(edges) == []


def test_the_library_does_not_know_the_application() -> None:
    edges = graph("spyx_nir")
    back = [
        f"{file} -> {other}"
        for file, others in edges.items()
        for other in others
        if other.parts[0] != "spyx_nir"
    ]
    assert back == []
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in edges}
    assert [str(file) for file, text in texts.items() if "pipeline." in _strings(text)] == []


def _strings(text: str) -> str:
    """All texts of a module that are not docstrings: a module may be named in one."""
    tree = ast.parse(text)
    described = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return "\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in described
    )


def test_the_meaning_of_a_graph_needs_numpy_alone() -> None:
    allowed = {"numpy", "spyx_nir", *sys.stdlib_module_names}
    for file in (ROOT / "spyx_nir" / "meaning").glob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                names.add((node.module or "").partition(".")[0])
        assert names <= allowed, file.name
    edges = graph("spyx_nir")
    reached = {Path("spyx_nir/meaning/reference.py")}
    while more := {other for file in reached for other in edges[file]} - reached:
        reached |= more
    assert {file.parent.as_posix() for file in reached} == {"spyx_nir", "spyx_nir/meaning"}
    own = {file.name for file in reached if file.parent == Path("spyx_nir")}
    assert own == {"errors.py", "limits.py"}
