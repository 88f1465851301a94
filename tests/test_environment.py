"""What of the environment a stage sets, drops and keeps; and that no byte depends on the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from end_to_end import ROOT

from pipeline import environment

# What a shell, a notebook or a cluster may have set, and what becomes of it in a stage.
DROPPED = {
    "JAX_ENABLE_X64": "1",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_DISABLE_JIT": "1",
    "JAX_DEBUG_NANS": "1",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_NUM_CPU_DEVICES": "7",
    "JAX_SOFTMAX_CUSTOM_JVP": "0",
    "FLAX_ALWAYS_SHARD_VARIABLE": "0",
}
KEPT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": "/somewhere",
    "JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234",
    "JAX_PROCESS_ID": "0",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "HOME": "/home/somebody",
    "OMP_NUM_THREADS": "3",
}


@pytest.mark.parametrize("name", DROPPED)
def test_what_changes_results_is_dropped_with_a_line(name: str) -> None:
    wanted, lines = environment.settled({name: DROPPED[name]})
    assert name not in wanted
    assert lines == [f"{name}={DROPPED[name]} is not used: it may change the results"]


@pytest.mark.parametrize("name", KEPT)
def test_what_changes_no_result_is_kept(name: str) -> None:
    wanted, lines = environment.settled({name: KEPT[name]})
    assert wanted[name] == KEPT[name]
    assert lines == []


@pytest.mark.parametrize("name", ["NPROC", "MPLBACKEND", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"])
def test_what_only_depends_on_the_machine_is_set_for_all(name: str) -> None:
    assert environment.settled({name: "8"}) == environment.settled({})


def test_flags_of_xla_that_change_no_result_are_kept() -> None:
    given = "--xla_dump_to=/tmp/x --xla_cpu_enable_fast_math=true --xla_gpu_deterministic_ops=true"
    wanted, lines = environment.settled({"XLA_FLAGS": given})
    assert wanted["XLA_FLAGS"].split() == [
        "--xla_cpu_enable_platform_dependent_math=false",
        "--xla_dump_to=/tmp/x",
        "--xla_gpu_deterministic_ops=true",
    ]
    assert lines == [
        "XLA_FLAGS: --xla_cpu_enable_fast_math=true is not used: it may change the results"
    ]


def test_what_is_settled_stays_settled() -> None:
    once, _ = environment.settled({**DROPPED, **KEPT, "XLA_FLAGS": "--xla_gpu_x=1"})
    assert environment.settled(once) == (once, [])


STAGE = """
import sys
sys.path.insert(0, {root!r})
from pipeline import environment
environment.settle()
import numpy as np, jax
print(np.show_config(mode="dicts")["SIMD Extensions"].get("found"), jax.numpy.ones(1, float).dtype)
print(len(jax.devices()))
"""


def run(program: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, *program], cwd=folder, env=settings, capture_output=True, text=True
    )


def test_a_process_runs_with_what_was_settled(tmp_path: Path) -> None:
    plain = run(["-c", STAGE.format(root=str(ROOT))], tmp_path)
    odd = run(["-c", STAGE.format(root=str(ROOT))], tmp_path, **DROPPED)
    assert plain.returncode == odd.returncode == 0, plain.stderr + odd.stderr
    assert plain.stdout == odd.stdout
    assert "AVX512" not in plain.stdout
    assert odd.stderr.count("is not used") == len(DROPPED)


def test_a_stage_starts_itself_again_once_for_numpy(tmp_path: Path) -> None:
    """Its warnings come once, and its arguments survive."""
    done = run(["-m", "pipeline.train", "no-task"], tmp_path, JAX_ENABLE_X64="1", MPLBACKEND="odd")
    assert done.returncode == 1
    assert done.stderr.count("warning: JAX_ENABLE_X64=1 is not used") == 1
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_a_platform_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = run(["-m", "pipeline.export", "braille"], ROOT, JAX_PLATFORMS="cuda")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "error: JAX_PLATFORMS=cuda: JAX finds no such platform here; unset it, or set it to cpu"
    )
