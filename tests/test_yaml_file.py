"""YAML from anybody: what aliases stand for is counted before anything is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline import params
from spyx_nir import yaml_file
from spyx_nir.errors import UserError
from spyx_nir.hardware import profile

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)
HOSTILE = {
    "billion laughs": (LAUGHS, r"its aliases stand for \d{9} values; at most 131072 are read"),
    "merged laughs": (MERGED, r"its aliases stand for \d{9} values; at most 131072 are read"),
    "itself": ("a: &a [*a]\n", "an alias stands for something that it is in itself"),
    "deep": ("a: " + "[" * 5000, "nested more than 100 deep"),
    "large": ("a: " + "x" * 2**20, "larger than 1048576 bytes"),
    "two documents": ("a: 1\n---\nb: 1\n", "not readable as YAML"),
    "an object": ("a: !!python/object/apply:os.system [id]\n", "not readable as YAML"),
    "a date that is none": ("a: 2026-99-99\n", "not readable as YAML"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_yaml_is_refused_in_a_line(what: str, tmp_path: Path) -> None:
    text, message = HOSTILE[what]
    path = tmp_path / "chip.yaml"
    path.write_text(text, encoding="utf-8")
    for read in (yaml_file.read, lambda path: profile.load(str(path)), params.names):
        with pytest.raises(UserError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ") and len(str(caught.value)) < 600


def test_anchors_that_people_write_are_read_as_pyyaml_reads_them(tmp_path: Path) -> None:
    text = "base: &base {epochs: 3, sizes: [1, 2]}\nmine: {<<: *base, epochs: 4}\nsame: *base\n"
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    assert yaml_file.read(path) == yaml.safe_load(text)
    path.write_text("", encoding="utf-8")
    assert yaml_file.read(path) is None
