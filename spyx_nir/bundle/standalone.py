"""Puts a bundle's verify.py together: our main part and the text of the reference interpreter."""

from __future__ import annotations

import re
from pathlib import Path

BETWEEN = re.compile(r"# <reference>\n.*?# </reference>\n", re.DOTALL)


def source(reference: str) -> str:
    """The text of a stand-alone verify.py.

    Args:
        reference: Python text that needs numpy alone and defines `run(graph_dict, x, dt)`.
    """
    template = (Path(__file__).parent / "templates" / "verify.py").read_text(encoding="utf-8")
    # Only a file's first statement may be a __future__ import; the template has it already.
    body = re.sub(r"^from __future__ import annotations\n", "", reference, flags=re.MULTILINE)
    text, replaced = BETWEEN.subn(lambda _: body.strip() + "\n", template)
    assert replaced == 1, "templates/verify.py must mark one place for the reference"
    return text
