"""Networks by other frameworks to every chip that they fit: `spyx-nir build --target all`.

`../converter/golden/SOURCE.md` says where the files come from.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spyx_nir.cli.main import main

GOLDEN = Path(__file__).parents[1] / "converter" / "golden"
NEURONS = {"cortex-m", "ecp5-25k", "ice40-up5k", "loihi"}
XYLO = {"xylo-audio-2", "xylo-audio-3", "xylo-imu"}
# Speck has no LIF, Xylo no convolution and no LIF, the others of the profiles no integers here.
FILES = {
    "chips_snntorch": (["--dt", "1e-4"], NEURONS),
    "chips_norse": (["--dt", "1"], NEURONS),
    "chips_sinabs": (["--dt", "1"], {*NEURONS, "speck-2f"}),
    "chips_spikingjelly": (["--dt", "1e-3"], NEURONS),
    "chips_rockpool": (["--dt", "1e-3", "--dialect", "rockpool"], NEURONS | XYLO),
}
FAST = "chips_snntorch"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == FAST else pytest.mark.full) for name in FILES]
)
def test_every_chip_that_it_fits_gets_a_bundle(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, expected = FILES[name]
    model, data = tmp_path / "model.nir", tmp_path / "data.npz"
    upgraded = ["upgrade", str(GOLDEN / f"{name}.nir"), str(model)]
    assert main(upgraded) == 0
    with np.load(GOLDEN / f"{name}.npz") as recorded:
        np.savez(data, x=recorded["input"])
    out = tmp_path / "out"
    capsys.readouterr()
    command = ["build", str(model), *words, "--target", "all", "--calibrate", str(data)]
    assert main([*command, "-o", str(out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["targets"]
    assert {row["target"] for row in rows if row["bundle"]} == expected
    for target in sorted(expected):
        assert main(["verify", str(out / target)]) == 0
