"""The network's picture: the drawing of `spyx-nir draw`, coloured by what the layers did."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Tree

import pytest
from end_to_end import tiny_task

from pipeline.report import network, sources
from spyx_nir.converter import draw, file


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """WCAG 2.1, contrast ratio of two colours of 0 to 255."""

    def luminance(colour: tuple[float, ...]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                  for c in (part / 255 for part in colour)]  # fmt: skip
        return sum(k * c for k, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_the_busiest_layer_is_the_darkest_and_each_is_as_dark_as_it_is_busy(small_project):
    bundle = sources.read(small_project, tiny_task("braille", "v_reset")).bundle
    first, last = bundle.layers
    svg = network.picture(bundle, "braille", {first: 0.05, last: 0.2})
    found = {}
    for link in Tree.fromstring(svg).iter(f"{network.SVG}a"):
        for box in link.iter(f"{network.SVG}rect"):
            if "fill-opacity" in box.attrib:
                found[link.get("data-value")] = float(box.get("fill-opacity"))
        assert (
            link.get("href")
            == f"#braille-{'spikes' if 'layer' in link.get('data-choose') else 'weights'}"
        )
    assert found[last] == network.DARKEST
    assert found[first] == network.DARKEST / 4  # 0.05 of 0.2
    assert set(found) == {first, last}
    assert "spikes 5 % of steps" in svg and "spikes 20 % of steps" in svg
    # A layer that never spikes has no colour, and nothing is divided by nothing.
    assert "fill-opacity" not in network.picture(bundle, "braille", {first: 0.0, last: 0.0})
    # All else is the drawing itself.
    drawn = draw.draw(file.read_dict(bundle.folder / "model.nir"))
    assert set(re.findall(r">([^<]+)</text>", drawn)) <= set(re.findall(r">([^<]+)</text>", svg))


def test_two_networks_on_a_page_have_no_id_in_common(small_project):
    ids = []
    for task in ("braille", "nmnist"):
        bundle = sources.read(small_project, tiny_task(task, "v_reset")).bundle
        svg = network.picture(bundle, task, {})
        ids += re.findall(r'\bid="([^"]+)"', svg)
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(ids)
    assert len(ids) == len(set(ids)) == 4


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(page_colours, theme):
    """4.5:1 for text, 3:1 for what is drawn (WCAG 2.1, 1.4.3 and 1.4.11)."""
    colours = page_colours(theme)
    for ground in ("paper", "raised"):
        for text in ("ink", "soft", "c1"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for drawn in ("c2", "c3", "c4", "c5", "c6", "good", "warn", "bad"):
            assert contrast(colours[drawn], colours[ground]) >= 3, (drawn, ground)
    for square in ("c1", "c2", "c3", "c4", "c5", "c6", "bad"):  # letters in the floor plan
        assert contrast(colours["paper"], colours[square]) >= 4.5, square


def test_text_on_the_darkest_layer_is_legible(page_colours):
    for theme in ("light", "dark"):
        colours = page_colours(theme)
        mixed = tuple(
            network.DARKEST * a + (1 - network.DARKEST) * b
            for a, b in zip(colours["c2"], colours["raised"], strict=True)
        )
        assert contrast(mixed, colours["ink"]) >= 4.5, theme
