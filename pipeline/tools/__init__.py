"""The subcommands of `python -m pipeline`, one file each."""
