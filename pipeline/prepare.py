"""Stage 1: recordings -> data/prepared/<task>.h5.

Whatever the source, recordings end up in a folder in their public on-disk format, are read
through tonic, split, binned and written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import params
from pipeline.datasets import splits
from pipeline.errors import UserError
from pipeline.files import atomic_folder, sha256, write_json
from pipeline.progress import track
from pipeline.stage import main

MARKER = "complete.json"


@dataclass(frozen=True)
class Recordings:
    """One task's recordings, in a fixed order, readable through tonic."""

    datasets: list[Any]  # tonic datasets
    place: list[tuple[int, int]]  # which dataset, which item, for each recording
    labels: np.ndarray  # (N,) index into the task's classes
    split: np.ndarray  # (N,) 0 train, 1 validation, 2 test
    left_out: dict[str, int]  # recordings of other classes
    sensor_size: tuple[int, int, int]
    files: dict[str, str]  # what was read: SHA-256 of each
    encoder: str  # how it became events
    split_rule: str


def prepare(task: params.Task, root: str | Path = ".") -> None:
    """Write data/prepared/<task>.h5 under `root`; the same parameters give the same bytes.

    Raises:
        UserError: the source cannot be read, or does not fit the task.
        Unavailable: the source is `download` and the server cannot be reached.
    """
    from pipeline.datasets import prepared
    from pipeline.datasets.binning import to_bins

    data = task.data
    folder = raw_folder(task, Path(root))
    recordings = _open(task, folder)
    shape = _shape(task, recordings)

    def binned() -> Iterator[np.ndarray]:
        for number, item in recordings.place:
            events, _ = recordings.datasets[number][item]
            _check_range(events, recordings, number, item)
            frames, late = to_bins(
                events, recordings.sensor_size, data.bins, data.bin_us, data.merge_polarity
            )
            provenance["events"]["total"] += len(events)
            provenance["events"]["past_the_last_bin"] += late
            yield frames

    provenance: dict[str, Any] = {
        "source": data.source,
        "seed": data.seed,
        "files": recordings.files,
        "encoder": recordings.encoder,
        "split": recordings.split_rule,
        "recordings": {
            name: {
                label: int(np.sum((recordings.split == part) & (recordings.labels == index)))
                for index, label in enumerate(data.classes)
            }
            for part, name in enumerate(splits.NAMES)
        },
        "left_out": recordings.left_out,
        "events": {"total": 0, "past_the_last_bin": 0},
    }
    prepared.write(
        Path(root) / "data" / "prepared" / f"{task.name}.h5",
        track(binned(), len(recordings.place), "binning"),
        shape,
        recordings.labels,
        recordings.split,
        {
            "classes": list(data.classes),
            "bins": data.bins,
            "bin_us": data.bin_us,
            "source": data.source,
        },
        provenance,
    )
    _say(task, shape, recordings, provenance)


def raw_folder(task: params.Task, root: Path) -> Path:
    """The folder with the recordings in their public format: the user's, or data/raw/<task>.

    The latter is used again if it is complete and was made with the same parameters by the same
    code; otherwise it is made anew, and takes its place only when it is complete.
    """
    data = task.data
    if data.source == "folder":
        return Path(data.path) if Path(data.path).is_absolute() else root / data.path
    folder = root / "data" / "raw" / task.name
    recipe = _recipe(task)
    if _marker(folder) == recipe:
        return folder
    with atomic_folder(folder) as temporary:
        if data.source == "download":
            from pipeline.datasets import download

            download.fetch(_kind(task), temporary, keep=folder.parent / f".{task.name}.partial")
        elif _kind(task) == "braille":
            from pipeline.datasets import simulate_braille

            _known_letters(data.classes)
            simulate_braille.write(temporary, data.classes, data.simulated_per_class, data.seed)
        else:
            from pipeline.datasets import simulate_nmnist

            digits = _digits(data.classes)
            if data.simulated_per_class > simulate_nmnist.IMAGES_PER_DIGIT:
                raise UserError(
                    f"tasks.{task.name}.data.simulated_per_class must be at most "
                    f"{simulate_nmnist.IMAGES_PER_DIGIT}, got {data.simulated_per_class}"
                )
            simulate_nmnist.write(temporary, digits, data.simulated_per_class, data.test, data.seed)
        write_json(temporary / MARKER, recipe)
    return folder


def _kind(task: params.Task) -> str:
    return "braille" if task.network.kind == "braille_rsnn" else "nmnist"


def _recipe(task: params.Task) -> dict[str, Any]:
    """Everything that the content of data/raw/<task> depends on."""
    data = task.data
    if data.source == "download":
        return {"source": "download", "kind": _kind(task)}
    here = Path(__file__).parent / "datasets"
    code = [f"simulate_{_kind(task)}.py", f"{_kind(task)}.py"]
    return {
        "source": "simulated",
        "kind": _kind(task),
        "classes": list(data.classes),
        "per_class": data.simulated_per_class,
        "test": data.test,
        "seed": data.seed,
        "code": {name: sha256(here / name) for name in code},
    }


def _marker(folder: Path) -> Any:
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _open(task: params.Task, folder: Path) -> Recordings:
    return _open_braille(task, folder) if _kind(task) == "braille" else _open_nmnist(task, folder)


def _open_braille(task: params.Task, folder: Path) -> Recordings:
    from pipeline.datasets.braille import Braille, candidates

    data = task.data
    _known_letters(data.classes)
    dataset = Braille(folder, window_us=data.bins * data.bin_us)
    print(f"reading {dataset.file.name}: {len(dataset)} recordings")
    for other in candidates(folder)[1:]:
        print(f"not read, the one above comes first: {other.name}")
    keep, labels, left_out = _choose(
        [dataset.classes[target] for target in dataset.targets], data.classes, dataset.file
    )
    targets = np.array([dataset.targets[item] for item in keep])
    split = _split(targets, (data.validation, data.test), data.seed, dataset.file)
    return Recordings(
        datasets=[dataset],
        place=[(0, item) for item in keep],
        labels=labels,
        split=split,
        left_out=left_out,
        sensor_size=dataset.sensor_size,
        files={dataset.file.name: sha256(dataset.file)},
        encoder=dataset.encoder,
        split_rule=(
            f"stratified by letter, seed {data.seed}: {data.validation} validation, "
            f"{data.test} test, the rest train"
        ),
    )


def _open_nmnist(task: params.Task, folder: Path) -> Recordings:
    from pipeline.datasets.nmnist import NMNIST

    data = task.data
    _digits(data.classes)
    datasets = [NMNIST(folder, train=True), NMNIST(folder, train=False)]
    place: list[tuple[int, int]] = []
    labels, parts = [], []
    left_out: dict[str, int] = {}
    files = {}
    for number, dataset in enumerate(datasets):
        where = folder / dataset.folder_name
        print(f"reading {dataset.folder_name}: {len(dataset)} recordings")
        keep, chosen, others = _choose(list(map(str, dataset.targets)), data.classes, where)
        place += [(number, item) for item in keep]
        labels.append(chosen)
        # Test is as published; validation is taken from Train.
        parts.append(
            np.full(len(keep), 2, np.uint8)
            if number
            else _split(chosen, (data.validation,), data.seed, where)
        )
        for label, count in others.items():
            left_out[label] = left_out.get(label, 0) + count
        files[dataset.folder_name] = _digest(where, dataset.data)
    return Recordings(
        datasets=datasets,
        place=place,
        labels=np.concatenate(labels),
        split=np.concatenate(parts),
        left_out=left_out,
        sensor_size=datasets[0].sensor_size,
        files=files,
        encoder="event sensor",
        split_rule=(
            f"test is the folder Test; {data.validation} of the folder Train is validation, "
            f"stratified by digit, seed {data.seed}"
        ),
    )


def _choose(
    names: list[str], classes: tuple[str, ...], where: Path
) -> tuple[list[int], np.ndarray, dict[str, int]]:
    """Items of the wanted classes, their labels, and how many of each other class there are."""
    if missing := [name for name in classes if name not in names]:
        raise UserError(
            f"{where}: no recordings of class `{missing[0]}`; it holds "
            f"{', '.join(sorted(set(names)))}"
        )
    keep = [item for item, name in enumerate(names) if name in classes]
    labels = np.array([classes.index(names[item]) for item in keep], dtype=np.int64)
    others = sorted(set(names) - set(classes))
    return keep, labels, {name: names.count(name) for name in others}


def _split(labels: np.ndarray, fractions: tuple[float, ...], seed: int, where: Path) -> np.ndarray:
    try:
        return splits.stratified(labels, fractions, seed)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _known_letters(classes: tuple[str, ...]) -> None:
    from pipeline.datasets.braille import Braille

    if unknown := [name for name in classes if name not in Braille.classes]:
        raise UserError(f"data.classes: unknown letter `{unknown[0]}`; known are Space, A to Z")


def _digits(classes: tuple[str, ...]) -> tuple[int, ...]:
    if unknown := [name for name in classes if name not in tuple("0123456789")]:
        raise UserError(f"data.classes: unknown digit `{unknown[0]}`; known are '0' to '9'")
    return tuple(map(int, classes))


def _digest(folder: Path, files: list[str]) -> str:
    """SHA-256 over every file's path in the folder and its bytes."""
    digest = hashlib.sha256()
    for file in files:
        content = Path(file).read_bytes()
        name = Path(file).relative_to(folder).as_posix()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _check_range(events: np.ndarray, recordings: Recordings, number: int, item: int) -> None:
    width, height, _ = recordings.sensor_size
    beyond = events["x"] >= width
    if height > 1:
        beyond = beyond | (events["y"] >= height)
    if beyond.any():
        first = int(np.flatnonzero(beyond)[0])
        place = (int(events["x"][first]), int(events["y"][first]) if height > 1 else 0)
        raise UserError(
            f"{recordings.datasets[number].data[item]}: event {first} lies at {place}, outside "
            f"the {width}x{height} sensor"
        )


def _shape(task: params.Task, recordings: Recordings) -> tuple[int, ...]:
    width, height, polarities = recordings.sensor_size
    channels = 1 if task.data.merge_polarity else polarities
    spatial: tuple[int, ...] = (channels, height, width)
    if height == 1:
        spatial = (width,) if channels == 1 else (channels, width)
    return (len(recordings.place), task.data.bins, *spatial)


def _say(
    task: params.Task,
    shape: tuple[int, ...],
    recordings: Recordings,
    provenance: dict[str, Any],
) -> None:
    if recordings.left_out:
        count = sum(recordings.left_out.values())
        print(f"left out {count} recordings of {len(recordings.left_out)} other classes")
    parts = [int(np.sum(recordings.split == part)) for part in range(len(splits.NAMES))]
    per_recording = provenance["events"]["total"] / shape[0]
    print(
        f"data/prepared/{task.name}.h5: {shape}, train/validation/test "
        f"{'/'.join(map(str, parts))}, {per_recording:.0f} events a recording, "
        f"{provenance['events']['past_the_last_bin']} past the last bin left out"
    )


if __name__ == "__main__":
    main(prepare, "Recordings to binned events with splits: data/prepared/<task>.h5.")
