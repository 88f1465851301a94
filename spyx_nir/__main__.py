"""`python -m spyx_nir` is `spyx-nir`."""

import sys

from spyx_nir.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
