"""The shape every stage shares: `python -m pipeline.<stage> <task>`, one process, one task."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from pipeline import params
from pipeline.errors import exit_status


def main(stage: Callable[[params.Task], None], description: str) -> None:
    """Parse `<task>` and `--params`, run `stage` on the task, exit with its status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("task", help="a task of the params file, such as braille or nmnist")
    parser.add_argument(
        "--params", default="params.yaml", metavar="FILE", help="default: %(default)s"
    )
    arguments = parser.parse_args()
    sys.exit(exit_status(lambda: stage(params.load(arguments.task, arguments.params))))
