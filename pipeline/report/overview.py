"""All tasks in one table: the numbers that a reader asks for first."""

from __future__ import annotations

from collections.abc import Set

from pipeline.report.part import Part, Table, count, interval
from pipeline.report.sources import Source

NOT_MEASURED = (None, None, None, None)


def make(sources: list[Source], stale: Set[str] = frozenset()) -> Part:
    """One row per task; what is missing is said in its own section, too.

    stale: names of stages that are out of date; a verdict of parity that is says so.
    """
    head = (
        "task",
        "test accuracy",
        "right",
        "95 % from",
        "to",
        "parity",
        "differing spikes: re-imported",
        "differing spikes: reference",
        "neurons",
        "synapses",
    )
    missing = [source.unmade("train.json") for source in sources if not source.train]
    return Part(
        "overview",
        "Overview",
        tables=[Table("Test set of every task", head, [_row(source, stale) for source in sources])],
        missing=missing,
    )


def _row(source: Source, stale: Set[str]) -> tuple:
    test = interval(source.train["accuracy"]["test"]) if source.train else NOT_MEASURED
    parity = source.parity
    differing = parity["differing_spikes"] if parity else {}
    age = ", out of date" if f"parity@{source.task}" in stale else ""
    size = source.bundle.manifest if source.bundle else {}
    return (
        source.task,
        *test,
        parity and parity["verdict"] + age,
        *(count(differing[run]) if parity else None for run in ("reimported", "reference")),
        *(count(size[what]) if size else None for what in ("neurons", "synapses")),
    )
