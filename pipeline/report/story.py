"""The first screen: what was made, of what, and a card for each task on each chip."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.report.part import Number, count, interval, percent
from pipeline.report.sources import Source, Target
from pipeline.report.targets import limited
from spyx_nir.hardware.findings import REFUSED

MOST_BARS = 3
SHIPPED = ("model.nir", "MODEL_CARD.md")  # besides the vectors
NAMES = {"MODEL_CARD.md": "card"}
SOURCES = {
    "simulated": "simulated recordings",
    "folder": "recordings of a folder",
    "download": "downloaded recordings",
}


@dataclass(frozen=True)
class Bar:
    """A share of a limit. text: in words, with its unit. width: of the bar, in percent."""

    what: str
    share: Number
    text: str
    tightest: bool

    @property
    def width(self) -> float:
        return round(min(100.0, 100 * self.share.value), 2)

    @property
    def limit(self) -> float:
        """Where the limit is, in percent of the bar's place."""
        return round(100 / max(1.0, self.share.value), 2)

    @property
    def over(self) -> bool:
        return self.share.value > 1


@dataclass(frozen=True)
class Card:
    """A task on one chip. steps: (what, accuracy) from the float network to what is shipped.

    facts: (what, how much). bars: what of the chip is used. links: (address, text) of files.
    missing: sentences about what is not there.
    """

    target: str
    verdict: str
    fits: bool
    steps: list[tuple[str, Number]]
    facts: list[tuple[str, Any]]
    bars: list[Bar]
    links: list[tuple[str, str]]
    missing: list[str]


@dataclass(frozen=True)
class Task:
    """A task, with its cards. accuracy: of the float network on the test set, None if not measured."""

    name: str
    data: str
    accuracy: tuple[Any, ...] | None
    facts: list[tuple[str, Any]]
    links: list[tuple[str, str]]
    cards: list[Card]


@dataclass(frozen=True)
class Story:
    """What the first screen says."""

    sentence: str
    version: str
    tasks: list[Task]
    missing: list[str]


def make(root: Path, output: Path, sources: Sequence[Source], stale: Set[str]) -> Story:
    """The first screen of the page `output`.

    Args:
        root: the project. stale: names of stages that are out of date; verdicts of them say so.
    """
    chips = {target.name for source in sources for target in source.targets if target.metrics}
    sentence = (
        f"{len(sources)} spiking network{'s' * (len(sources) != 1)}, trained with Spyx, exported as NIR "
        f"and made into integers for {len(chips)} chip{'s' * (len(chips) != 1)}: how much accuracy each "
        "step costs, and what of a chip is used. Integers are simulated on a computer; what was "
        "measured on a board says so."
    )
    return Story(
        sentence,
        f"spyx-nir {metadata.version('spyx-nir')}, {commit(root)}",
        [_task(source, output.parent, stale) for source in sources],
        [source.unmade("train.json") for source in sources if not source.train],
    )


def commit(root: Path) -> str:
    """The commit of the project `root` and whether files that it has are changed, in words."""
    git = ["git", "-C", str(root)]
    try:
        asked = [
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "--short=7", "HEAD"], ["status", "--porcelain", "-uno"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "in no git repository"
    return f"commit {asked[0].strip()}{', with changes that are not committed' * bool(asked[1])}"


def _task(source: Source, folder: Path, stale: Set[str]) -> Task:
    facts: list[tuple[str, Any]] = []
    parity = source.parity
    if parity:
        age = ", out of date" if f"parity@{source.task}" in stale else ""
        facts.append(("parity", parity["verdict"] + age))
        facts += [
            (f"differing spikes, {text}", count(parity["differing_spikes"][run]))
            for run, text in (("reimported", "re-imported"), ("reference", "reference"))
        ]
    data, links = "", []
    if source.bundle:
        manifest = source.bundle.manifest
        data = _data(manifest)
        facts += [
            (what, count(manifest[key]))
            for what, key in (
                ("neurons", "neurons"),
                ("stored weights", "parameters_stored"),
                ("synapses", "synapses"),
            )
        ]
        links = _links(source.bundle, folder)
    test = interval(source.train["accuracy"]["test"]) if source.train else None
    cards = [_card(source, target, folder, stale) for target in source.targets]
    return Task(source.task, data, test, facts, links, cards)


def _data(manifest: Mapping[str, Any]) -> str:
    """What the recordings are, and how many."""
    data = manifest["data"]
    numbers = ", ".join(
        f"{count(sum(of_class.values())).text} {name}"
        for name, of_class in data.get("recordings", {}).items()
        if of_class
    )
    what = SOURCES.get(data["source"], data["source"])
    return f"{what}: {numbers}" if numbers else what


def _links(bundle: Any, folder: Path) -> list[tuple[str, str]]:
    """Addresses of a bundle's files from `folder`, those that are there."""
    files = [*SHIPPED, bundle.manifest["vectors"]["file"]]
    return [
        (Path(os.path.relpath(bundle.folder / file, folder)).as_posix(), NAMES.get(file, text))
        for file, text in zip(files, (*SHIPPED, "vectors"), strict=True)
        if (bundle.folder / file).is_file()
    ]


def _card(source: Source, target: Target, folder: Path, stale: Set[str]) -> Card:
    missing, steps, facts = [], [], []
    metrics = target.metrics
    if metrics is None:
        missing.append(f"metrics/{source.task}-{target.name}.json is not there")
    else:
        steps, facts = _steps(metrics), _facts(metrics)
    if target.bundle is None:
        missing.append(f"models/{source.task}/deploy/{target.name} is not there")
    if missing:
        missing.append("run make deploy-artifacts")
    facts.append(("parity", _parity(source, target, stale)))
    fits = target.fit is not None and target.fit["fits"]
    verdict = "not checked" if target.fit is None else "✓ fits" if fits else "✗ does not fit"
    if f"target@{source.task}-{target.name}" in stale:
        verdict += ", out of date"
    links = _links(target.bundle, folder) if target.bundle else []
    return Card(target.name, verdict, fits, steps, facts, bars(target), links, missing)


def _steps(metrics: Mapping[str, Any]) -> list[tuple[str, Number]]:
    """Accuracy in percent of the float network, after PTQ, and of what is shipped."""
    epoch = metrics["selection"]["epoch"]
    found = [
        ("float", "float"),
        ("PTQ", "ptq"),
        ("QAT" if epoch else "PTQ kept", "integer"),
    ]
    shares = [metrics["accuracy"][run]["accuracy"] for _, run in found]
    texts = [percent(share).text.removesuffix(" %") for share in shares]
    return [(found[at][0], Number(shares[at], text)) for at, text in enumerate(texts)]


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    integer = metrics["accuracy"]["integer"]
    low, high = (percent(bound).text for bound in integer["wilson95"])
    lost = metrics["lost_points"]["integer"]
    facts: list[tuple[str, Any]] = [
        ("lost", Number(lost, f"{lost:.2f} points".replace("-", "\u2212"))),
        ("right", f"{count(integer['correct']).text} of {count(integer['n']).text}"),
        ("95 %", f"{low} to {high}"),
    ]
    if "network_of" in metrics:
        facts.append(("integers", f"those of {metrics['network_of']}"))
    if "event_by_event" in metrics:
        facts.append(("simulated", "event by event; PTQ in steps"))
    return facts


def _parity(source: Source, target: Target, stale: Set[str]) -> str | None:
    """The verdict of parity that the bundle has, and whether it is of another export."""
    if target.bundle is None or "parity" not in target.bundle.manifest:
        return None
    verdict = target.bundle.manifest["parity"]["verdict"]
    return verdict + (", out of date" if f"parity@{source.task}" in stale else "")


def bars(target: Target) -> list[Bar]:
    """The most used limits of the chip, the tightest first, with the busiest step of a real-time chip.

    The tightest is that of `spyx-nir summary`: boards that are too small do not count where others fit.
    """
    found: list[Bar] = []
    if target.fit is not None:
        small = _too_small(target.fit)
        shares = sorted(
            (
                (used / limit, what, used, limit)
                for what, used, limit in limited(target.fit)
                if limit and what.partition(": ")[0] not in small
            ),
            key=lambda found: -found[0],
        )
        found += [
            Bar(what, percent(share), _of(what, used, limit), place == 0)
            for place, (share, what, used, limit) in enumerate(shares[:MOST_BARS])
        ]
    if target.metrics and "real_time" in target.metrics:
        found = [*found[: MOST_BARS - 1], _busiest(target.metrics["real_time"])]
    return found


def _of(what: str, used: int, limit: int) -> str:
    unit = " bytes" if what.endswith((": flash", ": RAM")) else ""
    return f"{count(used).text} of {count(limit).text}{unit}"


def _too_small(fit: Mapping[str, Any]) -> set[str]:
    """Boards with a row above its limit, if the network fits at all."""
    if fit["verdict"] == REFUSED:
        return set()
    return {what.partition(": ")[0] for what, used, limit in limited(fit) if limit and used > limit}


def _busiest(modelled: Mapping[str, Any]) -> Bar:
    """The time of a step in which every neuron spikes, on the fastest board, of the step's length."""
    board = min(modelled["boards"], key=lambda board: float(board["most_share"]))
    share = board["most_share"]
    text = f"{board['most_us'] / 1000:.3g} of {modelled['step_us'] / 1000:g} ms, modelled"
    return Bar(f"{board['board']}: busiest step", percent(share), text, False)
