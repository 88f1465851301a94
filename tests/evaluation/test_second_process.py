"""A second process gives what this one would, and its errors arrive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from child import CTRL_C_ENDS, after
from end_to_end import ROOT

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


WAITING = """
import os, time
from pipeline.evaluation.second_process import WORTH_IT, second_process
if __name__ == "__main__":
    with second_process(WORTH_IT) as elsewhere:
        print(elsewhere.submit(os.getpid).result(), flush=True)
        elsewhere.submit(time.sleep, 600)
        time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_the_first_whatever_ends_that(number: signal.Signals, tmp_path) -> None:
    program = tmp_path / "waiting.py"
    program.write_text(WAITING)
    first = subprocess.Popen(
        after(CTRL_C_ENDS, sys.executable, str(program)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert first.stdout is not None
    second = int(first.stdout.readline())
    first.send_signal(number)
    first.communicate(timeout=100)  # it inherited the pipe: both have ended
    assert first.returncode != 0
    deadline = time.monotonic() + 60
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(second, 0)
            time.sleep(0.05)
