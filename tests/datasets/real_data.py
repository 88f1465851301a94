"""Where real recordings may lie beside the repository; tests that need them skip without."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "data"
NMNIST = FOLDER / "NMNIST"
BRAILLE = FOLDER / "Braille"
needs_nmnist = pytest.mark.skipif(
    not (NMNIST / "Test").is_dir(), reason="no real N-MNIST recordings at ../shared/data/NMNIST"
)
needs_braille = pytest.mark.skipif(
    not (BRAILLE / "taxels_40Hz.npz").is_file(),
    reason="no real Braille recordings at ../shared/data/Braille",
)
