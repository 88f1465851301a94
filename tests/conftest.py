"""Fixtures that several test files share."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from end_to_end import run_stages, tiny_target, tiny_task

# A make that a test starts is not a part of the `make test` that runs the tests.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Path], object]], Path]:
    """`once(name, make)`: the folder that `make(folder)` filled, once for all processes of the run.

    Copy it before changing anything in it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def get(name: str, make: Callable[[Path], object]) -> Path:
        place = root / "once" / name
        place.parent.mkdir(exist_ok=True)
        with place.with_name(f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                part = place.with_name(f"{name}.part")
                shutil.rmtree(part, ignore_errors=True)
                make(part)
                part.rename(place)
        return place

    return get


@pytest.fixture(scope="session")
def tiny_run(once: Callable[..., Path]) -> Callable[[str, str], Path]:
    """`tiny_run(task, reset)`: a project folder that went from prepared data to a bundle.

    Recordings are random events and the network is untrained, for what is tested is the end-to-end run.
    Copy it before changing anything in it.
    """
    return lambda name, reset: once(
        f"{name}-{reset}", lambda root: run_stages(tiny_task(name, reset), root)
    )


@pytest.fixture(scope="session")
def tiny_bundle(
    once: Callable[..., Path], tiny_run: Callable[[str, str], Path]
) -> Callable[[str, str], Path]:
    """`tiny_bundle(task, target)`: `tiny_run`'s project with a bundle for `target` after one epoch.

    Copy it before changing anything in it.
    """
    from pipeline import target as stage

    def make(name: str, target: str, root: Path) -> None:
        shutil.copytree(tiny_run(name, "v_reset"), root)
        stage.target(tiny_target(name, target), target, root)

    return lambda name, target: once(f"{name}-{target}", lambda root: make(name, target, root))
