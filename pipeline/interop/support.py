"""The conformance pack through every reader: verdicts, case by case, and the tables that people read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.conformance import build
from pipeline.interop.importers import Reader
from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference
from spyx_nir.meaning.dialects import Rule
from spyx_nir.meaning.plan import make_plan

REPORT = Path("bench/peers/conformance.json")
VERDICTS = ("faithful", "explained", "wrong", "refused", "read")
MOST_WHY = 150
NAMES = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|<class [^>]*>|\[\[?[^]]*\]?\]|[-+]?\d[\d.e+-]*")


@dataclass(frozen=True)
class Row:
    """What a reader made of one case: one of `VERDICTS`, and the reason."""

    case: str
    kinds: tuple[str, ...]
    verdict: str
    why: str


def run(readers: Mapping[str, Reader], folder: Path) -> dict[str, list[Row]]:
    """Every reader on every case, two readers at a time.

    Args:
        folder: for packs, results and arrays.

    Raises:
        UserError: an environment is missing, or a reader ended without results.
    """
    packs = {version: folder / f"pack-{version}" for version in file.NIR_VERSIONS}
    for version, pack in packs.items():
        build.write(pack, version)

    def results(name: str) -> tuple[Path, Path]:
        return folder / f"{name}.json", folder / f"{name}-arrays"

    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(reader.conform, packs[reader.nir_version], *results(name))
            for name, reader in readers.items()
        ]
        for future in futures:
            future.result()
    found = {}
    for name, reader in readers.items():
        report, arrays = results(name)
        cases = packs[reader.nir_version] / "cases"
        rows = json.loads(report.read_text(encoding="utf-8"))["cases"]
        found[name] = [judge(row, cases / row["name"], arrays, reader.known) for row in rows]
    return found


def judge(row: Mapping[str, Any], folder: Path, arrays: Path, known: tuple[Rule, ...]) -> Row:
    """The verdict on one result of the runner."""
    verdict, why = (
        {"pass": "faithful", "fail": "wrong"}.get(row["result"], row["result"]),
        row["why"],
    )
    if verdict == "wrong":
        with np.load(arrays / f"{row['name']}.npz", allow_pickle=False) as archive:
            found = dict(archive)
        for rule in known:
            if _explains(rule, folder, found):
                verdict, why = "explained", rule.text
                break
    return Row(row["name"], tuple(row["kinds"]), verdict, why)


def _explains(rule: Rule, folder: Path, found: Mapping[str, np.ndarray]) -> bool:
    """Whether the reference gives what a reader gave, once it runs by the rule."""
    about = json.loads((folder / build.ABOUT).read_text(encoding="utf-8"))
    with np.load(folder / build.DATA, allow_pickle=False) as archive:
        inputs = {
            key.removeprefix("input/"): archive[key][:, None]
            for key in archive
            if key.startswith("input/")
        }
    plan = rule.plan(make_plan(file.read_dict(folder / build.MODEL)))
    try:
        result = reference.run(plan, inputs, about["dt"], counts=True, steps=rule.steps)
    except GraphError:
        return False
    named = {f"output/{name}": array[:, 0] for name, array in result.outputs.items()}
    if "" in found and len(named) == 1:
        found = {next(iter(named)): found[""]}
    return set(named) <= set(found) and all(
        np.shape(found[key]) == array.shape
        and np.abs(found[key] - array).max() <= about["tolerance"]["values"]
        for key, array in named.items()
    )


def report(found: Mapping[str, list[Row]]) -> dict[str, Any]:
    """Verdict by reader and case, as JSON has it."""
    return {name: {row.case: row.verdict for row in rows} for name, rows in found.items()}


def table(found: Mapping[str, list[Row]], titles: Mapping[str, str]) -> str:
    """Primitive by reader, then the reasons, each with its smallest file; Markdown."""
    names = list(found)
    kinds = sorted({kind for rows in found.values() for row in rows for kind in row.kinds})
    lines = [
        "| primitive | " + " | ".join(titles[name] for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for kind in [*kinds, ""]:
        cells = [_cell([row for row in found[n] if not kind or kind in row.kinds]) for n in names]
        lines.append(f"| {kind or 'all cases'} | " + " | ".join(cells) + " |")
    for name in names:
        if reasons := list(_reasons(found[name])):
            lines += ["", f"### {titles[name]}", "", *REASONS, *reasons]
    return "\n".join(lines)


REASONS = ("| verdict | cases | primitives | smallest file | why |", "|---|---|---|---|---|")


def _cell(rows: list[Row]) -> str:
    """`faithful` if all are, else how many of each verdict there are."""
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in VERDICTS}
    shown = {verdict: count for verdict, count in counts.items() if count}
    if len(shown) == 1:
        (verdict,) = shown
        return f"{verdict} {len(rows)}"
    return "<br>".join(f"{verdict} {count}" for verdict, count in shown.items())


def _reasons(rows: list[Row]) -> Iterator[str]:
    """A line for each reason; reasons that differ in names and numbers only are one."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.verdict not in ("faithful", "read"):
            groups.setdefault((row.verdict, _key(row)), []).append(row)
    order = sorted(groups.items(), key=lambda item: (VERDICTS.index(item[0][0]), -len(item[1])))
    for (verdict, _), members in order:
        smallest = min(members, key=_size)
        kinds = ", ".join(sorted({kind for row in members for kind in row.kinds}))
        why = reason(verdict, smallest.why)
        yield f"| {verdict} | {len(members)} | {kinds} | `{smallest.case}` | {why} |"


def reason(verdict: str, why: str) -> str:
    """A reason as a cell of a table: our own words, or what a framework said, as code and cut."""
    if verdict in ("wrong", "refused"):
        cut = why.replace("`", "")
        why = f"`{cut[:MOST_WHY]}{'...' if len(cut) > MOST_WHY else ''}`"
    return why.replace("|", "\\|")


def _key(row: Row) -> str:
    """What rows of one reason have in common. Of wrong ones there is no reason, only the primitives."""
    return ", ".join(row.kinds) if row.verdict == "wrong" else NAMES.sub("", row.why)


_SIZES: dict[str, tuple[int, int, str]] = {}


def _size(row: Row) -> tuple[int, int, str]:
    """How large a case is: nodes, then numbers, then by name."""
    if not _SIZES:
        for case in build.cases():
            nodes = [node for _, node in file.nodes(case.graph)]
            numbers = sum(np.size(v) for node in nodes for v in node.values())
            _SIZES[case.name] = (len(nodes), numbers, case.name)
    return _SIZES[row.case]
