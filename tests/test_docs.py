"""Every code block of docs/ runs as written, top to bottom, in an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pipeline.__main__ import COMMANDS as OF_THE_PIPELINE
from spyx_nir.cli.main import COMMANDS, main
from spyx_nir.hardware import registry

ROOT = Path(__file__).parent.parent
PAGES = sorted(p for p in (ROOT / "docs").glob("*.md") if "```" in p.read_text(encoding="utf-8"))
EVERY_PAGE = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_there_are_pages() -> None:
    assert {page.name for page in PAGES} >= {"convert.md", "deploy.md", "extend.md", "tour.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Blocks of Python in one namespace; lines of shell blocks through the command line."""
    monkeypatch.chdir(tmp_path)
    table = dict(registry.families())  # a page may register a family of its own
    monkeypatch.setattr(registry, "families", lambda: table)
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": page.stem}
    for found in BLOCK.finditer(text):
        language, code = found[1], found[2]
        line = text[: found.start()].count("\n") + 1
        if language == "python":
            exec(compile("\n" * line + code, str(page), "exec", dont_inherit=True), namespace)
        elif language == "sh":
            for command in code.splitlines():
                program, *arguments = shlex.split(command)
                assert program == "spyx-nir", command
                assert main(arguments) == 0, f"{command}: {capsys.readouterr().err}"
        elif language == "console":
            assert page.name == "tour.md"  # tests/test_tour.py runs these
        else:
            assert language == "text", f"{page.name}:{line}: a block of {language or 'nothing'}"


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_messages_that_are_quoted_are_in_the_code() -> None:
    """Texts that the code breaks over lines are joined first; `…` is what a message names."""
    files = [
        *(ROOT / "pipeline").rglob("*.py"),
        *(ROOT / "spyx_nir").rglob("*.py"),
        ROOT / "Makefile",
    ]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `(.+?)` \| ", page, re.MULTILINE)
    assert len(quoted) > 30
    parts = [part.strip() for message in quoted for part in message.split("…")]
    assert [part for part in parts if part not in code] == []


def test_every_command_is_in_the_manual() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+) [A-Z]", page, re.MULTILINE) == [*COMMANDS, *OF_THE_PIPELINE]
