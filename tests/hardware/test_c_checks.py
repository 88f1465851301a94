"""libFuzzer, and cppcheck's MISRA rules, on generated C."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from integer_bundles import recurrent_network, written
from test_serial_rtl import maps

from spyx_nir.hardware.network import IntegerNetwork

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "deploy-microcontroller.md"
NETWORKS = {"recurrent": recurrent_network, "maps": maps}
FUZZER = (
    "-std=c99",
    "-O1",
    "-g",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
)


def sources(folder: Path, network: IntegerNetwork) -> list[str]:
    (shape,) = network.inputs.values()
    written(folder, network, np.zeros((1, 1, *shape), np.int64))
    return [str(folder / "c" / f"{name}.c") for name in ("model", "weights", "serial")]


def fuzzed(folder: Path, parts: list[str], seconds: int) -> subprocess.CompletedProcess[str]:
    program = folder / "fuzz"
    harness = str(ROOT / "bench" / "silicon" / "fuzz_events.c")
    built = subprocess.run(
        ["clang", *FUZZER, f"-I{folder / 'c'}", *parts, harness, "-o", str(program)],
        capture_output=True, text=True,
    )  # fmt: skip
    if "libclang_rt.fuzzer" in built.stderr:
        pytest.skip("clang without libFuzzer: apt-get install libclang-rt-dev")
    assert built.returncode == 0, built.stderr
    limit = ["-seed=1", f"-max_total_time={seconds}", "-max_len=2048"]
    return subprocess.run([str(program), *limit], capture_output=True, text=True, cwd=folder)


@pytest.mark.full
@pytest.mark.skipif(shutil.which("clang") is None, reason="no clang: apt-get install clang")
def test_events_of_a_fuzzer_find_nothing_and_a_fault_is_found(tmp_path: Path) -> None:
    parts = sources(tmp_path, maps())
    done = fuzzed(tmp_path, parts, 10)
    assert done.returncode == 0 and re.search(r"Done \d+ runs", done.stderr), done.stderr[-500:]
    model = Path(parts[0])
    text = model.read_text()
    bounds = "channel >= MODEL_CHANNELS || y >= MODEL_HEIGHT || "
    assert bounds in text
    model.write_text(text.replace(bounds, ""))
    done = fuzzed(tmp_path, parts, 30)
    assert done.returncode != 0 and "Sanitizer" in done.stderr


def deviations() -> set[str]:
    """The rules in the table of the page."""
    table = PAGE.read_text(encoding="utf-8").split("## Fuzzing and MISRA")[1].split("\n## ")[0]
    return set(re.findall(r"^\| (\d+\.\d+) \|", table, re.M))


@pytest.mark.full
@pytest.mark.skipif(
    shutil.which("cppcheck") is None, reason="no cppcheck: apt-get install cppcheck"
)
@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_misra_rules_that_are_not_kept_are_documented(kind: str, tmp_path: Path) -> None:
    parts = sources(tmp_path, NETWORKS[kind]())
    command = ["cppcheck", "--addon=misra", "--std=c99", "-q", "--enable=style"]
    done = subprocess.run(
        [*command, f"-I{tmp_path / 'c'}", *parts], capture_output=True, text=True, cwd=tmp_path
    )
    found = set(re.findall(r"misra-c2012-([\d.]+)", done.stderr))
    assert {"12.1", "17.8"} <= found <= deviations()
    assert not re.findall(r": (?:error|warning):.*", done.stderr)
