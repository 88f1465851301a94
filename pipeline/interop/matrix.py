"""Every bundle through every reader: the report, and the table that people read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets import prepared
from pipeline.interop import verdict
from pipeline.interop.importers import Reader
from pipeline.interop.protocol import Answer, Request
from spyx_nir.converter import adapt, file
from spyx_nir.errors import GraphError, UserError
from spyx_nir.files import sha256
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import Plan, make_plan, step_dt

REPORT = Path("bench/peers/matrix.json")
AS_SHIPPED, ORIGINAL = "as shipped", "the original graph"
CHUNK = 16  # samples at a time
ON_CHIPS = 100  # samples of the test set, for a chip's bundle; `generic` gets all
MOST_TEXT = 200
FILES = {"1.0.8": "model.nir", "1.0.4": "model-nir-1.0.4.nir"}
BEGIN, END = "<!-- matrix: written by `make peers` -->", "<!-- end of matrix -->"


def run(
    bundle: Path,
    readers: Mapping[str, Reader],
    root: Path,
    samples: int | None,
    folder: Path,
    on_answer: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """One bundle through every reader, as it is and by the reader's profile.

    Args:
        samples: so many of the test set; None for all, and for `ON_CHIPS` if the bundle is a chip's.
        folder: for the rewritten files. on_answer: gets the share of the bundle that a reader was.

    Returns:
        A row per reader and file; rows of readers that are given another file than the bundle's name
        their profile.

    Raises:
        UserError: the bundle, the test set or an environment is missing or broken.
    """
    task = bundle.relative_to(root / "models").parts[0]
    events, labels = prepared.read(root / "data" / "prepared" / f"{task}.h5").subset("test")
    if samples is None and bundle.name != "generic":
        samples = ON_CHIPS
    test_samples, which = len(labels), spread(len(labels), samples)
    events, labels = events[which], labels[which]
    content = file.read_dict(bundle / FILES["1.0.8"])
    rows: list[dict[str, Any]] = []
    pool = ThreadPoolExecutor(2)  # each reader keeps a core busy
    try:
        asked = []
        for label, chosen in _files(content, readers):
            plan, dt, paths = _written(bundle, content, label, folder)
            asked.append((label, chosen, plan, dt, _ask(pool, chosen, paths, dt, events, plan)))
        share = 1 / sum(len(coming) for *_, coming in asked)
        for *_, coming in asked:
            for answer in coming.values():
                answer.add_done_callback(lambda _: on_answer(share))
        original = _original(content, events)
        # The slowest reader is in the first.
        for label, chosen, plan, dt, coming in reversed(asked):
            answers = {name: answer.result() for name, answer in coming.items()}
            rows += _judged(label, chosen, plan, dt, events, labels, answers, original)
    finally:
        pool.shutdown(cancel_futures=True)
    order = list(readers)
    rows.sort(key=lambda row: (order.index(row["reader"]), row["file"] != AS_SHIPPED))
    return {
        "bundle": str(bundle.relative_to(root)),
        "model_nir_sha256": sha256(bundle / FILES["1.0.8"]),
        "test_samples": test_samples,
        "samples": len(labels),
        "rows": rows,
    }


def _judged(
    label: str,
    chosen: Mapping[str, Reader],
    plan: Plan,
    dt: float,
    events: np.ndarray,
    labels: np.ndarray,
    answers: Mapping[str, Answer],
    original: Answer,
) -> Iterator[dict[str, Any]]:
    """The rows of one file."""
    known = {name: reader.known for name, reader in chosen.items()}
    if label != AS_SHIPPED:
        answers = {**answers, ORIGINAL: original}
    found = verdict.judge(plan, dt, events, labels, answers, known)
    own = found.pop(ORIGINAL, {})
    changed = {f"profile_{key}": own[key] for key in ("differing_spikes", "verdict") if own}
    for name, entry in found.items():
        yield {"reader": name, "title": chosen[name].title, "file": label, **entry, **changed}


def spread(total: int, count: int | None) -> np.ndarray:
    """Which of `total` samples, `count` or all, evenly spread: a test set is sorted by class."""
    count = total if count is None else min(count, total)
    return np.arange(count) * total // max(count, 1)


def _original(content: dict[str, Any], events: np.ndarray) -> Answer:
    """What the reference makes of the bundle's own file, as if it were a reader."""
    plan = make_plan(content)
    parts = [
        reference.run(plan, events[start : start + CHUNK].swapaxes(0, 1)).spikes
        for start in range(0, len(events), CHUNK)
    ]
    names = verdict.spiking(plan)
    return Answer({n: np.concatenate([p[n].swapaxes(0, 1) for p in parts]) for n in names})


def _files(
    content: dict[str, Any], readers: Mapping[str, Reader]
) -> list[tuple[str, dict[str, Reader]]]:
    """Which readers are given which file: all of them the bundle's, some one of a profile's."""
    plain = file.content_digest(content)
    found = [(AS_SHIPPED, dict(readers))]
    for name, reader in readers.items():
        if not reader.profile:
            continue
        try:
            rewritten = adapt.dialect(content, reader.profile)
        except GraphError:  # the graph cannot be said in that way
            continue
        if file.content_digest(rewritten) != plain:
            found.append((reader.profile, {name: reader}))
    return found


def _written(
    bundle: Path, content: dict[str, Any], label: str, folder: Path
) -> tuple[Plan, float, dict[str, Path]]:
    """The plan and dt of a file, and its file by version of nir."""
    if label == AS_SHIPPED:
        paths = {version: bundle / name for version, name in FILES.items()}
    else:
        graph = file.build(adapt.dialect(content, label))
        paths = {"1.0.8": folder / f"{label}.nir"}
        file.write(paths["1.0.8"], graph)
    plan = make_plan(file.read_dict(paths["1.0.8"]))
    return plan, step_dt(plan, None), paths


def _ask(
    pool: ThreadPoolExecutor,
    readers: Mapping[str, Reader],
    paths: Mapping[str, Path],
    dt: float,
    events: np.ndarray,
    plan: Plan,
) -> dict[str, Future[Answer]]:
    """What every reader makes of its file, once it is through."""
    nodes = verdict.spiking(plan)
    return {
        name: pool.submit(reader.ask, Request(str(paths[reader.nir_version]), dt, events, nodes))
        for name, reader in readers.items()
    }


def table(report: list[dict[str, Any]]) -> str:
    """The report as Markdown."""
    lines = []
    for entry in report:
        lines += [
            f"`{entry['bundle']}`, {entry['samples']} of {entry['test_samples']} test samples",
            "",
            "| importer | file | verdict | accuracy | differing spikes | differing classes | why |",
            "|---|---|---|---|---|---|---|",
            *(_line(row) for row in entry["rows"]),
            "",
        ]
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    given = row["file"] if row["file"] == AS_SHIPPED else f"profile `{row['file']}`"
    cells = [row["title"], given, f"**{row['verdict']}**"]
    if "accuracy" in row:
        hit = row["accuracy"]
        cells += [
            f"{100 * hit['accuracy']:.1f} % ({hit['correct']} of {hit['n']})",
            f"{row['differing_spikes']:,} of {row['entries']:,}",
            f"{row['differing_predictions']}",
        ]
    else:
        cells += ["", "", ""]
    return "| " + " | ".join([*cells, _why(row).replace("|", "\\|")]) + " |"


def _why(row: Mapping[str, Any]) -> str:
    """The reasons, an error as code and not longer than a table bears."""

    def short(text: str) -> str:
        return f"`{text[:MOST_TEXT]}{'...' if len(text) > MOST_TEXT else ''}`"

    return "; ".join(short(t) if t == row.get("error") else t for t in reasons(row))


def reasons(row: Mapping[str, Any]) -> Iterator[str]:
    """What a row says beside its numbers: notes, the error, the rule, ties, the profile, the delay."""
    yield from row["notes"]
    if "error" in row:
        yield row["error"]
    if "rule" in row:
        yield f"{row['rule']}: by that rule {row['by_rule']['differing_spikes']:,} differ"
    counted = row.get("by_rule", row).get("ties")
    if counted and counted["starts"] and row["verdict"] in ("faithful", "explained"):
        far = counted["largest_distance"]
        where = f"at most {far:.0e} of the threshold away" if far else "exactly at the threshold"
        yield f"{counted['starts']:,} ties, {where}"
    if moved := row.get("profile_differing_spikes"):
        yield f"in the reference the profile changes {moved:,} spikes ({row['profile_verdict']})"
    if delay := max(row.get("delay", {}).values(), default=0):
        yield f"layer k is delayed by k steps, 1 to {delay}"


def into(page: str, text: str) -> str:
    """A page with the table between its marks replaced.

    Raises:
        UserError: the marks are missing.
    """
    if BEGIN not in page or END not in page:
        raise UserError(f"docs/peers.md: the lines `{BEGIN}` and `{END}` are missing")
    return page.partition(BEGIN)[0] + f"{BEGIN}\n\n{text}\n{END}" + page.partition(END)[2]
