"""`run FILE DATA`: run a graph on recorded data, by the reference or by the imported JAX model."""

from __future__ import annotations

import argparse
import warnings
import zipfile
from pathlib import Path
from typing import Any

import nir
import numpy as np

from spyx_nir.cli import check_name, mendable, show
from spyx_nir.converter import file
from spyx_nir.converter.contract import READOUTS
from spyx_nir.converter.layout import to_first, to_last
from spyx_nir.errors import GraphError, UsageError, about, one_line
from spyx_nir.files import atomic
from spyx_nir.meaning import dialects, reference
from spyx_nir.meaning.equations import RESETS
from spyx_nir.meaning.plan import Plan, make_plan, step_dt

MAX_BYTES = 2**31  # of data, unpacked

EPILOG = """DATA is time-major and channels first: (T, B, *shape), or (T, *shape) for one sample. A .npz
holds one array per Input under its name; where there is one Input and one array, the name is free,
and an array called `input` (as in a bundle's vectors.npz) is preferred.

OUT.npz holds `output` (or one array per Output under its name), time-major and channels first, and
with the reference engine the spikes of every spiking node under its path.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file")
    parser.add_argument("data", help="a .npy or .npz file, see below")
    parser.add_argument(
        "--engine",
        choices=("reference", "jax"),
        default="reference",
        help="float64 NumPy that follows the equations, or the imported model; default: %(default)s",
    )
    parser.add_argument("--dt", type=show.step, help="the step; default: the contract's")
    parser.add_argument("--reset", choices=RESETS, help="overrides what the file says about resets")
    show.add_discretization(parser)
    parser.add_argument(
        "--dialect",
        choices=sorted(dialects.DIALECTS),
        help="run it as that framework reads it, see docs/peers.md; its own reset and step",
    )
    parser.add_argument("-o", "--output", metavar="OUT.npz", help="where to write the results")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = EPILOG


def main(arguments: argparse.Namespace) -> int:
    if arguments.output:
        check_name(arguments.output, ".npz", "--output")
    if arguments.dialect and (arguments.reset or arguments.discretization):
        raise UsageError(
            "--dialect has its own reset and step: leave --reset and --discretization out"
        )

    def planned(content: dict[str, Any]) -> tuple[nir.NIRGraph, Plan]:
        file.check_nodes(content)
        plan = make_plan(content, arguments.reset, arguments.discretization)
        return file.build(content), plan

    nir_graph, plan = mendable(arguments.file, planned)
    with about(f"{arguments.file}: --dt"):
        dt = arguments.dt
        step_dt(plan, dialects.step_of(arguments.dialect, plan, dt) if arguments.dialect else dt)
    data = read_data(arguments.data, {name: plan.shapes[name] for name in plan.inputs})
    with about(arguments.file):
        if arguments.engine == "reference":
            result = _reference(plan, data, arguments)
            outputs, spikes = result.outputs, result.spikes
        else:
            outputs, spikes = _jax(nir_graph, plan, data, arguments), {}
        classes = _classes(plan, outputs)
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
            }
        )
    else:
        _print(outputs, spikes, classes)
    return 0


def _write(path: str, outputs: dict[str, np.ndarray], spikes: dict[str, np.ndarray]) -> None:
    named = outputs if len(outputs) > 1 else {"output": next(iter(outputs.values()))}
    if clash := sorted(set(named) & set(spikes)):
        what = f"node `{clash[0]}` has the name of an output"
        raise GraphError(what, node=clash[0], code="name")
    with atomic(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **named, **spikes)


def _print(
    outputs: dict[str, np.ndarray], spikes: dict[str, np.ndarray], classes: list[str] | None
) -> None:
    for name, array in sorted(spikes.items()):
        print(f"{name}: {show.shape(array.shape)}, {show.count(int(array.sum()), 'spike')}")
    for name, array in outputs.items():
        print(f"{name}: {show.shape(array.shape)}, sum {show.number(array.sum(dtype=np.float64))}")
    if classes is not None:
        print("classes: " + ", ".join(classes))


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


def read_data(path: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays (T, B, *shape) for every Input of `shapes`, from a .npy or .npz file; no pickles.

    Raises:
        GraphError: no such file, not NumPy's format, too large, or arrays that do not fit.
    """
    with about(path):
        if not Path(path).is_file():
            raise GraphError("no such file", code="unreadable")
        try:
            found = _arrays(path)
        except GraphError:
            raise
        except Exception as error:  # NumPy and zipfile raise many kinds on damage
            what = f"no .npy or .npz file of numbers: {one_line(error)}"
            raise GraphError(what, code="unreadable") from None
        if len(shapes) == 1:
            (name,) = shapes
            keys = [key for key in (name, "input") if key in found] or list(found)
            if keys[0] in (name, "input") or len(found) == 1:
                found = {name: found[keys[0]]}
        if sorted(found) != sorted(shapes):
            holds, wanted = (", ".join(sorted(names)) for names in (found, shapes))
            what = f"holds the arrays {holds or '(none)'}; the graph's inputs are {wanted}"
            what += ": one array of that name for each"
            raise GraphError(what, code="input")
        for name, shape in shapes.items():
            one = found[name]
            if one.ndim == 1 + len(shape) and one.shape[1:] == shape:
                one = one[:, None]
            found[name] = reference.check_input(one, name, shape)
        return found


def _arrays(path: str) -> dict[str, np.ndarray]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            what = f"unpacks to {size} bytes; at most {MAX_BYTES} are read"
            raise GraphError(what, code="too-large")
        with np.load(path, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    if Path(path).stat().st_size > MAX_BYTES:
        raise GraphError(f"is larger than {MAX_BYTES} bytes", code="too-large")
    with open(path, "rb") as stream:  # of another file NumPy says that it may hold pickles
        if stream.read(6) != b"\x93NUMPY":
            what = "no .npy or .npz file of numbers: it begins like neither"
            raise GraphError(what, code="unreadable")
    return {"input": np.array(np.load(path, allow_pickle=False, mmap_mode="r"))}
