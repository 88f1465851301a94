"""What a task is made of: one module here, found by the task's name in params.yaml.

A task module `pipeline/tasks/NAME.py` offers

    ABOUT         an `About`: what the model card says of the data
    SENSOR        (W, H, P), as tonic has it: columns, rows (1 for a line of sensors), polarities
    Network       a frozen dataclass: the keys of `tasks.NAME.network`, with ranges as in
                  `pipeline.schema`; `threshold` and `surrogate_slope` are two of them
    recordings    (data, folder) -> Recordings: what `prepare` bins
    network       (task) -> the untrained model, a sequence of layers whose last one spikes

and, where it has them,

    simulate      (data, folder) -> None: fills the empty `folder` for `source: simulated`
    download      (folder, keep) -> None: the same for `source: download`; `keep` may hold a part

Its functions import what they need (JAX, Flax, Spyx, tonic) themselves: reading params.yaml imports
the module, and has to stay cheap and to come before JAX.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from spyx_nir.errors import UserError

if TYPE_CHECKING:
    from pipeline import schema

HERE = Path(__file__).parent
NEEDED = ("ABOUT", "SENSOR", "Network", "recordings", "network")
EVERY_NETWORK = ("threshold", "surrogate_slope")  # keys that every `Network` has


@dataclasses.dataclass(frozen=True)
class About:
    """The data of a task, for its card.

    licence, id: in words and as model hubs have it. simulated: what has to be said of the simulated
    recordings beside that.
    """

    title: str
    licence: str
    id: str
    cite: str
    simulated: str = ""


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Recordings that are read through tonic.

    Args:
        datasets: `dataset[i]` is (events, target), events a structured array with x, t in
            microseconds and, where the sensor has rows or polarities, y and p. One data set, which
            is split into train, validation and test, or two: train, which gives validation, and
            test.
        names: for each data set the class of every recording, as `data.classes` writes it.
        files: what was read, with its SHA-256; empty where nothing was read.
        encoder: how the recordings became events.
        classes: all classes of the data set in its own order. With it a class is split in the same
            way whichever others are chosen; empty: split by the place in `data.classes`.
    """

    datasets: Sequence[Any]
    names: Sequence[Sequence[str]]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    encoder: str = "event sensor"
    classes: Sequence[str] = ()


def find(name: str) -> ModuleType:
    """The module of the task `name`.

    Raises:
        UserError: there is none, or it is no Python, or a part is missing or wrong, or it imports JAX.
    """
    file = HERE / f"{name}.py"
    if not name.isidentifier() or not file.is_file():
        known = ", ".join(sorted(p.stem for p in HERE.glob("[!_]*.py")))
        raise UserError(
            f"no task `{name}` in pipeline/tasks, which has {known}; "
            "make one with: python -m pipeline new-task NAME"
        )
    early = "jax" in sys.modules
    where = f"pipeline/tasks/{name}.py"
    try:
        module = importlib.import_module(f"pipeline.tasks.{name}")
    except SyntaxError as error:
        raise UserError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    except UserError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = f":{last.lineno}" if Path(last.filename) == file else ""
        raise UserError(f"{where}{line}: {type(error).__name__}: {error}") from None
    if missing := [part for part in NEEDED if not hasattr(module, part)]:
        raise UserError(f"{where}: `{missing[0]}` is missing; pipeline/tasks/__init__.py says why")
    for key in EVERY_NETWORK:
        if key not in getattr(module.Network, "__dataclass_fields__", ()):
            raise UserError(f"{where}: `Network` must be a dataclass with a field `{key}`")
    if hasattr(module, "RANGES"):
        raise UserError(
            f"{where}: `RANGES` is not read any more; write a range beside its type in `Network`, as "
            "pipeline/schema.py does: Annotated[int, at_least(1)]"
        )
    sizes = module.SENSOR
    if not isinstance(sizes, tuple) or [type(n) for n in sizes] != 3 * [int] or min(sizes) < 1:
        raise UserError(f"{where}: `SENSOR` must be (columns, rows, polarities), got {sizes!r}")
    if "jax" in sys.modules and not early:
        # Threads and devices are chosen before JAX starts, or the bytes depend on the machine.
        raise UserError(f"{where}: imports JAX at its top; import it (and Spyx) inside `network`")
    return module


def input_shape(task: schema.Task) -> tuple[int, ...]:
    """Shape of one time step of one sample in NIR's order: (W,), (P, W) or (P, H, W).

    P is 1 where polarities are merged, and left out where there is one row of sensors.
    """
    width, height, polarities = find(task.name).SENSOR
    channels = 1 if task.data.merge_polarity else polarities
    if height > 1:
        return (channels, height, width)
    return (width,) if channels == 1 else (channels, width)


def source(task: str, data_source: str) -> str:
    """Where recordings come from: `simulated`, `folder`, `download`, or `task`.

    The last is what `simulated` means for a task without a simulator: its own `recordings` reads or makes
    them, and nobody else can say which.
    """
    if data_source == "simulated" and not hasattr(find(task), "simulate"):
        return "task"
    return data_source


def channels(task: schema.Task) -> list[str]:
    """What each channel of the input is; polarity p of an event is channel p, see `binning.to_bins`."""
    polarities = find(task.name).SENSOR[2]
    if polarities == 1:
        return ["events"]
    if task.data.merge_polarity:
        return ["events of any polarity"]
    names = {2: (" (OFF)", " (ON)")}.get(polarities, ("",) * polarities)
    return [f"events with p = {p}{name}" for p, name in enumerate(names)]


def digest(folder: Path, files: Sequence[str | Path]) -> str:
    """SHA-256 over every file's path in `folder` and its bytes."""
    total = hashlib.sha256()
    for file in files:
        content = Path(file).read_bytes()
        name = Path(file).relative_to(folder).as_posix()
        total.update(f"{name} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


def normal(random: np.random.Generator, gain: float) -> Any:
    """Normal initialisation with variance gain / fan_in (LeCun's for gain 1), as Flax takes it.

    Spikes are sparse, so a layer's input is small and gain 1 leaves the deeper layers silent. The
    gains of the tasks were chosen so that every layer fires before training. NumPy draws the
    numbers: JAX would compile a program per shape, a second each.
    """
    import jax.numpy as jnp

    def draw(key: Any, shape: tuple[int, ...], dtype: Any, *_: Any, **__: Any) -> Any:
        return jnp.asarray(random.normal(0.0, np.sqrt(gain / np.prod(shape[:-1])), shape), dtype)

    return draw
