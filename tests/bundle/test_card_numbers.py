"""How a card writes shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from spyx_nir.bundle import card


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.00 %"),
        (1e-9, "< 0.01 %"),
        (0.00004999, "< 0.01 %"),
        (0.0001, "0.01 %"),
        (0.9749, "97.49 %"),
        (0.9999, "99.99 %"),
        (0.99999999, "> 99.99 %"),
        (1, "100.00 %"),
    ],
)
def test_a_share_is_not_written_as_none_or_all_where_it_is_neither(
    share: float, text: str, tmp_path: Path
) -> None:
    template = tmp_path / "card.j2"
    template.write_text("{{ share | percent }}")
    assert card.write({}, template, share=share) == text
