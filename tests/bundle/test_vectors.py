"""`nir_data.h5` in the layout of nir 1.0.8: nir reads it, checks it and makes events of it."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np

from spyx_nir.bundle.vectors import write_nir_data


def test_nir_reads_vectors_and_makes_events_of_them(tmp_path: Path) -> None:
    """Two steps, one sample; time-major here, samples first there."""
    x = np.array([0, 1, 0, 1, 1, 0], np.uint8).reshape(2, 1, 3)
    counts = np.array([0, 3, 1, 0], np.uint8).reshape(2, 1, 2)
    spikes = {"rec.lif": np.array([0, 1, 1, 1], np.uint8).reshape(2, 1, 1, 2)}
    write_nir_data(tmp_path / "a.h5", x, counts, spikes, dt=0.5)
    data = nir.read_data(tmp_path / "a.h5")
    given = data.nodes["input"].observables["input"]
    assert (given.data.dtype, given.shape, given.dt) == (bool, (1, 2, 3), 0.5)
    events = given.to_event(4)
    # Channel 1 in step 0; channels 0 and 1 in step 1, which begins at 0.5.
    assert events.idx[0].tolist() == [1, 0, 1, -1]
    assert events.time[0].tolist() == [0.0, 0.5, 0.5, np.inf]
    out = data.nodes["output"].observables["spikes"].data
    np.testing.assert_array_equal(out[0], [[0, 3], [1, 0]])  # counts stay counts
    inner = data.nodes["rec"].nodes["lif"].observables["spikes"].data
    np.testing.assert_array_equal(inner[0], [[False, True], [True, True]])
    ports = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([2]))}
    cell = {"input": nir.Input(np.array([2])), "lif": nir.IF(np.ones(2), np.ones(2))}
    nested = nir.NIRGraph({**cell, "output": nir.Output(np.array([2]))}, [], type_check=False)
    data.check_nodes(nir.NIRGraph({**ports, "rec": nested}, [], type_check=False))
