"""Runs the `console` blocks of a page of docs/ in a small copy of this project, one after another.

`python tests/tour.py docs/tour.md` writes the page anew with what its commands print now.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from end_to_end import ROOT

from pipeline import params

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PARTS = ("params.yaml", "dvc.yaml", "requirements.lock", ".gitignore", ".dvcignore")
PROGRESS = re.compile(r"\w+: \d+/\d+$")
# What may differ from one machine or run to the next: digests, seconds, and numbers with three or
# more decimals, which float32 rounds as the processor's instructions happen to order a sum.
CHANGING = [
    (re.compile(r"\b[0-9a-f]{7,64}\b"), "DIGEST"),
    (re.compile(r"\b[0-9.]+ ?(s|ms|kB|B/s|files?/s)\b"), "MEASURED"),
    (re.compile(r"\b\d+\.\d{3,}\b"), "NUMBER"),
]


def project(folder: Path) -> dict[str, str]:
    """A copy of the project in `folder`, committed to git; returns the environment to run it in."""
    folder.mkdir(parents=True)
    for part in PARTS:
        shutil.copy(ROOT / part, folder / part)
    for house in ("spyx_nir", "pipeline"):
        shutil.copytree(ROOT / house, folder / house, ignore=shutil.ignore_patterns("__pycache__"))
    for task in params.names(ROOT / "params.yaml"):
        (folder / "data" / "recordings" / task).mkdir(parents=True)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    programs = folder.parent / "bin"
    programs.mkdir()
    command = programs / "spyx-nir"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m spyx_nir "$@"\n')
    command.chmod(0o755)
    told = {
        "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(programs),  # nobody's own cache or settings
        "DVC_SYSTEM_CONFIG_DIR": str(programs),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "tour",
        "GIT_AUTHOR_EMAIL": "tour@localhost",
        "GIT_COMMITTER_NAME": "tour",
        "GIT_COMMITTER_EMAIL": "tour@localhost",
        "COLUMNS": "100",
    }
    environment = {**os.environ, **told}
    for line in ("git init -q -b main", "git add -A", "git commit -q -m Begin"):
        subprocess.run(line.split(), cwd=folder, env=environment, check=True)
    return environment


def run(block: str, folder: Path, environment: dict[str, str]) -> str:
    """The text of a `console` block with the output that its commands give now.

    Left out is how far a stage is, which no page shows.
    """
    lines = []
    for line in block.splitlines():
        if line.startswith("$ "):
            done = subprocess.run(
                line[2:],
                shell=True,
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            said = [text for text in done.stdout.splitlines() if not PROGRESS.match(text)]
            lines += [line, *said]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def steady(text: str) -> str:
    """`text` without what may change."""
    for pattern, word in CHANGING:
        text = pattern.sub(word, text)
    return text


def rewrite(page: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "spyx-to-chip"
        environment = project(folder)
        text = BLOCK.sub(
            lambda found: f"```console\n{run(found[1], folder, environment)}```",
            page.read_text(encoding="utf-8"),
        )
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]))
