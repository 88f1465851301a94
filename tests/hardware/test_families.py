"""A chip family is one folder: one from docs/extend.md, put into a folder, is found and works."""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np
import pytest

from spyx_nir.bundle import bringup, integers
from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.hardware import families, profile, qat, quantise, registry, simulate
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^```python\n# families/counter/(\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
INSIDE = "from spyx_nir.hardware.families.counter."


@pytest.fixture
def chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[profile.Profile]:
    """A chip of the family `counter`, whose folder is in a path of its own."""
    folder = tmp_path / "families" / "counter"
    folder.mkdir(parents=True)
    texts = dict(BLOCK.findall(PAGE))
    assert set(texts) == {"simulator", "qat", "__init__"}
    # On the page all blocks share one namespace.
    lazy = f"def training():\n    {INSIDE}qat import neuron_step\n\n"
    texts["__init__"] = texts["__init__"].replace("def training():\n", lazy)
    texts["__init__"] = f"{INSIDE}simulator import run\n{texts['__init__']}"
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(folder.parent)])
    registry.families.cache_clear()
    text = (profile.FOLDER / "loihi.yaml").read_text(encoding="utf-8")
    # Sections that only Loihi's family has.
    text = re.sub(r"^(?:bias|delay|cores):\n(?:  .*\n)+", "", text, flags=re.MULTILINE)
    own = tmp_path / "bench.yaml"
    own.write_text(text.replace("integer_semantics: lava", "integer_semantics: counter"))
    yield profile.load(str(own))
    registry.families.cache_clear()
    for name in [name for name in sys.modules if name.startswith(f"{families.__name__}.counter")]:
        del sys.modules[name]


def network(random: np.random.Generator) -> dict[str, Any]:
    """Two layers of IF neurons, which nothing but the weights' rounding moves."""
    return graphs.chain(
        (6,),
        ("a", nir.Linear(random.normal(size=(9, 6)))), ("hidden", graphs.if_(9, 0.5, "v_reset")),
        ("b", nir.Linear(random.normal(0.4, 1, (4, 9)))), ("out", graphs.if_(4, 0.5, "v_reset")),
        dt=1.0,
    )  # fmt: skip


def test_a_family_in_a_folder_quantises_simulates_and_trains(chip: profile.Profile) -> None:
    random = np.random.default_rng(6)
    graph = network(random)
    quantised = quantise.quantise(graph, chip)
    x = random.integers(0, 2, (40, 5, 6))
    run = simulate.run(quantised, {"input": x})
    floats = reference.run(make_plan(quantise.on_grid(graph, quantised)), x)
    trace = qat.run(quantised, x)
    for name in ("hidden", "out"):
        assert floats.spikes[name].sum() > 100
        assert (run.spikes[name] == floats.spikes[name]).all()
        assert (np.asarray(trace.spikes[name]) == run.spikes[name]).all()
    assert simulate.delays(quantised) == {"hidden": 0, "out": 0}
    quantise.check_recovery(quantise.on_grid(graph, quantised), quantised)


def test_fit_knows_it(
    chip: profile.Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write(tmp_path / "a.nir", file.build(network(np.random.default_rng(7))))
    assert main(["fit", str(tmp_path / "a.nir"), "--target", str(tmp_path / "bench.yaml")]) == 0
    assert "a.nir: fits bench" in capsys.readouterr().out


def test_its_simulator_is_in_its_bundles(chip: profile.Profile, tmp_path: Path) -> None:
    """verify_integers.py runs it without this project, and finds a changed spike and a wrong weight."""
    quantised = quantise.quantise(network(np.random.default_rng(8)), chip)
    x = np.random.default_rng(9).integers(0, 2, (20, 3, 6))
    (tmp_path / "test_data_set_0").mkdir()
    vectors = tmp_path / "test_data_set_0" / integers.NAME
    run = integers.write(vectors, quantised, x)
    script = tmp_path / "verify_integers.py"
    script.write_text(integers.source(chip), encoding="utf-8")
    command = [sys.executable, "-I", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    with np.load(vectors) as stored:
        arrays = dict(stored)
    arrays["spikes/out"][3, 1, 2] ^= 1
    np.savez(vectors, allow_pickle=False, **arrays)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "spikes/out: 1 of " in done.stderr
    arrays["weight/a"][2, 4] = 300
    np.savez(vectors, allow_pickle=False, **arrays)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (
        done.returncode == 1 and "weight `a` is 300 at (2, 4); bench has -256 to 254" in done.stderr
    )
    about = bringup.Samples(np.zeros(3, int), "ABCD", ["x"] * 6, 5000)
    text = bringup.write(quantised, run, about)
    assert "Load `model.nir`: 6 inputs, a step of 5000 microseconds." in text


def test_two_families_of_one_name_are_refused(chip: profile.Profile) -> None:
    record = registry.family(chip)
    with pytest.raises(ValueError, match="the chip family `counter` is there already"):
        registry.register(record)
    registry.register(dataclasses.replace(record, name="abacus"))
    assert [*registry.families()] == [
        "counter",
        "dynapcnn",
        "lava",
        "nir-integer",
        "xylo",
        "abacus",
    ]


def test_no_module_outside_a_family_names_it() -> None:
    """No string outside `families/` is the name of a family, but in the names of profiles."""
    names = set(registry.families())
    found = []
    for file_ in [*(ROOT / "spyx_nir").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        place = file_.relative_to(ROOT).as_posix()
        if place.startswith(("spyx_nir/hardware/families/", "pipeline/interop/")):
            continue  # interop/ imports from Lava, the framework
        for node in ast.walk(ast.parse(file_.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in names:
                found.append(f"{place}:{node.lineno}")
    assert found == []


def test_the_numpy_side_needs_no_jax() -> None:
    """All of it but `qat`, `straight_through` and `threshold_balancing`, with every family."""
    code = """
import sys
sys.modules["jax"] = sys.modules["flax"] = None
import numpy as np
from spyx_nir.hardware import (
    constrain, constraints, costs, evaluate, judge, profile, quantise, registry, simulate,
)
assert len(registry.families()) == 4
for name in profile.names():
    profile.load(name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_chip_without_a_family_is_refused() -> None:
    with pytest.raises(GraphError, match="target generic has no integer semantics"):
        registry.family(profile.load("generic"))
