"""How a command ends where the machine gives no more memory: a line, never a traceback."""

from __future__ import annotations

import errno

import pytest

from spyx_nir.errors import exit_status


def raised(error: Exception, cause: Exception | None = None) -> int:
    def command() -> None:
        raise error from cause

    return exit_status(command)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), None),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), None),
        # What HDF5 1.14, glibc 2.36, XLA and CPython 3.11 said under a limit of the address space.
        (OSError("Can't synchronously write data (memory allocation failed for chunk)"), None),
        (ImportError("_x.so: failed to map segment from shared object"), None),
        (ImportError("The `scipy` install seems to be broken"), MemoryError()),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."), None),
        (RuntimeError("can't start new thread"), None),
    ],
)
def test_memory_that_is_lacking_is_a_line(
    error: Exception, cause: Exception | None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert raised(error, cause) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: not enough memory") and said.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("threads"), OSError("else"), ImportError("else")])
def test_other_errors_are_not_called_so(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        raised(error)
