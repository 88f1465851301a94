"""How a reader in an environment of its own is asked, and how it answers. NumPy alone.

    python -m pipeline.interop.norse REQUEST.npz ANSWER.npz      (in the folder that holds pipeline/)

An adapter is one module with a function `run(request)`, and ends in `protocol.serve(run)`. It gives
the spikes of every node that it was asked for, or raises what its framework raised: a refusal is an
answer. That an adapter's framework cannot be imported is none; then the process fails.
"""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

WHERE = "site-packages"


@dataclass(frozen=True)
class Request:
    """What a reader is to do.

    path: the file. dt: the step, in the unit of the file's time constants. x: (N, T, *shape) uint8,
    channels first. nodes: paths of the spiking nodes whose spikes are wanted.
    """

    path: str
    dt: float
    x: np.ndarray
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What became of it.

    spikes: per node (N, T, ...), as they left it in the reader, counts where it fires several times in
    a step; empty where it only reads. delay: per node, the steps that the reader is known to add.
    error: what it raised, with the step ("read", "run") and the place in the framework; else "".
    notes: what else it said. versions: of the packages that did it.
    """

    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    delay: dict[str, int] = field(default_factory=dict)
    error: str = ""
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A reader, or the bridge to one, cannot take this file."""


def serve(run: Callable[[Request], Answer], *packages: str) -> None:
    """Answer the request that the command line names; `packages` are listed with their versions."""
    source, target = sys.argv[1:]
    request = read_request(source)
    versions = {name: version(name) for name in packages}
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):  # frameworks print
        warnings.simplefilter("ignore")
        try:
            answer = run(request)
        except Exception as error:  # whatever it is: it is what a user of the framework would see
            answer = Answer(error=described(error))
    write_answer(target, Answer(answer.spikes, answer.delay, answer.error, answer.notes, versions))


def described(error: Exception) -> str:
    """An exception in one line, with the last line of the framework that it passed through."""
    text = " ".join(str(error).split()) or "(no message)"
    if isinstance(error, Refused):
        return text
    frames = [f for f in traceback.extract_tb(error.__traceback__) if WHERE in f.filename]
    place = ""
    if frames:
        file = Path(frames[-1].filename)
        inside = file.parts[file.parts.index(WHERE) + 1 :]
        place = f" ({'/'.join(inside)}:{frames[-1].lineno})"
    return f"{type(error).__name__}: {text}{place}"


def write_request(path: str | Path, request: Request) -> None:
    """Store a request."""
    facts = {**vars(request)}
    np.savez(path, x=facts.pop("x"), facts=json.dumps(facts))


def read_request(path: str | Path) -> Request:
    """The request that `write_request` stored."""
    with np.load(path, allow_pickle=False) as loaded:
        facts = json.loads(str(loaded["facts"]))
        return Request(x=loaded["x"], **facts | {"nodes": tuple(facts["nodes"])})


def write_answer(path: str | Path, answer: Answer) -> None:
    """Store an answer."""
    facts = {**vars(answer)}
    arrays: dict[str, Any] = {f"spikes/{name}": a for name, a in facts.pop("spikes").items()}
    np.savez_compressed(path, facts=json.dumps(facts), **arrays)


def read_answer(path: str | Path) -> Answer:
    """The answer that `write_answer` stored."""
    with np.load(path, allow_pickle=False) as loaded:
        facts = json.loads(str(loaded["facts"]))
        spikes = {key.removeprefix("spikes/"): loaded[key] for key in loaded if key != "facts"}
    return Answer(spikes, **facts | {"notes": tuple(facts["notes"])})
