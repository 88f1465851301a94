"""All of `make silicon`: each task and target in a process of its own, two at a time.

Writes metrics/emulated/ (cortex_m.py, fpga.py), and tables of docs/ by it (pages.py).
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from bench.silicon import cortex_m, fpga, pages
from spyx_nir.errors import UserError, exit_status

AT_ONCE = 2


def jobs() -> list[list[str]]:
    """Command lines, what takes longest first: more events, more neurons.

    Raises:
        UserError: a program or every bundle is missing.
    """
    if found := [*cortex_m.absent(), *fpga.missing()]:
        raise UserError("; ".join(found))
    found_bundles = sorted((cortex_m.ROOT / "models").glob("*/deploy/cortex-m"), reverse=True)
    tasks = [bundle.parent.parent.name for bundle in found_bundles]
    verilog = [f"{task}-{target}" for task, target, _ in fpga.runs()]
    if not tasks or not verilog:
        raise UserError("models/*/deploy: no bundle for cortex-m or for an FPGA; run make repro")
    of_verilog = [["bench.silicon.fpga", "--only", name] for name in sorted(verilog, reverse=True)]
    of_c = [["bench.silicon.cortex_m", "--only", task] for task in tasks]
    return [*of_verilog[:1], *of_c, *of_verilog[1:]]


def main() -> int:
    commands = [[sys.executable, "-m", *job] for job in jobs()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = list(pool.map(lambda command: subprocess.run(command).returncode, commands))
    return max(done) or pages.write()


if __name__ == "__main__":
    sys.exit(exit_status(main))
