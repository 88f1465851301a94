"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from end_to_end import run_stages, tiny_task

# A make that a test starts is not a part of the `make test` that runs the tests.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """`tiny_run(task, reset)`: a project folder that went from prepared data to a bundle.

    Recordings are random events and the network is untrained, for what is tested is the end-to-end run.
    Made once per task and reset: copy it before changing anything in it.
    """
    made: dict[tuple[str, str], Path] = {}

    def run(name: str, reset: str) -> Path:
        if (name, reset) not in made:
            made[name, reset] = run_stages(tiny_task(name, reset), tmp_path_factory.mktemp(name))
        return made[name, reset]

    return run
