"""What a program prints on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def shown(arguments: Sequence[str], columns: int, kind: str = "xterm") -> str:
    """What Python with these arguments prints on a terminal; it must end with 0.

    Args:
        columns: of the terminal. kind: the variable TERM; a `dumb` one gets no escape sequences.
    """
    main_end, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, *arguments],
        stdout=terminal,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(columns), "TERM": kind},
        check=False,
    )
    os.close(terminal)
    printed = b""
    try:
        while chunk := os.read(main_end, 65536):
            printed += chunk
    except OSError:  # Linux reports the closed terminal so
        pass
    os.close(main_end)
    assert done.returncode == 0
    return printed.decode()
