"""MODEL_CARD.md: facts for people, with the YAML head that model hubs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline import tasks


def write(manifest: dict[str, Any]) -> str:
    """The card's text, `templates/card.md.j2` filled in from the manifest alone."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "g": lambda number: f"{number:g}",
        "json": json.dumps,  # JSON strings are YAML strings, so names need no other quoting
        "percent": lambda fraction: f"{100 * fraction:.2f} %",
        "range": _range,
        "shape": lambda shape: str(tuple(shape)),
        "taus": lambda ranges: ", ".join(
            f"{key} {_range(pair)}" for key, pair in ranges.items() if key.startswith("tau")
        ),
    }
    source = tasks.source(manifest["task"], manifest["parameters"]["data"]["source"])
    weights = manifest["weights"]
    return environment.get_template("card.md.j2").render(
        **{"target": None, **manifest},
        about=tasks.find(manifest["task"]).ABOUT,
        source=source,
        simulated=source == "simulated",
        # Whether all that the weights were trained on is recorded here.
        known=weights["trained_here"] and weights["started_from"] is None,
    )


def _range(pair: list[float]) -> str:
    low, high = pair
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
