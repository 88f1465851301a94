"""The subcommands that only `python -m pipeline` has."""
