"""The real pipeline on the default parameters, in a clone of what is committed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from end_to_end import ROOT


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no git checkout to clone")
def test_a_clone_makes_the_bytes_that_dvc_lock_promises(tmp_path):
    clone = tmp_path / "clone"
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "dvc"),  # nobody's own cache or settings
        "DVC_SYSTEM_CONFIG_DIR": str(tmp_path / "dvc"),
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    run("dvc", "repro")
    run("git", "diff", "--exit-code", "dvc.lock")
    scripts = sorted((clone / "models").glob("*/deploy/*/verify*.py"))
    assert len(scripts) == 2 + 2 * 4  # two generic bundles, two programs in each of four chips'
    for script in scripts:
        assert "pass: " in run(sys.executable, str(script))
    assert "up to date" in run("dvc", "repro")
