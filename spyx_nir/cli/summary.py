"""`summary [FOLDER ...]`: a row for each bundle, from what its files record; nothing is run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spyx_nir.bundle.templates import shared
from spyx_nir.cli import show
from spyx_nir.cli.verify import problems_of
from spyx_nir.errors import UserError
from spyx_nir.hardware.findings import FITS, REFUSED

COLUMNS = ("task", "target", "accuracy (95 %)", "lost", "parity", "fits", "tightest limit")
RIGHT = ("accuracy (95 %)", "lost", "parity")
BUNDLE = "manifest.json"
PLACES = (BUNDLE, f"*/{BUNDLE}", f"models/*/deploy/*/{BUNDLE}")
KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
NONE = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        nargs="*",
        default=["."],
        metavar="FOLDER",
        help="a bundle, a folder of bundles, or a project with models/<task>/deploy/<target>; "
        "default: the current folder",
    )
    parser.add_argument("--verify", action="store_true", help="check every bundle as `verify` does")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = (
        "accuracy: of the bundle's network, in percent of the recordings it was measured on, with\n"
        "Wilson's 95 % interval; for a chip in its integers. lost: percentage points below the float\n"
        "network. parity: differing spikes of the trained network, re-imported or in the float64\n"
        "reference, the larger of the two. tightest limit: the most used one of the chip that has a\n"
        "known bound; boards that are too small do not count where others fit. A - is what the bundle\n"
        "does not record: `build` without labels measures no accuracy, and knows no trained network.\n"
        "exit code 0: done; 1: no bundle, one that cannot be read, or with --verify one that differs;\n"
        "2: wrong command line"
    )


def main(arguments: argparse.Namespace) -> int:
    rows = [_row(folder) for given in arguments.folder for folder in _bundles(Path(given))]
    if arguments.verify:
        for row in rows:
            row["problems"] = _verify(row["bundle"])
    if arguments.json:
        show.as_json({"bundles": rows})
    else:
        columns = [*COLUMNS, "check"] if arguments.verify else COLUMNS
        show.table(columns, [_cells(row) for row in rows], RIGHT)
    return int(any(row.get("problems") for row in rows))


def _bundles(folder: Path) -> list[Path]:
    """The bundle `folder`, else those in it, else those of the project in it.

    Raises:
        UserError: there is none.
    """
    for place in PLACES:
        found = sorted(path.parent for path in folder.glob(place))
        if found := [path for path in found if not path.name.startswith(".") or path == folder]:
            return found
    what = "no such folder" if not folder.is_dir() else "holds no bundle"
    raise UserError(f"{folder}: {what}; a bundle is a folder that holds {BUNDLE}")


def _verify(folder: str) -> list[str]:
    """What differs in a bundle, also printed."""
    try:
        problems = problems_of(Path(folder))
    except UserError as error:
        problems = [str(error)]
    for problem in problems:
        show.say(f"differs: {folder}: {problem}", file=sys.stderr)
    return problems


@dataclass(frozen=True)
class _Record:
    """A JSON file of a bundle, whose entries are looked at before they are used."""

    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> _Record:
        """Raises UserError if `path` is not there or holds no JSON object."""
        try:
            return cls(path, shared.read_json(path))
        except FileNotFoundError:
            raise UserError(f"{path}: is not there, and its bundle needs it") from None
        except ValueError as error:
            raise UserError(f"{path}: {error}; make the bundle again") from None

    def get(self, keys: str, *kinds: type) -> Any:
        """The entry at `keys`, separated by dots, which must be of one of `kinds`."""
        found: Any = self.data
        for key in keys.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if type(found) not in kinds:
            what = KINDS.get(kinds[0], "a number")
            raise UserError(f"{self.path}: `{keys}` must be {what}, got {json.dumps(found)[:60]}")
        return found

    def number(self, keys: str) -> float:
        """The number at `keys`."""
        return float(self.get(keys, int, float))

    def part(self, value: Any) -> _Record:
        """An entry of a list of this file."""
        return _Record(self.path, value if isinstance(value, dict) else {})


def _row(folder: Path) -> dict[str, Any]:
    """What the files of a bundle say, as `--json` shows it."""
    manifest = _Record.read(folder / BUNDLE)
    chip = "target" in manifest.data
    row = {
        "bundle": str(folder),
        "task": manifest.get("task" if "task" in manifest.data else "name", str),
        "target": manifest.get("target.name", str) if chip else "generic",
        **(_of_a_chip(manifest) if chip else _of_the_network(manifest)),
        "parity": None,
        "fits": None,
        "tightest": None,
    }
    if "parity" in manifest.data:
        both = {
            name: manifest.get(f"parity.differing_spikes.{name}", int)
            for name in ("reimported", "reference", "entries")
        }
        row["parity"] = {"verdict": manifest.get("parity.verdict", str), **both}
    if chip:
        fit = _Record.read(folder / "fit.json")
        row["fits"] = fit.get("verdict", str)
        row["tightest"] = _tightest(fit, row["fits"] != REFUSED)
    return row


def _of_a_chip(manifest: _Record) -> dict[str, Any]:
    if not manifest.get("target.accuracy", dict):  # `build` without labels
        return {"accuracy": None, "lost_points": None}
    return _accuracy(manifest, "target.accuracy.integer", "target.accuracy.float")


def _of_the_network(manifest: _Record) -> dict[str, Any]:
    return _accuracy(manifest, "metrics.test_accuracy.reimported", "metrics.test_accuracy.trained")


def _accuracy(manifest: _Record, own: str, before: str) -> dict[str, Any]:
    """The entry of the bundle's network, and the points that it lost against the one before."""
    bounds = manifest.get(f"{own}.wilson95", list)
    if len(bounds) != 2 or not all(type(bound) in (int, float) for bound in bounds):
        raise UserError(f"{manifest.path}: `{own}.wilson95` must be two numbers, got {bounds}")
    share = manifest.number(f"{own}.accuracy")
    counts = {key: manifest.get(f"{own}.{key}", int) for key in ("correct", "n")}
    lost = 100 * (manifest.number(f"{before}.accuracy") - share)
    accuracy = {"accuracy": share, **counts, "wilson95": bounds}
    return {"accuracy": accuracy, "lost_points": round(lost, 9)}


def _tightest(fit: _Record, fits: bool) -> dict[str, Any] | None:
    """The limit that is used most, of a chip or of its cores; None where no bound is known.

    A row of a board is named `board: resource`. A network that fits needs one board: those with a row
    above its limit do not count.
    """
    uses = []
    for entry in map(fit.part, fit.get("utilisation", list)):
        if entry.get("limit", int, float, type(None)) is not None:
            uses.append((entry.get("resource", str), entry.number("used"), entry.number("limit")))
    for core in map(fit.part, fit.get("cores", list)):
        for key in core.data:
            if key.endswith("_memory"):
                name = f"core {core.get('core', int)}: {key.replace('_', ' ')}"
                uses.append((name, core.number(key.removesuffix("_memory")), core.number(key)))
    if fits:
        small = {_place(name) for name, used, limit in uses if used > limit}
        uses = [use for use in uses if _place(use[0]) not in small]
    shares = [
        {"resource": name, "used": used, "limit": limit, "share": used / limit}
        for name, used, limit in uses
        if limit > 0
    ]
    return max(shares, key=lambda entry: float(entry["share"]), default=None)


def _place(resource: str) -> str:
    """The board or core of a row, else its whole name."""
    return resource.partition(": ")[0]


def _cells(row: Mapping[str, Any]) -> list[str]:
    accuracy, lost, parity, tightest = NONE, NONE, NONE, NONE
    if found := row["accuracy"]:
        low, high = map(_percent, found["wilson95"])
        accuracy, lost = (
            f"{_percent(found['accuracy'])} ({low}-{high})",
            _points(row["lost_points"]),
        )
    if found := row["parity"]:
        parity = f"{max(found['reimported'], found['reference']):,}"
        parity += "" if found["verdict"] == "pass" else f" {found['verdict']}"
    fits = {None: NONE, FITS: "yes", REFUSED: "no"}.get(row["fits"], "changed")
    if found := row["tightest"]:
        tightest = f"{found['resource'].rpartition(': ')[2]} {show.share(found['share'])}"
    cells = [row["task"], row["target"], accuracy, lost, parity, fits, tightest]
    if "problems" in row:
        cells.append("FAIL" if row["problems"] else "pass")
    return cells


def _percent(share: float) -> str:
    return "100" if share == 1 else f"{100 * share:.1f}"


def _points(lost: float) -> str:
    return f"{lost:.1f}".replace("-0.0", "0.0")
