"""A program that starts after a statement has run in its process.

`preexec_fn` of `subprocess` would run it in a fork of the test's process, of which JAX warns once it
has been imported there.
"""

from __future__ import annotations

import sys

# What Ctrl-C does at a terminal; a shell's background job is started with SIGINT ignored.
CTRL_C_ENDS = "signal.signal(signal.SIGINT, signal.SIG_DFL)"


def after(statement: str, *command: str) -> list[str]:
    """The command line of `command` after `statement`, which may use `resource` and `signal`."""
    program = f"import os, resource, signal, sys; {statement}; os.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-I", "-S", "-c", program, *command]
