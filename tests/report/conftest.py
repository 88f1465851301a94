"""A small project whose stages have run, and the page that the report makes of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from end_to_end import ROOT

from pipeline.report import page

TASKS = ("braille", "nmnist")
CURVES = """epoch,train_loss,train_accuracy,validation_loss,validation_accuracy
1,1.5,0.25,1.25,0.5
2,0.75,0.625,0.5,0.75
"""


def entry(correct: int, n: int, low: float, high: float) -> dict[str, Any]:
    return {"accuracy": correct / n, "correct": correct, "n": n, "wilson95": [low, high]}


# Written by hand: training itself is no part of that run. The intervals are Newcombe's (1998, table I).
TRAIN = {
    "accuracy": {
        "train": entry(81, 263, 0.2553, 0.3662),
        "validation": entry(15, 148, 0.0624, 0.1605),
        "test": entry(1, 29, 0.0061, 0.1718),
    },
    "best_epoch": 2,
    "epochs": 2,
    "loss": {"train": 0.75, "validation": 0.5, "test": 0.625},
    "spike_rate": {},
}


@pytest.fixture(scope="session")
def small_project(
    tiny_run: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Both tasks in one folder, with everything that the report reads; copy it before a change."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "params.yaml", root)
    for task in TASKS:
        shutil.copytree(tiny_run(task, "v_reset") / "models" / task, root / "models" / task)
        folder = root / "models" / task
        (folder / "train.json").write_text(json.dumps(TRAIN))
        (folder / "curves.csv").write_text(CURVES)
        (manifest,) = (folder / "deploy").rglob("manifest.json")
        names = json.loads(manifest.read_text())["classes"]
        pairs = [(names[0], names[0]), (names[0], names[1]), (names[1], names[1])]
        lines = ["actual,predicted", *(",".join(pair) for pair in pairs)]
        (folder / "confusion.csv").write_text("\n".join(lines) + "\n")
    return root


@dataclass
class Page(HTMLParser):
    """What is on a page: tables by part and caption, cards of the overview by id, charts by id, sentences
    of what is missing.

    A cell is the exact number where it has one, else its text.
    """

    text: str
    tables: dict[tuple[str, str], list[list[Any]]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    charts: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.part, self.rows, self.into, self.exact = "", [], None, None
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [v for k, v in attrs if k in ("src", "href") and v]
        if tag == "section" and given.get("class") == "part":
            self.part = str(given["id"])
        elif tag == "table":
            self.rows = self.tables[self.part, str(given["aria-label"])] = []
        elif tag == "tr":
            self.rows.append([])
        elif "data-card" in given:
            self.card = self.cards[str(given["id"])] = {}
        elif tag == "ol" and given.get("class") == "steps":
            self.card["steps"] = []
        elif tag in ("td", "th", "dt", "dd", "small", "script") or given.get("class") == "missing":
            self.into, self.exact = [], None
            self.script = given.get("id")
        elif tag == "data":
            self.exact = float(str(given["value"]))
            if self.cards and "steps" in self.card and len(self.card["steps"]) < 3:
                self.card["steps"].append(self.exact)

    def handle_data(self, data: str) -> None:
        if self.into is not None:
            self.into.append(data)

    def handle_endtag(self, tag: str) -> None:
        if self.into is None or tag not in ("td", "th", "dt", "dd", "small", "script", "p"):
            return
        text, self.into = "".join(self.into), None
        if tag in ("td", "th"):
            self.rows[-1].append(text.strip() if self.exact is None else self.exact)
        elif tag == "dt":
            self.what = text.strip()
        elif tag == "dd":
            self.card[self.what] = text.strip() if self.exact is None else self.exact
        elif tag == "small":
            self.card.setdefault("said", []).append(text.strip())
        elif tag == "p":
            self.missing.append(text)
        elif self.script == "charts":
            self.charts = json.loads(text)


@pytest.fixture(scope="session")
def written(small_project: Path) -> Path:
    """The page of the small project on disk."""
    output = small_project / "report" / "index.html"
    page.write(small_project, output)
    return output


@pytest.fixture(scope="session")
def read_page() -> Callable[[Path], Page]:
    """Reads a page's file."""
    return lambda path: Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def page_colours() -> Callable[[str], dict[str, tuple[int, ...]]]:
    """`page_colours("light")`: the variables of style.css as red, green and blue, 0 to 255."""
    style = (Path(page.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    themes = dict(zip(("light", "dark"), style.split(":root {")[1:3], strict=True))

    def colours(theme: str) -> dict[str, tuple[int, ...]]:
        found = re.findall(r"--([a-z0-9-]+): #([0-9a-f]{6})", themes[theme].split("}")[0])
        return {name: tuple(bytes.fromhex(code)) for name, code in found}

    return colours
