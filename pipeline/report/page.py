"""All parts as one HTML file that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.report import (
    accuracy,
    behaviour,
    chart,
    cost,
    histograms,
    markup,
    measured,
    network,
    parity,
    provenance,
    readers,
    samples,
    sources,
    spikes,
    status,
    story,
    targets,
    training,
)
from pipeline.report.part import NOTHING, Part
from spyx_nir import files

SCRIPTS = ("report.js", "scroll.js", "samples.js", "drawn.js")
PARTS = (
    network.make,
    accuracy.make,
    parity.make,
    training.make,
    training.confusion,
    samples.gallery,
    samples.player,
    spikes.make,
    histograms.weights,
    histograms.rates,
    cost.make,
    behaviour.decision,
)


# Nothing of them is on paper.
ON_SCREEN = (
    samples.gallery,
    samples.player,
    spikes.make,
    training.make,
    histograms.weights,
    histograms.rates,
    cost.make,
)


def parts(source: sources.Source, entries: Sequence[dict[str, Any]] = ()) -> list[Part]:
    """All parts of one task; those about a chip come before the provenance.

    entries: what was measured on boards, see `measured.read`.
    """
    chips = [targets.make(source, target, entries) for target in source.targets]
    made = [(make, make(source)) for make in PARTS]
    shown = [replace(part, printed=NOTHING) if make in ON_SCREEN else part for make, part in made]
    return [*shown, *chips, replace(provenance.make(source), printed=NOTHING)]


def write(root: Path, output: Path) -> None:
    """Write the page for the project in `root` to `output`.

    Raises:
        UserError: params.yaml, metrics/measured.json or a file that a stage left cannot be read.
    """
    entries = measured.read(root / measured.FILE)
    file = root / "params.yaml"
    tasks = params.names(file)
    with status.ask(root) as asked:
        found = [sources.read(root, params.load(task, file)) for task in tasks]
        known = {source.task: [target.name for target in source.targets] for source in found}
        measured.check_names(root / measured.FILE, entries, known)
        sections, recordings = {}, {}
        for source in found:
            sections[source.task] = parts(source, entries)
            recordings[source.task] = samples.data(source)
        changed, silent = status.answer(asked)
    stages = status.stages(root, changed)
    lines = status.lines(stages, tasks)
    stale = {stage.name for stage in stages if stage.state == "stale"}
    text = render(
        story=story.make(root, output, found, stale),
        banner=status.banner(lines),
        lines=lines,
        silent=silent,
        sections=sections,
        recordings=recordings,
        readers=readers.make(root, found),
    )
    files.write_text(output, text)
    absent = text.count('<p class="missing">')  # not the hint for browsers without JavaScript
    print(
        f"{output}: {len(text.encode()) / 1e6:.1f} MB, {len(tasks)} tasks, missing parts: {absent}"
    )


def render(**content: Any) -> str:
    """The page's text.

    Args:
        story: a `story.Story`. banner, lines: see `status`. silent: why DVC could not be asked, or "".
        sections: the parts of every task. recordings: see `samples.data`, by task. readers: a `Part`.
    """
    parts: list[Part] = [*chain(*content["sections"].values()), content["readers"]]
    return (
        markup.environment()
        .get_template("page.html")
        .render(
            **content,
            targets=sorted({part.target for part in parts} - {""}),
            charts={one.id: one.spec for part in parts for one in part.charts},
            library=chart.library(),
            style=markup.text("style.css"),
            script="\n".join(map(markup.text, SCRIPTS)),
        )
    )
