"""A release, seen from outside: archives of bundles, their digests and their provenance."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from spyx_nir.bundle import consistency
from spyx_nir.bundle.consistency import Verdict
from spyx_nir.bundle.templates import shared, verify
from spyx_nir.errors import UserError

PROVENANCE = "provenance.json"
BUILD_TYPE = "urn:spyx-to-chip:release:v1"
ARCHIVE = ".tar.gz"
MEMBERS = 10_000  # files of an archive


def is_one(folder: Path) -> bool:
    """Whether `folder` holds what `release` writes, by its provenance."""
    try:
        said = shared.read_json(folder / PROVENANCE)
        return bool(said["predicate"]["buildDefinition"]["buildType"] == BUILD_TYPE)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def differing(folder: Path) -> list[str]:
    """What of a release's files is not as its digests say, a line each; no archive is opened."""
    try:
        problems, right = verify.wrong_digests(folder)
    except (OSError, ValueError) as error:
        return [f"{verify.SUMS}: not readable ({error})"]
    if PROVENANCE not in right:
        return [*problems, f"{PROVENANCE}: not as {verify.SUMS} says"]
    try:
        subjects = {
            subject["name"]: subject["digest"]["sha256"]
            for subject in shared.read_json(folder / PROVENANCE)["subject"]
        }
    except (ValueError, KeyError, TypeError) as error:
        return [*problems, f"{PROVENANCE}: no subjects to be read ({error})"]
    if not all(isinstance(name, str) for name in subjects):
        return [*problems, f"{PROVENANCE}: the name of a subject is no text"]
    for name in sorted(set(right) - {PROVENANCE} | set(subjects)):
        if subjects.get(name) != right.get(name):
            problems.append(f"{name}: not the file that {PROVENANCE} was written for")
    return problems


def check(folder: Path) -> Verdict:
    """What differs in the release `folder`, and in each bundle of it."""
    found = Verdict(differing(folder))
    if found.problems:
        return found
    for path in sorted(folder.glob(f"*{ARCHIVE}")):
        with tempfile.TemporaryDirectory() as place:
            try:
                inside = unpack(path, Path(place))
                if not (inside / verify.MANIFEST).is_file():
                    found.seen.append(f"{path.name}: digest right; no bundle, so nothing was run")
                    continue
                one = consistency.check(inside)
            except UserError as error:
                found.problems.append(f"{path.name}: {error}")
                continue
        found.problems += [f"{path.name}: {line}" for line in one.problems]
        found.seen += [f"{path.name}: {line}" for line in one.seen]
    return found


def unpack(path: Path, place: Path) -> Path:
    """Unpack an archive of a release into `place`; its only top folder.

    Raises:
        UserError: it is no such archive, unpacks to more than `shared.FILE_BYTES`, or has a member that
            is no file in that folder.
    """
    top = path.name.removesuffix(ARCHIVE)
    whole = place / "archive.tar"
    try:
        with gzip.open(path) as stream, open(whole, "wb") as sink:
            _copy(stream, sink)
        with tarfile.open(whole, "r:") as archive:
            for count, member in enumerate(archive):
                parts = PurePosixPath(member.name).parts
                inside = parts[:1] == (top,) and len(parts) > 1 and ".." not in parts
                if not (
                    member.isreg()
                    and not member.issparse()
                    and inside
                    and member.name.isprintable()
                ):
                    raise UserError(f"its member {member.name!r} is no file in the folder {top}")
                if count >= MEMBERS:
                    raise UserError(f"more than {MEMBERS} files")
                _extract(archive, member, place)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise UserError(f"no readable archive ({error})") from None
    whole.unlink()
    return place / top


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    target = place.joinpath(*PurePosixPath(member.name).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    source = archive.extractfile(member)
    assert source is not None  # of a regular file
    with source, open(target, "xb") as sink:
        shutil.copyfileobj(source, sink)


def _copy(stream: Any, sink: BinaryIO) -> None:
    size = 0
    while block := stream.read(1 << 20):
        if (size := size + len(block)) > shared.FILE_BYTES:
            raise UserError(f"unpacks to more than {shared.FILE_BYTES} bytes")
        sink.write(block)
