"""Networks by other frameworks, with what they did there: the same spikes, from both of our engines.

`golden/SOURCE.md` says where the files come from. Inputs and weights are such that nothing lands exactly
on a threshold, so `>` and `>=` give the same.
"""

from pathlib import Path

import numpy as np
import pytest

from spyx_nir import converter
from spyx_nir.converter import file
from spyx_nir.converter.graph import as_dict
from spyx_nir.converter.repair import repair
from spyx_nir.meaning import dialects
from spyx_nir.meaning.plan import make_plan
from spyx_nir.meaning.reference import run as run_reference

GOLDEN = Path(__file__).parent / "golden"
# name: (dt in the file's unit, the reset that the file cannot say)
CASES = {
    "sinabs_cnn_zero": (1.0, None),
    "sinabs_cnn_subtract": (1.0, "subtract"),
    "norse_lif_if": (1.0, None),
    "norse_scalars": (1.0, None),
    "snntorch_rsynaptic_bias_zero": (1e-4, None),
    "snntorch_rsynaptic_subtract": (1e-4, "subtract_after_decay"),
    "snntorch_rleaky_bias_zero": (1e-4, None),
    "snntorch_rleaky_subtract": (1e-4, "subtract_after_decay"),
    "spikingjelly_cnn": (1e-3, None),
    "chips_sinabs": (1.0, None),
    "chips_norse": (1.0, None),
    "chips_snntorch": (1e-4, None),
    "chips_spikingjelly": (1e-3, None),
}
ROCKPOOL = ("rockpool_chain", "chips_rockpool")


def recording(name):
    with np.load(GOLDEN / f"{name}.npz") as archive:
        arrays = dict(archive)
    x = arrays.pop("input")
    return x, [arrays[f"spikes_{i}"] for i in range(len(arrays))]


def test_every_golden_file_has_a_case():
    assert {path.stem for path in GOLDEN.glob("*.nir")} == {*CASES, *ROCKPOOL}


@pytest.mark.parametrize("name", CASES)
def test_reference_gives_every_spike_of_the_other_framework(name):
    dt, reset = CASES[name]
    x, expected = recording(name)
    plan = make_plan(as_dict(file.read(GOLDEN / f"{name}.nir")), reset)
    result = run_reference(plan, x, dt)
    spiking = [path for path in plan.order if path in result.spikes]
    for path, spikes in zip(spiking, expected, strict=True):
        assert (result.spikes[path] != spikes).sum() == 0, path


@pytest.mark.parametrize("name", CASES)
def test_imported_model_gives_the_output_of_the_other_framework(name):
    dt, reset = CASES[name]
    x, expected = recording(name)
    graph = file.read(GOLDEN / f"{name}.nir")
    # Images as the file has them, channels first: no other reading fits.
    _, out = converter.from_nir(graph, x, dt, reset=reset)
    assert (np.asarray(out) != expected[-1]).sum() == 0


@pytest.mark.parametrize("name", ROCKPOOL)
def test_rockpools_file_is_repaired_and_its_spikes_are_those_of_its_rule(name):
    """It declares an Input with a batch of one, and means other neurons than NIR: counts, exp decays."""
    content, faults = repair(file.read_dict(GOLDEN / f"{name}.nir"))
    assert [(fault.code, fault.node) for fault in faults] == [
        ("declared-shape", "input"), ("declared-shape", "output"),
    ]  # fmt: skip
    x, expected = recording(name)
    assert all(spikes.max() > 1 for spikes in expected)
    plan = make_plan(content)
    own = dialects.run(plan, x, "rockpool", 1e-3)
    plain = run_reference(plan, x, 1e-3)
    for path, spikes in zip(("1_LIFTorch", "3_LIFTorch"), expected, strict=True):
        assert (own.spikes[path] == spikes).all()
        assert (plain.spikes[path] != spikes).any()
