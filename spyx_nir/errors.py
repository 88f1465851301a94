"""What a user did wrong, said in one line, and how every command ends."""

from __future__ import annotations

import argparse
import contextlib
import copy
import errno
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn, Self

# What is installed under another name than it is imported.
_PACKAGES = {"yaml": "pyyaml", "vl_convert": "vl-convert-python"}


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
        found = copy.copy(self)
        found.args = (f"{place}: {self}",)
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


@contextlib.contextmanager
def about(what: object, kind: type[UserError] = GraphError) -> Iterator[None]:
    """Put `what`, such as the name of a file, in front of what an error of this kind says inside."""
    try:
        yield
    except kind as error:
        raise error.within(what) from None


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are one line, as all others, and exit code 2."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        self.exit(2)


def exit_status(command: Callable[[], object]) -> int:
    """Run `command` and hand on the exit code that it returns, 0 if it returns something else.

    A user's mistake, Ctrl-C, a full disk, a path that can be no file or a package that is not
    installed becomes one line and an exit code.
    """
    try:
        code = command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "spyx_nir", "pipeline"):
            raise
        print(
            f"error: the package `{_PACKAGES.get(package, package)}` is not installed in {sys.prefix}; "
            "`make setup` installs all that the project needs",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing half-written was left; run the command again", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        barred = (errno.EACCES, errno.EPERM, errno.EROFS)
        no_place = (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG)
        if error.errno in (*full, *barred, *no_place):
            print(f"error: {error.filename or 'writing'}: {error.strerror}", file=sys.stderr)
            return 1
        raise
    return code if isinstance(code, int) else 0
