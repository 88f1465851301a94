"""`run FILE DATA`: run a graph on recorded data, by the reference or by the imported JAX model."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import nir
import numpy as np

from spyx_nir import recordings
from spyx_nir.cli import check_name, mendable, show
from spyx_nir.converter import file
from spyx_nir.converter.contract import READOUTS
from spyx_nir.converter.layout import to_first, to_last
from spyx_nir.errors import GraphError, about
from spyx_nir.files import atomic, write_npz
from spyx_nir.meaning import dialects, reference
from spyx_nir.meaning.equations import RESETS
from spyx_nir.meaning.plan import Plan, make_plan, step_dt

EPILOG = """DATA is time-major and channels first: (T, B, *shape), or (T, *shape) for one sample. A .npz
holds one array per Input under its name; where there is one Input and one array, the name is free,
and an array called `input` (as in a bundle's vectors.npz) is preferred.

A .npz of `x` (N, T, *shape) or (T, N, *shape) and `y` (N,), numbers of classes or their names, is judged:
accuracy and confusion matrix. The class is by the contract's readout, else the output with most spikes.

DATA may be a recording of events, or a folder of them; folders in it are named by the label of the
recordings inside. Read are N-MNIST's .bin, .npy arrays with the fields t (us), x, y, p, and AEDAT4,
.es, .raw and .dat, for which the extra `spyx-nir[events]` has a reader (AEDAT4 that is not compressed
needs none). A bin of --bin-us is one step. An input with two polarities gets counts, another 1 where
there is an event.

OUT.npz holds `output` (or one array per Output under its name), time-major and channels first, and
with the reference engine the spikes of every spiking node under its path.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file")
    parser.add_argument("data", help="a .npy or .npz file, or events, see below")
    parser.add_argument(
        "--engine",
        choices=("reference", "jax"),
        default="reference",
        help="float64 NumPy that follows the equations, or the imported model; default: %(default)s",
    )
    parser.add_argument("--dt", type=show.step, help="the step; default: the contract's")
    parser.add_argument("--reset", choices=RESETS, help="overrides what the file says about resets")
    show.add_discretization(parser)
    show.add_dialect(parser, "run it")
    parser.add_argument(
        "--bin-us",
        type=_microseconds,
        help="of events: the length of a step in microseconds; default: the contract's input_bin_s",
    )
    parser.add_argument("-o", "--output", metavar="OUT.npz", help="where to write the results")
    parser.add_argument("--json", action="store_true", help="print JSON")
    show.add_limits(parser, "delay", "data", "steps")
    parser.epilog = EPILOG


def main(arguments: argparse.Namespace) -> int:
    if arguments.output:
        check_name(arguments.output, ".npz", "--output")
    show.check_dialect(arguments)

    def planned(content: dict[str, Any]) -> tuple[nir.NIRGraph, Plan]:
        file.check_nodes(content)
        plan = make_plan(content, arguments.reset, arguments.discretization)
        return file.build(content), plan

    nir_graph, plan = mendable(arguments.file, planned)
    with about(f"{arguments.file}: --dt"):
        dt = arguments.dt
        step_dt(plan, dialects.step_of(arguments.dialect, plan, dt) if arguments.dialect else dt)
    shapes = {name: plan.shapes[name] for name in plan.inputs}
    read = recordings.read(arguments.data, shapes, arguments.bin_us, plan.metadata)
    data = read.x
    with about(arguments.file):
        if arguments.engine == "reference":
            result = _reference(plan, data, arguments)
            outputs, spikes = result.outputs, result.spikes
        else:
            outputs, spikes = _jax(nir_graph, plan, data, arguments), {}
        classes = _classes(plan, outputs)
        judged = None if read.labels is None else _judged(plan, outputs, read.labels)
        if arguments.output:
            _write(arguments.output, outputs, spikes)
    if arguments.json:
        show.as_json(
            {
                "file": arguments.file,
                "spikes": {name: int(array.sum()) for name, array in sorted(spikes.items())},
                "outputs": {
                    name: {"shape": array.shape, "sum": array.sum(dtype=np.float64)}
                    for name, array in outputs.items()
                },
                "classes": classes,
                **({"labels": judged} if judged else {}),
            }
        )
    else:
        _print(
            outputs, {n: spikes[n] for n in plan.order if n in spikes}, None if judged else classes
        )
        if judged:
            _print_judged(judged)
    return 0


def _write(path: str, outputs: dict[str, np.ndarray], spikes: dict[str, np.ndarray]) -> None:
    named = outputs if len(outputs) > 1 else {"output": next(iter(outputs.values()))}
    if clash := sorted(set(named) & set(spikes)):
        what = f"node `{clash[0]}` has the name of an output"
        raise GraphError(what, node=clash[0], code="name")
    with atomic(path) as temporary, open(temporary, "wb") as stream:
        write_npz(stream, {**named, **spikes})


def _print(
    outputs: dict[str, np.ndarray], spikes: dict[str, np.ndarray], classes: list[str] | None
) -> None:
    for name, array in spikes.items():
        show.say(f"{name}: {show.shape(array.shape)}, {show.count(int(array.sum()), 'spike')}")
    for name, array in outputs.items():
        show.say(
            f"{name}: {show.shape(array.shape)}, sum {show.number(array.sum(dtype=np.float64))}"
        )
    if classes is not None:
        show.say("classes: " + ", ".join(classes))


def _microseconds(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**40:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text}")
    return int(text)


def _judged(plan: Plan, outputs: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, Any]:
    """Accuracy and confusion matrix; rows are the labels.

    Raises:
        GraphError: there are several outputs, or one that is no list of classes.
    """
    output = next(iter(outputs.values()))
    if len(outputs) != 1 or output.ndim != 3:
        what = "labels are for one output with a value for each class"
        raise GraphError(what, code="input")
    try:
        names = [str(name) for name in reference.classes(plan.metadata)]
    except (ValueError, TypeError):
        names = []
    size = output.shape[2]
    names = names if len(names) == size else []
    right = recordings.as_indices(labels, names, size)
    score = (
        output.max(axis=0) if plan.metadata.get("readout") == "max_membrane" else output.sum(axis=0)
    )
    found = np.argmax(score, axis=-1)
    confusion = np.zeros((size, size), np.int64)
    np.add.at(confusion, (right, found), 1)
    correct = int((right == found).sum())
    return {
        "samples": len(right),
        "correct": correct,
        "accuracy": correct / len(right),
        "classes": names or [str(index) for index in range(size)],
        "confusion": confusion.tolist(),
    }


def _print_judged(judged: dict[str, Any]) -> None:
    share = f"{judged['correct']} of {judged['samples']}"
    show.say(f"accuracy {100 * judged['accuracy']:.1f} % ({share})")
    names = judged["classes"]
    wrong = [
        (count, names[row], names[column])
        for row, counts in enumerate(judged["confusion"])
        for column, count in enumerate(counts)
        if row != column and count
    ]
    for count, label, given in sorted(wrong, key=lambda entry: (-entry[0], entry[1:])):
        show.say(f"{count} of label {label} as {given}")


def _classes(plan: Plan, outputs: dict[str, np.ndarray]) -> list[str] | None:
    """What the contract's readout makes of the only output, for each sample; None without one."""
    try:
        names = reference.classes(plan.metadata)
    except (ValueError, TypeError):
        if "contract_version" in plan.metadata:
            what = "the contract's `classes` is no JSON list of names"
            raise GraphError(what, node="", field="classes", code="contract") from None
        text = "`classes` of the file is no JSON list of names: no class is named"
        warnings.warn(text, stacklevel=2)
        return None
    readout = plan.metadata.get("readout")
    if not isinstance(names, list) or not isinstance(readout, str) or readout not in READOUTS:
        return None
    if len(outputs) != 1 or not all(isinstance(name, str) for name in names):
        return None
    (output,) = outputs.values()
    if output.shape[2:] != (len(names),):
        return None
    score = output.sum(axis=0) if readout == "spike_count" else output.max(axis=0)
    return [names[i] for i in np.argmax(score, axis=-1)]


def _reference(
    plan: Plan, data: dict[str, np.ndarray], arguments: argparse.Namespace
) -> reference.Result:
    if arguments.dialect:
        return dialects.run(plan, data, arguments.dialect, arguments.dt)
    return reference.run(plan, data, arguments.dt)


def _jax(
    nir_graph: Any, plan: Plan, data: dict[str, np.ndarray], arguments: argparse.Namespace
) -> dict[str, np.ndarray]:
    """The imported model's outputs, channels first."""
    from spyx_nir import converter

    nir_graph.metadata.pop(
        "output_order", None
    )  # results are channels first, whatever it was before
    loaded = converter.load(
        nir_graph,
        arguments.dt,
        reset=arguments.reset,
        discretization=arguments.discretization,
        dialect=arguments.dialect,
    )
    turned = {name: np.asarray(to_last(x, x.ndim - 2), np.float32) for name, x in data.items()}
    only = len(plan.inputs) == 1
    outputs, _ = converter.run(loaded.model, turned[plan.inputs[0]] if only else turned)
    named = outputs if isinstance(outputs, dict) else {plan.outputs[0]: outputs}
    return {name: to_first(np.asarray(y), y.ndim - 2) for name, y in named.items()}
