"""Charts as Vega-Lite: what all of them share, and the library that draws them.

Colours are CSS variables of the page (templates/style.css), which is why the page is drawn as SVG and
follows light, dark and print without drawing anything again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.report.part import Chart

VEGA_LITE = "6.4"
INK, FAINT = "var(--ink)", "var(--line)"
SERIES = [f"var(--c{i})" for i in range(1, 7)]
DIFFERS = "var(--bad)"
# As many digits as tell two ticks apart.
PERCENT = {"format": "~%", "tickCount": 5}
STEPS = {"nice": False, "padding": 6}  # the marks of the first and the last one are not cut

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": FAINT},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "domainColor": FAINT,
        "tickColor": FAINT,
        "gridColor": FAINT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {
        "labelColor": INK,
        "titleColor": INK,
        "orient": "top",
        "labelFontSize": 12,
        "labelLimit": 320,
        # All in a row (0), which a phone has no room for.
        "columns": {"expr": "width < 400 ? 1 : 0"},
    },
    "range": {"category": SERIES},
    "bar": {"color": SERIES[0]},
    "line": {"color": SERIES[0]},
    "point": {"color": SERIES[0], "filled": True},
    "rule": {"color": INK},
}


def chart(
    id: str,
    label: str,
    rows: Sequence[dict[str, Any]],
    spec: dict[str, Any],
    height: int = 220,
    *,
    wide: bool = False,
) -> Chart:
    """A chart of `rows`, as wide as its place on the page.

    Args:
        id: of the element on the page. label: what the chart shows, in a sentence.
        spec: the rest of the specification; it may replace anything that is set here.
    """
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": label,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"name": "rows", "values": list(rows)},
        "config": CONFIG,
    }
    return Chart(id, label, whole | spec, wide)


def chosen(name: str, value: str) -> dict[str, Any]:
    """A parameter that a drop-down of the page sets; `value` is the first choice."""
    return {"name": name, "value": value}


def quantitative(field: str, title: str, **more: Any) -> dict[str, Any]:
    """An encoding by a number."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def nominal(field: str, title: str | None, **more: Any) -> dict[str, Any]:
    """An encoding by a name; the names keep the order in which they come."""
    return {"field": field, "type": "nominal", "title": title, "sort": None} | more


def library() -> str:
    """Vega, Vega-Lite and vega-embed (BSD-3-Clause) as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
