"""The network as a picture, that of `spyx-nir draw`, in the page's colours and with its activity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as Tree

from pipeline.report.part import Block, Part, percent
from pipeline.report.sources import Bundle, Source
from spyx_nir.converter import draw, file

SVG = "{http://www.w3.org/2000/svg}"
# Colours of draw.py -> variables of style.css. A box has the colour of its kind there.
COLOURS = {
    "#222": "var(--ink)",
    "#444": "var(--soft)",
    "#666": "var(--soft)",
    "#b03030": "var(--bad)",
    "white": "var(--paper)",
    **dict.fromkeys(draw.COLOURS.values(), "var(--raised)"),
}
DARKEST = 0.42  # opacity of the busiest layer: text on it keeps a contrast of 4.5:1, dark and light


def make(source: Source) -> Part:
    """The graph of the generic bundle; a click on a node leads to its spikes or weights."""
    id, title, bundle = "network", "Network", source.bundle
    if bundle is None:
        return Part(id, title, missing=[source.unbundled("model.nir")])
    rates = {
        layer["node"]: layer["spike_rate"] for layer in (source.parity or {}).get("layers", [])
    }
    caption = "A click on a neuron layer leads to its spikes, one on weights to their histogram."
    if rates:
        most = max(rates, key=lambda layer: float(rates[layer]))
        caption += (
            " Orange is the activity: spikes of a neuron in a step, mean of the test set; "
            f"the darkest, {most}, has {percent(rates[most]).text}."
        )
    content = {
        "svg": picture(bundle, source.task, rates),
        "label": f"Graph of {source.task}, as spyx-nir draw gives it",
        "caption": caption,
    }
    missing = [] if rates else [f"no activity is shown: {source.unmade('parity.json')}"]
    return Part(id, title, blocks=[Block("network", content)], missing=missing)


def picture(bundle: Bundle, task: str, rates: Mapping[str, float]) -> str:
    """The SVG of a bundle's graph, for the page of several tasks.

    Args:
        rates: spikes of a neuron in a step, by layer; the largest is drawn darkest.
    """
    graph = file.read_dict(bundle.folder / "model.nir")
    notes = {
        layer: f"spikes {percent(rate).text} of steps"
        for layer, rate in rates.items()
        if layer in bundle.plan.nodes
    }
    Tree.register_namespace("", SVG[1:-1])
    root = Tree.fromstring(draw.draw(graph, notes=notes))
    root.remove(root[0])  # its title is the page's
    for element in root.iter():
        for name, value in element.attrib.items():
            element.set(name, COLOURS.get(value, value))
            if value in ("url(#end)", "url(#back)"):
                element.set(name, f"{value[:-1]}-{task})")
        if element.tag == f"{SVG}marker":
            element.set("id", f"{element.get('id')}-{task}")
    most = max(rates.values(), default=0.0)
    for parent in list(root.iter(f"{SVG}g")):
        for place, group in enumerate(list(parent)):
            if group.tag == f"{SVG}g":
                parent[place] = _node(group, bundle, task, rates, most)
    return Tree.tostring(root, encoding="unicode")


def _node(
    group: Tree.Element, bundle: Bundle, task: str, rates: Mapping[str, float], most: float
) -> Tree.Element:
    """The group of a node, coloured by its activity and with a link, if there is something to see."""
    title, box = group[0], group[1]
    name = title.text or ""
    node: Mapping[str, Any] = bundle.plan.nodes[name]
    if name in rates and most:
        shade = Tree.Element(box.tag, box.attrib)
        shade.set("fill", "var(--c2)")
        shade.set("fill-opacity", f"{DARKEST * rates[name] / most:.3f}")
        group.insert(2, shade)
    if name in bundle.layers:
        place, choice, what = "spikes", "layer", "spikes"
    elif "weight" in node:
        place, choice, what = "weights", "node", "weights"
    else:
        return group
    link = Tree.Element(f"{SVG}a", {
        "href": f"#{task}-{place}", "data-choose": choice, "data-value": name,
        "aria-label": f"{what} of {name}",
    })  # fmt: skip
    link.append(group)
    return link
