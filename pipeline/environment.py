"""The environment variables that change what a stage writes: set or dropped here, for every stage.

The same inputs give the same bytes on every x86-64 processor with AVX2. What would break that in the
environment is fixed (`FIXED`) or dropped with a line that says so. Variables that change no byte, such as
where JAX keeps what it compiled or how the hosts of a training meet, stay as they are (`KEPT`).
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

from spyx_nir.errors import UserError

# Read when NumPy is imported. Its functions of floats and OpenBLAS's products round differently with
# AVX-512; every processor with AVX2 has what is left. Threads cut sums in other places.
NUMPY = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
}
# Without this flag XLA adds in another order on each instruction set (`spyx_nir.deterministic.matmul`).
XLA_FLAG = "--xla_cpu_enable_platform_dependent_math=false"
# Read when JAX or matplotlib is imported. NPROC: XLA's threads, by which it cuts sums, too.
FIXED = {"XLA_FLAGS": XLA_FLAG, "NPROC": "1", "MPLBACKEND": "Agg"}

LIBRARIES = ("JAX_", "XLA_", "FLAX_", "NPY_", "OPENBLAS_")
KEPT = (
    "JAX_PLATFORMS",
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
    "JAX_COMPILATION_CACHE",
    "JAX_ENABLE_COMPILATION_CACHE",
    "JAX_PERSISTENT_CACHE_",
    "JAX_EXPLAIN_CACHE_MISSES",
    "JAX_LOG",
    "JAX_DEBUG_LOG_MODULES",
    "JAX_TRACEBACK_FILTERING",
    "JAX_CUDA",
    "JAX_ROCM",
    "XLA_PYTHON_CLIENT_",
)
KEPT_FLAGS = ("--xla_dump_", "--xla_gpu_")  # of XLA_FLAGS


def settle() -> None:
    """Set what changes bytes, for this process and those that it starts.

    Before JAX is imported. NumPy mostly is already: then the process starts itself again, if it is a
    command of this package.
    """
    wanted, dropped = settled(os.environ)
    for line in dropped:
        print(f"warning: {line}", file=sys.stderr)
    too_late = any(os.environ.get(name) != value for name, value in _numpy().items())
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update(wanted)
    main = getattr(sys.modules["__main__"], "__spec__", None)
    if too_late and "numpy" in sys.modules and main and main.name.startswith("pipeline."):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def settled(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """`environment` as a stage runs in it, and a line for each thing of the user's that is dropped."""
    wanted, dropped = {}, []
    fixed = FIXED | _numpy()
    for name, value in environment.items():
        if name == "XLA_FLAGS":
            flags = [f for f in value.split() if f.startswith(KEPT_FLAGS)]
            others = [f for f in value.split() if f not in (*flags, XLA_FLAG)]
            dropped += [
                f"XLA_FLAGS: {flag} is not used: it may change the results" for flag in others
            ]
            fixed[name] = " ".join([XLA_FLAG, *flags])
        elif name.startswith(LIBRARIES) and not name.startswith(KEPT):
            if name.startswith(("JAX_", "XLA_", "FLAX_")):
                dropped.append(f"{name}={value} is not used: it may change the results")
        else:
            wanted[name] = value
    return wanted | fixed, dropped


def check_platform() -> None:
    """Refuse a JAX_PLATFORMS that JAX cannot start.

    Raises:
        UserError: there is no such platform here.
    """
    asked = os.environ.get("JAX_PLATFORMS", "")
    if asked in ("", "cpu"):
        return
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError):  # the latter from JAX 0.10.2 for cuda
        raise UserError(
            f"JAX_PLATFORMS={asked}: JAX finds no such platform here; unset it, or set it to cpu"
        ) from None


def _numpy() -> dict[str, str]:
    return NUMPY if platform.machine().lower() in ("x86_64", "amd64") else {}
