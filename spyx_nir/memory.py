"""How a process keeps its memory: for programs, not for a library that is imported."""

from __future__ import annotations

import contextlib
import ctypes


def keep_memory() -> None:
    """Let freed memory stay with the process, where the C library is glibc.

    XLA asks for tens of megabytes in every step and frees them, and so does NumPy in a simulation.
    glibc would hand them back to the system each time, which then has to clear them again: a third of
    the processor's time of a training step of the N-MNIST network. The numbers are glibc's, from its
    malloc.h.
    """
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL("libc.so.6").mallopt
        set_option(trim_threshold, 1 << 30)
        set_option(mmap_threshold, 1 << 30)
        set_option(arena_max, 1)  # the arenas of other threads give back above 64 MB regardless
