"""Stage 1: recordings -> data/prepared/<task>.h5.

Whatever the source, recordings end up in a folder in their public on-disk format, are read
through tonic, split, binned and written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import schema, tasks
from pipeline.datasets import splits
from pipeline.progress import track
from pipeline.stage import main
from pipeline.tasks import Recordings
from spyx_nir.errors import UserError
from spyx_nir.files import alone, atomic_folder, sha256, sweep, write_json

MARKER = "complete.json"
MOST_CELLS = 2**28  # of a recording: 2 GiB of counts


@dataclass(frozen=True)
class Chosen:
    """The recordings of the wanted classes, in a fixed order."""

    place: list[tuple[int, int]]  # which data set, which item, for each recording
    labels: np.ndarray  # (N,) index into the task's classes
    split: np.ndarray  # (N,) 0 train, 1 validation, 2 test
    left_out: dict[str, int]  # recordings of other classes


def prepare(task: schema.Task, root: str | Path = ".") -> None:
    """Write data/prepared/<task>.h5 under `root`; the same parameters give the same bytes.

    Raises:
        UserError: the source cannot be read or does not fit the task, or the bins hold too few events.
        Unavailable: the source is `download` and the server cannot be reached.
    """
    from pipeline.datasets import checks, prepared
    from pipeline.datasets.binning import to_bins

    data = task.data
    module = tasks.find(task.name)
    found, chosen = recordings(task, root)
    shape = (len(chosen.place), data.bins, *tasks.input_shape(task))
    if (size := math.prod(shape[1:])) > MOST_CELLS:
        raise UserError(
            f"tasks.{task.name}.data.bins: a recording of {shape[1:]} is {size} cells; at most "
            f"{MOST_CELLS} are binned: take fewer bins"
        )
    tally = checks.Tally(
        data, module.SENSOR, chosen.labels, chosen.split, splits.NAMES,
        lambda place: checks.name_of(found, *chosen.place[place]),
    )  # fmt: skip

    def binned() -> Iterator[np.ndarray]:
        for number, item in chosen.place:
            events = checks.events_of(found, number, item, module.SENSOR)
            frames, past = to_bins(
                events, module.SENSOR, data.bins, data.bin_us, data.merge_polarity
            )
            tally.add(events, past)
            provenance["events"]["total"] += len(events)
            provenance["events"]["past_the_last_bin"] += past
            yield frames
        tally.check()  # before anything is written

    provenance: dict[str, Any] = {
        "source": tasks.source(task.name, data.source),
        "seed": data.seed,
        "files": dict(found.files),
        "encoder": found.encoder,
        "split": _rule(task, found),
        "recordings": {
            name: {
                label: int(np.sum((chosen.split == part) & (chosen.labels == index)))
                for index, label in enumerate(data.classes)
            }
            for part, name in enumerate(splits.NAMES)
        },
        "left_out": chosen.left_out,
        "events": {"total": 0, "past_the_last_bin": 0},
    }
    attributes = {"classes": list(data.classes), "bins": data.bins, "bin_us": data.bin_us}
    prepared.write(
        Path(root) / "data" / "prepared" / f"{task.name}.h5",
        track(binned(), len(chosen.place), "binning"),
        shape,
        chosen.labels,
        chosen.split,
        attributes | {"source": provenance["source"]},
        provenance,
    )
    _say(task, shape, chosen, provenance)


def recordings(task: schema.Task, root: str | Path = ".") -> tuple[Recordings, Chosen]:
    """The recordings of the task's source, and those of its classes in the order of the prepared file.

    Raises:
        UserError: the source cannot be read, or does not fit the task.
        Unavailable: the source is `download` and the server cannot be reached.
    """
    from pipeline.datasets import checks

    folder = raw_folder(task, Path(root))
    try:
        given = tasks.find(task.name).recordings(task.data, folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror or error}") from None
    found = checks.contract(given, task.data.classes, f"pipeline/tasks/{task.name}.py")
    return found, _choose(task, found, folder)


def raw_folder(task: schema.Task, root: Path) -> Path:
    """The folder with the recordings in their public format: the user's, or data/raw/<task>.

    The latter is used again if it is complete, was made with the same parameters by the same code and
    still has its bytes; otherwise it is made anew, and takes its place only when it is complete.
    """
    data = task.data
    if data.source == "folder":
        folder = root / data.path  # an absolute path stays one
        if not folder.is_dir():
            raise UserError(f"tasks.{task.name}.data.path: {folder}: no such folder")
        return folder
    folder = root / "data" / "raw" / task.name
    recipe = _recipe(task)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if marker["made_by"] == recipe:
            if marker["content"] == _content(folder):
                sweep(folder)  # of one that was killed after the last rename
                return folder
            print(f"{folder}: its files changed since it was made; it is made again", flush=True)
    module = tasks.find(task.name)
    with atomic_folder(folder) as temporary:
        if data.source == "download":
            if not hasattr(module, "download"):
                raise UserError(
                    f"tasks.{task.name}.data.source: this task has no `download`; "
                    "take `folder` or `simulated`"
                )
            with alone(root, "prepare", task.name):  # what has come so far is added to
                module.download(temporary, folder.parent / f".{task.name}.partial")
        elif hasattr(module, "simulate"):  # otherwise `recordings` makes them as it goes
            module.simulate(data, temporary)
        write_json(temporary / MARKER, {"made_by": recipe, "content": _content(temporary)})
    return folder


def _content(folder: Path) -> str:
    """A digest of all files of a folder, by name and bytes."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MARKER:
            found.update(f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n".encode())
    return found.hexdigest()


def _recipe(task: schema.Task) -> dict[str, Any]:
    """Everything that the content of data/raw/<task> depends on."""
    data = task.data
    if data.source == "download":
        return {"source": "download", "task": task.name}
    here = Path(__file__).parent
    code = [*here.glob("datasets/*.py"), tasks.HERE / f"{task.name}.py"]
    return {
        "source": "simulated",
        "classes": list(data.classes),
        "per_class": data.simulated_per_class,
        "test": data.test,
        "seed": data.seed,
        "code": {f"{path.parent.name}/{path.name}": sha256(path) for path in sorted(code)},
    }


def _choose(task: schema.Task, found: Recordings, folder: Path) -> Chosen:
    """The recordings of the task's classes, split.

    Of one data set validation and test are taken; with two the second is test.
    """
    data = task.data
    place: list[tuple[int, int]] = []
    labels, parts = [], []
    others: list[str] = []
    for number, names in enumerate(found.names):
        if missing := [name for name in data.classes if name not in names]:
            part = "" if len(found.names) == 1 else f"in {('train', 'test')[number]}, "
            raise UserError(
                f"{folder}: {part}no recordings of class `{missing[0]}`; it holds "
                f"{', '.join(sorted(set(names))) or 'none at all'}"
            )
        keep = [item for item, name in enumerate(names) if name in data.classes]
        place += [(number, item) for item in keep]
        labels.append(np.array([data.classes.index(names[item]) for item in keep], np.int64))
        shares = (data.validation, data.test) if len(found.datasets) == 1 else (data.validation,)
        order = found.classes or data.classes
        kinds = np.array([order.index(names[item]) for item in keep])
        try:
            test = np.full(len(keep), 2, np.uint8)
            parts.append(test if number else splits.stratified(kinds, shares, data.seed, order))
        except ValueError as error:
            raise UserError(f"{folder}: {error}") from None
        others += sorted(name for name in names if name not in data.classes)
    return Chosen(place, np.concatenate(labels), np.concatenate(parts), dict(Counter(others)))


def _rule(task: schema.Task, found: Recordings) -> str:
    data = task.data
    how = f"stratified by class, seed {data.seed}"
    if len(found.datasets) == 1:
        return f"{how}: {data.validation} validation, {data.test} test, the rest train"
    return f"test as published; {data.validation} of the rest is validation, {how}"


def _say(
    task: schema.Task, shape: tuple[int, ...], chosen: Chosen, provenance: dict[str, Any]
) -> None:
    if chosen.left_out:
        count = sum(chosen.left_out.values())
        print(f"left out {count} recordings of {len(chosen.left_out)} other classes")
    parts = [int(np.sum(chosen.split == part)) for part in range(len(splits.NAMES))]
    per_recording = provenance["events"]["total"] / shape[0]
    print(
        f"data/prepared/{task.name}.h5: {shape}, train/validation/test "
        f"{'/'.join(map(str, parts))}, {per_recording:.0f} events a recording, "
        f"{provenance['events']['past_the_last_bin']} past the last bin left out"
    )


if __name__ == "__main__":
    main(prepare, "Recordings to binned events with splits: data/prepared/<task>.h5.")
