"""The public archives: fetched, checked, unpacked safely, resumed after an interruption.

The digests guard against damaged transfers. N-MNIST's are tonic's; Braille's comes from the
record of the archive (Zenodo), so it says nothing about who wrote the file.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import re
import shutil
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.progress import track
from spyx_nir.errors import Unavailable, UserError

ZENODO_RECORD = "https://zenodo.org/api/records/7050094"
BRAILLE_ARCHIVE = "reading_braille_data.zip"
# What is taken out of an archive, by the name of a member; the rest stays in it.
WANTED = {
    "braille": re.compile(r"(?:.*/)?(data_braille_letters_th_\d+\.pkl)"),
    "nmnist": re.compile(r"((?:Train|Test)/[0-9]/[0-9]+\.bin)"),
}
OTHER_SOURCES = "set data.source to `simulated` (no data needed) or `folder` (files you have)"
TIMEOUT_S = 30.0
ATTEMPTS = 3
CHUNK = 1 << 18
# A server that sends less than this in TIMEOUT_S has stalled, however regularly it does it.
MIN_BYTES_PER_S = 100
# N-MNIST is 1.2 GB in 70 000 files; anything far beyond is no data set but a bomb.
MAX_ARCHIVE = 4 << 30
MAX_UNPACKED = 16 << 30
MAX_MEMBERS = 500_000


@dataclass(frozen=True)
class Archive:
    """A file to fetch: where it is, its MD5 and, where it is known, its size in bytes."""

    url: str
    md5: str
    size: int | None = None


def fetch(kind: str, folder: Path, keep: Path) -> None:
    """Download the archives of `kind`, "braille" or "nmnist", and unpack their recordings into `folder`.

    `keep` holds what was received until it is complete, so that a second call goes on there; it is
    removed when it is empty or all is done.

    Raises:
        Unavailable: the server cannot be reached, does not have the file, or stops sending.
        UserError: the archive is not the expected one, or not safe to unpack.
    """
    keep.mkdir(parents=True, exist_ok=True)
    try:
        for archive in archives(kind):
            path = receive(archive, keep)
            try:
                if not unpack(path, folder, WANTED[kind]):
                    raise UserError(f"{archive.url}: the archive holds no recordings")
            except UserError:
                path.unlink()  # it would fail the next time, too
                raise
        shutil.rmtree(keep)
    finally:
        if keep.is_dir() and not any(keep.iterdir()):
            keep.rmdir()


def archives(kind: str) -> list[Archive]:
    """Where the archives of a data set are, and what they must be."""
    if kind == "nmnist":
        from tonic.datasets import NMNIST

        train = Archive(NMNIST.train_url, NMNIST.train_md5)
        return [train, Archive(NMNIST.test_url, NMNIST.test_md5)]
    return [_from_record(ZENODO_RECORD, BRAILLE_ARCHIVE)]


def _from_record(record: str, name: str) -> Archive:
    """Look a file up in a Zenodo record: its address, size and MD5."""
    try:
        with _open(record) as response:
            document = json.loads(response.read(CHUNK * 16))
        entry = {entry["key"]: entry for entry in document["files"]}[name]
        algorithm, _, digest = entry["checksum"].partition(":")
        archive = Archive(entry["links"]["self"], digest.lower(), int(entry["size"]))
    except _NETWORK as error:
        raise _unavailable(record, error) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{record}: no usable record of {name} ({error!r})") from None
    if algorithm != "md5" or not re.fullmatch(r"[0-9a-f]{32}", digest.lower()):
        raise UserError(f"{record}: {name} has no MD5 checksum but {entry['checksum']!r}")
    there, here = (urllib.parse.urlsplit(url)[:2] for url in (archive.url, record))
    if there != here:
        raise UserError(f"{record}: names a file on another server, {archive.url}")
    return archive


def receive(archive: Archive, keep: Path) -> Path:
    """Download an archive into `keep`, going on where an earlier call stopped: the complete file."""
    path = keep / f"{archive.md5}.zip"
    reason: Exception | None = None
    for _ in range(ATTEMPTS):
        resumed = path.exists() and path.stat().st_size > 0
        try:
            _continue(archive, path)
        except _NETWORK as error:
            if path.exists() and not path.stat().st_size:
                path.unlink()
            if isinstance(error, urllib.error.HTTPError) and error.code == 416:
                path.unlink(missing_ok=True)  # what is here is longer than what is there
            elif not _worth_another(error):
                raise _unavailable(archive.url, error) from None
            reason = error
            continue
        with open(path, "rb") as stream:
            md5 = partial(hashlib.md5, usedforsecurity=False)
            digest = hashlib.file_digest(stream, md5).hexdigest()
        if digest == archive.md5:
            return path
        path.unlink()
        reason = UserError(
            f"{archive.url}: MD5 {digest}, expected {archive.md5}; the download was deleted"
        )
        if not resumed:
            break
        # The first part may have been another file's: once more from the start.
    if isinstance(reason, UserError):
        raise reason
    received = path.stat().st_size if path.exists() else 0
    kept = f" ({received} bytes are kept: run it again to go on)" if received else ""
    raise _unavailable(archive.url, reason, kept)


class _CutOff(OSError):
    """The connection ended before the file did."""


_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    _CutOff,
)


def _worth_another(error: Exception) -> bool:
    """A transfer that began may go on; a server that cannot be reached or says no, will not."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500
    return not isinstance(error, urllib.error.URLError)


def _continue(archive: Archive, path: Path) -> None:
    start = path.stat().st_size if path.exists() else 0
    if archive.size is not None and start >= archive.size:
        return
    with _open(archive.url, start) as response:
        sent = str(response.headers.get("Content-Range", ""))
        if response.status != 206 or not sent.startswith(f"bytes {start}-"):
            start = 0  # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdecimal() else archive.size
        if archive.size is not None and total is not None and total != archive.size:
            raise UserError(f"{archive.url}: {total} bytes, expected {archive.size}")
        limit = MAX_ARCHIVE if total is None else total
        if limit > MAX_ARCHIVE:
            raise UserError(f"{archive.url}: {limit} bytes, more than {MAX_ARCHIVE} are refused")
        received = start
        with open(path, "r+b" if start else "wb") as file:
            file.seek(start)
            steps = max(1, (limit - start + CHUNK - 1) // CHUNK)
            for block in track(_blocks(response), steps, "downloading"):
                received += len(block)
                if received > limit:
                    raise UserError(f"{archive.url}: sends more than the {limit} bytes announced")
                file.write(block)
        if total is not None and received < total:
            raise _CutOff(f"the connection ended after {received} of {total} bytes")


def _blocks(response: Any) -> Iterator[bytes]:
    """The body in blocks of CHUNK; a stall, also a dripping one, is a TimeoutError."""
    since, count, block = time.monotonic(), 0, b""
    while part := _read(response, CHUNK - len(block)):
        block += part
        count += len(part)
        if (passed := time.monotonic() - since) > TIMEOUT_S:
            if count < passed * MIN_BYTES_PER_S:
                raise TimeoutError(f"only {count} bytes in {passed:.0f} s")
            since, count = time.monotonic(), 0
        if len(block) == CHUNK:
            yield block
            block = b""
    if block:
        yield block


def _read(response: Any, size: int) -> bytes:
    try:
        return response.read1(size)
    except (TimeoutError, ConnectionError):
        raise
    except OSError as error:  # no route, no network any more, a broken TLS record
        raise _CutOff(error.strerror or str(error)) from None


def _open(url: str, start: int = 0) -> Any:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"{url}: only http and https are fetched")
    request = urllib.request.Request(url, headers={"User-Agent": "spyx-to-chip"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection, for a body that nobody reads
        raise


def _unavailable(url: str, error: Exception | None, kept: str = "") -> Unavailable:
    reason = getattr(error, "reason", None) or error
    said = " ".join(str(reason).split()) or type(error).__name__
    return Unavailable(f"{url}: cannot be downloaded: {said}{kept}; {OTHER_SOURCES}")


def unpack(path: Path, folder: Path, wanted: re.Pattern[str]) -> int:
    """Take members out of a zip archive into `folder`; returns how many.

    `wanted` matches the whole name of a member; its first group is the name in `folder`.

    Raises:
        UserError: no zip archive, a damaged one, or one with a member that leaves the folder,
            is a link, is encrypted, or with more or larger members than any real data set has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                _refuse_unsafe(path, member)
            total = sum(member.file_size for member in members)
            if total > MAX_UNPACKED or len(members) > MAX_MEMBERS:
                raise UserError(
                    f"{path}: unpacks to {total} bytes in {len(members)} files; at most "
                    f"{MAX_UNPACKED} in {MAX_MEMBERS} are accepted"
                )
            chosen = [
                (member, match[1])
                for member in members
                if not member.is_dir() and (match := wanted.fullmatch(member.filename))
            ]
            for member, name in track(chosen, len(chosen), "unpacking"):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile reads no more than the size that was summed above, and checks the CRC.
                with archive.open(member) as source, open(target, "xb") as sink:
                    shutil.copyfileobj(source, sink)
    except UserError:
        raise
    except Exception as error:  # every method of compression raises errors of its own
        # Of the system's errors those of a damaged archive have no number, or one of these.
        damaged = (None, errno.EINVAL, errno.EEXIST)
        if isinstance(error, OSError) and error.errno not in damaged:
            raise
        raise UserError(f"{path}: not a readable zip archive: {error}") from None
    return len(chosen)


def _refuse_unsafe(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise UserError(f"{path}: refused, the member {name!r} leaves the folder")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{path}: refused, the member {name!r} is a link")
    if member.flag_bits & 0x1:
        raise UserError(f"{path}: refused, the member {name!r} is encrypted")
