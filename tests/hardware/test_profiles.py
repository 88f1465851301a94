"""Profiles: what comes with the program loads, and every way to get one wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from spyx_nir.errors import UserError
from spyx_nir.hardware import profile


def document(target: str = "xylo-audio-2") -> dict[str, Any]:
    return yaml.safe_load((profile.FOLDER / f"{target}.yaml").read_text(encoding="utf-8"))


def load(tmp_path: Path, content: Any) -> profile.Profile:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return profile.load(str(path))


def test_every_profile_loads_and_every_fact_has_a_source() -> None:
    assert profile.names() == [
        "brainscales-2", "cortex-m", "ecp5-25k", "generic", "ice40-up5k", "loihi", "speck-2f",
        "spinnaker2", "xylo-audio-2", "xylo-audio-3", "xylo-imu",
    ]  # fmt: skip
    for target in profile.names():
        chip = profile.load(target)
        for key, entry in chip.facts.items():
            assert entry.source.strip(), (target, key)
            assert all(source.strip() for _, source in entry.also), (target, key)


@pytest.mark.parametrize(
    ("target", "key", "value"),
    [  # the numbers of the vendors' documents and programs, written down independently
        ("xylo-audio-2", "limits.inputs", 16),
        ("xylo-audio-2", "limits.hidden_neurons", 1000),
        ("xylo-audio-2", "limits.outputs", 8),
        ("xylo-audio-3", "limits.hidden_neurons", 992),
        ("xylo-audio-3", "limits.outputs", 32),
        ("xylo-imu", "limits.hidden_neurons", 496),
        ("xylo-imu", "limits.outputs", 16),
        ("speck-2f", "cores.kernel_memory", [2**10 * n for n in (16, 16, 16, 32, 32, 64, 64, 16, 16)]),
        ("speck-2f", "cores.neuron_memory", [2**10 * n for n in (64, 64, 64, 32, 32, 16, 16, 16, 16)]),
        ("loihi", "state.bits", 24),
        ("loihi", "state.threshold_bits", 17),
        ("brainscales-2", "limits.neurons", 512),
        ("brainscales-2", "weights.bits", 6),
        ("spinnaker2", "weights.bits", 8),
        ("ice40-up5k", "fpga.cells", 5280),
        ("ice40-up5k", "fpga.block_rams", 30),
        ("ice40-up5k", "fpga.large_rams", 4),
        ("ice40-up5k", "fpga.multipliers", 8),
        ("ecp5-25k", "fpga.block_rams", 56),
        ("ecp5-25k", "fpga.multipliers", 28),
    ],
)  # fmt: skip
def test_numbers_of_the_chips(target: str, key: str, value: Any) -> None:
    assert profile.load(target)[key] == value


def test_a_chip_is_added_by_adding_a_file(tmp_path: Path) -> None:
    content = document()
    content["limits"]["inputs"] = {"value": 3, "source": "the data sheet"}
    mine = load(tmp_path, content)
    assert (mine.name, mine["limits.inputs"]) == ("mine", 3)
    assert mine.source("limits.inputs") == "the data sheet"


def test_where_sources_differ_both_are_kept() -> None:
    entry = profile.load("xylo-audio-3").facts["limits.outputs"]
    assert (entry.value, [value for value, _ in entry.also]) == (32, [16])


def _without(section: str, key: str) -> Any:
    def change(content: dict[str, Any]) -> None:
        del content[section][key]

    return change


def _with(section: str, key: str, entry: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        content[section][key] = entry

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("limits", "inputs"), "`limits.inputs` is missing"),
        (_with("limits", "inputs", 16), "`limits.inputs` is 16; {value, source} is needed"),
        (_with("limits", "inputs", {"value": 16}), "`limits.inputs` has no source"),
        (_with("limits", "inputs", {"value": 16, "source": " "}), "`limits.inputs` has no source"),
        (_with("limits", "inputs", {"source": "s"}), "`limits.inputs.value` is missing"),
        (
            _with("limits", "inputs", {"value": "16", "source": "s"}),
            "`limits.inputs.value` must be a whole number of 1 or more, or null, got '16'",
        ),
        (
            _with("limits", "inputs", {"value": True, "source": "s"}),
            "`limits.inputs.value` must be a whole number of 1 or more, or null, got True",
        ),
        (
            _with("limits", "inputs", {"value": 1, "source": "s", "also": [{"value": 2}]}),
            "`limits.inputs.also[0]` has no source",
        ),
        (
            _with("limits", "inputs", {"value": 1, "source": "s", "unit": "V"}),
            "limits.inputs.unit: unknown key; allowed are value, source, also",
        ),
        (_with("limits", "neuron", {"value": 1, "source": "s"}), "limits.neuron: unknown key"),
        (
            _with("neuron", "reset", {"value": ["fast"], "source": "s"}),
            "must be a list, each one of v_reset, subtract, subtract_after_decay, got ['fast']",
        ),
        (
            _with("neuron", "decay_bits", {"value": None, "source": "s"}),
            "integer_semantics `xylo` needs a value for `neuron.decay_bits`",
        ),
        (lambda content: content.pop("state"), "the section `state` is missing"),
        (lambda content: content.pop("chip"), "`chip` is missing"),
        (
            lambda content: content.update(integer_semantics="tea"),
            "`integer_semantics` must be one of dynapcnn, lava, nir-integer, xylo, none, got 'tea'",
        ),
        (lambda content: content.update(rule="xylo"), "`rule` is now called `integer_semantics`"),
        (lambda content: content.update(limits=3), "`limits` must be a mapping, got 3"),
        (lambda content: content.update(colour="red"), "colour: unknown key; allowed are chip"),
    ],
)  # fmt: skip
def test_a_wrong_profile_names_file_key_and_what_is_allowed(
    tmp_path: Path, change: Any, message: str
) -> None:
    content = document()
    change(content)
    with pytest.raises(UserError) as caught:
        load(tmp_path, content)
    assert message in str(caught.value)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cores_must_agree_in_number(tmp_path: Path) -> None:
    content = document("speck-2f")
    content["cores"]["bias_memory"]["value"] = [1024]
    with pytest.raises(UserError, match="list different numbers of cores"):
        load(tmp_path, content)


@pytest.mark.parametrize("text", ["[1, 2", "- 1", "", "a: *b", "\x00"])
def test_no_yaml_mapping(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"mine.yaml: (not readable as YAML|a mapping is needed)"):
        load(tmp_path, text)


def test_unknown_targets() -> None:
    with pytest.raises(
        UserError, match="unknown target `xylo`; known are brainscales-2, cortex-m, ecp5-25k"
    ):
        profile.load("xylo")
    with pytest.raises(UserError, match="no such file"):
        profile.load("nowhere.yaml")


@pytest.mark.parametrize("name", ["generic.yaml", "..yaml", "a.b.yaml", "a b.yaml", "-x.yaml"])
def test_a_name_that_would_be_another_bundle_s_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text((profile.FOLDER / "loihi.yaml").read_text())
    with pytest.raises(UserError, match="a chip is called by its file, by letters, digits"):
        profile.load(str(tmp_path / name))


def test_a_file_in_the_folder_of_profiles_is_a_target_of_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/extend.md says: DVC watches the folder, and the name has no dot."""
    from end_to_end import ROOT

    from pipeline import params

    (tmp_path / "mine.yaml").write_text((profile.FOLDER / "loihi.yaml").read_text())
    monkeypatch.setattr("spyx_nir.hardware.facts.FOLDER", tmp_path)
    monkeypatch.setattr("spyx_nir.hardware.profile.FOLDER", tmp_path)
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["tasks"]["braille"]["targets"] = {"mine": {"epochs": 1, "learning_rate": 1e-3}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    assert list(params.load("braille", tmp_path / "params.yaml").targets) == ["mine"]
    assert profile.load("mine").name == "mine"
