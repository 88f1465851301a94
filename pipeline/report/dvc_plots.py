"""`python -m pipeline.report.dvc_plots FILE`: the page that `dvc plots show` fills, with Vega in it.

DVC's own page fetches Vega from the network. `.dvc/config` names this one (`plots.html_template`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.report import chart
from spyx_nir import files
from spyx_nir.errors import Parser, exit_status

# DVC draws while the page is read; a module runs after that, so that calls wait for it.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>Plots of dvc</title>
<script>
const calls = [];
function vegaEmbed(...call) { calls.push(call); }
</script>
</head>
<body>
{plot_divs}
<script type="module">LIBRARY
for (const call of calls) window.vegaEmbed(...call);
</script>
</body>
</html>
"""


def main() -> int:
    """Parse the command line, write the page; returns the exit code."""
    parser = Parser(prog="python -m pipeline.report.dvc_plots", description=__doc__)
    parser.add_argument("file", metavar="FILE", help="the page to write")
    path = Path(parser.parse_args().file)
    return exit_status(lambda: files.write_text(path, PAGE.replace("LIBRARY", chart.library())))


if __name__ == "__main__":
    sys.exit(main())
