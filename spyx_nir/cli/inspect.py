"""`inspect FILE`: what a file holds."""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np

from spyx_nir.cli import show
from spyx_nir.converter import file, hdf5
from spyx_nir.converter.contract import FOREIGN
from spyx_nir.converter.lint import span
from spyx_nir.converter.registry import KINDS
from spyx_nir.converter.repair import planned
from spyx_nir.errors import GraphError
from spyx_nir.meaning.plan import Plan, single_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file")
    parser.add_argument(
        "--dt", type=show.step, help="step for decays and gains; default: the contract's"
    )
    show.add_discretization(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    show.add_limits(parser)


def main(arguments: argparse.Namespace) -> int:
    found = inspect(arguments.file, arguments.dt, arguments.discretization)
    if arguments.json:
        show.as_json(found)
    else:
        _print(found)
    return 0


def inspect(
    path: str | os.PathLike[str], dt: float | None = None, discretization: str | None = None
) -> dict[str, Any]:
    """What the file holds, as JSON-like data.

    Raises:
        GraphError: the file is no readable graph. One that can be read but not run is shown; the
            entry `refused` then says why it cannot be run.
    """
    content, digest = hdf5.survey(path)
    graph_dict = file.outline(content, path)
    metadata = dict(graph_dict.get("metadata", {}))
    if dt is None and isinstance(metadata.get("dt"), (float, np.floating)) and metadata["dt"] > 0:
        dt = float(metadata["dt"])
    try:
        file.check_nodes(graph_dict)
        found = planned(graph_dict)
    except GraphError as error:
        found = error
    version = content.get("version")
    plan = found if isinstance(found, Plan) else None
    if dt is None and plan is not None and "contract_version" not in metadata:
        given = single_number(plan.metadata.get("dt"))  # as another program gives it
        dt = given if given > 0 else None
    exact = discretization == "exact" if discretization else plan is not None and plan.exact
    nodes = dict(file.nodes(graph_dict))
    return {
        "file": str(path),
        "nir_version": version if isinstance(version, str) else None,
        "digest": digest,
        "contract": metadata,
        "dt": dt,
        "discretization": "exact" if exact else "euler",
        "foreign": _foreign(metadata),
        "refused": None if plan else str(found),
        "parameters": sum(map(_parameters, nodes.values())),
        "nodes": [
            _node(name, nodes[name], plan, dt, exact) for name in (_along(plan) if plan else nodes)
        ],
        "edges": plan.edges if plan else graph_dict["edges"],
    }


def _foreign(metadata: dict[str, Any]) -> dict[str, str]:
    """What a reader here does with the keys of other programs in a file without contract."""
    if "contract_version" in metadata:
        return {}
    return {name: FOREIGN[name] for name in sorted(metadata) if name in FOREIGN}


def _along(plan: Plan) -> list[str]:
    """The nodes in the order in which the signal first reaches them, Outputs last."""
    leads: dict[str, list[str]] = {}
    for source, target in sorted(plan.edges):
        leads.setdefault(source, []).append(target)
    order, todo = dict.fromkeys(plan.inputs), list(plan.inputs)
    for path in todo:  # which grows
        new = [target for target in leads.get(path, []) if target not in order]
        order |= dict.fromkeys(new)
        todo += new
    return sorted(order, key=lambda path: path in plan.outputs)


def _numbers(node: dict[str, Any]) -> dict[str, np.ndarray]:
    """The fields of a node that hold parameters: real numbers, no sizes."""
    return {
        name: np.asanyarray(value)
        for name, value in node.items()
        if name != "metadata" and name not in file.WHOLE and np.asarray(value).dtype.kind in "biuf"
    }


def _parameters(node: dict[str, Any]) -> int:
    return sum(value.size for value in _numbers(node).values())


def _node(
    path: str, node: dict[str, Any], plan: Plan | None, dt: float | None, exact: bool
) -> dict[str, Any]:
    numbers = {name: value for name, value in _numbers(node).items() if value.size}
    ranges = {name: hdf5.ends(value) for name, value in numbers.items()}
    sizes = {n: v for n, v in node.items() if n in file.WHOLE}
    made: dict[str, Any] = {
        "path": path,
        "type": node["type"],
        "in": list(plan.arrives[path]) if plan else None,
        "out": list(plan.shapes[path]) if plan else None,
        "parameters": _parameters(node),
        "fields": {
            name: {
                "shape": list(value.shape),
                "dtype": str(value.dtype),
                "min": ranges[name][0],
                "max": ranges[name][1],
            }
            for name, value in numbers.items()
        },
        "sizes": sizes,
        "contract": dict(node.get("metadata", {})),
        "known": node["type"] in KINDS,
    }
    if dt is not None:
        with np.errstate(all="ignore"):
            made["decays"] = {
                name: [decay.min(), decay.max()]
                for name, ends in ranges.items()
                if name.startswith("tau")  # a decay grows with its time constant
                for rate in [dt / np.asarray(ends, np.float64)]
                for decay in [np.exp(-rate) if exact else 1 - rate]
            }
    return made


def _print(found: dict[str, Any]) -> None:
    show.say(f"{found['file']}: written by nir {found['nir_version'] or '(not said)'}")
    show.say(f"digest {found['digest']}")
    show.say(
        f"{show.count(len(found['nodes']), 'node')}, {show.count(len(found['edges']), 'edge')}, "
        f"{show.count(found['parameters'], 'parameter')}"
    )
    if found["refused"]:
        show.say(f"cannot be run: {found['refused']}")
    show.say(
        "contract: "
        + (", ".join(f"{k} = {_short(v)}" for k, v in found["contract"].items()) or "none")
    )
    for name, use in found["foreign"].items():
        show.say(f"of another program: {name}: {use}")
    show.say()
    show.table(
        ("node", "type", "shape", "values", "fields, per step, contract"),
        [_row(node) for node in found["nodes"]],
        ("values",),
    )


def _row(node: dict[str, Any]) -> list[str]:
    ranges = [f"{name} {span([f['min'], f['max']])}" for name, f in node["fields"].items()]
    ranges += [f"{name} {_size(value)}" for name, value in node["sizes"].items() if name != "shape"]
    decays = [
        f"{name.replace('tau', 'decay')} {span(ends)}"
        for name, ends in node.get("decays", {}).items()
    ]
    contract = [f"{name} {_short(value)}" for name, value in node["contract"].items()]
    return [
        node["path"],
        node["type"],
        f"{show.shape(node['in'])} -> {show.shape(node['out'])}",
        str(node["parameters"]),
        "; ".join(", ".join(part) for part in (ranges, decays, contract) if part),
    ]


def _short(value: Any) -> str:
    """A value of the metadata; a long text is cut, `--json` has all of it."""
    shown = str(value)
    return f"{shown[:200]}... ({len(shown)} characters)" if len(shown) > 400 else shown


def _size(value: Any) -> str:
    return value if isinstance(value, str) else "x".join(map(str, np.ravel(value)))
