"""The code of a BRINGUP.md, for tests that run it. Standard library alone."""

from __future__ import annotations

import textwrap


def code_of(text: str) -> str:
    """The indented lines below "## Load"."""
    lines = text.split("## Load\n")[1].split("\n## ")[0].splitlines()
    return textwrap.dedent("\n".join(x for x in lines if x.startswith("    ") or not x)) + "\n"
