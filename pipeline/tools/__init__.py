"""The subcommands of `python -m pipeline`, one file each."""

from pathlib import Path

from pipeline.errors import UsageError


def check_name(path: str, suffix: str, where: str) -> None:
    """Refuse to write to `path` unless it ends in `suffix`: another name may be another file.

    Raises:
        UsageError: it does not.
    """
    if Path(path).suffix != suffix:
        raise UsageError(f"{where} {path}: the name must end in {suffix}")
