"""Charts as Vega-Lite: specifications in templates/charts/*.yaml, and the library that draws them.

Colours are CSS variables of the page (templates/style.css), which is why the page is drawn as SVG and
follows light, dark and print without drawing anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.report.part import Chart, percent

VEGA_LITE = "6.4"
SPECIFICATIONS = Path(__file__).parent / "templates" / "charts"


def chart(
    kind: str,
    id: str,
    label: str,
    rows: Sequence[dict[str, Any]],
    *,
    wide: bool = False,
    height: int | None = None,
    **values: Any,
) -> Chart:
    """A chart of `rows`, as wide as its place on the page.

    Args:
        kind: the specification, a file in templates/charts. id: of the element on the page.
        label: what the chart shows, in a sentence.
        values: what the specification asks for.
    """
    spec = _filled("theme") | _filled(kind, **values)
    spec |= {"description": label, "data": {"name": "rows", "values": list(rows)}}
    return Chart(id, label, spec | ({"height": height} if height else {}), wide)


def shares(id: str, label: str, resources: Iterable[tuple[str, int, int | None]]) -> list[Chart]:
    """Bars of (what, used, limit) from 0 to 100 %, or to more if that is used; none without a limit."""
    rows: list[dict[str, Any]] = [
        {
            "resource": what,
            "share": used / limit,
            "text": percent(used / limit).text,
            "used": used,
            "limit": limit,
        }
        for what, used, limit in resources
        if limit
    ]
    most = max([1.0, *(row["share"] for row in rows)])
    height = 24 * len(rows) + 10
    return [chart("utilisation", id, label, rows, height=height, most=most)] if rows else []


def _filled(kind: str, **values: Any) -> dict[str, Any]:
    import jinja2

    text = (SPECIFICATIONS / f"{kind}.yaml").read_text(encoding="utf-8")
    template = jinja2.Template(text, undefined=jinja2.StrictUndefined)
    return yaml.safe_load(template.render(**values))


def library() -> str:
    """Vega, Vega-Lite and vega-embed (BSD-3-Clause) as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
