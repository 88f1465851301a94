"""Graphs and recordings that other frameworks published; not part of this repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spyx_nir.converter import file, from_nir, load
from spyx_nir.meaning import reference

GRAPHS = Path(__file__).parents[3] / "shared" / "graphs"
DT = 1e-4  # of all of them, seconds

pytestmark = pytest.mark.skipif(
    not GRAPHS.is_dir(), reason="the graphs of the NIR paper are not beside this repository"
)


@pytest.fixture(scope="module")
def norse():
    graph = file.read(GRAPHS / "lif_norse.nir")
    table = np.loadtxt(GRAPHS / "lif_norse.csv", delimiter=",")
    return graph, table[:, :1, None], table[:, 1], table[:, 2]


def test_norses_lif_spike_by_spike(norse):
    graph, x, membrane, spikes = norse
    assert spikes.sum() > 0
    result = reference.run(graph.to_dict(), x, DT)
    assert np.array_equal(result.output.ravel(), spikes)
    _, outputs = from_nir(graph, x, DT)
    assert np.array_equal(np.ravel(outputs), spikes)
    # The recording holds the membrane after the reset, float32 and summed over 1000 steps.
    (u,) = result.membranes.values()
    after = np.where(spikes > 0, 0.0, u.ravel())
    np.testing.assert_allclose(after, membrane, atol=1e-4)


@pytest.fixture(scope="module")
def braille():
    graph = file.read(GRAPHS / "braille_noDelay_noBias_subtract.nir")
    x = np.load(GRAPHS / "braille_test_sample_0.npy")[:, None, :]
    return graph, x, np.load(GRAPHS / "spyx_activity_noDelay_noBias_subtract.npy")


def test_spyx_raster_of_the_paper(braille):
    """Spyx is the reference rule with `subtract`, one step late."""
    graph, x, raster = braille
    result = reference.run(graph.to_dict(), x, DT, reset="subtract")
    assert np.array_equal(result.fired["lif1.lif"][:-1, 0], raster[1:])
    assert not raster[0].any()


def test_the_import_of_it_agrees_with_the_reference(braille):
    """In JAX the hidden layer is seen through its own effect: the states of every step."""
    graph, x, raster = braille
    loaded = load(graph, DT, reset="subtract")
    assert loaded.chain
    _, (outputs, states) = from_nir(graph, x, DT, reset="subtract", return_all_states=True)
    expected = reference.run(graph.to_dict(), x, DT, reset="subtract")
    assert np.array_equal(outputs, expected.output)
    _, spikes = states[loaded.names.index("lif1.lif")]  # (state of the cell, what it put out)
    assert np.array_equal(spikes[:-1, 0], raster[1:])


def test_the_rule_matters(braille):
    """Without the override the file says reset to zero, and the raster is another."""
    graph, x, raster = braille
    result = reference.run(graph.to_dict(), x, DT)
    assert (result.fired["lif1.lif"][:-1, 0] != raster[1:]).any()
