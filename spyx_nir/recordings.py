"""What `run`, `diff --data` and `build` read: arrays, samples with labels, and recordings of events."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError, UsageError, about, one_line
from spyx_nir.limits import check_limit, limit
from spyx_nir.meaning import reference
from spyx_nir.meaning.equations import Shape
from spyx_nir.meaning.plan import single_number

# Read by NumPy, and by the package faery.
EVENTS = (".bin", ".aedat4", ".es", ".raw", ".dat")


@dataclass(frozen=True)
class Data:
    """Samples by the name of the input, (T, B, *shape), and their labels (B,), where they are known.

    merged: made of events, and an input is 1 where there is an event of any polarity.
    """

    x: dict[str, np.ndarray]
    labels: np.ndarray | None = None
    merged: bool = False


def read(
    path: str,
    shapes: Mapping[str, Shape],
    bin_us: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Data:
    """The samples of a file, or of a folder of recordings.

    Args:
        path: a .npy or .npz file of arrays; a recording of events; a folder of recordings, or of folders
            whose names are the labels of the recordings inside.
        shapes: of the inputs, without T and B.
        bin_us: length of a bin of events in microseconds; one bin is one step. None takes the
            contract's `input_bin_s`.
        metadata: of the graph. Its `n_steps` is how many bins a sample has; without one they are as many
            as in the longest recording.

    Raises:
        GraphError: nothing there, another format, too large, or arrays that do not fit.
        UsageError: events without a length of a bin, or `bin_us` without events.
    """
    metadata = metadata or {}
    seconds, count = (single_number(metadata.get(key)) for key in ("input_bin_s", "n_steps"))
    length = bin_us or (round(seconds * 1e6) if 1e-6 <= seconds < 1e6 else None)
    steps = int(count) if 1 <= count <= limit("steps") else None
    with about(path):
        place = Path(path)
        if place.is_dir():
            return _binned(*_recordings(place), shapes, length, steps)
        if not place.is_file():
            raise GraphError("no such file", code="unreadable")
        if place.suffix.lower() in EVENTS:
            return _binned([place], None, shapes, length, steps)
        found = _arrays(path)
        if _events(found):
            return _binned([place], None, shapes, length, steps)
        if bin_us is not None:
            raise UsageError(f"--bin-us is for events, and {path} holds arrays")
        labels = _labels(found, shapes)
        return Data(_by_input(found, shapes), labels)


# ------------------------------------------------------------------------------------------ arrays


def _events(found: Mapping[str, np.ndarray]) -> bool:
    return len(found) == 1 and next(iter(found.values())).dtype.names is not None


def _labels(found: dict[str, np.ndarray], shapes: Mapping[str, Shape]) -> np.ndarray | None:
    """Take `y` out of the arrays, and turn an `x` that has the samples first, (N, T, ...).

    Raises:
        GraphError: `y` is no list of labels, or as long as no axis of `x`.
    """
    if set(found) != {"x", "y"} or len(shapes) != 1 or "y" in shapes:
        return None
    x, y = found["x"], found.pop("y")
    if y.ndim != 1 or y.dtype.kind not in "iuU":
        what = f"`y` is {y.dtype} {y.shape}; (N,) whole numbers or names are needed"
        raise GraphError(what, code="input")
    if x.ndim < 2 or len(y) not in x.shape[:2]:
        what = (
            f"`y` has {len(y)} labels, but `x` is {x.shape}; (N, T, ...) or (T, N, ...) is needed"
        )
        raise GraphError(what, code="input")
    if x.shape[0] == len(y):
        found["x"] = np.swapaxes(x, 0, 1)
    return y


def _by_input(found: dict[str, np.ndarray], shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    if len(shapes) == 1:
        (name,) = shapes
        keys = [key for key in (name, "input") if key in found] or list(found)
        if len(found) == 1 or (keys and keys[0] in (name, "input")):
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
    try:
        return _loaded(path)
    except GraphError:
        raise
    except Exception as error:  # NumPy and zipfile raise many kinds on damage
        what = f"no .npy or .npz file of numbers: {one_line(error)}"
        raise GraphError(what, code="unreadable") from None


def _loaded(path: str) -> dict[str, np.ndarray]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        check_limit("data", size, f"unpacks to {size} bytes")
        with np.load(path, allow_pickle=False) as loaded:
            found = {name: loaded[name] for name in loaded.files}
        for name, array in found.items():  # NumPy gives a member that is no .npy as bytes
            if not isinstance(array, np.ndarray):
                what = f"no .npy or .npz file of numbers: `{name}` in it is no array"
                raise GraphError(what, code="unreadable")
        return found
    _check_size(Path(path))
    with open(path, "rb") as stream:  # of another file NumPy says that it may hold pickles
        if stream.read(6) != b"\x93NUMPY":
            what = "no .npy or .npz file of numbers: it begins like neither"
            raise GraphError(what, code="unreadable")
    return {"input": np.array(np.load(path, allow_pickle=False, mmap_mode="r"))}


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    check_limit("data", size, f"is of {size} bytes")


# ------------------------------------------------------------------------------------------ events


def _recordings(folder: Path) -> tuple[list[Path], np.ndarray | None]:
    """The recordings of a folder by name, and their labels: the names of the folders they are in.

    Hidden files are left out; every other one must be a recording.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p, folder))
    for path in files:
        if path.suffix.lower() not in (*EVENTS, ".npy"):
            known = ", ".join((*EVENTS, ".npy"))
            what = f"{path.relative_to(folder)} is no recording of events; {known} are read"
            raise GraphError(what, code="unreadable")
    if not files:
        raise GraphError("holds no recordings", code="unreadable")
    depths = {len(path.relative_to(folder).parts) for path in files}
    if depths == {1}:
        return files, None
    if depths != {2}:
        what = "has recordings at several depths; <label>/<recording> is needed"
        raise GraphError(what, code="unreadable")
    return files, np.array([path.parent.name for path in files])


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _binned(
    files: list[Path],
    labels: np.ndarray | None,
    shapes: Mapping[str, Shape],
    bin_us: int | None,
    steps: int | None,
) -> Data:
    """Recordings as an input (T, B, *shape)."""
    if bin_us is None:
        raise UsageError("recordings of events need --bin-us, the length of a step in microseconds")
    if len(shapes) != 1:
        what = f"events are for one input; the graph has {', '.join(sorted(shapes))}"
        raise GraphError(what, code="input")
    ((name, shape),) = shapes.items()
    samples = []
    for path in files:
        with about(path.name):
            events = read_events(path)
            samples.append((path.name, events))
    longest = max(int(e["t"].max()) // bin_us + 1 if len(e) else 1 for _, e in samples)
    steps = steps or longest
    size = steps * len(samples) * int(np.prod(shape))
    claims = f"{steps} steps of {bin_us} us for {len(samples)} recordings: longer bins?"
    check_limit("steps", steps, f"{claims} They are {steps} steps")
    check_limit("data", size, f"{claims} They are {size} bytes")
    made = np.zeros((steps, len(samples), *shape), np.uint8)
    for index, (of, events) in enumerate(samples):
        with about(of):
            made[:, index] = bin_events(events, shape, bin_us, steps)
    return Data({name: made}, labels, _axes(shape).get("p", 1) == 1)


def _axes(shape: Shape) -> dict[str, int]:
    """The size of each field of an event in the shape (W,), (P, W) or (P, H, W)."""
    return dict(zip("pyx" if len(shape) == 3 else "px"[-len(shape) :], shape, strict=True))


def read_events(path: Path) -> np.ndarray:
    """The events of a recording, fields t in microseconds, x, y, p where there are any.

    t counts as in the file in .bin and .npy, else from the first event: a camera's clock goes on.

    Raises:
        GraphError: not that format.
        MissingPackage: the format needs faery, which is not installed.
    """
    from spyx_nir.bundle.templates import encode

    _check_size(path)
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path], np.ndarray]] = {
        ".bin": encode.from_nmnist,
        ".npy": encode.from_array,
        ".aedat4": _aedat4,
    }
    try:
        return readers.get(suffix, _by_faery)(path)
    except encode.Refused as error:
        raise GraphError(error, code="unreadable") from None


def _aedat4(path: Path) -> np.ndarray:
    """By NumPy alone where the file is not compressed, else by faery."""
    from spyx_nir.bundle.templates import encode

    try:
        return encode.from_aedat4(path)
    except encode.Refused:
        if importlib.util.find_spec("faery") is None:
            raise
        return _by_faery(path)


def _by_faery(path: Path) -> np.ndarray:
    import faery

    try:
        parts = list(faery.events_stream_from_file(path))
    except Exception as error:  # of its decoders any
        raise GraphError(f"not read by faery: {one_line(error)}", code="unreadable") from None
    if not sum(map(len, parts)):
        raise GraphError("faery finds no events in it", code="unreadable")
    found = np.concatenate(parts)
    events = np.zeros(len(found), [(field, np.int64) for field in "txyp"])
    for field, of in zip("txyp", ("t", "x", "y", "on"), strict=True):
        events[field] = found[of]
    events["t"] -= events["t"].min()
    return events


def bin_events(events: Any, shape: Shape, bin_us: int, steps: int) -> np.ndarray:
    """Events as an input (steps, *shape), uint8. Events behind the last step are left out.

    Args:
        events: fields t in microseconds and x, and y and p where the shape has rows and polarities.
        shape: (W,), (P, W) or (P, H, W). P = 2: counts for each polarity, 255 for more. P = 1, or
            none: 1 where there is an event of any polarity.

    Raises:
        GraphError: a field is missing, or an event is outside the shape; names the first.
    """
    sizes = _axes(shape)
    merged = sizes.get("p", 1) == 1
    if merged:
        sizes.pop("p", None)
    names = events.dtype.names or ()
    for field in ("t", *sizes):
        if field not in names:
            what = f"events without `{field}`; needed are t, {', '.join(sizes)}"
            raise GraphError(what, code="input")
    events = events[events["t"] < steps * bin_us]
    cell = events["t"].astype(np.int64) // bin_us
    for field, size in sizes.items():
        values = events[field].astype(np.int64)
        if (wrong := (values < 0) | (values >= size) | (events["t"] < 0)).any():
            first = int(np.flatnonzero(wrong)[0])
            place = ", ".join(f"{name} = {int(events[name][first])}" for name in ("t", *sizes))
            what = f"event {first} is at {place}; the input is {tuple(shape)}"
            raise GraphError(what, code="input")
        cell = cell * size + values
    counts = np.bincount(cell, minlength=steps * int(np.prod([*sizes.values()])))
    return np.minimum(counts, 1 if merged else 255).astype(np.uint8).reshape(steps, *shape)


# ------------------------------------------------------------------------------------------ labels


def as_indices(labels: np.ndarray, classes: list[str], outputs: int) -> np.ndarray:
    """Labels (B,) as places of the output: numbers as they are, names by the contract's classes.

    Raises:
        GraphError: a label is no class.
    """
    if labels.dtype.kind == "U" and set(labels.tolist()) <= set(classes):
        return np.array([classes.index(name) for name in labels.tolist()])
    if labels.dtype.kind == "U" and all(name.isdecimal() for name in labels.tolist()):
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "U":
        strange = next(name for name in labels.tolist() if name not in classes)
        known = ", ".join(classes) or f"0 to {outputs - 1}"
        raise GraphError(f"label {strange!r:.60} is no class; there are {known}", code="input")
    wrong = (labels < 0) | (labels >= outputs)
    if wrong.any():
        what = f"label {int(labels[wrong][0])} is no class; 0 to {outputs - 1} is allowed"
        raise GraphError(what, code="input")
    return labels.astype(np.int64)
