"""params.yaml: keys, ranges and names that were changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from end_to_end import ROOT

from pipeline import params
from pipeline.schema import Train
from spyx_nir.errors import UserError


def written(folder: Path, section: str, **changes: Any) -> Path:
    """params.yaml with `changes` in a section of the task nmnist; a key set to None is left out."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    block = document["tasks"]["nmnist"][section]
    block.update(changes)
    for key in [key for key, value in changes.items() if value is None]:
        del block[key]
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(("old", "new"), params.RENAMED.items())
def test_an_old_name_of_a_key_gets_its_new_one(old: str, new: str, tmp_path: Path) -> None:
    assert new in Train.__dataclass_fields__ and old not in Train.__dataclass_fields__
    path = written(tmp_path, "train", **{old: 0.0, new: None})
    message = f"{path}: tasks.nmnist.train.{old}: the key is called `{new}` now"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        params.load("nmnist", path)


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("data", "bins", 0, "at least 1"),
        ("data", "bin_us", 0, "at least 1 (microseconds)"),
        ("data", "simulated_per_class", 3, "at least 4"),
        ("data", "validation", 0.5, "0 or a fraction below 0.5"),
        ("data", "test", 0.0, "a fraction above 0 and below 0.9"),
        ("data", "classes", ["1", "1"], "at least 2 different classes"),
        ("data", "classes", ["1"], "at least 2 different classes"),
        ("network", "threshold", 0.0, "above 0"),
        ("network", "surrogate_slope", -1.0, "above 0"),
        ("network", "weight_bits", 21, "from 4 to 20, or null"),
        ("network", "first_gain", 0.0, "above 0"),
        ("train", "warm_up", 1.0, "from 0 to below 1"),
        ("train", "ema_decay", 1.0, "from 0 to below 1"),
        ("train", "decay_lr_multiplier", 0.0, "above 0"),
        ("train", "max_rotation", 180.5, "from 0 to 180 (degrees)"),
        ("train", "max_shear", 0.6, "from 0 to 0.5"),
        ("train", "elastic_alpha", 17.0, "from 0 to 16 (pixels)"),
        ("train", "max_time_shift", -1, "at least 0 (bins)"),
        ("export", "dt", 0.0, "above 0"),
        ("parity", "max_tie_distance", 1.0, "from 0 to below 1"),
        ("deploy", "vectors", 0, "at least 1"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(
    section: str, key: str, value: Any, allowed: str, tmp_path: Path
) -> None:
    path = written(tmp_path, section, **{key: value})
    given = tuple(value) if isinstance(value, list) else value
    message = f"{path}: tasks.nmnist.{section}.{key} must be {allowed}, got {given!r}"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        params.load("nmnist", path)


def test_classes_without_control_characters(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"data\.classes\[0\] must be text without control characters"
    ):
        params.load("nmnist", written(tmp_path, "data", classes=["a\x1b[2J", "\u202eb"]))
