"""`build FILE --target T -o FOLDER`: bundles of a graph for chips, without a task."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spyx_nir import files
from spyx_nir.cli import mendable, show, targets
from spyx_nir.converter import file
from spyx_nir.converter.discretize import as_euler
from spyx_nir.errors import GraphError, UsageError, UserError, about
from spyx_nir.hardware.topology import PlannedGraph, planned
from spyx_nir.meaning.equations import RESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file, whoever wrote it")
    targets.add_argument(parser)
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", required=True, help="gets FOLDER/<target>, one a bundle"
    )
    parser.add_argument(
        "--calibrate", metavar="DATA", help="recordings for scales, thresholds, golden vectors"
    )
    parser.add_argument(
        "--finetune", metavar="DATA", help="labelled recordings to train on; needs --epochs"
    )
    parser.add_argument("--epochs", type=_epochs, help="of the training with --finetune")
    parser.add_argument("--dt", type=show.step, help="the step; default: the contract's")
    parser.add_argument(
        "--reset", choices=RESETS, help="how every neuron resets, whatever the file says"
    )
    show.add_discretization(parser)
    show.add_dialect(parser, "build it")
    parser.add_argument(
        "--bin-us", type=_microseconds, help="how long a step of a recording is, in microseconds"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    show.add_limits(parser, "delay", "data", "steps", "paths")
    parser.epilog = (
        "DATA is what `run` reads: a .npz of `x`, counts of events, (T, N, *shape) or with labels\n"
        "(N, T, *shape), channels first, and `y` (N,), numbers or names of classes; or recordings of\n"
        "events, whose folders are the labels. Accuracy is measured on --calibrate, without it on the\n"
        "part of --finetune that chooses the epoch. Without recordings the vectors are random events.\n"
        "exit code 0: a bundle of every target; 1: a target has none, its row says why (with\n"
        f"`--target {targets.ALL}`: no target has one); 2: wrong command line, or a package is missing"
    )


def _epochs(text: str) -> int:
    return _above_0(text, "epochs")


def _microseconds(text: str) -> int:
    return _above_0(text, "microseconds")


def _above_0(text: str, what: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"must be a whole number of {what} above 0, got {text}")
    return int(text)


def main(arguments: argparse.Namespace) -> int:
    if (arguments.finetune is None) != (arguments.epochs is None):
        raise UsageError("--finetune DATA.npz and --epochs N: give both, or neither")
    show.check_dialect(arguments)
    chips = targets.chips(arguments.target)
    out = Path(arguments.output)
    for chip in chips:
        files.sweep(place := out / chip.name)  # of a build that was killed at its end
        if place.exists():
            raise UserError(f"{place}: is there already; choose another -o, or remove it")
    if arguments.finetune:  # what is missing is said at the start
        import jax as jax
        import optax as optax
    import jinja2 as jinja2  # for the card, which is written at the end

    from spyx_nir.bundle import build, dialect

    path = Path(arguments.file)

    def understood(content: dict[str, Any]) -> tuple[PlannedGraph, dialect.Reading | None]:
        reading = None
        if arguments.dialect is not None:
            file.check_nodes(content)
            reading = dialect.as_graph(content, arguments.dialect, arguments.dt)
            content = reading.content
        if arguments.discretization is not None:
            file.check_nodes(content)
            content = as_euler(content, arguments.dt, arguments.discretization)
        return planned(content, arguments.reset), reading

    graph, reading = mendable(arguments.file, understood)
    dt = arguments.dt if reading is None else reading.dt
    with about(arguments.file):
        source = build.given(path, graph, dt, arguments.reset, arguments.bin_us)
    data = _data(arguments, source)
    if reading is not None:
        counted = dialect.compared(reading, data.shown.events)
        source = dataclasses.replace(source, dialect=_dialect(reading, counted, data.shown.source))
    rows = []
    for chip in chips:
        rows.append(build.build(source, chip, data, out / chip.name, _say))
    if arguments.json:
        more = {} if source.dialect is None else {"dialect": source.dialect}
        made_of = [_as_data(row) for row in rows]
        show.as_json({"file": arguments.file, **more, "targets": made_of})
    else:
        if source.dialect is not None:
            _print_dialect(source.dialect)
        columns = ("target", "fits", "accuracy or agreement", "saturated", "bundle")
        show.table(columns, [_cells(row) for row in rows], ("saturated",))
    made = [row.folder is not None for row in rows]
    return int(not (any(made) if targets.ALL in arguments.target else all(made)))


def _dialect(reading: Any, counted: dict[str, Any], source: str) -> dict[str, Any]:
    """What `build.Given` has as `dialect`."""
    said = (
        f"{counted['differing']} of {counted['spikes']} spikes differ from the dialect's on "
        f"{show.count(counted['recordings'], 'recording')}{' of random events' * (source == 'random')}; "
        f"the class is the same in {counted['same_class']}"
    )
    return {
        "name": reading.dialect,
        "differs": reading.lines,
        "agreement": said,
        "compared": counted,
    }


def _print_dialect(found: Mapping[str, Any]) -> None:
    show.say(f"as {found['name']} reads it: {found['agreement']}")
    for line in found["differs"]:
        show.say(f"differs: {line}")


def _say(line: str) -> None:
    show.say(line, file=sys.stderr)


def _data(arguments: argparse.Namespace, source: Any) -> Any:
    """The recordings of the command line, as `build` takes them."""
    from spyx_nir.bundle import build, recordings

    metadata = {**source.plan.metadata, "input_bin_s": source.bin_us / 1e6}
    if source.assumed_bin:
        del metadata["input_bin_s"]

    def read(path: str) -> recordings.Recordings:
        return recordings.read(path, source.input_shape, source.classes, metadata)

    shown = train = held = None
    if arguments.calibrate:
        shown = read(arguments.calibrate)
    if arguments.finetune:
        from spyx_nir.hardware import finetune

        given = read(arguments.finetune)
        with about(arguments.finetune):
            if given.labels is None:
                what = "has no labels, which --finetune needs: `y`, or folders named by them"
                raise GraphError(what, code="input")
            parts = finetune.split(given.labels)
        train, held = (given.part(chosen) for chosen in parts)
        if shown is not None and shown.steps != given.steps:
            raise UserError(
                f"{arguments.calibrate} has recordings of {shown.steps} steps, {arguments.finetune} of "
                f"{given.steps}; one length is needed"
            )
    if shown is None:
        shown = held or recordings.random(source.input_shape)
    return build.Data(shown, train, held, arguments.epochs or 0)


def _cells(row: Any) -> tuple[str, ...]:
    if row.metrics is None:
        how = row.report.how
        why = how if not row.report.fits else f"{how}; no bundle: {row.reason}"
        return row.target, why, "", "", ""
    accuracy = row.metrics["accuracy"]
    if accuracy:
        before, after = (accuracy[key] for key in ("float", "integer"))
        seen = f"accuracy {after['accuracy']:.4f}, float {before['accuracy']:.4f}, n {after['n']}"
    elif (share := row.metrics["agreement"]) is not None:
        seen = f"agreement {share:.4f}"
    else:
        seen = "{equal} of {n} classes".format(**row.metrics["same_class"])
    return row.target, row.report.how, seen, str(row.metrics["saturated"]), str(row.folder)


def _as_data(row: Any) -> dict[str, Any]:
    return {
        "target": row.target,
        "verdict": row.report.verdict,
        "how": row.report.how,
        "reason": row.reason,
        "bundle": None if row.folder is None else str(row.folder),
        "metrics": row.metrics,
    }
