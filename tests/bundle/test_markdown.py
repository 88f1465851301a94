"""What is written as Markdown must read as it was meant, by CommonMark's rules and with tables."""

from __future__ import annotations

import re

import pytest
from end_to_end import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token

PAIRS = [
    ("braille", "generic"), ("nmnist", "generic"), ("braille", "xylo-audio-2"), ("braille", "loihi"),
    ("nmnist", "speck-2f"), ("braille", "cortex-m"),
]  # fmt: skip
# How a line begins that would have been a block of its own with a blank line before it.
BLOCK = re.compile(r"\s*(\d+[.)]|[-*+]|#{1,6}|>|\|)(\s|-)|\s*\|")


def read(text: str) -> list[Token]:
    """The blocks of a Markdown text without its YAML head."""
    body = text.split("---\n", 2)[2] if text.startswith("---\n") else text
    return MarkdownIt("commonmark").enable("table").parse(body)


def collapsed(blocks: list[Token]) -> list[str]:
    """Lines that were meant as lists, tables or headings and are none."""
    texts = [block.content for block in blocks if block.type == "inline"]
    return [
        line
        for text in texts
        for number, line in enumerate(text.split("\n"))
        if BLOCK.match(line) and (number or line.lstrip().startswith("|"))
    ]


@pytest.fixture(scope="module")
def papers(tiny_run, tiny_bundle):
    """`papers(task, target)`: the Markdown files of a bundle by name."""

    def read_all(name: str, chip: str) -> dict[str, str]:
        generic = chip == "generic"
        project = tiny_run(name, "v_reset") if generic else tiny_bundle(name, chip)
        folder = project / "models" / name / "deploy" / chip
        return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}

    return read_all


@pytest.mark.parametrize(("task", "chip"), PAIRS)
def test_lists_tables_and_headings_of_a_bundle_stay_what_they_are(papers, task, chip):
    found = papers(task, chip)
    assert set(found) == {"MODEL_CARD.md", *["BRINGUP.md"] * (chip != "generic")}
    for name, text in found.items():
        blocks = read(text)
        assert collapsed(blocks) == [], name
        kinds = [block.type for block in blocks]
        code = re.sub(r"^    .*$", "", text, flags=re.MULTILINE)
        assert kinds.count("heading_open") == len(re.findall(r"^#+ ", code, re.MULTILINE)), name
        assert kinds.count("table_open") == len(re.findall(r"^ *\|(---\|)+$", text, re.MULTILINE))
    if chip != "generic":
        blocks = read(found["BRINGUP.md"])
        lists = [b for b in blocks if b.type == "ordered_list_open"]
        items = [b for b in blocks if b.type == "list_item_open" and b.info]
        assert len(lists) == 1 and [b.info for b in items] == ["1", "2", "3", "4"]
        inside = [b for b in blocks if b.type == "table_open"]
        assert [b.level for b in inside] == [2]  # within its item


@pytest.mark.parametrize(
    "page", sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")]), ids=lambda p: p.name
)
def test_lists_tables_and_headings_of_the_documents_stay_what_they_are(page):
    assert collapsed(read(page.read_text(encoding="utf-8"))) == []


def test_the_check_sees_a_list_behind_a_paragraph():
    assert collapsed(read("1. a\n\n   table\n\nwhere\n3. b\n4. c\n")) == ["3. b", "4. c"]
    assert collapsed(read("text\n\n| a |\nnothing\n")) == ["| a |"]
    assert collapsed(read("1. a\n2. b\n\n| a |\n|---|\n| b |\n")) == []
