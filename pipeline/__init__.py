"""From a trained spiking network to verified, hardware-ready .nir bundles."""

import itertools
import sys
from types import TracebackType


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while a stage still imports its modules is a line, as later."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted: nothing was begun; run the command again", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if ("-m", "pipeline") in [(a, b.partition(".")[0]) for a, b in itertools.pairwise(sys.orig_argv)]:
    sys.excepthook = _say
