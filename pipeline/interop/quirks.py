"""What frameworks need before they can be imported; also for `bench/vendors`. Standard library alone."""

import dataclasses
import sys
import types


def share_mutable_defaults() -> None:
    """Let Lava be imported by Python 3.11, which refuses the mutable defaults of its dataclasses.

    Such a default is shared by all instances, as Python 3.10 did.
    """
    get_field = dataclasses._get_field  # type: ignore[attr-defined]

    def lenient(cls, name, kind, kw_only):
        default = getattr(cls, name, dataclasses.MISSING)
        if (
            default is not dataclasses.MISSING
            and not isinstance(default, dataclasses.Field)
            and type(default).__hash__ is None
        ):
            setattr(cls, name, dataclasses.field(default_factory=lambda: default))
        return get_field(cls, name, kind, kw_only)

    dataclasses._get_field = lenient  # type: ignore[attr-defined]


def leave_out_samna() -> None:
    """Let Rockpool be imported without its modules that drive boards.

    They import samna, which is not installed and not needed.
    """
    for name in (
        "syns65302.afe_samna_pdm",
        "syns65302.xylo_samna_pdm",
        "syns63300.power_cycles_model",
    ):
        full = f"rockpool.devices.xylo.{name}"
        sys.modules[full] = types.ModuleType(full)
