"""metrics/measured.json: what is accepted, what is refused, and how the page shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.report import measured
from spyx_nir.errors import UserError

ROOT = Path(__file__).parent.parent.parent
GOOD = {
    "task": "braille",
    "target": "loihi",
    "board": "board 3",
    "what": "power",
    "unit": "mW",
    "value": 12.5,
    "idle": 10.0,
    "duration": 64.0,
    "repetitions": 3,
    "recordings": 50,
    "instrument": "shunt of 0.1 ohm, 1 kHz",
    "date": "2026-11-29",
    "source": "measured/power.csv",
}


def written(folder: Path, content: object) -> Path:
    path = folder / "measured.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_no_file_is_nothing_measured(tmp_path):
    assert measured.read(tmp_path / "measured.json") == []
    assert measured.table([], None) == []
    assert measured.table([], {"ParameterCount": 3}) == []


def test_measured_and_modelled_have_columns_of_their_own(tmp_path):
    entries = measured.read(written(tmp_path, [GOOD]))
    (shown,) = measured.table(entries, {"energy": {"pj_per_sample": 2e6, "source": "a paper"}})
    rows = [dict(zip(shown.head, row, strict=True)) for row in shown.rows]
    modelled, power, energy = rows
    assert modelled["modelled"].text == "2 uJ" and modelled["measured"] is None
    assert power["modelled"] is energy["modelled"] is None
    keys = ("measured", "measured, idle", "measured, without idle")
    assert [power[key].text for key in keys] == ["12.5 mW", "10 mW", "2.5 mW"]
    # 64 s for 50 recordings: 12.5 mW * 1.28 s = 16 mJ, 10 mW * 1.28 s = 12.8 mJ.
    assert [energy[key].value for key in keys] == pytest.approx([16_000, 12_800, 3_200])
    assert power["board and instrument"] == "board 3; shunt of 0.1 ohm, 1 kHz"
    assert power["date and source"] == "2026-11-29; measured/power.csv"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"value": "12"},
            '`value` must be a number, 0 or more: the mean of all repetitions, got "12"',
        ),
        ({"value": -1}, "`value` must be a number, 0 or more"),
        ({"value": True}, "`value` must be a number, 0 or more"),
        ({"what": "heat"}, "`what` must be one of: power, energy of a recording, latency"),
        ({"unit": "uJ"}, "`unit` of power must be one of W, mW, uW, got 'uJ'"),
        ({"idle": None}, "`idle` of power must be a number in `unit`, got null"),
        (
            {"what": "latency of a recording", "unit": "ms"},
            "`idle` of latency of a recording must be",
        ),
        ({"duration": 0}, "`duration` must be seconds of one repetition, above 0, got 0"),
        ({"date": "yesterday"}, "`date` must be a day such as 2026-11-29, got"),
        ({"recordings": 0}, "`recordings` must be how many"),
        ({"source": " "}, "`source` must be text: the file with the samples, or the publication"),
        ({"watts": 3}, "`watts` is no key; there are: task, target, board"),
    ],
)
def test_an_entry_that_is_none_is_refused_in_one_line(tmp_path, change, why):
    path = written(tmp_path, [GOOD, GOOD | change])
    with pytest.raises(UserError, match=re.escape(f"{path}: entry 1: {why}")) as error:
        measured.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", [key for key, (_, _, needed) in measured.KEYS.items() if needed])
def test_a_missing_key_is_named(tmp_path, key):
    path = written(tmp_path, [{name: value for name, value in GOOD.items() if name != key}])
    with pytest.raises(UserError, match=f"entry 0: `{key}` is missing"):
        measured.read(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        (" " * (16 << 20) + "[]", "not readable as JSON: larger than 16777216 bytes"),
        ({}, "a list of objects is needed, got dict"),
        ([3], "entry 0: an object is needed, got int"),
    ],
)
def test_another_document_is_refused(tmp_path, content, why):
    with pytest.raises(UserError, match=re.escape(why)):
        measured.read(written(tmp_path, content))


def test_a_task_or_target_that_is_not_there_is_refused(tmp_path):
    known = {"braille": ["loihi"], "nmnist": []}
    measured.check_names(tmp_path, [GOOD], known)
    for change, why in (
        ({"task": "touches"}, "`task` 'touches' is not known; there are: braille, nmnist"),
        ({"target": "speck-2f"}, "`target` 'speck-2f' is not known; there are: loihi"),
    ):
        with pytest.raises(UserError, match=re.escape(f"entry 0: {why}")):
            measured.check_names(tmp_path, [GOOD | change], known)


def test_the_page_has_an_entry_that_is_accepted():
    text = (ROOT / "docs" / "power.md").read_text()
    (example,) = re.findall(r"^```text\n(\[\n.*?^\])\n```$", text, re.MULTILINE | re.DOTALL)
    entries = json.loads(example)
    assert [measured._fault(entry) for entry in entries] == [""] * len(entries)
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert rows == set(measured.KEYS)
