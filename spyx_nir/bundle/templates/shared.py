"""What both verify*.py of a bundle have; `standalone.source` puts this text into them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file."""
    # numpy leaves a broken archive open when it is given a path.
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return dict(archive)


def difference(differs: np.ndarray, of: str = "") -> str:
    """How many entries differ, and the first of them."""
    first = tuple(int(i) for i in np.argwhere(differs)[0])
    return (
        f"{int(differs.sum())} of {differs.size} entries{of} differ, the first at (step, sample, "
        f"neuron...) = {first}"
    )


def main(check: Callable[[Path], list[str]], passed: Callable[[Path], str], about: str) -> int:
    """The command line of a program that checks a bundle.

    Args:
        check: what is wrong with a folder, one line each. passed: what was seen where nothing is.
        about: what the program checks, for --help.
    """
    epilog = "Exit code 0: pass, 1: something differs, 2: a package is missing."
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
        print(f"differs: {problem}", file=sys.stderr)
    if problems:
        print(f"FAIL: {folder}: {len(problems)} problem{'s' * (len(problems) > 1)}")
        return 1
    print(f"pass: {folder}: {passed(folder)}")
    return 0
