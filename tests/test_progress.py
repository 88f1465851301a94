"""Progress of long loops: what stays of a bar on terminals of several widths, and what a pipe gets."""

from __future__ import annotations

import io
import re

import pytest
from terminal import shown

from pipeline.progress import bar, track

LOOP = """
from pipeline.progress import bar
with bar({what!r}, 3) as shown:
    for n in range(3):
        shown.advance(1)
        shown.say(f"epoch {{n}}, right 1 of [9]")
"""


@pytest.mark.parametrize("columns", [80, 120, 200])
@pytest.mark.parametrize("what", ["nmnist", "braille on xylo-audio-2"])
def test_bar_share_and_times_stay_below_the_lines(what: str, columns: int) -> None:
    *said, last = shown(["-c", LOOP.format(what=what)], columns, "dumb").rstrip().split("\r\n")
    assert said == [f"epoch {n}, right 1 of [9]" for n in range(3)]
    assert re.fullmatch(rf"{what} ━+ 100% \d:\d\d:\d\d \d:\d\d:\d\d", last)
    assert len(last) <= columns


def test_a_pipe_gets_the_lines_alone() -> None:
    stream = io.StringIO()
    with bar("work", 2, stream=stream) as one:
        one.advance(1)
        one.say("half")
    assert (one.shown, stream.getvalue()) == (False, "half\n")


def test_a_pipe_gets_a_line_a_quarter(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(8), 8, "comparing")) == list(range(8))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"comparing: {done}/8" for done in (2, 4, 6, 8)]
    assert list(track([0], 1, "comparing")) == [0]
    assert capsys.readouterr().err == ""  # all at once: nothing to wait for
