"""What both verify*.py of a bundle have; `standalone.source` puts this text into them."""

from __future__ import annotations

import argparse
import json
import math
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir.errors import printable

TEXT_BYTES = 16 << 20  # of manifest.json, SHA256SUMS and other texts
FILE_BYTES = 4 << 30  # of any file
ARRAY_BYTES = 2 << 30  # of the arrays of an .npz file, unpacked
PASS = "a pass says that the files agree with each other, not who made them"


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file.

    Raises:
        ValueError: its arrays are larger than `ARRAY_BYTES`, or one is not as large as it says.
    """
    # numpy leaves a broken archive open when it is given a path.
    with open(path, "rb") as stream:
        _check_sizes(stream)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as archive:
            return dict(archive)


def _check_sizes(stream: Any) -> None:
    """Compare what an .npz file declares with what it holds, before any array is made."""
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        if (whole := sum(entry.file_size for entry in entries)) > ARRAY_BYTES:
            raise ValueError(f"unpacks to {whole} bytes, at most {ARRAY_BYTES} are read")
        if len({entry.filename for entry in entries}) < len(entries):
            raise ValueError("has two arrays of one name")
        for entry in entries:
            with archive.open(entry) as member:
                major, _ = np.lib.format.read_magic(member)
                if major not in (1, 2):
                    raise ValueError(f"`{entry.filename}` is of version {major} of the .npy format")
                two = major == 2
                header = (
                    np.lib.format.read_array_header_2_0
                    if two
                    else np.lib.format.read_array_header_1_0
                )
                shape, _, dtype = header(member)
                declared, held = math.prod(shape) * dtype.itemsize, entry.file_size - member.tell()
            if declared != held:
                raise ValueError(f"`{entry.filename}` declares {declared} bytes and holds {held}")


def read_text(path: Path) -> str:
    """A text file in UTF-8.

    Raises:
        ValueError: it is larger than `TEXT_BYTES`, or no UTF-8.
    """
    with open(path, "rb") as stream:
        found = stream.read(TEXT_BYTES + 1)
    if len(found) > TEXT_BYTES:
        raise ValueError(f"larger than {TEXT_BYTES} bytes")
    return found.decode("utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        ValueError: it is too large, nested too deep, holds a key twice, NaN or a number beyond float64.
    """

    def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"holds the key {key!r} twice")
            found[key] = value
        return found

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"holds the number {text[:20]}, which float64 has not")
        return value

    def whole(text: str) -> int:
        number(text)
        return int(text)

    try:
        found = json.loads(
            read_text(path),
            object_pairs_hook=once,
            parse_float=number,
            parse_int=whole,
            parse_constant=number,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("holds no JSON object")
    return found


def difference(differs: np.ndarray, of: str = "") -> str:
    """How many entries differ, and the first of them."""
    first = tuple(int(i) for i in np.argwhere(differs)[0])
    return (
        f"{int(differs.sum())} of {differs.size} entries{of} differ, the first at (step, sample, "
        f"neuron...) = {first}"
    )


def compared(expected: Iterable[np.ndarray], what: str) -> str:
    """How many entries the arrays have, and how many spikes: what a comparison is worth."""
    arrays = list(expected)
    entries = sum(array.size for array in arrays)
    spikes = sum(int(array.sum(dtype=np.int64)) for array in arrays)
    return f"{entries} {what} compared, {spikes} spikes among them"


def main(check: Callable[[Path], list[str]], passed: Callable[[Path], str], about: str) -> int:
    """The command line of a program that checks a bundle.

    Args:
        check: what is wrong with a folder, one line each. passed: what was seen where nothing is.
        about: what the program checks, for --help.
    """
    epilog = f"Exit code 0: pass, 1: something differs, 2: a package is missing. Note: {PASS}."
    parser = argparse.ArgumentParser(description=about, epilog=epilog)
    # Not resolved: DVC may link every file to its cache.
    here = Path(__file__).absolute().parent
    text = "the bundle; default: the folder of this file"
    parser.add_argument("folder", nargs="?", type=Path, default=here, help=text)
    folder = parser.parse_args().folder
    if folder.is_absolute() and folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    problems = check(folder)
    for problem in problems:
        print(f"differs: {printable(problem)}", file=sys.stderr)
    if problems:
        print(f"FAIL: {printable(folder)}: {len(problems)} problem{'s' * (len(problems) > 1)}")
        return 1
    print(f"pass: {printable(folder)}: {passed(folder)}")
    return 0
