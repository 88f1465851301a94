"""Bundles that somebody changed: `spyx-nir verify` names what differs, and runs nothing of them.

Every change is followed by new digests in SHA256SUMS, and in manifest.json where the test says so: only
what the files say to each other can tell.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import runpy
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from spyx_nir.bundle import consistency, folder, programs
from spyx_nir.bundle.templates import shared
from spyx_nir.cli.main import main

VECTORS, INTEGERS = "test_data_set_0/vectors.npz", "test_data_set_0/integer_vectors.npz"


def sums(bundle: Path) -> None:
    """Make SHA256SUMS right again."""
    (bundle / "SHA256SUMS").unlink(missing_ok=True)
    (bundle / "SHA256SUMS").write_text(folder.sums(bundle))


def digests(bundle: Path) -> None:
    """Make the digests of manifest.json right again, then SHA256SUMS."""
    with facts(bundle) as found:
        for name, entry in found["files"].items():
            if (bundle / name).exists():
                entry["sha256"] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    sums(bundle)


class facts:
    """manifest.json, to be changed inside a `with`."""

    def __init__(self, bundle: Path, name: str = "manifest.json") -> None:
        self.path = bundle / name

    def __enter__(self) -> dict[str, Any]:
        self.found = json.loads(self.path.read_text())
        return self.found

    def __exit__(self, *_: object) -> None:
        self.path.write_text(json.dumps(self.found, indent=2, sort_keys=True) + "\n")


def arrays(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change the arrays of an .npz file."""
    found = shared.read(path)
    change(found)
    with open(path, "wb") as stream:
        np.savez_compressed(stream, **found)  # type: ignore[arg-type]


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda bundle: sums(bundle) if (bundle / name).write_text(text) else None


@pytest.fixture
def bundle(tiny_run: Callable[[str, str], Path], tmp_path: Path) -> Path:
    """A copy of a task's bundle."""
    made = tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic"
    return Path(shutil.copytree(made, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def chips_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for Loihi: two inputs, each to an LIF of its own that spikes for every event."""
    place = tmp_path_factory.mktemp("built")
    ones, labels = np.ones(2), np.arange(20) % 2
    nodes = {
        "input": nir.Input(np.array([2])),
        "w": nir.Linear(1.5 * np.eye(2)),
        "n": nir.LIF(
            tau=2 * ones, r=2 * ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones,
            metadata={"reset": "v_reset", "spike_delay": 0},
        ),
        "output": nir.Output(np.array([2])),
    }  # fmt: skip
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    nir.write(place / "passes.nir", nir.NIRGraph(nodes, edges, metadata={"dt": 1.0}))
    x = np.zeros((12, 20, 2), np.uint8)
    x[::3, np.arange(20), labels] = 1
    np.savez(place / "data.npz", x=x, y=labels)
    words = ["build", str(place / "passes.nir"), "--target", "loihi", "--dt", "1"]
    assert main([*words, "--calibrate", str(place / "data.npz"), "-o", str(place / "out")]) == 0
    return place / "out" / "loihi"


@pytest.fixture
def chips(chips_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(chips_bundle, tmp_path / "chip"))


def refused(bundle: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `verify` says of a bundle that it must not pass: lines, no traceback."""
    capsys.readouterr()
    assert main(["verify", str(bundle)]) == 1
    said = capsys.readouterr().err
    assert said and all(line.startswith(("differs: ", "error: ")) for line in said.splitlines())
    return said


def test_what_is_as_it_was_made_passes(
    bundle: Path, chips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for made in (bundle, chips):
        capsys.readouterr()
        assert main(["verify", str(made)]) == 0
        said = capsys.readouterr().out
        found = shared.read(made / VECTORS)
        spikes = sum(int(found[key].sum()) for key in found if key != "input")
        entries = sum(found[key].size for key in found if key != "input")
        assert f"({entries} entries compared, {spikes} spikes among them)" in said
        assert said.splitlines()[-1] == f"{made}: pass; {shared.PASS}"
        assert spikes > 0
    assert "integer vectors (" in said


# --------------------------------------------------------------------- what a file may be


def test_a_fifo_is_named_and_not_opened(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(bundle / "extra")
    assert "extra: neither file nor folder" in refused(bundle, capsys)
    (bundle / "manifest.json").unlink()
    os.mkfifo(bundle / "manifest.json")
    assert "manifest.json: neither file nor folder" in refused(bundle, capsys)
    (bundle / "SHA256SUMS").unlink()
    os.mkfifo(bundle / "SHA256SUMS")
    assert "SHA256SUMS: not readable (no regular file)" in refused(bundle, capsys)
    (bundle / "model.nir").unlink()
    os.mkfifo(bundle / "model.nir")
    assert "SHA256SUMS: not readable" in refused(bundle, capsys)


@pytest.mark.parametrize("target", ["/dev/zero", "/etc/passwd", "nowhere", "."])
def test_links_are_named(target: str, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "notes").symlink_to(target)
    assert f"notes: a link to {target}; files are needed" in refused(bundle, capsys)


def test_a_link_in_a_model_s_place_is_not_followed(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "model.nir").rename(tmp_path / "elsewhere.nir")
    (bundle / "model.nir").symlink_to(tmp_path / "elsewhere.nir")
    assert f"model.nir: a link to {tmp_path}/elsewhere.nir" in refused(bundle, capsys)


@pytest.mark.parametrize(
    "name", ["a\x1b[2Jb", "a\nb", "a\u202eb", "a\rb", "a\x00b".replace("\0", "\x7f")]
)
def test_names_with_control_characters_are_escaped(
    name: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / name).write_text("")
    said = refused(bundle, capsys)
    assert "a name with control characters" in said
    assert all(line.isprintable() for line in said.splitlines())
    assert name.encode("unicode_escape").decode() in said


def test_a_sparse_file_of_terabytes_is_not_read(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("padding", "manifest.json", "SHA256SUMS"):
        with open(bundle / name, "ab") as stream:
            stream.truncate(1 << 42)
        said = refused(bundle, capsys)
        size = "larger than 16777216 bytes" if name == "SHA256SUMS" else f"{1 << 42} bytes; at most"
        assert f"{name}: " in said and size in said


# ----------------------------------------------------------------------------- SHA256SUMS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text + text.splitlines()[0] + "\n", "lists MODEL_CARD.md again"),
        (lambda text: text + "0" * 64 + "  ../../etc/passwd\n", "../../etc/passwd: missing"),
        (lambda text: text + "no digest\n", "is no digest and name"),
        (lambda text: text + "é" * 9_000_000, "larger than 16777216 bytes"),
        (lambda text: "", "MODEL_CARD.md: not listed in SHA256SUMS"),
        (lambda text: text.upper(), "line 1 is no digest and name"),
    ],
)
def test_sums(
    change: Callable[[str], str], said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundle / "SHA256SUMS"
    path.write_text(change(path.read_text()))
    assert said in refused(bundle, capsys)


# --------------------------------------------------------------------------- manifest.json


def test_a_key_twice(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle / "manifest.json"
    path.write_text('{"dt": 1, ' + path.read_text().lstrip().removeprefix("{"))
    sums(bundle)
    assert "manifest.json: holds the key 'dt' twice" in refused(bundle, capsys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "manifest.json: nested too deep"),
        ('{"dt": ' * 100_000, "manifest.json: nested too deep"),
        ('{"dt": ' + "9" * 1000 + "}", "manifest.json: holds the number 99999"),
        ('{"dt": ' + "9" * 5000 + "}", "manifest.json: holds the number 99999"),
        ('{"dt": NaN}', "manifest.json: holds the number NaN"),
        ('{"dt": 1e999}', "manifest.json: holds the number 1e999"),
        ('{"dt": true}', "manifest.json: `dt` must be a number above 0"),
        ('{"dt": 0}', "manifest.json: `dt` must be a number above 0"),
        ('{"dt": "1"}', "manifest.json: `dt` must be a number above 0"),
        ("[]", "manifest.json: holds no JSON object"),
        ("{", "manifest.json: Expecting property name"),
        ('{"dt": 1}', "manifest.json: `files` does not list model.nir"),
        ('{"dt": 1, "files": []}', "manifest.json: `files` does not list model.nir"),
    ],
)
def test_a_manifest_that_is_none(
    text: str, said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "manifest.json").write_text(text)
    sums(bundle)
    assert said in refused(bundle, capsys)


def entry(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found.update(changes)


def at(place: str, value: Any) -> Callable[[dict[str, Any]], object]:
    """Set what is at `place`, keys and indices separated by dots."""

    def change(found: Any) -> None:
        *parents, last = [int(key) if key.isdigit() else key for key in place.split(".")]
        for key in parents:
            found = found[key]
        found[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f["classes"].reverse(), "`classes` is ['Y',"),
        (at("nodes.1.weights", 7), "`nodes` is not what model.nir gives: entry 1"),
        (at("nodes.3.reset", "subtract"), "`nodes` is not what model.nir gives: entry"),
        (lambda f: f["nodes"].pop(), "`nodes` is not what model.nir gives: 8 entries, not 9"),
        (at("edges.0", ["input", "output"]), "`edges` is not what model.nir gives: entry 0"),
        (entry(neurons=1), "`neurons` is not what model.nir gives: '1'"),
        (entry(synapses=1), "`synapses` is not what model.nir gives"),
        (entry(reset="subtract"), "`reset` is not what model.nir gives"),
        (entry(plain_nir_is_enough=False), "`plain_nir_is_enough` is not what"),
        (entry(input_shape=[13]), "`input_shape` is not what model.nir gives"),
        (entry(time_unit="ms"), "`time_unit` is 'ms', the contract in model.nir says 's'"),
        (entry(input_bin_s=1.0), "`input_bin_s` is 1.0, the contract in model.nir says"),
        (at("contract.dt", 1.0), "`contract` is not what model.nir gives"),
        (entry(dt=0.001), "model.nir: "),
        (entry(n_steps=15, silent_steps=1), "`n_steps` is 15, the contract in model.nir says 16"),
        (entry(n_steps=15), "has 16 steps, manifest.json says 15 and 0 silent"),
        (at("vectors.predicted", [0] * 8), "`vectors.predicted` is not what"),
        (at("vectors.test_samples", [0]), "has 8 samples, manifest.json lists 1"),
        (at("vectors.labels.0", 7), "the label 7 is none of 7 classes"),
        (at("vectors.labels.0", 10**300), "the label 10000000000000000000 is none of 7"),
        (at("vectors.labels", [0]), "1 labels for 8 golden vectors"),
        (at("vectors.file", "/etc/passwd"), "`vectors.file` is '/etc/passwd'"),
        (at("metrics.test_accuracy.trained.accuracy", 0.99), "of 20 does not give"),
        (at("metrics.test_accuracy.trained.correct", 20), "of 20 does not give"),
        (at("metrics.test_accuracy.trained.correct", 21), "21 of 20 is no count of right"),
        (at("metrics.test_accuracy.trained.wilson95", [0.9, 1.0]), "wilson95` is [0.9, 1.0]"),
        (at("metrics.neurobench.ClassificationAccuracy", 1), "ClassificationAccuracy` is 1, not"),
        (at("metrics.neurobench.Footprint", 1), "MODEL_CARD.md: `What it costs` is not what"),
        (at("metrics.test_samples", 21), "`metrics.test_accuracy.trained.n` is not"),
        (at("metrics", 3), "manifest.json: not to be compared (TypeError"),
        (lambda f: f["files"].pop("model.nir"), "`files` does not list model.nir"),
        (at("files.model.nir", 1), "says None"),
        (at("files.gone", {"sha256": "0"}), "lists gone, which is no file of the bundle"),
    ],
)
def test_a_manifest_that_does_not_follow(
    change: Callable[[Any], object], said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with facts(bundle) as found:
        if said == "says None":  # a name with dots
            found["files"]["model.nir"] = 1
        else:
            change(found)
    sums(bundle)
    assert said in refused(bundle, capsys)


def test_other_weights_than_the_manifest_s(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A weight that moves no spike: only the digests of manifest.json know."""
    for name in ("model.nir", "model-nir-1.0.4.nir"):
        with h5py.File(bundle / name, "r+") as stream:
            stream["node/nodes/linear_0/weight"][0, 0] *= np.float32(1 + 2e-7)
    sums(bundle)
    assert "model.nir: SHA-256 is " in (said := refused(bundle, capsys))
    assert "manifest.json says" in said
    digests(bundle)
    assert "model.nir: its content has digest" in refused(bundle, capsys)


def test_a_line_about_a_long_value_is_cut(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with facts(bundle) as found:
        found["classes"][0] = "x" * 100_000
    sums(bundle)
    said = refused(bundle, capsys)
    assert "`classes` is ['xxx" in said and " characters)\n" in said
    assert max(map(len, said.splitlines())) < 1100


# ---------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda a: a.update({k: v[:1] for k, v in a.items()}),
            "has 1 steps, manifest.json says 16",
        ),
        (lambda a: a.update({k: v[:, :0] for k, v in a.items()}), "holds no sample"),
        (lambda a: a.update({k: 0 * v for k, v in a.items()}), "holds no spike"),
        (lambda a: a.update(output=a["output"].astype("S1")), "`output` is |S1 of shape"),
        (lambda a: a.update(input=a["input"][0, 0]), "`input` is uint8 of shape (12,)"),
        (lambda a: a.pop("output"), "has no `output`"),
        (lambda a: a.clear(), "has no `input`"),
        (lambda a: a.update(ghost=a["output"]), "has ghost, which is no spiking node"),
        (lambda a: a.pop("cubalif_3"), "node cubalif_3 spikes, but"),
        (lambda a: a.update(cubalif_3=1 - a["cubalif_3"]), "of cubalif_3 differ"),
        (lambda a: a.update(input=1 - a["input"]), "differ, the first at (step, sample"),
    ],
)
def test_vectors(
    change: Callable[[dict[str, np.ndarray]], object],
    said: str,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arrays(bundle / VECTORS, change)
    digests(bundle)
    found = refused(bundle, capsys)
    assert said in found


HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': (%d,), }"


def npy(header: str, content: bytes = b"") -> bytes:
    """An .npy file with a header of one's own."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy(HEADER % ("|u1", 99999999999)), "declares 99999999999 bytes"),
        (npy(HEADER % ("|O", 1), b"cos\nsystem\n"), "declares 8 bytes and holds 11"),
        (b"\x93NUMPY\x09\x00" + bytes(20), "of version 9 of the .npy format"),
        (b"not numpy", "not readable"),
    ],
)
def test_arrays_that_declare_what_they_have_not(
    content: bytes, said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(bundle / VECTORS, "w") as archive:
        archive.writestr("input.npy", content)
    digests(bundle)
    assert said in refused(bundle, capsys)


def test_a_pickle_in_the_vectors_is_not_read(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], object))
    content = stream.getvalue()
    with zipfile.ZipFile(bundle / VECTORS, "w") as archive:
        archive.writestr("input.npy", content[:128] + content[128:136].ljust(8))
    digests(bundle)
    assert "Object arrays cannot be loaded" in refused(bundle, capsys)


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(bundle / VECTORS, "w") as archive:
        archive.writestr("input.npy", b"0")
    content = bytearray((bundle / VECTORS).read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (3 << 30).to_bytes(4, "little")  # its size, unpacked
    (bundle / VECTORS).write_bytes(content)
    digests(bundle)
    assert f"unpacks to {3 << 30} bytes, at most {2 << 30} are read" in refused(bundle, capsys)


def test_two_arrays_of_one_name(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(bundle / VECTORS, "a") as archive,
    ):
        archive.writestr("input.npy", b"")
    digests(bundle)
    assert "has two arrays of one name" in refused(bundle, capsys)


# --------------------------------------------------------------------------------- integers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda a: a.update({"weight/w": a["weight/w"] + 1}),
            "loihi has -256 to 254 in steps of 2",
        ),
        (lambda a: a.update({"weight/w": a["weight/w"] // 4 * 2}), "differ, the first at"),
        (lambda a: a.update({"threshold/n": a["threshold/n"] + 1}), "not what model.nir gives"),
        (lambda a: a.clear(), "not to be run (KeyError"),
        (lambda a: a.pop("spikes/n"), "has no `spikes/n`"),
        (lambda a: a.pop("membrane/n"), "has no `membrane/n`"),
        (lambda a: a.update({"spikes/n": a["spikes/n"][:1]}), "spikes/n: has shape (1,"),
        (lambda a: a.update({"spikes/m": a["spikes/n"]}), "has spikes/m, of which the network has"),
        (
            lambda a: a.update(
                {k: v[:, :0] for k, v in a.items() if v.ndim == 3 and v.shape[1] > 2}
            ),
            "holds no sample, so nothing is compared",
        ),
        (lambda a: a.update(network=np.array("[" * 100_000)), "not to be run (RecursionError"),
        (lambda a: a.update(network=np.array("{}")), "not to be run (KeyError"),
        (lambda a: a.update(input=a["input"][:, ::-1]), "differ, the first at"),
    ],
)
def test_integers(
    change: Callable[[dict[str, np.ndarray]], object],
    said: str,
    chips: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arrays(chips / INTEGERS, change)
    digests(chips)
    assert said in refused(chips, capsys)


def test_integers_of_another_network_that_agree_with_each_other(
    chips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All is run again from the integers; only model.nir has others."""
    from spyx_nir.bundle.templates import verify_integers

    found = shared.read(chips / INTEGERS)
    found["weight/w"] = found["weight/w"] - 2  # Loihi has steps of 2
    network = verify_integers.network_of(found)
    run = verify_integers.run(network, {"input": found["input"].astype(np.int64)}, record=True)
    found |= {"spikes/n": run.spikes["n"], "membrane/n": run.membranes["n"]}
    found |= {"current/n": run.currents["n"]} if "current/n" in found else {}
    with open(chips / INTEGERS, "wb") as stream:
        np.savez_compressed(stream, **found)  # type: ignore[arg-type]
    digests(chips)
    assert verify_integers.check(chips) == []
    assert f"{INTEGERS}: `weight/w` is not what model.nir gives" in refused(chips, capsys)


def test_a_chip_that_is_not_known_is_said_to_be_unknown(
    chips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with facts(chips) as found:
        found["target"]["name"] = "mine"
    sums(chips)
    assert main(["verify", str(chips)]) == 0
    assert (
        "not compared: integers with model.nir, as mine is no chip known" in capsys.readouterr().out
    )


# --------------------------------------------------------------------------- card and programs


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("| ParameterCount | 2166 |", "| ParameterCount | 12 |", "`What it costs` is not what"),
        ("- readout: ", "- readout: never, ", "`What NIR cannot say` is not what"),
        ("| `linear_0` | Linear", "| `linear_0` | Affine", "`Nodes` is not what manifest.json"),
        ("with 45 neurons", "with 4 neurons", "does not say what manifest.json gives: A spiking"),
        ("20.00 % (4 of 20)", "99.00 % (20 of 20)", "99.00 % (20 of 20), 8.07 to"),
        ("value: 0.2", "value: 0.99", "the accuracy 0.99 of its head is not in manifest.json"),
    ],
)
def test_a_card_that_does_not_follow(
    before: str, after: str, said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundle / "MODEL_CARD.md"
    text = path.read_text()
    assert before in text, text
    path.write_text(text.replace(before, after))
    sums(bundle)
    assert f"MODEL_CARD.md: {said}" in refused(bundle, capsys)


@pytest.mark.parametrize("name", ["verify.py", "events/encode.py"])
def test_a_program_that_is_not_ours(
    name: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundle / name
    path.write_text(path.read_text() + "print('pass')\n")
    digests(bundle)
    assert f"{name}: not ours: neither spyx-nir " in refused(bundle, capsys)


def test_a_further_program_is_not_ours(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "setup.py").write_text("import os\n")
    sums(bundle)
    assert "setup.py: not ours: a program that spyx-nir " in refused(bundle, capsys)


def test_programs_of_a_chip_are_ours(chips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("verify_integers.py", "on_lava.py"):
        path = chips / name
        path.write_text(path.read_text() + "\n")
    digests(chips)
    said = refused(chips, capsys)
    assert "verify_integers.py: not ours" in said and "on_lava.py: not ours" in said


def test_programs_of_a_released_version_stay_ours(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = bundle / "verify.py"
    path.write_text(path.read_text() + "\n")
    sums(bundle)
    assert consistency.check(bundle).problems
    known = {"0.0.1": {"verify.py": hashlib.sha256(path.read_bytes()).hexdigest()}}
    (tmp_path / "released.json").write_text(json.dumps(known))
    monkeypatch.setattr(programs, "RELEASED", tmp_path / "released.json")
    assert consistency.check(bundle).problems == []


def test_events_of_other_recordings(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with facts(bundle, "events/address_map.json") as found:
        found["output"]["classes"].reverse()
    digests(bundle)
    assert "events/address_map.json: `classes` is ['Y'," in refused(bundle, capsys)


def test_the_bundle_s_own_programs_say_the_same(chips: Path) -> None:
    """verify.py and verify_integers.py of the bundle, as its receiver runs them."""
    names = ("verify.py", "verify_integers.py")
    texts = {name: runpy.run_path(str(chips / name), run_name="x") for name in names}
    assert [text["check"](chips) for text in texts.values()] == [[], []]
    (chips / "manifest.json").write_text("[" * 100_000)
    sums(chips)
    assert texts["verify.py"]["check"](chips) == ["manifest.json: nested too deep"]
    arrays(chips / INTEGERS, lambda a: a.pop("spikes/n"))
    (problem,) = texts["verify_integers.py"]["check"](chips)
    assert problem == f"{INTEGERS}: has no `spikes/n`"


# ------------------------------------------------------------------- what claims much memory


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("time.steps", 10**8, "address_map.json has input [100000000, 2]"),
        ("input.shape", [10**8], "address_map.json has input [12, 100000000]"),
        ("input.strides.x", 3 * 10**8, "`strides` lead out of the input"),
        ("input.strides.x", -1, "`strides` lead out of the input"),
    ],
)
def test_an_address_map_that_claims_much(
    place: str, value: Any, said: str, chips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The vectors have 12 steps of 2 channels; no array of the claim's size is made."""
    with facts(chips, "events/address_map.json") as found:
        at(place, value)(found)
    digests(chips)
    tracemalloc.start()
    assert said in refused(chips, capsys)
    assert tracemalloc.get_traced_memory()[1] < 1 << 27
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("known", "said"),
    [
        # 2 neurons, 4 samples, 13 and 2^28 steps; model.nir has no delay
        (True, "not run, it claims 2147483752 states; at most 104 are run"),
        (False, "not run, it claims 2147483752 states; at most 134217728 are run"),
    ],
)
def test_integers_that_claim_a_long_delay(
    known: bool, said: str, chips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays(chips / INTEGERS, lambda a: a.update({"delay/w": np.full(2, 2**28)}))
    with facts(chips) as found:
        found["target"]["name"] = found["target"]["name"] if known else "other"
    digests(chips)
    tracemalloc.start()
    assert said in refused(chips, capsys)
    assert tracemalloc.get_traced_memory()[1] < 1 << 27
    tracemalloc.stop()
