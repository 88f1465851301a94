"""Two revisions side by side: accuracy with a paired test, spikes, cost and size of every network.

`make report AGAINST=REV` compares a commit with the working tree.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pipeline.report import markup
from pipeline.report.part import Number, Part, Table, count, measured, percent
from pipeline.report.provenance import leaves
from pipeline.report.revision import Revision, committed, working_tree
from spyx_nir import files
from spyx_nir.confidence import accuracy_entry
from spyx_nir.errors import UserError

OUTPUT = Path("report") / "against.html"
CONFUSION = "confusion.csv"
COST = ("SynapticOperations", "MembraneUpdates", "ActivationSparsity", "energy.pj_per_sample")
SIZE = ("ParameterCount", "Footprint")
T = TypeVar("T")


@dataclass(frozen=True)
class Network:
    """What a revision has of a network: the trained one of a task, or that of a target.

    accuracy: an entry of `confidence.accuracy_entry`, None where it cannot be read. answers: actual and
    predicted class of every test recording, in the order of the prepared file; None where no stage keeps
    them. spikes: by layer, mean of a recording. cost, size: by measure.
    """

    accuracy: Mapping[str, Any] | None = None
    answers: list[tuple[str, str]] | None = None
    spikes: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    size: Mapping[str, Any] = field(default_factory=dict)


def mcnemar(only_a: int, only_b: int) -> float:
    """The p value of McNemar's test, two-sided and exact: a sign test of the discordant pairs.

    Exact for any number of pairs, so that no approximation is needed for few. Source: McNemar 1947,
    "Note on the sampling error of the difference between correlated proportions or percentages".

    Args:
        only_a: recordings that A gets right and B does not. only_b: the other way round.
    """
    pairs = only_a + only_b
    tail = sum(math.comb(pairs, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**pairs)


def p_range(right_a: int, right_b: int, n: int) -> tuple[float, float]:
    """The lowest and the highest `mcnemar` that counts of right answers to the same n recordings allow.

    With d = |right_a - right_b| the discordant pairs are k and d + k, and p grows with k. k is at most
    what the better one has wrong and what the other one has right.
    """
    apart = abs(right_a - right_b)
    most = min(n - max(right_a, right_b), min(right_a, right_b))
    return mcnemar(apart, 0), mcnemar(apart + most, most)


def write(root: Path, given: str, output: Path = OUTPUT) -> None:
    """Write the page that compares the revision `given` with the files of the project in `root`.

    Raises:
        UserError: there is no such revision, or one of the two has no dvc.lock.
    """
    old, new = committed(root, given), working_tree(root)
    missing: list[str] = []
    part = make(old, new, missing)
    files.write_text(output, _render(part))
    compared = len(part.tables[0].rows)
    print(f"{output}: {old.name} against the working tree, {compared} networks")
    for line in missing:
        print(f"not compared: {line}")


def make(old: Revision, new: Revision, missing: list[str]) -> Part:
    """The comparison. missing: gets a line for everything that cannot be compared."""
    names = {name: None for one in (old, new) for name in _networks(one)}
    pairs = {
        f"{task}, {target or 'trained'}": (
            _read(old, task, target, missing), _read(new, task, target, missing)
        )
        for task, target in names
    }  # fmt: skip
    accuracies = [
        (name, *_accuracy(a, b, _same_recordings(old, new, name.partition(",")[0])))
        for name, (a, b) in pairs.items()
        if a and b and a.accuracy and b.accuracy
    ]
    others = sorted({task for task, _ in names if not _same_recordings(old, new, task)})
    missing += [
        f"{task}: the recordings of {old.name} are others, so answers are not paired"
        for task in others
    ]
    return Part(
        "against",
        f"{old.name} against the working tree",
        text=[
            f"{old.name}: {old.about}. Working tree: {new.about}.",
            "p is that of McNemar's exact test, two-sided: of the recordings that only one of the two "
            "gets right. Trained networks: confusion.csv has the answer to every recording. Of a "
            "target only counts are kept, and p lies between the two values that they allow; where "
            "these are one value, it is exact. No p: the recordings are others. Intervals are "
            "Wilson's, 95 %.",
        ],
        tables=[
            Table(
                "Accuracy on the test set; targets in integers",
                (
                    "network",
                    f"{old.name}: right", "95 % from", "to",
                    "working tree: right", "95 % from", "to",
                    "points", f"right only in {old.name}", "only in the working tree", "p",
                ),
                accuracies,
            ),
            _table("Spikes of a layer in a recording, means", old, pairs, lambda one: one.spikes),
            _table("Cost of a recording, means", old, pairs, lambda one: one.cost),
            _table(
                "Size; bytes, and what of a chip is used", old, pairs, lambda one: one.size
            ),
        ],
        missing=[f"not compared: {line}" for line in missing],
    )  # fmt: skip


def _networks(one: Revision) -> list[tuple[str, str]]:
    """Task and target of all metrics of targets, and each task with "" for its trained network."""
    tasks = [Path(path).parts[1] for path in one.outs if Path(path).name == CONFUSION]
    targets = [
        Path(path).stem.partition("-") for path in one.outs if path.rpartition("/")[0] == "metrics"
    ]
    chips = sorted((task, target) for task, _, target in targets if target != "generic")
    return sorted([*((task, "") for task in tasks), *chips])


def _same_recordings(old: Revision, new: Revision, task: str) -> bool:
    one, other = (revision.digest(f"data/prepared/{task}.h5") for revision in (old, new))
    return one is not None and one == other


def _read(one: Revision, task: str, target: str, missing: list[str]) -> Network | None:
    """What a revision has of a network, None where it has no such network."""
    if (task, target) not in _networks(one):
        missing.append(f"{task}, {target or 'trained'}: {one.name} does not have it")
        return None

    def tried(make: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return make(*arguments)
        except UserError as error:
            missing.append(str(error))
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            missing.append(
                f"{arguments[-1]} at {one.name}: not as stages write it today: {error!r}"
            )
        return None

    folder = f"models/{task}"
    if target:
        path = f"metrics/{task}-{target}.json"
        bundle = f"{folder}/deploy/{target}"
        metrics = tried(_json, one, path) or {}
        used = tried(_utilisation, one, f"{bundle}/fit.json") or {}
        accuracy = tried(lambda _: metrics["accuracy"]["integer"], path)
        spikes, answers = tried(_target_spikes, metrics, path), None
        lengths = {"bundle": one.size(bundle)}
    else:
        path, used = f"metrics/{task}-generic.json", {}
        metrics = tried(_json, one, path) or {}
        spikes = tried(_trained_spikes, one, f"{folder}/parity.json")
        answers = tried(_answers, one, f"{folder}/{CONFUSION}")
        accuracy = answers and accuracy_entry(sum(x == y for x, y in answers), len(answers))
        lengths = {
            name: one.size(f"{folder}/{name}") for name in ("model.nir", "weights.safetensors")
        }
    numbers = dict(leaves(metrics))
    return Network(
        accuracy,
        answers,
        spikes or {},
        {key: value for key, value in numbers.items() if key.startswith(COST)},
        {key: numbers[key] for key in SIZE if key in numbers}
        | {f"{name}, bytes": size for name, size in lengths.items() if size is not None}
        | used,
    )


def _json(one: Revision, path: str) -> dict[str, Any]:
    return dict(json.loads(one.content(path)))


def _answers(one: Revision, path: str) -> list[tuple[str, str]]:
    rows = csv.DictReader(io.StringIO(one.content(path).decode()))
    return [(row["actual"], row["predicted"]) for row in rows]


def _trained_spikes(one: Revision, path: str) -> dict[str, float]:
    parity = _json(one, path)
    return {
        layer["node"]: layer["spike_rate"] * layer["entries"] / parity["samples"]
        for layer in parity["layers"]
    }


def _target_spikes(metrics: Mapping[str, Any], path: str) -> dict[str, float]:
    """Of chips that take events, by their events; else by steps."""
    if "event_by_event" in metrics:
        return {layer["node"]: layer["spikes"] for layer in metrics["event_by_event"]["layers"]}
    n = metrics["accuracy"]["integer"]["n"]
    return {
        layer["node"]: layer["spike_rate"] * layer["entries"] / n for layer in metrics["layers"]
    }


def _utilisation(one: Revision, path: str) -> dict[str, Any]:
    fit = _json(one, path)
    return {"constraint check": fit["verdict"]} | {
        row["resource"]: row["used"] for row in fit["utilisation"]
    }


def _accuracy(a: Network, b: Network, same: bool) -> tuple[Any, ...]:
    """The cells behind the name. same: whether both answered the same recordings."""
    assert a.accuracy and b.accuracy
    cells = [
        cell
        for entry in (a.accuracy, b.accuracy)
        for cell in (f"{entry['correct']} of {entry['n']}", *map(percent, entry["wilson95"]))
    ]
    points = 100 * (b.accuracy["accuracy"] - a.accuracy["accuracy"])
    cells.append(Number(points, f"{points:+.2f}"))
    if not same or a.accuracy["n"] != b.accuracy["n"]:
        return (*cells, None, None, None)
    if a.answers and b.answers and [x for x, _ in a.answers] == [x for x, _ in b.answers]:
        right = [
            (actual == one, actual == other)
            for (actual, one), (_, other) in zip(a.answers, b.answers, strict=True)
        ]
        only_a, only_b = right.count((True, False)), right.count((False, True))
        return (*cells, count(only_a), count(only_b), _p(mcnemar(only_a, only_b)))
    low, high = p_range(a.accuracy["correct"], b.accuracy["correct"], a.accuracy["n"])
    return (*cells, None, None, _p(low) if low == high else f"{low:.2g} to {high:.2g}")


def _p(value: float) -> Number:
    return Number(value, f"{value:.2g}")


def _table(
    caption: str,
    old: Revision,
    pairs: Mapping[str, tuple[Network | None, Network | None]],
    numbers: Callable[[Network], Mapping[str, Any]],
) -> Table:
    """A row for each number that one of the two has."""
    rows: list[tuple[Any, ...]] = []
    for name, (a, b) in pairs.items():
        before, after = ({} if one is None else numbers(one) for one in (a, b))
        for what in {**before, **after}:
            one, other = before.get(what), after.get(what)
            rows.append((name, what, measured(one), measured(other), _change(one, other)))
    return Table(caption, ("network", "what", old.name, "working tree", "change"), rows)


def _change(one: Any, other: Any) -> Number | str | None:
    """In percent of the first, "0" where both are equal."""
    if one == other:
        return Number(0, "0")
    if isinstance(one, str) or isinstance(other, str) or one is None or other is None or not one:
        return None
    share = other / one - 1
    return Number(share, f"{100 * share:+.2g} %")


def _render(part: Part) -> str:
    template = markup.environment().get_template("against.html")
    style, script = markup.text("style.css"), markup.text("scroll.js")
    return template.render(part=part, style=style, script=script)
