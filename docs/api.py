"""Writes docs/api.md from the signatures and docstrings of `spyx_nir`; nothing is imported.

`python docs/api.py` writes the page; with `--check` it fails where the page is not current.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "api.md"
LIBRARY = ROOT / "spyx_nir"
# Folders and modules that serve the library itself; all others are listed.
INTERNAL = {
    "__main__", "agreement", "bringup", "bundle", "cli", "deterministic", "files", "float_weights",
    "grid", "hdf5",
    "known", "layer_cache", "layout", "neuron_fields", "nodes", "on_lava", "qat", "rounding",
    "source", "templates", "writers",
}  # fmt: skip
HEAD = """# The API of `spyx_nir`

This page is for people who call the library from Python: every public function and class, its
arguments, shapes, units and errors. It is generated from the docstrings by `make api`; `make check`
fails where it is not current.

`import spyx_nir as snir` gives the names of the first section and, as attributes, the packages of the
others: `snir.hardware.quantise` after `import spyx_nir.hardware.quantise`. Arrays are time-major,
(T, B, ...); NIR is channels first, Flax channels last.
"""
NEXT = """
## Next

- [convert.md](convert.md) uses the first section, [hardware.md](hardware.md) the chips.
- [contract.md](contract.md) specifies the metadata, [glossary.md](glossary.md) explains the terms.
"""
Definition = ast.FunctionDef | ast.ClassDef


def top_level() -> dict[str, str]:
    """The functions and classes of `spyx_nir/__init__.py` and the modules that they come from."""
    return {
        alias.name: node.module
        for node in ast.walk(_tree(LIBRARY / "__init__.py"))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("spyx_nir.")
        for alias in node.names
        if not (ROOT / f"{node.module.replace('.', '/')}" / f"{alias.name}.py").is_file()
    }


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The public modules, by dotted name; `neurons` first."""
    paths = [path for path in LIBRARY.rglob("*.py") if not INTERNAL & set(_parts(path))]
    for path in sorted(paths, key=lambda path: (path.name != "neurons.py", path)):
        yield ".".join(part for part in _parts(path) if part != "__init__"), _tree(path)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT).with_suffix("").parts


def definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    """The public functions and classes of a module, or methods of a class."""
    for node in body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node):
            yield node


def signature(node: Definition, name: str) -> str:
    """`name(arguments) -> result`; of a class the arguments of `__init__`, or its fields."""
    if isinstance(node, ast.FunctionDef):
        result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{name}({ast.unparse(node.args)}){result}"
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            inner.args.args = inner.args.args[1:]
            return f"class {name}({ast.unparse(inner.args)})"
    fields = [ast.unparse(inner) for inner in node.body if isinstance(inner, ast.AnnAssign)]
    return f"class {name}({', '.join(fields) or ', '.join(map(ast.unparse, node.bases))})"


def entry(node: Definition, name: str) -> str:
    """A definition as text: its signature and, indented, its docstring and its methods."""
    lines = textwrap.wrap(
        signature(node, name), 96, subsequent_indent=" " * 8, break_long_words=False
    )
    lines += [f"    {line}".rstrip() for line in (ast.get_docstring(node) or "").splitlines()]
    if isinstance(node, ast.ClassDef):
        for method in definitions(node.body):
            method_lines = (
                entry(method, f".{method.name}").replace("(self, ", "(").replace("(self)", "()")
            )
            lines += ["", *(f"    {line}".rstrip() for line in method_lines.splitlines())]
    return "\n".join(lines)


def page() -> str:
    """The whole of docs/api.md."""
    places = top_level()
    sections = [HEAD, "\n## Top-level names\n"]
    for name, module in sorted(places.items()):
        tree = _tree(ROOT / f"{module.replace('.', '/')}.py")
        found = [node for node in definitions(tree.body) if node.name == name]
        sections += [
            f"\n### `snir.{name}`\n\n```text\n{entry(node, name)}\n```\n" for node in found
        ]
    for module, tree in modules():
        found = [node for node in definitions(tree.body) if places.get(node.name) != module]
        if found:
            sections.append(f"\n## `{module}`\n\n```text\n{ast.get_docstring(tree)}\n```\n")
        sections += [f"\n### `{n.name}`\n\n```text\n{entry(n, n.name)}\n```\n" for n in found]
    return "".join([*sections, NEXT])


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("error: docs/api.md is not current: run make api")


if __name__ == "__main__":
    main()
