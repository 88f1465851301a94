"""Puts the programs of a bundle together: a template, and the text of the modules that it runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from spyx_nir import errors

TEMPLATES = Path(__file__).parent / "templates"
BETWEEN = re.compile(r"# <reference>\n.*?# </reference>\n", re.DOTALL)
# Imports of what is in the text itself; only a file's first statement may be a __future__ import.
OURS = re.compile(r"^ *from (?:spyx_nir|__future__)\b[^\n(]*(?:\([^)]*\))?\n", re.MULTILINE)


def source(template: str, *parts: str) -> str:
    """The text of a program that needs no module of ours.

    Args:
        template: a file of `templates/`. parts: Python text that defines what it imports from us; that
            of `templates/shared.py` is added.
    """
    shared = (TEMPLATES / "shared.py").read_text(encoding="utf-8")
    texts = [*parts, inspect.getsource(errors.printable), shared]
    body = "\n\n\n".join(OURS.sub("", text).strip() for text in texts) + "\n"
    text, replaced = BETWEEN.subn(
        lambda _: body, (TEMPLATES / template).read_text(encoding="utf-8")
    )
    assert replaced == 1, f"templates/{template} must mark one place for the parts"
    return text
