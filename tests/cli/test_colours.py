"""Colours, headings and the order of layers in what commands print."""

from __future__ import annotations

import io
from pathlib import Path

import nir
import numpy as np
import old_files
import pytest
from terminal import shown

from spyx_nir import errors
from spyx_nir.cli.main import main

Printed = pytest.CaptureFixture[str]
RED, GREEN, YELLOW, END = "\033[31m", "\033[32m", "\033[33m", "\033[0m"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_an_error_is_red_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    words = ["inspect", "no-such-file.nir"]
    assert main(words) == 1
    plain = capsys.readouterr().err
    assert plain.startswith("error: ")
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    assert main(words) == 1
    assert stream.getvalue() == plain.replace("error:", f"{RED}error:{END}")


@pytest.mark.parametrize(
    ("name", "value", "coloured"),
    [
        ("NO_COLOR", "1", False),
        ("NO_COLOR", "0", False),  # any value but an empty one: no-color.org
        ("NO_COLOR", "", True),
        ("TERM", "dumb", False),
    ],
)
def test_what_takes_the_colours_away(
    name: str, value: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    text = errors.painted("fits", "green", Terminal())
    assert text == (f"{GREEN}fits{END}" if coloured else "fits")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return old_files.write(tmp_path / "a.nir", old_files.clean())


def test_what_fits_is_green(path: str) -> None:
    words = ["-m", "spyx_nir", "fit", path, "--target", "loihi"]
    *_, last = shown(words, columns=120).splitlines()
    assert last.startswith(f"{GREEN}{path}: fits loihi") and last.endswith(END)


def test_no_color_leaves_a_terminal_without_colours(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(["-m", "spyx_nir", "fit", path, "--target", "loihi"], columns=120)
    assert not any(colour in text for colour in (RED, GREEN, YELLOW))


def test_severities_have_colours_and_other_columns_have_none(tmp_path: Path) -> None:
    """A layer called `warning` whose gain is doubtful."""
    made = old_files.clean()
    made.nodes["warning"] = made.nodes.pop("lif")
    made.nodes["warning"].r = made.nodes["warning"].r * 0.25
    made.edges = [
        ("warning" if a == "lif" else a, "warning" if b == "lif" else b) for a, b in made.edges
    ]
    path = old_files.write(tmp_path / "a.nir", made)
    text = shown(["-m", "spyx_nir", "lint", path], columns=200)
    assert text.count(f"{YELLOW}warning") == text.count("gain") == 1
    assert text.count("warning") >= 3  # the severity, the layer, the count below the table


def test_the_verdicts_of_bundles_have_colours() -> None:
    program = (
        "from spyx_nir.cli import show\n"
        "rows = [('fits', 'fits after: a change'), ('no', 'does not fit: why'), ('fits', '-')]\n"
        "show.table(('target', 'fits'), rows)"
    )
    _, first, second, third = shown(["-c", program], columns=80).splitlines()
    assert first.startswith("fits ") and f"{GREEN}fits after: a change" in first
    assert second.startswith("no ") and f"{RED}does not fit: why" in second
    assert not any(colour in third for colour in (RED, GREEN, YELLOW))


def test_a_pipe_has_the_headings(path: str, capsys: Printed) -> None:
    assert main(["inspect", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "node\ttype\tshape\tvalues\tfields, per step, contract" in lines


def test_numbers_are_right_aligned(path: str) -> None:
    words = ["-m", "spyx_nir", "fit", path, "--target", "loihi"]
    lines = shown(words, columns=120, kind="dumb").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("resource"))
    head, inputs = lines[start : start + 2]
    name, *cells = inputs.split()
    assert name == "inputs"
    for column, cell in zip(("used", "limit"), cells, strict=False):
        assert inputs[: head.index(column) + len(column)].endswith(f" {cell}")


def test_run_lists_layers_as_the_signal_passes_them(tmp_path: Path, capsys: Printed) -> None:
    one = np.ones(1, np.float32)

    def neuron() -> nir.IF:
        return nir.IF(r=one, v_threshold=one, v_reset=0 * one)

    nodes = {"input": nir.Input(np.array([1])), "z": neuron(), "a": neuron(), "m": neuron()}
    nodes["output"] = nir.Output(np.array([1]))
    edges = [("input", "z"), ("z", "a"), ("a", "m"), ("m", "output")]
    nir.write(tmp_path / "a.nir", nir.NIRGraph(nodes, edges))
    np.savez(tmp_path / "x.npz", x=np.ones((3, 2, 1)))
    words = ["run", str(tmp_path / "a.nir"), str(tmp_path / "x.npz"), "--dt", "1"]
    assert main([*words, "--reset", "v_reset"]) == 0
    names = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names[:3] == ["z", "a", "m"]
