"""Every code block of docs/ runs as written, top to bottom, in an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
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


def slugs(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(next(s for n in range(99) if (s := f"{plain}-{n}" if n else plain) not in found))
    return found


def wrong_links(page: Path) -> list[str]:
    """Links of a page to no file, to no heading, or to no https address."""
    wrong = []
    for target in re.findall(r"\]\(([^)]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./-]*)?", target):
            continue
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        if not place.exists() or (anchor and anchor not in slugs(place)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *EVERY_PAGE, *ROOT.glob("notebooks/*.md")], ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    assert wrong_links(page) == []


def test_a_wrong_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`, c\n\n## D\n\n## D\n\n[1](#a-b-c) [2](page.md#d-1) [3](https://a.bc/d)\n"
    )
    assert wrong_links(page) == []
    page.write_text("# A\n\n[1](#b) [2](no.md) [3](page.md#b) [4](http://a.bc) [5](https://a)\n")
    assert wrong_links(page) == ["#b", "no.md", "page.md#b", "http://a.bc", "https://a"]


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.name)
def test_a_page_starts_with_its_purpose_and_ends_with_what_is_next(page: Path) -> None:
    parts = page.read_text(encoding="utf-8").split("\n\n")
    assert parts[0].startswith("# ") and "This page" in parts[1], parts[:2]
    last = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[-1]
    assert last.startswith("Next\n") and re.search(r"\]\([^)]+\)", last), last


def test_every_page_is_in_the_index_and_in_the_readme() -> None:
    names = {page.name for page in EVERY_PAGE} - {"README.md"}
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", index, re.MULTILINE) == ["Start", "Do", "Look up", "Next"]
    assert set(re.findall(r"^\| \[(.+?)\]\(\1\) \|", index, re.MULTILINE)) == names
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert names <= set(re.findall(r"\]\(docs/([\w-]+\.md)\)", readme))


def test_the_api_page_is_current() -> None:
    found = subprocess.run(
        [sys.executable, ROOT / "docs" / "api.py", "--check"], capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")


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
