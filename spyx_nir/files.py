"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from spyx_nir.errors import UserError

if TYPE_CHECKING:
    import h5py


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it and rename it to `path`.

    On any exception, Ctrl-C included, the temporary file is removed and `path` is as it was.
    The temporary name keeps the suffix, so that writers which look at it (h5py, numpy) behave.

    Raises:
        UserError: `path` is a folder.
    """
    target = _no_folder(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the place of `path`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        _take_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(new: Path, target: Path) -> None:
    """Rename the folder `new` to `target`; of several processes that do so at once, the last one wins."""
    with contextlib.ExitStack() as old:
        while True:
            try:
                os.replace(new, target)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            old.callback(shutil.rmtree, aside)
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.replace(target, aside / target.name)


@contextlib.contextmanager
def alone(root: Path, stage: str, task: str) -> Iterator[None]:
    """Hold a lock on `stage` of `task` in the project folder `root` while the block runs.

    The system releases it when the process ends, however it ends; the file stays. Where the file system
    has no locks a warning is printed and the block runs.

    Raises:
        UserError: another process holds it.
    """
    import fcntl  # POSIX, as the stages; this module is imported elsewhere, too

    path = root / ".cache" / f"{stage}-{task}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{task}: the stage {stage} is running here already (process {file.read().strip()}); "
                "wait until it is through, or end it"
            ) from None
        except OSError as error:  # file systems without locks, such as Lustre without `flock`
            print(
                f"warning: {path}: {error.strerror}: start {stage} of {task} once at a time here",
                file=sys.stderr,
            )
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        yield


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
