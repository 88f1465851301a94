"""MODEL_CARD.md: facts for people, with the YAML head that model hubs read.

`templates/card.md.j2` has what the cards of all bundles have. Templates that extend it say where the
weights come from, on what the network was measured, and under which licence it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spyx_nir.bundle import markdown
from spyx_nir.bundle.manifest import UNITS
from spyx_nir.bundle.standalone import TEMPLATES
from spyx_nir.errors import printable


def write(manifest: Mapping[str, Any], template: Path, **more: Any) -> str:
    """The card's text.

    Args:
        manifest: what manifest.json holds. template: a file that extends `card.md.j2`.
        more: what it asks for besides the manifest.
    """
    environment = _environment(template.parent)
    found = environment.get_template(template.name)
    return found.render(**{"target": None, **manifest}, units=UNITS, **more)


def common(manifest: Mapping[str, Any]) -> str:
    """What the cards of all bundles say, from what manifest.json holds."""
    found = _environment(TEMPLATES).get_template("card.md.j2")
    return found.render(**{"target": None, **manifest}, units=UNITS)


def _environment(folder: Path) -> Any:
    """Jinja's, for the templates in a folder and ours."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "g": lambda number: f"{number:g}",
        "code": markdown.code,
        "text": markdown.text,
        "line": printable,
        "json": json.dumps,  # JSON strings are YAML strings, so names need no other quoting
        "percent": _percent,
        "range": _range,
        "shape": lambda shape: str(tuple(shape)),
        "taus": lambda ranges: ", ".join(
            f"{key} {_range(pair)}" for key, pair in ranges.items() if key.startswith("tau")
        ),
    }
    return environment


def _percent(fraction: float) -> str:
    """A share with two decimals, neither 0 nor 100 % for what is only near it."""
    if 0 < fraction < 5e-5:
        return "< 0.01 %"
    return "> 99.99 %" if 1 - 5e-5 < fraction < 1 else f"{100 * fraction:.2f} %"


def _range(pair: list[float]) -> str:
    low, high = pair
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
