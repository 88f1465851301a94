"""BRINGUP.md: Xylo's specification, and the code run line by line under stand-ins for rockpool."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xylo_bundles
from bringup_code import code_of

from spyx_nir.bundle.templates.verify import MEASURED
from spyx_nir.errors import GraphError
from spyx_nir.hardware import profile, simulate
from spyx_nir.hardware.families.xylo.bringup import BOARDS, settling
from spyx_nir.hardware.families.xylo.specification import NAME, specification
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

CHIPS = ("xylo-audio-2", "xylo-audio-3", "xylo-imu")


def test_two_hidden_populations_are_one_block_matrix(tmp_path: Path) -> None:
    """12-5-4-7 with a way around: the way from the first to the second is recurrent on the chip."""
    network = xylo_bundles.network("xylo-audio-2")
    xylo_bundles.write(tmp_path, network)
    content = json.loads((tmp_path / NAME).read_text())
    assert content["hidden"] == {"one": [0, 1, 2, 3, 4], "two": [5, 6, 7, 8]}
    assert (content["output"], content["output_mode"]) == ("out", "Spike")
    spec = {key: np.array(value) for key, value in content["specification"].items()}
    zero = np.zeros
    values = {weight.node: weight.values.T for weight in network.weights}
    a, b, c, around = (values[name] for name in ("a", "b", "c", "around"))
    assert (spec["weights_in"][:, :, 0] == np.hstack([a, zero((12, 4))])).all()
    top, bottom = np.hstack([zero((5, 5)), b]), zero((4, 9))
    assert (spec["weights_rec"][:, :, 0] == np.vstack([top, bottom])).all()
    assert (spec["weights_out"] == np.vstack([around, c])).all()
    assert (spec["dash_mem"] == [3] * 5 + [2] * 4).all()  # decays 1 - 2^-3 and 1 - 2^-2
    assert (spec["dash_syn_out"] == [1] * 7).all()
    assert spec["threshold"].shape == (9,) and spec["threshold_out"].shape == (7,)
    assert "bias" not in spec


class Chip:
    """What XyloSim and XyloSamna do, by our rule: one hidden population from the numbers given."""

    resets = 0

    def __init__(self, spec: dict[str, Any], output_mode: str):
        arrays = {key: np.asarray(value, np.int64) for key, value in spec.items()}
        self.mode = output_mode
        w_in, w_rec, w_out = (arrays[f"weights_{which}"] for which in ("in", "rec", "out"))
        assert w_in.ndim == w_rec.ndim == 3 and w_out.ndim == 2

        def population(name: str, end: str) -> Population:
            keys = (f"{key}{end}" for key in ("threshold", "dash_syn", "dash_mem"))
            threshold, syn, mem = (arrays[key] for key in keys)
            bias = arrays.get(f"bias{end}")
            return Population(
                name, threshold.shape, threshold, syn, mem, output=bool(end), bias=bias
            )

        self.network = IntegerNetwork(
            profile.load("xylo-audio-2"),
            {"input": (len(w_in),)},
            (population("hidden", ""), population("out", "_out")),
            (
                Weight("input", "hidden", "in", w_in[:, :, 0].T, (len(w_in),)),
                Weight("hidden", "hidden", "rec", w_rec[:, :, 0].T, (len(w_rec),)),
                Weight("hidden", "out", "out", w_out.T, (len(w_out),)),
            ),
        )

    def reset_state(self) -> None:
        self.resets += 1

    def __call__(self, x: np.ndarray, record: bool = False) -> tuple[Any, dict, dict[str, Any]]:
        run = simulate.run(self.network, {"input": x[:, None]}, record=True)
        shown = run.membranes if self.mode == "Vmem" else run.spikes
        recorded = {"Spikes": run.spikes, "Isyn": run.currents, "Vmem": run.membranes}
        return shown["out"][:, 0], {}, {k: v["hidden"][:, 0] for k, v in recorded.items()}


def stand_in(device: str, boards: int) -> dict[str, types.ModuleType]:
    """rockpool's package of a chip, to which as many boards are connected."""
    utils, find, hidden, _ = BOARDS[device]
    package = types.ModuleType(f"rockpool.devices.xylo.{device}")
    tools = types.ModuleType(f"{package.__name__}.{utils}")
    setattr(tools, find, lambda: [object()] * boards)
    neuron = {"threshold": "threshold", "dash_syn": "i_syn_decay", "dash_mem": "v_mem_decay"}

    def configure(**spec: Any) -> tuple[Any, bool, str]:
        names = {**neuron, "bias": "v_mem_bias"}
        spec = {"bias" if key == "bias_hidden" else key: value for key, value in spec.items()}

        def neurons(end: str) -> list[Any]:
            given = {name: spec[f"{key}{end}"] for key, name in names.items() if key + end in spec}
            return [
                types.SimpleNamespace(**{name: values[i] for name, values in given.items()})
                for i in range(len(spec[f"threshold{end}"]))
            ]

        layers = {
            "input": types.SimpleNamespace(weights=spec["weights_in"][:, :, 0]),
            hidden: types.SimpleNamespace(
                weights=spec["weights_rec"][:, :, 0], neurons=neurons("")
            ),
            "readout": types.SimpleNamespace(weights=spec["weights_out"], neurons=neurons("_out")),
        }
        return types.SimpleNamespace(**layers, spec=spec), True, ""

    class OnBoard(Chip):
        def __init__(self, board: Any, config: Any, dt: float, output_mode: str):
            self.config, self.silenced = config, 0
            super().__init__(config.spec, output_mode)

        def __call__(self, x: np.ndarray, record: bool = False) -> Any:
            super().__init__(self.config.spec, self.mode)
            if not x.any():  # what resets the states
                assert not any(weight.values.any() for weight in self.network.weights)
                assert not any(
                    np.any(p.bias) for p in self.network.populations if p.bias is not None
                )
                self.silenced += 1
            return super().__call__(x, record)

    class Simulated(Chip):
        @classmethod
        def from_specification(cls, dt: float, output_mode: str, **spec: Any) -> Simulated:
            return cls(spec, output_mode)

    package.XyloSim, package.XyloSamna = Simulated, OnBoard  # type: ignore[attr-defined]
    package.config_from_specification = configure  # type: ignore[attr-defined]
    above = {name: types.ModuleType(name) for name in ("rockpool", "rockpool.devices")}
    above |= {"rockpool.devices.xylo": types.ModuleType("rockpool.devices.xylo")}
    return {**above, package.__name__: package, tools.__name__: tools}


@pytest.mark.parametrize("target", CHIPS)
@pytest.mark.parametrize("board", [False, True])
@pytest.mark.parametrize("form", [{}, {"biased": True}, {"membrane": True, "biased": True}])
def test_the_code_runs_line_by_line(
    target: str,
    board: bool,
    form: dict[str, bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    network = xylo_bundles.network(target, **form)
    bundle = tmp_path / "bundle"
    text = xylo_bundles.write(bundle, network)
    device = network.profile["graph.device"]
    for name, module in stand_in(device, boards=1).items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("afe_samna_pdm", "xylo_samna_pdm", "power_cycles_model"):
        for chip in BOARDS:
            monkeypatch.delitem(sys.modules, f"rockpool.devices.xylo.{chip}.{name}", raising=False)
    monkeypatch.chdir(bundle)
    code = code_of(text).replace("board = False", f"board = {board}")
    names: dict[str, Any] = {}
    exec(compile(code, "BRINGUP.md", "exec"), names)
    *compared, classes = capsys.readouterr().out.splitlines()
    kinds = 3 * 2 + 1  # of two hidden populations, and what is read of the output
    numbers = 3 + 2 * (3 + form.get("biased", False))
    assert len(compared) == 2 * kinds + board * numbers
    assert all(line.endswith(": 0 differ") for line in compared), compared
    assert f"samples: {json.loads(classes.partition(': ')[2])}" in text
    by_itself = not board or BOARDS[device][3]
    assert names["chip"].resets == 2 * by_itself
    assert by_itself or names["chip"].silenced == 2
    # Saved where verify.py does not look; the rest of the bundle stays as it was.
    assert [p.name for p in (bundle / MEASURED).iterdir()] == ["xylo_answers.npz"]
    assert {p.name for p in bundle.iterdir()} == {NAME, "BRINGUP.md", "test_data_set_0", MEASURED}


def test_without_a_board_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = xylo_bundles.write(tmp_path / "bundle", xylo_bundles.network("xylo-imu"))
    for name, module in stand_in("syns63300", boards=0).items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.chdir(tmp_path / "bundle")
    with pytest.raises(SystemExit, match="no board found"):
        exec(code_of(text).replace("board = False", "board = True"), {})


def test_the_specification_needs_nothing_of_this_project(tmp_path: Path) -> None:
    network = xylo_bundles.network("xylo-audio-3", biased=True)
    xylo_bundles.write(tmp_path, network)
    code = "import json, sys; print(sorted(json.load(open(sys.argv[1]))['specification']))"
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path / NAME)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted(specification(network)))


def test_what_has_no_place_in_the_chips_matrices_is_refused() -> None:
    chip = profile.load("xylo-audio-2")
    one = np.ones((), np.int64)
    hidden = Population("h", (1,), one, one, one)
    out = Population("o", (1,), one, one, one, output=True)
    for source, target in (("input", "o"), ("o", "h")):
        weights = [
            Weight(*ends, "w", np.ones((1, 1), np.int64), (1,))
            for ends in (("input", "h"), ("h", "o"), (source, target))
        ]
        network = IntegerNetwork(chip, {"input": (1,)}, (hidden, out), tuple(weights))
        with pytest.raises(
            GraphError, match=f"from `{source}` to `{target}`: the chip has one matrix"
        ):
            specification(network)


def test_states_have_decayed_after_the_silent_steps() -> None:
    """Shifts 1 and 1: 32767 halves to 0 in 15 + 1 steps (32767 - 16383 = 16384 = 2^14, then down to 1,
    which loses 1), for the current and then for the membrane."""
    chip = profile.load("xylo-imu")
    one = np.ones((), np.int64)
    network = IntegerNetwork(chip, {}, (Population("h", (1,), one, one, one),), ())
    assert settling(network) == 2 * (1 + 14 + 1)
