"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from spyx_nir.errors import UserError

if TYPE_CHECKING:
    import h5py
    import numpy as np

# The end of a temporary folder's name, and the file in it whose lock says that its process lives.
PART, HELD = ".part", ".held"


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it and rename it to `path`.

    On any exception, Ctrl-C included, what is temporary is removed and `path` is as it was. A process
    that is killed leaves it; the next one that writes `path` removes it. The temporary file has the name
    of `path`, so that writers which look at it (h5py, numpy) behave.

    Raises:
        UserError: `path` is a folder.
    """
    target = _no_folder(path)
    with _beside(target) as place:
        temporary = place / target.name
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As `atomic`, for a folder: yield a new one; on success it takes the place of `path`."""
    target = Path(path)
    with _beside(target) as place:
        temporary = place / target.name
        temporary.mkdir()
        yield temporary
        _take_place(temporary, target)


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove what killed processes that wrote `path` have left beside it, and nothing of a living one's.

    Where the file system has no locks, nothing is removed: nobody knows who is alive.
    """
    target = Path(path)
    ours = re.compile(re.escape(f".{target.name}-") + "[a-z0-9_]{8}" + re.escape(PART))
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for found in [entry.path for entry in entries if ours.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                _sweep(Path(found))


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `target`; an error of the system's names `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    hidden = str(target.parent / f".{target.name}-")
    try:
        place, held = _make(target)
        with held:
            try:
                yield place
            finally:
                try:
                    _remove(place)
                except BaseException:  # stopped while it did
                    with contextlib.suppress(FileNotFoundError):
                        _remove(place)
                    raise
    except OSError as error:
        unnamed = error.filename is None and error.errno is not None  # HDF5 has a text alone
        if unnamed or str(error.filename).startswith(hidden):
            error.filename = str(target)
        raise


def _make(target: Path) -> tuple[Path, Any]:
    """A new temporary folder, and the open file in it whose lock says that this process lives."""
    while True:
        place = Path(tempfile.mkdtemp(PART, f".{target.name}-", target.parent))
        with contextlib.suppress(FileNotFoundError):  # another process has swept it: again
            held = open(place / HELD, "xb")  # noqa: SIM115, the caller closes it
            _lock(held, wait=True)
            if (place / HELD).exists():
                return place, held
            held.close()


def _lock(file: Any, wait: bool) -> bool:
    """Whether this process has the lock of the open `file` now."""
    try:
        import fcntl  # POSIX; nothing is swept elsewhere

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True


def _sweep(place: Path) -> None:
    try:
        held = open(place / HELD, "r+b")  # noqa: SIM115
    except FileNotFoundError:
        place.rmdir()  # killed before it wrote anything; a folder that is not empty is no such one
        return
    with held:
        if _lock(held, wait=False):
            _remove(place)


def _remove(place: Path) -> None:
    """Remove a temporary folder; its lock goes last, so that a folder that is left can be swept."""
    for entry in list(place.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != HELD:
            entry.unlink(missing_ok=True)
    if set(os.listdir(place)) <= {HELD}:
        (place / HELD).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process has swept the empty folder
            place.rmdir()


def _take_place(new: Path, target: Path) -> None:
    """Rename the folder `new` to `target`; of several processes that do so at once, the last one wins.

    What was there goes to the temporary folder of `new`: in one step, where the system has that.
    """
    while True:
        try:
            os.replace(new, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if exchange(new, target):
                return
            os.replace(target, Path(tempfile.mkdtemp(dir=new.parent)) / target.name)


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot (renameat2 of Linux).

    Raises:
        FileNotFoundError: one of them is not there.
    """
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of fcntl.h and stdio.h
    if os.name == "nt":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0:
        return True
    if ctypes.get_errno() == errno.ENOENT:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(other))
    return False


@contextlib.contextmanager
def alone(root: Path, stage: str, task: str) -> Iterator[None]:
    """Hold the lock of `stage` of `task` in the project folder `root`; see `locked`."""
    path = root / ".cache" / f"{stage}-{task}.lock"
    with locked(path, f"{task}: the stage {stage} is running here already"):
        yield


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[IO[str]]:
    """Hold a lock on the file `path`, with this process's number in it, while the block runs.

    The system releases it when the process ends, however it ends; the file stays. Where the file system
    has no locks a warning is printed and the block runs.

    Raises:
        UserError: another process holds it; `busy` says what that does.
    """
    import fcntl  # POSIX, as the stages; this module is imported elsewhere, too

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{busy} (process {_number(file)}); wait until it is through, or end it"
            ) from None
        except OSError as error:  # file systems without locks, such as Lustre without `flock`
            print(
                f"warning: {path}: {error.strerror}: start the same once at a time here",
                file=sys.stderr,
            )
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        yield file


def holder(path: Path) -> str:
    """The number of the process that holds the lock on the file `path`; "" if none does."""
    import fcntl

    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _number(file)
        except OSError:
            return ""
    return ""


def _number(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "unknown"


@contextlib.contextmanager
def hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Yield a new HDF5 file in memory; on success its bytes are written to `path`, atomically.

    HDF5 (1.14) crashes when the disk is full; a plain write raises.
    """
    import h5py

    target = _no_folder(path)
    with h5py.File(os.fspath(target), "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    with atomic(target) as temporary:
        temporary.write_bytes(image)


def write_npz(stream: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write what `numpy.savez_compressed` writes, byte for byte; an array may have any name.

    There `file` and `allow_pickle` are arguments.
    """
    import numpy as np

    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def _no_folder(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if target.is_dir():
        raise UserError(f"{target}: a folder has this name; the name of a file is needed")
    return target


def unreadable(path: str | os.PathLike[str], error: OSError) -> str:
    """Why a file cannot be opened, in words: a link that leads nowhere is called one."""
    place = Path(path)
    if place.is_symlink() and isinstance(error, FileNotFoundError):
        return f"a link to {os.readlink(place)}, which does not exist"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return error.strerror or str(error)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write `value` as indented JSON with sorted keys, atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def sha256(path: str | os.PathLike[str]) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
