"""The library as a package: what it holds, what it needs, and how it works beside another `pipeline`."""

from __future__ import annotations

import email
import importlib.metadata
import inspect
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nir
import numpy as np
import pytest
import spyx.nir
from end_to_end import ROOT

import spyx_nir as snir
from spyx_nir.errors import EXTRAS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = ("h5py", "nir", "numpy", "pyyaml")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
TO_NIR = """
import flax.nnx as nnx, spyx.nn as snn, spyx_nir as snir
rngs = nnx.Rngs(0)
model = snn.Sequential(nnx.Linear(3, 2, rngs=rngs), snn.LIF((2,), beta=0.5, rngs=rngs))
print(sorted(snir.to_nir(model, {"input": (3,)}, {"output": (2,)}, dt=1.0).nodes))
"""
# Writes a file anew and runs it: the number of spikes of each node.
CALLS = """
import sys, numpy as np, spyx_nir as snir
snir.write(sys.argv[2], snir.read(sys.argv[1]))
x = np.arange(40 * 12).reshape(40, 1, 12) % 3 == 0
result = snir.reference.run(snir.file.read_dict(sys.argv[2]), x)
print({name: int(spikes.sum()) for name, spikes in sorted(result.spikes.items())})
"""


BUILD_IT = ("build", "{}/model.nir", "--target", "loihi", "-o", "built")


@dataclass(frozen=True)
class Built:
    """A wheel, the sdist that it was made from, and the tree that the sdist was made from."""

    wheel: Path
    sdist: Path
    tree: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("package")
    tree = root / "tree"
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("spyx_nir", "pipeline", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=unwanted)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    sdist = _build("sdist", tree, root)
    with tarfile.open(sdist) as archive:
        archive.extractall(root / "unpacked", filter="data")
    (source,) = (root / "unpacked").iterdir()
    return Built(_build("wheel", source, root), sdist, tree)


def _build(kind: str, tree: Path, out: Path) -> Path:
    before = set(out.iterdir())
    command = [sys.executable, "-c", BUILD.format(kind), str(out)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    (made,) = set(out.iterdir()) - before
    assert not (tree / "build").exists()
    return made


def _new_environment(folder: Path, wheel: Path) -> Path:
    """An empty environment that holds the wheel; gives its Python."""
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True)
    return python


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and what it needs, and nothing else."""
    python = _new_environment(tmp_path_factory.mktemp("environment"), built.wheel)
    (folder,) = python.parent.parent.glob("lib/python*/site-packages")
    for name in NEEDED:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {".."}:
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    return python


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that has a `pipeline.py` and a `pipeline/` of its own."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "pipeline").mkdir()
    for name in ("pipeline.py", "pipeline/__init__.py"):
        (folder / name).write_text("raise SystemExit('this pipeline is somebody else\\'s')\n")
    return folder


def run(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key[:6] != "PYTHON"}
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**environment, **variables},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_the_library_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (
        p for p in (ROOT / "spyx_nir").rglob("*") if p.is_file() and "__pycache__" not in p.parts
    )
    assert names == {path.relative_to(ROOT).as_posix() for path in files}
    assert {"spyx_nir/py.typed", "spyx_nir/bundle/templates/verify.py"} <= names
    assert any(name.endswith(".yaml") for name in names)


def test_the_sdist_holds_neither_application_nor_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"spyx_nir/__init__.py", "LICENSE", "README.md", "pyproject.toml"} <= names
    assert not any(name.startswith(("pipeline", "tests")) for name in names)


def test_what_the_package_needs(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    needs = metadata.get_all("Requires-Dist")
    base = [need for need in needs if "extra ==" not in need]
    assert sorted(re.split(r"[^\w-]", need.lower())[0] for need in base) == [*NEEDED]
    assert not any("==" in need.partition(";")[0] or "<" in need for need in needs)
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) == {
        "board",
        "cli",
        "events",
        "pipeline",
        "report",
        "spyx",
    }


def test_every_package_of_an_extra_is_named_by_the_error_that_misses_it() -> None:
    named = {
        "cyclonedx-python-lib": "cyclonedx",
        "pyserial": "serial",
        "pyyaml": "yaml",
        "vl-convert-python": "vl_convert",
    }
    extras = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    found = {
        named.get(package, package): extra
        for extra, needs in extras.items()
        for package in (re.split(r"[^\w-]", need)[0] for need in needs)
        if package != "spyx-nir"
    }
    assert found == EXTRAS


@pytest.fixture(scope="module")
def bundle(tiny_run) -> Path:
    return tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic"


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "{}/model.nir"),
        ("lint", "{}/model.nir"),
        ("fit", "{}/model.nir", "--target", "loihi"),
        ("verify", "{}"),
        ("summary", "{}"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_works_beside_another_pipeline_without_jax(
    arguments: tuple[str, ...], installed: Path, elsewhere: Path, bundle: Path
) -> None:
    program = installed.parent / "spyx-nir"
    words = [word.format(bundle) for word in arguments]
    there = run(program, *words, cwd=elsewhere)
    here = run(sys.executable, "-m", "spyx_nir", *words, cwd=ROOT)
    # `verify` compares the card where jinja2 is, and says where it is not.
    lines = [line for line in there.stdout.splitlines() if "which needs jinja2" not in line]
    assert (there.returncode, lines) == (here.returncode, here.stdout.splitlines()), there.stderr
    assert lines


def test_to_nir_works_beside_another_pipeline(installed: Path, elsewhere: Path) -> None:
    packages = Path(nir.__file__).parent.parent
    done = run(installed, "-c", TO_NIR, cwd=elsewhere, PYTHONPATH=str(packages))
    assert done.stdout == "['input', 'lif_1', 'linear_0', 'output']\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (("run", "{}/model.nir", "data.npy", "--engine", "jax"), "jax", "spyx"),
        (("completion", "bash"), "shtab", "cli"),
        ((*BUILD_IT,), "jinja2", "cli"),
        ((*BUILD_IT, "--finetune", "data.npz", "--epochs", "1"), "jax", "spyx"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(
    arguments, package, extra, installed: Path, elsewhere: Path, bundle: Path
) -> None:
    np.save(elsewhere / "data.npy", np.zeros((3, 1, 12), np.float32))
    words = [word.format(bundle) for word in arguments]
    done = run(installed.parent / "spyx-nir", *words, cwd=elsewhere)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: the package `{package}` is not installed in ")
    assert f': pip install "spyx-nir[{extra}]"' in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "use",
    [
        "to_nir(object(), {'input': (3,)}, {'output': (3,)})",
        "load(snir.read('model.nir'))",
        "run(None, None)",
        "neurons",
    ],
)
def test_python_names_the_extra_that_it_needs(
    use: str, installed: Path, elsewhere: Path, bundle: Path
) -> None:
    shutil.copy(bundle / "model.nir", elsewhere)
    program = (
        f"import spyx_nir as snir\ntry:\n    snir.{use}\nexcept ImportError as e:\n    print(e)"
    )
    done = run(installed, "-c", program, cwd=elsewhere)
    assert 'pip install "spyx-nir[spyx]"' in done.stdout, done.stderr


def test_a_table_on_a_terminal_without_rich_is_plain(installed: Path, elsewhere: Path) -> None:
    program = (
        "import sys\nsys.stdout.isatty = lambda: True\n"
        "from spyx_nir.cli import show\nshow.table(('a', 'b'), [('1', '2')])"
    )
    assert run(installed, "-c", program, cwd=elsewhere).stdout == "a\tb\n1\t2\n"


def _interpreter(version: str) -> str:
    """A Python of that version; the test is skipped where there is none."""
    found = shutil.which(f"python{version}")
    says = "import sys; print(*sys.version_info[:2], sep='.')"
    # A program of that name may only choose among versions that are not there.
    if not found or run(found, "-c", says, cwd=ROOT).stdout != f"{version}\n":
        pytest.skip(f"there is no Python {version}")
    return found


def _install(python: Path, what: str, versions: str, extra: str = "") -> None:
    """From the package index, by pip; the lowest versions that the ranges allow by uv."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    if versions == "lowest":
        # uv takes the lowest ones of what it is asked for itself, not of what the wheel asks for.
        needs = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"].get(extra, ())]
        lowest = ["--python", python, "--resolution", "lowest-direct"]
        command = [sys.executable, "-m", "uv", "pip", "install", "-q", *lowest, *needs]
    done = run(*command, what, cwd=python.parent)
    assert done.returncode == 0, done.stderr


# Not the lowest ones with 3.13: NumPy 1.26 is older than it, and has no wheel for it.
@pytest.mark.full
@pytest.mark.parametrize(
    ("version", "versions"),
    [
        ("3.11", "newest"),
        ("3.11", "lowest"),
        ("3.12", "newest"),
        ("3.12", "lowest"),
        ("3.13", "newest"),
    ],
)
def test_the_wheel_installs_from_the_package_index(
    version: str, versions: str, built: Built, elsewhere: Path, bundle: Path, tmp_path: Path
) -> None:
    """With what it needs and nothing else: commands and Python calls give what they give here."""
    folder = tmp_path / "environment"
    assert run(_interpreter(version), "-m", "venv", folder, cwd=tmp_path).returncode == 0
    python = folder / "bin" / "python"
    _install(python, str(built.wheel), versions)
    listed = run(python, "-m", "pip", "list", "--format=freeze", cwd=tmp_path).stdout.lower()
    found = dict(line.split("==") for line in listed.splitlines())
    assert found.keys() - {"pip", "setuptools"} == {*NEEDED, "spyx-nir"}
    if versions == "lowest":
        for name, least in (need.split(">=") for need in PROJECT["dependencies"]):
            assert f"{found[name]}.0.0".startswith(f"{least}."), name
    model = bundle / "model.nir"
    for words in (
        ["inspect", model],
        ["lint", model],
        ["fit", model, "--target", "loihi"],
        ["verify", bundle],
    ):
        there = run(folder / "bin" / "spyx-nir", *words, cwd=elsewhere)
        here = run(sys.executable, "-m", "spyx_nir", *words, cwd=ROOT)
        assert (there.returncode, there.stdout) == (here.returncode, here.stdout), there.stderr
    there = run(python, "-c", CALLS, model, tmp_path / "there.nir", cwd=elsewhere)
    here = run(sys.executable, "-c", CALLS, model, tmp_path / "here.nir", cwd=ROOT)
    assert (there.returncode, there.stdout) == (0, here.stdout), there.stderr
    copies = [snir.file.read_dict(tmp_path / name) for name in ("there.nir", "here.nir")]
    assert snir.file.content_digest(copies[0]) == snir.file.content_digest(copies[1])


@pytest.mark.full
@pytest.mark.timeout(900)  # JAX is 100 MB
@pytest.mark.parametrize(
    ("version", "versions"), [("3.12", "newest"), ("3.12", "lowest"), ("3.13", "newest")]
)
def test_to_nir_works_with_the_extra_from_the_package_index(
    version: str, versions: str, built: Built, elsewhere: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "environment"
    assert run(_interpreter(version), "-m", "venv", folder, cwd=tmp_path).returncode == 0
    python = folder / "bin" / "python"
    _install(python, f"spyx-nir[spyx] @ {built.wheel.as_uri()}", versions, "spyx")
    done = run(python, "-c", TO_NIR, cwd=elsewhere)
    assert done.stdout == "['input', 'lif_1', 'linear_0', 'output']\n", done.stderr


# ---------------------------------------------------------------------------------- the public names


@pytest.mark.parametrize("name", ["to_nir", "from_nir", "reorder_layers"])
def test_a_call_of_spyx_nir_is_a_call_of_this(name: str) -> None:
    """The parameters of `spyx.nir` come first, by the same names, defaults and in the same order."""
    theirs = inspect.signature(getattr(spyx.nir, name)).parameters.values()
    ours = inspect.signature(getattr(snir, name)).parameters
    for parameter, own in zip(theirs, ours.values(), strict=False):
        if parameter.kind is not parameter.KEYWORD_ONLY:
            assert (own.name, own.kind) == (parameter.name, parameter.kind)
        assert ours[parameter.name].default == parameter.default


def test_every_name_is_there_and_has_a_docstring() -> None:
    assert set(snir.__all__) == set(dir(snir))
    for name in snir.__all__:
        found = getattr(snir, name)
        assert isinstance(found, str) or inspect.getdoc(found), name


def test_a_neuron_shows_its_arguments() -> None:
    for name in ("I", "LI", "CubaLI", "IF", "LIF", "CubaLIF"):
        parameters = inspect.signature(getattr(snir.neurons, name)).parameters
        kinds = {parameter.kind for parameter in parameters.values()}
        assert not kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}, name
        assert next(iter(parameters)) == "hidden_shape"
