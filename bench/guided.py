"""Fuzz the commands, guided by coverage: `python -m bench.guided CORPUS --seconds 900`, with atheris.

atheris (libFuzzer for Python; `pip install atheris`, which nothing here depends on) changes a string of
bytes so that new lines of `spyx_nir` run. The bytes are read as decisions: which small good file
(`bench.fuzz.seeds`), which change of a graph or of bytes, which flags. So every case is a file of its own
kind, not HDF5 with a wrong checksum.

A case goes through inspect, lint, upgrade, fit, diff, adapt and run as the command line does, and
through the checks of `bench.fuzz`. Each must end with an exit code and at most one line that begins
with `error:`.

With --bundles a case is a damaged bundle or release instead, for verify and summary (`bench.bundles`).

CORPUS is a folder of cases, of the one kind or the other; --shrink leaves those there that cover
something of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import bundles, fuzz

TARGETS = ("xylo-audio-2", "speck-2f", "loihi", "cortex-m", "ecp5-25k", "generic")
READERS = ("norse", "rockpool", "sinabs", "snntorch", "spikingjelly")
STEPS = 4


class Decisions:
    """Bytes as the answers of a `numpy.random.Generator`, as far as `bench.fuzz` asks for them."""

    def __init__(self, raw: bytes):
        self.raw, self.at = raw, 0

    def number(self) -> int:
        """The next two bytes; 0 where there are none left."""
        part = self.raw[self.at : self.at + 2]
        self.at += 2
        return int.from_bytes(part, "little")

    def integers(self, low: Any, high: Any = None, size: Any = None) -> Any:
        """Whole numbers from `low`, or 0, to below `high`."""
        low, high = (0, low) if high is None else (low, high)
        if size is None:
            return low + self.number() % max(1, int(high) - int(low))
        return np.array([self.integers(low, high) for _ in range(int(np.prod(size)))]).reshape(size)

    def random(self) -> float:
        """A number from 0 to below 1."""
        return self.number() / 2**16

    def geometric(self, p: float) -> int:
        """1, 2, 3 or 4, mostly 1."""
        return 1 + min(3, self.number() % 8 // 5)

    def choice(self, options: Sequence[Any]) -> Any:
        """One of them."""
        return options[self.integers(len(options))]


class Cases:
    """Makes a file of a case and gives it to every command."""

    def __init__(self, folder: Path):
        self.good = fuzz.seeds()
        self.path, self.other, self.out = (folder / name for name in ("a.nir", "b.nir", "o.nir"))
        self.data = folder / "x.npz"
        self.raw = []
        for graph in self.good:
            fuzz.write(self.other, graph)
            self.raw.append(self.other.read_bytes())

    def make(self, decisions: Decisions) -> None:
        """Write the file of a case, and beside it the one that it was made of."""
        rng: Any = decisions
        index = rng.integers(len(self.good))
        self.other.write_bytes(self.raw[index])
        if rng.integers(8) == 0:
            self.path.write_bytes(fuzz.damage_bytes(rng, bytearray(self.raw[index])))
            return
        try:
            fuzz.write(self.path, fuzz.damage_graph(rng, copy.deepcopy(self.good[index])))
        except (ValueError, TypeError, OSError):
            self.path.write_bytes(b"")  # HDF5 itself cannot hold it

    def run(self, raw: bytes) -> list[str]:
        """What a case ends in: one entry for each command.

        Raises:
            AssertionError, or whatever was not meant to escape: a finding.
        """
        decisions = Decisions(raw)
        self.make(decisions)
        target, reader = decisions.choice(TARGETS), decisions.choice(READERS)
        flags = (["--dt", "0.5"], [], ["--discretization", "exact"])[decisions.integers(3)]
        lines = [
            ["inspect", "--json", *flags],
            ["lint", "--contract", *flags],
            ["upgrade", str(self.out), *flags],
            ["fit", "--target", target],
            ["fit", "--target", target, "--dialect", reader],
            ["diff", str(self.other)],
            ["adapt", str(self.out), "--reader", reader],
            ["run", str(self._data(decisions)), *flags],
            ["run", str(self.data), "--dialect", reader],
        ]
        fates = [command(name, str(self.path), *rest) for name, *rest in lines]
        with warnings.catch_warnings(action="ignore"):
            fates.append(fuzz.check(self.path, False, np.random.default_rng(0)))
        return fates

    def run_one(self, raw: bytes) -> None:
        """As libFuzzer wants it."""
        self.run(raw)

    def _data(self, decisions: Decisions) -> Path:
        """Data that fits the graph's inputs where it has some that a run may have."""
        from spyx_nir.converter import file
        from spyx_nir.errors import GraphError
        from spyx_nir.meaning.plan import make_plan

        arrays = {"i": np.ones((STEPS, 1, 3), np.float32)}
        with contextlib.suppress(GraphError), warnings.catch_warnings(action="ignore"):
            plan = make_plan(file.read_dict(self.path))
            if sum(int(np.prod(plan.arrives[path])) for path in plan.nodes) <= fuzz.BIG:
                arrays = {n: np.ones((STEPS, 1, *plan.shapes[n]), np.float32) for n in plan.inputs}
        np.savez(self.data, **arrays)  # type: ignore[arg-type]
        return self.data


def command(*arguments: str) -> str:
    """A command in this process: its name and exit code.

    Raises:
        AssertionError: its messages are no lines as they are meant to be.
    """
    from spyx_nir.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as ended:  # of a flag that the command has not
            code = int(ended.code or 0)
    said = err.getvalue().splitlines()
    assert code in (0, 1, 2), (arguments, code)
    assert all(line.startswith(("error: ", "warning: ")) for line in said), (arguments, said)
    assert sum(line.startswith("error: ") for line in said) <= 1, (arguments, said)
    assert all(len(line) < 3000 for line in said), (arguments, [line[:300] for line in said])
    return f"{arguments[0]} {code}"


def corpus_of(folder: Path) -> list[bytes]:
    """The cases in a folder, shortest first."""
    found = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
    return sorted(found, key=lambda raw: (len(raw), raw))


def shrink(folder: Path, kind: type[Cases | bundles.Bundles]) -> None:
    """Remove the cases whose lines of `spyx_nir` others before them ran."""
    seen: set[tuple[str, int]] = set()
    with tempfile.TemporaryDirectory() as place:
        cases = kind(Path(place))
        for raw in corpus_of(folder):
            lines = lines_of(cases, raw)
            if not lines <= seen:
                seen |= lines
                continue
            for path in folder.iterdir():
                if path.read_bytes() == raw:
                    path.unlink()
    print(f"{len(corpus_of(folder))} cases cover {len(seen)} lines")


def lines_of(cases: Cases | bundles.Bundles, raw: bytes) -> set[tuple[str, int]]:
    """The lines of `spyx_nir` that a case runs."""
    found: set[tuple[str, int]] = set()

    def trace(frame: Any, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if "spyx_nir" not in name:
            return None
        if event == "line":
            found.add((name, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        cases.run(raw)
    finally:
        sys.settrace(None)
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.guided",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("corpus", type=Path, help="a folder; found cases are added")
    parser.add_argument("--seconds", type=int, default=900, help="default: %(default)s")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--bundles", action="store_true", help="damaged bundles instead of files")
    arguments = parser.parse_args()
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    kind = bundles.Bundles if arguments.bundles else Cases
    if arguments.shrink:
        shrink(arguments.corpus, kind)
        return 0
    import atheris

    with atheris.instrument_imports(include=["spyx_nir"]):
        import spyx_nir.cli.adapt
        import spyx_nir.cli.diff
        import spyx_nir.cli.fit
        import spyx_nir.cli.inspect
        import spyx_nir.cli.lint
        import spyx_nir.cli.run
        import spyx_nir.cli.summary
        import spyx_nir.cli.upgrade
        import spyx_nir.cli.verify

        if arguments.bundles:
            import spyx_nir.bundle.consistency
            import spyx_nir.bundle.releases  # noqa: F401
    with tempfile.TemporaryDirectory() as place:
        cases = kind(Path(place))
        options = [f"-max_total_time={arguments.seconds}", "-max_len=96", "-timeout=60"]
        options += ["-rss_limit_mb=6000", f"-artifact_prefix={arguments.corpus}/../"]
        atheris.Setup([sys.argv[0], str(arguments.corpus), *options], cases.run_one)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
