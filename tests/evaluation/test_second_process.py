"""A second process gives what this one would, and its errors arrive."""

from __future__ import annotations

import os

import numpy as np
import pytest

from pipeline.evaluation.second_process import WORTH_IT, second_process
from spyx_nir.errors import GraphError
from spyx_nir.meaning import equations


def test_few_steps_stay_in_this_process() -> None:
    with second_process(WORTH_IT - 1) as elsewhere:
        assert elsewhere.submit(os.getpid).result() == os.getpid()


def test_many_steps_go_to_another() -> None:
    with second_process(WORTH_IT) as elsewhere:
        later = [elsewhere.submit(os.getpid), elsewhere.submit(pow, 2, 10)]
    assert later[0].result() != os.getpid()
    assert later[1].result() == 1024


def test_an_error_arrives_with_its_line() -> None:
    """A stride of half a pixel, which equations.whole refuses."""
    node = {"stride": np.array([0.5])}
    with pytest.raises(GraphError) as here:
        equations.whole(node, "stride", 2)
    with second_process(WORTH_IT) as elsewhere:
        later = elsewhere.submit(equations.whole, node, "stride", 2)
    with pytest.raises(GraphError) as there:
        later.result()
    assert str(there.value) == str(here.value)
    assert there.value.field == here.value.field == "stride"
