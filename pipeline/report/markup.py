"""The templates of the report's pages, set up in one way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.report.part import Number
from spyx_nir.errors import printable

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent / "templates"


def environment() -> jinja2.Environment:
    """Jinja's environment of `templates/`: HTML is escaped, and so are characters that do not show."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    made.tests["number"] = lambda cell: isinstance(cell, Number)
    return made


def text(name: str) -> str:
    """A file of `templates/` that is no template, such as the style sheet."""
    return (FOLDER / name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """A name's control and bidirectional characters as their escapes; what is HTML already stays."""
    if type(value) is not str:
        return value
    return "\n".join(map(printable, value.split("\n")))
