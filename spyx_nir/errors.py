"""What a user did wrong, said in one line, and how every command ends."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn, Self, TextIO

# The extra of this distribution that brings a package, by the name that is imported; "" is the
# library's own need.
EXTRAS = {
    **dict.fromkeys(("h5py", "nir", "numpy", "yaml"), ""),
    **dict.fromkeys(("flax", "jax", "optax", "spyx"), "spyx"),
    "faery": "events",
    **dict.fromkeys(("jinja2", "rich", "shtab"), "cli"),
    "serial": "board",
    "vl_convert": "report",
    **dict.fromkeys(
        ("cyclonedx", "dvc", "matplotlib", "mlxtend", "safetensors", "tonic"), "pipeline"
    ),
}
_OWN = ("", "pipeline", "spyx_nir")
# Ctrl-C, `kill`, a terminal that is closed; Windows has no SIGHUP.
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def printable(text: object) -> str:
    """`text` with all that is no printable character, such as ESC or U+202E, written as its escape.

    A name in a file from elsewhere could else move a terminal's cursor, or show other words than it has.
    Spaces of all widths stay as they are.
    """
    return "".join(
        c
        if c.isprintable() or (c.isspace() and c > "\x9f" and c not in "\u2028\u2029")
        else c.encode("unicode_escape").decode()
        for c in str(text)
    )


class UserError(Exception):
    """A mistake of the user's: the message names the place, the value and what is allowed.

    Printed as one line without a stack trace; the command ends with `exit_code`.
    """

    exit_code = 1

    def __init__(self, message: object = ""):
        """Line breaks in `message`, as arrays print them, become spaces."""
        super().__init__(" ".join(line.strip() for line in str(message).splitlines()))

    def within(self, place: object) -> Self:
        """The same error with `place`, such as the name of a file, in front of its message."""
        found = type(self)(f"{place}: {self}")
        vars(found).update(vars(self))
        return found


class Unavailable(UserError):
    """Something outside this machine cannot be had (no network, server gone): exit code 2."""

    exit_code = 2


class UsageError(UserError):
    """The command line itself is wrong: exit code 2, as argparse does."""

    exit_code = 2


class GraphError(UserError, ValueError):
    """A model, graph, file or input that cannot be converted or run: names node and value.

    Attributes:
        node: the dotted path of the node or subgraph, "" the graph itself; None where it is unknown.
        field: the name of the field that is wrong, or None.
        code: a stable word for the kind of fault, such as `dangling-edge`, or None. Programs branch on
            it; the message is for people and may change.
    """

    def __init__(
        self,
        message: object = "",
        *,
        node: str | None = None,
        field: str | None = None,
        code: str | None = None,
    ):
        super().__init__(message)
        self.node, self.field, self.code = node, field, code

    def within(self, place: object, *, node: str | None = None) -> Self:
        """As `UserError.within`; `node` is what it is about where it does not say so itself."""
        found = super().within(place)
        found.node = node if self.node is None else self.node
        return found


def one_line(error: BaseException) -> str:
    """What an error says, else its class: without line breaks, at most 200 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


class MissingPackage(UserError, ImportError):
    """A package is not installed: names what to install. Exit code 2."""

    exit_code = 2


@contextlib.contextmanager
def naming_extra() -> Iterator[None]:
    """Say which extra brings a package that is imported inside and is not installed.

    Raises:
        MissingPackage: instead of ModuleNotFoundError, unless it is a module of this project.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _OWN:
            raise
        missing = f"the package `{package}` is not installed in {sys.prefix}"
        if package in EXTRAS:
            install = f"spyx-nir[{EXTRAS[package]}]" if EXTRAS[package] else "spyx-nir"
            missing += f': pip install "{install}", or `make setup` in a checkout of the project'
        raise MissingPackage(missing) from None


@contextlib.contextmanager
def about(what: object, kind: type[UserError] = GraphError) -> Iterator[None]:
    """Put `what`, such as the name of a file, in front of what an error of this kind says inside."""
    try:
        yield
    except kind as error:
        raise error.within(what) from None


COLOURS = {"red": 31, "green": 32, "yellow": 33}  # ECMA-48, select graphic rendition


def painted(text: str, colour: str, stream: TextIO) -> str:
    """`text` in a colour of `COLOURS` if `stream` is a terminal that has them; else as it is.

    Nothing is coloured where NO_COLOR is set to anything (no-color.org).
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"\033[{COLOURS[colour]}m{text}\033[0m"


def _print_error(text: str) -> None:
    print(f"{painted('error:', 'red', sys.stderr)} {printable(text)}", file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are one line, as all others, and exit code 2."""

    def error(self, message: str) -> NoReturn:
        _print_error(f"{message}; see {self.prog} --help")
        self.exit(2)


class Stopped(KeyboardInterrupt):
    """A signal that asks the process to end; `number` is the signal's."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Raise `Stopped` inside at the first of `STOPS`, so that cleaning up runs; end at the second.

    A signal that is ignored, as SIGHUP is under nohup, or that somebody else handles stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {n: signal.getsignal(n) for n in STOPS if signal.getsignal(n) in usual}

    def end(number: int, frame: object) -> None:
        os.write(2, b"interrupted again: ended at once; the next run removes what is left\n")
        os._exit(128 + number)

    def stop(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, end)
        raise Stopped(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lacks_memory(error: BaseException | None) -> bool:
    """Whether `error`, or one behind it, says that memory was lacking.

    HDF5, the loader of shared libraries (glibc) and XLA say so in their texts alone.
    """
    texts = (
        *("memory allocation failed", "failed to map segment", "cannot allocate memory"),
        "resource_exhausted",
    )
    while error is not None:
        if isinstance(error, MemoryError) or any(text in str(error).lower() for text in texts):
            return True
        error = error.__cause__ or error.__context__
    return False


def exit_status(command: Callable[[], object]) -> int:
    """Run `command` and return the exit code that it returns, 0 if it returns something else.

    A user's mistake, Ctrl-C, SIGTERM, SIGHUP, a full disk, too little memory, a path that can be no file
    or a package that is not installed becomes one line and an exit code.
    """
    try:
        with stopping(), naming_extra():
            code = command()
    except UserError as error:
        _print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt as error:
        print("interrupted: nothing half-written was left; run the command again", file=sys.stderr)
        return 128 + getattr(error, "number", signal.SIGINT)
    except BrokenPipeError:
        return 141
    except Exception as error:
        if lacks_memory(error):
            _print_error(f"not enough memory: {one_line(error)}")
            return 1
        if isinstance(error, RuntimeError) and "start new thread" in str(error):
            _print_error(f"not enough memory, or too many processes: {error}")
            return 1
        if not isinstance(error, OSError):
            raise
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        barred = (errno.EACCES, errno.EPERM, errno.EROFS)
        no_place = (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG)
        if error.errno in (*full, *barred, *no_place):
            _print_error(f"{error.filename or 'writing'}: {error.strerror}")
            return 1
        raise
    return code if isinstance(code, int) else 0
