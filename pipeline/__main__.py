"""`python -m pipeline` is `spyx-nir`, which has the commands below where the pipeline is installed."""

from __future__ import annotations

import sys

from spyx_nir.cli.main import Command, main

# Found by spyx-nir through the entry point in pyproject.toml.
COMMANDS = {
    "new-task": Command(
        "make a task of your own: data set, network, parameters, all stages",
        "pipeline.commands.new_task",
    ),
    "release": Command(
        "archives of all bundles, with digests and provenance", "pipeline.commands.release"
    ),
}

if __name__ == "__main__":
    sys.exit(main())
