"""Names from elsewhere in Markdown: they read as they are, and make no markup, tag or table cell."""

from __future__ import annotations

import re

from spyx_nir.errors import printable

# By CommonMark a backslash before one of them takes its meaning; an underscore inside a word has none.
SPECIAL = re.compile(r"[\\`*\[\]<>|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def text(name: object) -> str:
    """A name in a sentence or in a table's cell."""
    return SPECIAL.sub(lambda found: f"\\{found[0]}", printable(name))


def code(name: object) -> str:
    """A name between backticks, in a table's cell, too."""
    return printable(name).replace("`", "\\x60").replace("|", "\\|")
