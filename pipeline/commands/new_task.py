"""`new-task NAME`: a task of one's own that runs through all stages at once, to be filled in."""

from __future__ import annotations

import argparse
import builtins
import keyword
import textwrap
from pathlib import Path
from typing import Any

import yaml

from pipeline import tasks
from spyx_nir.cli import show
from spyx_nir.errors import UsageError, UserError
from spyx_nir.files import sweep, write_text

# What a task needs in dvc.yaml beside the stages, which go over all tasks of params.yaml: the list
# or mapping it belongs to, and the entry.
CURVES = """- {{name}} {what}:
    x: epoch
    y: {{{{models/{{name}}/curves.csv: [train_{what}, validation_{what}]}}}}
"""
CONFUSION = """- {name} confusion:
    template: confusion
    x: actual
    y: {{models/{name}/confusion.csv: predicted}}
"""
LISTED = [
    (("artifacts",), "{name}:\n  path: models/{name}/deploy/generic\n  type: model\n"),
    *((("plots",), CURVES.format(what=what)) for what in ("loss", "accuracy")),
    (("plots",), CONFUSION),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="of the task: small letters, digits and _")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = (
        "Run it in the project's root. It writes pipeline/tasks/NAME.py, a small task that runs as\n"
        "it is, and enters NAME into params.yaml and dvc.yaml. docs/new-task.md says what to change."
    )


def main(arguments: argparse.Namespace) -> int:
    name = arguments.name
    letters = name.isascii() and name.islower() and name[0].isalpha()
    if not (letters and name.isidentifier()):
        raise UsageError(f"{name}: a task's name has small letters, digits and _, a letter first")
    own = hasattr(tasks, name) and not (tasks.HERE / f"{name}.py").exists()
    if keyword.iskeyword(name) or hasattr(builtins, name) or own:
        # The module of a task is an attribute of the package, in front of Python's own `type`.
        raise UsageError(
            f"{name}: is a word of Python's own or of pipeline/tasks; choose another name"
        )
    if not isinstance(yaml.safe_load(name), str):
        raise UsageError(f"{name}: is no text to YAML; choose another name")
    made = new_task(name, Path("."))
    if arguments.json:
        show.as_json({"task": name, "files": made})
    else:
        for path in made:
            print(path)
        print(f"next: change them to your own, then: dvc repro deploy@{name}")
    return 0


def new_task(name: str, root: Path) -> list[str]:
    """Write the files of a new task under `root`; returns their names.

    Raises:
        UserError: `root` is not the project's root, or has a task of that name already.
    """
    module = root / "pipeline" / "tasks" / f"{name}.py"
    if not module.parent.is_dir():
        raise UserError(f"{module.parent}: no such folder; run from the project's root")
    template = (tasks.HERE / "_template.py").read_text(encoding="utf-8")
    block = (tasks.HERE / "_template.yaml").read_text(encoding="utf-8").replace("{name}", name)
    block = f"{name}:\n{textwrap.indent(block, '  ')}"
    parameters, stages = root / "params.yaml", root / "dvc.yaml"
    for file in (module, parameters, stages):
        sweep(file)
    listing, given = _read(stages), _read(parameters)
    # dvc.yaml is written last: without it the rest is of a call that was interrupted.
    begun = module.exists() and module.read_text(encoding="utf-8") == template
    if module.exists() and not (begun and f"models/{name}/" not in listing):
        raise UserError(f"{module}: is there already; choose another name")
    for path, entry in LISTED:
        listing = insert(listing, path, entry.format(name=name), stages)
    if not (begun and textwrap.indent(block, "  ") in given):
        given = insert(given, ("tasks",), block, parameters)
    texts = {
        module: template,
        parameters: given,
        stages: listing,
        root / "data" / "recordings" / name / ".gitkeep": "",  # DVC watches a folder that exists
    }
    for file in sorted(texts, key=lambda file: file == stages):
        write_text(file, texts[file])
    return [file.relative_to(root).as_posix() for file in texts]


def insert(text: str, path: tuple[str | int, ...], entry: str, where: Path) -> str:
    """YAML `text` with `entry` as the last of the list or mapping at `path`, all else untouched.

    Raises:
        UserError: there is no such list or mapping in `where`, or `entry` is in it already.
    """
    last = node = _node(text, path, where)
    while isinstance(last, yaml.CollectionNode) and not last.flow_style:
        inner = last.value[-1]
        last = inner[1] if isinstance(inner, tuple) else inner
    lines = text.splitlines(keepends=True)
    at = last.end_mark.line + 1
    new = "".join([*lines[:at], textwrap.indent(entry, " " * node.start_mark.column), *lines[at:]])
    key = entry.partition(":")[0]
    if any(isinstance(pair, tuple) and pair[0].value == key for pair in node.value):
        raise UserError(f"{where}: `{key}` is there already")
    if len(_node(new, path, where).value) != len(node.value) + 1:
        raise UserError(f"{where}: not laid out as expected at `{_dotted(path)}`; enter {entry!r}")
    return new


def _node(text: str, path: tuple[str | int, ...], where: Path) -> Any:
    """The block list or mapping at `path`."""
    try:
        node: Any = yaml.compose(text, yaml.SafeLoader)
        for key in path:
            if isinstance(key, int):
                node = node.value[key]
            else:
                (node,) = (value for name, value in node.value if name.value == key)
        if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
            raise ValueError
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, IndexError):
        raise UserError(f"{where}: no list or mapping `{_dotted(path)}` to add to") from None
    return node


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path}: not readable; run from the project's root") from None
