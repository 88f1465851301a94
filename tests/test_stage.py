"""What a stage's process does before it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from child import CTRL_C_ENDS, after

ROOT = Path(__file__).parents[1]
HEAVY = "{'grain', 'orbax', 'tonic'} & {name.partition('.')[0] for name in sys.modules}"


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    """These lines, as a task that a stage imports, in a process of their own."""
    program = "\n".join(
        ["import sys", "from pipeline import stage", "stage.start_sooner()", *lines]
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )


USES = {
    "import spyx.data": ["import spyx.data", "made = spyx.data.rate_code"],
    "from spyx.data": ["from spyx.data import rate_code as made"],
    "from spyx": ["from spyx import data", "made = data.rate_code"],
    "import spyx": ["import spyx", "made = spyx.data.rate_code"],
    "everything": ["from spyx.data import *", "made = rate_code"],
    "Spyx before": ["import spyx.nn", "from spyx.data import rate_code as made"],
}


@pytest.mark.parametrize(
    "how",
    [how if how == "everything" else pytest.param(how, marks=pytest.mark.full) for how in USES],
)
def test_a_task_may_import_spyx_data(how: str) -> None:
    done = run(*USES[how], "import spyx", "print(made.__module__, made is spyx.data.rate_code)")
    assert done.stdout == "spyx.data True\n", done.stderr


def test_nobody_pays_for_what_is_not_asked_for() -> None:
    done = run(
        "import spyx, spyx.nn, inspect",
        "import spyx.data",
        "from spyx import data",
        "inspect.getmodule(inspect.getmodule)  # looks at every module there is",
        f"print({HEAVY})",
        "data.rate_code",
        f"print('grain' in {HEAVY})",
    )
    assert done.stdout == "set()\nTrue\n", done.stderr


def test_what_is_not_there_is_said_as_python_says_it() -> None:
    done = run("from spyx.data import nothing")
    assert "ImportError: cannot import name 'nothing' from 'spyx.data'" in done.stderr
    done = run("import spyx", "spyx.data.nothing")
    assert "AttributeError: module 'spyx.data' has no attribute 'nothing'" in done.stderr


def test_what_it_needs_and_is_not_there_is_named_every_time() -> None:
    done = run(
        "sys.modules['grain'] = None",
        "for _ in range(2):",
        "    try:",
        "        from spyx.data import rate_code",
        "    except ImportError as error:",
        "        print(error)",
    )
    first, second = done.stdout.splitlines()
    assert first == second and "grain" in first


def test_a_package_that_is_missing_is_left_alone() -> None:
    done = run("stage.import_when_asked('no_such_package.part')", "print(len(sys.modules) > 0)")
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("stage", ["train", "target", "report"])
def test_ctrl_c_during_the_imports_is_a_line(stage: str, tmp_path: Path) -> None:
    """A NumPy that is interrupted stands for one that takes long."""
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        after(CTRL_C_ENDS, sys.executable, "-m", f"pipeline.{stage}", "braille"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (-signal.SIGINT, 130)
    assert done.stderr.startswith("interrupted: nothing ")
    assert done.stderr.count("\n") == 1
