"""Training: what it writes, that it learns, repeats, resumes, and says what went wrong."""

import csv
import dataclasses
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from end_to_end import ROOT, tiny_task
from imports import closure
from terminal import shown

from pipeline import train
from pipeline.datasets import prepared
from pipeline.training import safetensors
from spyx_nir import files
from spyx_nir.errors import UserError, exit_status

WRITTEN = ("weights.safetensors", "train.json", "curves.csv", "confusion.csv")


def changed(task, section, **changes):
    return dataclasses.replace(
        task, **{section: dataclasses.replace(getattr(task, section), **changes)}
    )


def small(name="braille", reset="v_reset", epochs=4):
    task = tiny_task(name, reset)
    return changed(
        task,
        "train",
        epochs=epochs,
        batch_size=7,
        max_time_shift=1,
        max_shift=1,
        learning_rate=0.02,
    )


def training_of(task, samples):
    """The trainer of the stage `train`."""
    from pipeline.training.forward import FloatForward
    from pipeline.training.trainer import Trainer

    return Trainer(FloatForward(task), task, samples)


def write_samples(task, root, parts=(0, 0, 0, 0, 1, 2)):
    """Each class fires its own two taxels, or its own rows of the image, most of the time."""
    classes = len(task.data.classes)
    shape = (task.data.bins, 12) if task.name == "braille" else (task.data.bins, 2, 34, 34)
    labels = np.repeat(np.arange(classes), len(parts))
    random = np.random.default_rng(3)
    events = (random.random((len(labels), *shape)) < 0.03).astype(np.uint8)
    for sample, label in zip(events, labels, strict=True):
        place = (
            (slice(None), ..., label)
            if len(shape) == 2
            else (..., slice(3 * label, 3 * label + 3), slice(None))
        )
        sample[place] |= (random.random(sample[place].shape) < 0.7).astype(np.uint8)
    return write(task, root, events, labels, np.tile(parts, classes))


def write(task, root, events, labels, split):
    """A prepared file of recordings (T, ...), in `root`."""
    shape = (task.data.bins, 12) if task.name == "braille" else (task.data.bins, 2, 34, 34)
    prepared.write(
        root / "data" / "prepared" / f"{task.name}.h5",
        iter(events),
        (len(labels), *shape),
        labels,
        split,
        {
            "classes": list(task.data.classes),
            "bins": task.data.bins,
            "bin_us": task.data.bin_us,
            "source": task.data.source,
        },
        {"seed": 3, "source": "random events"},
    )
    return root


def outputs(root, name="braille"):
    return {file: (root / "models" / name / file).read_bytes() for file in WRITTEN}


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Training again what was trained before, as these tests do, needs no second compilation."""
    import jax

    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("jax_cache")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project folder after an uninterrupted training, and its task."""
    task = small()
    root = write_samples(task, tmp_path_factory.mktemp("trained"))
    train.train(task, root)
    return task, root


def test_training_writes_its_report(trained):
    task, root = trained
    folder = root / "models" / "braille"
    assert sorted(p.name for p in folder.iterdir()) == sorted([*WRITTEN, "timing.json"])
    report = json.loads((folder / "train.json").read_text())
    assert {k: v["n"] for k, v in report["accuracy"].items()} == {
        "train": 28,
        "validation": 7,
        "test": 7,
    }
    assert 1 <= report["best_epoch"] <= task.train.epochs == report["epochs"]
    assert set(report) == {
        "accuracy",
        "loss",
        "spike_rate",
        "best_epoch",
        "epochs",
    }  # nothing timed
    timing = json.loads((folder / "timing.json").read_text())
    stored = (folder / "weights.safetensors").read_bytes()
    assert timing.pop("weights_sha256") == hashlib.sha256(stored).hexdigest()
    assert timing["samples_per_s"] == 28 * 4 / timing["seconds"] > 0  # four epochs of 28 samples
    assert all(0 < rate < 1 for rate in report["spike_rate"].values())
    assert set(report["loss"]) == {"train", "validation", "test"}
    _, metadata = safetensors.read(folder / "weights.safetensors")
    assert json.loads(metadata["epoch"]) == report["best_epoch"]


def test_curves_and_confusion_agree_with_the_report(trained):
    task, root = trained
    folder = root / "models" / "braille"
    report = json.loads((folder / "train.json").read_text())
    with open(folder / "curves.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    best = min(float(row["validation_loss"]) for row in rows)
    chosen = rows[report["best_epoch"] - 1]
    assert float(chosen["validation_loss"]) == best
    six_digits = 5e-6  # of the value: half a unit of the last one
    loss, accuracy = (float(chosen[f"validation_{name}"]) for name in ("loss", "accuracy"))
    assert report["loss"]["validation"] == pytest.approx(loss, rel=six_digits)
    stored = report["accuracy"]["validation"]["accuracy"]
    assert stored == pytest.approx(accuracy, rel=six_digits)
    with open(folder / "confusion.csv") as stream:
        pairs = [(row["actual"], row["predicted"]) for row in csv.DictReader(stream)]
    assert [actual for actual, _ in pairs] == list(task.data.classes)
    right = sum(actual == predicted for actual, predicted in pairs)
    assert right == report["accuracy"]["test"]["correct"]


def test_every_step_runs_one_compiled_program(tmp_path, caplog):
    import jax

    task = small(epochs=2)
    with jax.log_compiles(), caplog.at_level("WARNING", "jax"):
        train.train(task, write_samples(task, tmp_path))
    steps = [r for r in caplog.records if r.getMessage().startswith("Compiling jit(_train_step)")]
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("name", "reset"),
    [("braille", "subtract"), pytest.param("nmnist", "v_reset", marks=pytest.mark.full)],
)
def test_training_learns(name, reset, tmp_path):
    task = small(name, reset, epochs=12)
    train.train(task, write_samples(task, tmp_path))
    report = json.loads((tmp_path / "models" / name / "train.json").read_text())
    chance = 1 / len(task.data.classes)
    assert report["accuracy"]["train"]["accuracy"] > 3 * chance


def stored(root, name="braille"):
    return safetensors.read(root / "models" / name / "weights.safetensors")[0]


def test_trained_decays_move_and_stay_what_nir_can_carry(tmp_path):
    task = changed(small(), "train", learn_decays=True, decay_lr_multiplier=40.0)
    task = changed(task, "network", decays="neuron")
    train.train(task, write_samples(task, tmp_path))
    for name, decay in stored(tmp_path).items():
        if name.endswith(("alpha", "beta")):
            assert len(np.unique(decay)) > 1, name  # all alike before training
            assert decay.min() >= 0.0179 and decay.max() <= 0.9934  # sigmoid of -4 and of 5
            tau = np.float32(task.export.dt / (1 - decay.astype(np.float64)))
            assert np.array_equal(np.float32(1 - task.export.dt / tau.astype(np.float64)), decay)


def test_what_is_stored_is_the_running_average(tmp_path):
    # One epoch of one step: the average is the share that is kept of the first parameters and the
    # rest of the stepped ones. Decays are not trained here.
    one = changed(small(epochs=1), "train", batch_size=28)
    found = {}
    for kept in (0.0, 0.75):
        task = changed(one, "train", ema_decay=kept)
        train.train(task, write_samples(task, tmp_path / str(kept)))
        found[kept] = stored(tmp_path / str(kept))
    from pipeline.training import networks

    for name, first in networks.named_parameters(networks.build(one)).items():
        expected = 0.75 * np.asarray(first[...], np.float64) + 0.25 * found[0.0][name]
        # float32 sums of numbers below 4
        np.testing.assert_allclose(found[0.75][name], expected, atol=1e-6)


def test_weights_remember_what_training_started_from(tmp_path):
    task = small(epochs=1)
    root = write_samples(task, tmp_path)
    path = root / "models" / "braille" / "weights.safetensors"
    train.train(task, root)
    assert safetensors.origin(path) == {"trained_here": True, "started_from": None}
    given = tmp_path / "given.safetensors"
    given.write_bytes(path.read_bytes())
    train.train(changed(task, "train", start_from=str(given)), root)
    digest = hashlib.sha256(given.read_bytes()).hexdigest()
    assert safetensors.origin(path) == {"trained_here": True, "started_from": digest}


def test_without_validation_recordings_the_last_epoch_is_stored(tmp_path):
    task = changed(small(), "data", validation=0.0)
    root = write_samples(task, tmp_path, parts=(0, 0, 0, 0, 0, 2))
    train.train(task, root)
    folder = root / "models" / "braille"
    report = json.loads((folder / "train.json").read_text())
    assert report["best_epoch"] == report["epochs"] == 4
    assert set(report["accuracy"]) == set(report["loss"]) == {"train", "test"}
    header, *rows = (folder / "curves.csv").read_text().splitlines()
    assert header == "epoch,train_loss,train_accuracy"
    assert len(rows) == 4

    # The parameters after the last step; nothing is averaged and no decay trained here.
    from pipeline.training import trainer

    data = prepared.read(root / "data" / "prepared" / "braille.h5")
    splits = [trainer.Split(*data.subset(name)) for name in ("train", "validation")]
    training = training_of(task, len(splits[0].labels))
    *_, last = training.epochs(training.start(), *splits, lambda: None)
    for name, value in stored(root).items():
        np.testing.assert_array_equal(value, last.parameters[name])


def test_without_validation_recordings_a_silent_layer_is_told(tmp_path):
    from pipeline.training import trainer

    task = changed(small(), "network", threshold=1000.0)
    events, labels = np.ones((7, task.data.bins, 12), np.uint8), np.arange(7)
    with pytest.raises(UserError, match="fires no spike on a batch of the training split; lower"):
        list(
            training_of(task, 7).epochs(
                training_of(task, 7).start(),
                trainer.Split(events, labels),
                trainer.Split(events[:0], labels[:0]),
                lambda: None,
            )
        )


def test_the_rate_warms_up_from_zero():
    # Two epochs of one step; the first half of the steps warms up, so the first step has rate zero.
    from pipeline.training import trainer

    task = changed(small(epochs=2), "train", batch_size=7, warm_up=0.5)
    events = np.random.default_rng(0).random((7, 16, 12)) < 0.3
    split = trainer.Split(events.astype(np.uint8), np.arange(7))
    training = training_of(task, 7)
    progress = training.start()
    seen = [progress.parameters]
    seen += [after.parameters for after in training.epochs(progress, split, split, lambda: None)]
    moved = [
        any((before[name] != after[name]).any() for name in before)
        for before, after in itertools.pairwise(seen)
    ]
    assert moved == [False, True]


@pytest.mark.parametrize(
    ("penalty", "weight", "direction"),
    [("min_rate_penalty", 10, 1), ("max_rate_penalty", 0.05, -1)],
)
def test_penalties_move_the_spike_rates_their_way(penalty, weight, direction, trained, tmp_path):
    task, without = trained
    limits = {"min_spikes": 12.0, "max_spikes": 0.5, penalty: float(weight)}
    train.train(changed(task, "train", **limits), write_samples(task, tmp_path))
    rates = [
        json.loads((root / "models" / "braille" / "train.json").read_text())["spike_rate"]
        for root in (without, tmp_path)
    ]
    hidden = [rate["layers.1 (Recurrent)"] for rate in rates]
    assert direction * (hidden[1] - hidden[0]) > 0


def test_an_interrupted_training_goes_on_and_ends_with_the_same_bytes(
    trained, tmp_path, monkeypatch, capsys
):
    task, root = trained
    write_samples(task, tmp_path)
    from pipeline.training.checkpoint import Checkpoint

    save = Checkpoint.save

    def stop_after_two(self, progress, seconds):
        save(self, progress, seconds)
        if progress.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        train.train(task, tmp_path)
    folder = tmp_path / "models" / "braille"
    assert [p.name for p in folder.iterdir()] == ["checkpoint"]
    monkeypatch.setattr(Checkpoint, "save", save)
    train.train(task, tmp_path)
    assert "going on after epoch 2" in capsys.readouterr().out
    assert outputs(tmp_path) == outputs(root)
    assert not (folder / "checkpoint").exists()


@pytest.mark.parametrize("spoil", ["parameters", "data", "bytes"])
def test_a_checkpoint_of_something_else_is_not_used(spoil, trained, tmp_path, capsys):
    task, _ = trained
    write_samples(task, tmp_path)
    from pipeline.training.checkpoint import Checkpoint

    training = training_of(task, 28)
    progress = training.start()
    progress.epoch = task.train.epochs
    source, target = tmp_path / "data" / "prepared" / "braille.h5", tmp_path / "models" / "braille"
    digest = train._digest(task, source, training.devices)
    Checkpoint(target, digest).save(progress, 1.0)
    assert Checkpoint(target, digest).load() is not None
    if spoil == "parameters":
        digest = train._digest(changed(task, "train", seed=2), source, training.devices)
    if spoil == "data":
        write_samples(task, tmp_path, parts=(0, 0, 0, 0, 1, 2) * 2)
        digest = train._digest(task, source, training.devices)
    if spoil == "bytes":
        file = target / "checkpoint" / "epoch.safetensors"
        file.write_bytes(file.read_bytes()[:-9])
    assert Checkpoint(target, digest).load() is None


def test_a_checkpoint_is_of_the_code_of_every_module_that_training_imports(tmp_path, monkeypatch):
    for name in ("pipeline", "spyx_nir"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    own = Path("pipeline", "tasks", "braille.py")
    monkeypatch.setattr(train, "__file__", str(tmp_path / "pipeline" / "train.py"))
    monkeypatch.setattr(train.tasks, "HERE", tmp_path / own.parent)
    task, source = small(), tmp_path / "source"
    source.touch()
    known = {train._digest(task, source, [])}
    for module in (modules := closure(Path("pipeline/train.py"), own)):
        with open(tmp_path / module, "a") as file:
            file.write("# changed\n")
        known.add(train._digest(task, source, []))
    assert len(known) == 1 + len(modules)
    (tmp_path / "pipeline" / "report" / "page.py").write_text("# changed")
    assert train._digest(task, source, []) in known


def test_a_second_training_of_a_task_at_once_is_refused(tmp_path, capsys):
    task = small(epochs=1)
    write_samples(task, tmp_path)
    with files.alone(tmp_path, "train", "nmnist"):  # another task may train
        with files.alone(tmp_path, "train", "braille"):
            _, error = failed(task, tmp_path, capsys)
        assert f"braille: the stage train is running here already (process {os.getpid()})" in error
        assert exit_status(lambda: train.train(task, tmp_path)) == 0


@pytest.mark.full
def test_of_two_trainings_at_once_one_is_refused_and_the_other_undisturbed(tmp_path):
    task = small(epochs=60)
    roots = [write_samples(task, tmp_path / name) for name in ("both", "alone")]
    start = starter(task)
    pair = [start(roots[0]), start(roots[0])]
    for process in pair:
        process.communicate()
    assert sorted(process.returncode for process in pair) == [0, 1]
    start(roots[1]).communicate()
    assert outputs(roots[0]) == outputs(roots[1])


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no cores")
def test_a_killed_training_ends_with_the_bytes_of_one_on_a_single_core(tmp_path):
    """kill -9 after an epoch, then again; against a process that may use one core only."""
    task = small(epochs=40)
    roots = [write_samples(task, tmp_path / name) for name in ("killed", "whole")]
    start = starter(task)
    core = min(os.sched_getaffinity(0))
    whole = start(roots[1])
    os.sched_setaffinity(whole.pid, {core})  # long before it imports jax
    victim = start(roots[0])
    checkpoint = roots[0] / "models" / "braille" / "checkpoint" / "epoch.safetensors"
    while not checkpoint.exists() and victim.poll() is None:
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    assert not (roots[0] / "models" / "braille" / "weights.safetensors").exists()

    again = start(roots[0])
    text, _ = again.communicate()
    assert again.returncode == 0
    assert "going on after epoch" in text
    whole.communicate()
    assert whole.returncode == 0
    assert outputs(roots[0]) == outputs(roots[1])


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_training_killed_at_random_moments_ends_with_the_same_bytes(tmp_path):
    """kill -9, 20 times, from the start of the imports to the last write; each time a new process."""
    task = small(epochs=60)
    roots = [write_samples(task, tmp_path / name) for name in ("killed", "whole")]
    run = starter(task)
    run(roots[1]).communicate()
    whole = math.inf  # seconds of a training that nobody kills: the first one shows it
    random = np.random.default_rng(8)
    deaths = 0
    while deaths < 20:
        began, from_nothing = time.monotonic(), not (roots[0] / "models").exists()
        victim = run(roots[0])
        try:
            # Training starts where the last process died: the first half is imports every time.
            victim.communicate(timeout=min(random.uniform(0.3, 1.0) * whole, 600))
        except subprocess.TimeoutExpired:
            victim.kill()
            victim.communicate()
            deaths += 1
            continue
        assert victim.returncode == 0
        assert outputs(roots[0]) == outputs(roots[1])
        if from_nothing:  # a machine that was busy before must not make all later deaths too late
            whole = time.monotonic() - began
        shutil.rmtree(roots[0] / "models")  # it was through: begin again
    last = run(roots[0])
    last.communicate()
    assert last.returncode == 0
    assert outputs(roots[0]) == outputs(roots[1])
    written = {p.name for p in (roots[0] / "models" / "braille").iterdir()}
    # What kill -9 cuts off while it is written stays behind under a hidden name, never under its own.
    assert {name for name in written if not name.startswith(".")} == {*WRITTEN, "timing.json"}


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system tells no peak memory")
def test_memory_does_not_grow_with_the_set(tmp_path):
    """One epoch on 4,200 and on 42,000 recordings: the peak differs by far less than the sets do."""
    task = changed(small(epochs=1), "train", batch_size=64, learning_rate=1e-5)
    task = changed(task, "data", bins=256)
    size = task.data.bins * 12
    peaks = {}
    for count in (4_200, 42_000):
        root = tmp_path / str(count)
        random = np.random.default_rng(1)
        write(
            task,
            root,
            ((random.random((256, 12)) < 0.3).astype(np.uint8) for _ in range(count)),
            np.arange(count) % len(task.data.classes),
            np.arange(count) % 10 // 8 + (np.arange(count) % 10 == 9),
        )
        process = starter(task)(root)
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks[count] = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # Recordings kept in memory would add 37,800 of 3,072 bytes each; half of it is what the cache of
    # recordings (32 MiB, which the small set does not fill) and the allocator may take.
    assert peaks[42_000] - peaks[4_200] < 0.5 * 37_800 * size, peaks


def starter(task):
    """`start(root)`: the train stage as a process in the folder `root`, on the task `task`."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["tasks"] = {"braille": document["tasks"]["braille"]}
    document["tasks"]["braille"]["data"]["bins"] = task.data.bins
    document["tasks"]["braille"]["train"] = dataclasses.asdict(task.train)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(root):
        (root / "params.yaml").write_text(yaml.safe_dump(document))
        command = [sys.executable, "-m", "pipeline.train", "braille"]
        return subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True
        )

    return start


def failed(task, root, capsys):
    """What a training that must fail prints: its output, and its one line of error."""
    assert exit_status(lambda: train.train(task, root)) == 1
    output, error = capsys.readouterr()
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (root / "models").exists()
    return output, error


def test_a_loss_that_is_no_number_is_told_with_epoch_and_layer(tmp_path, capsys):
    # Two weights of this size are beyond float32: whichever events come first, layer 0 overflows.
    task = changed(small(), "train", learning_rate=3e38)
    _, error = failed(task, write_samples(task, tmp_path), capsys)
    assert re.search(
        r"epoch 1: the .*layers\.0.* is not a finite number; lower tasks.braille.train.learning_r",
        error,
    )


def test_a_network_that_never_fires_is_told_before_the_first_step_and_after_an_epoch(
    tmp_path, capsys
):
    task = changed(small(), "network", threshold=1000.0)
    output, error = failed(task, write_samples(task, tmp_path), capsys)
    assert "layers.1 (Recurrent) fires no spike yet" in output
    assert re.search(r"epoch 1: layers.1 \(Recurrent\) fires no spike.*threshold \(1000.0\)", error)


@pytest.mark.parametrize(
    ("sizes", "end", "said"),
    [
        ((12, 7), "LI", "its last layer, LI, does not spike"),
        ((12, 8), "LIF", r"layer 1 \(LIF\): `hidden_shape` is \(7,\), but \(8,\) arrives"),
        ((12, 7), "tanh", r"layer 1 \(tanh\): "),
    ],
)
def test_a_network_that_later_stages_refuse_is_not_trained(
    sizes, end, said, tmp_path, monkeypatch, capsys
):
    import jax
    import spyx.nn as snn
    from flax import nnx

    from pipeline.training import networks

    def build(task):
        rngs = nnx.Rngs(0)
        last = jax.numpy.tanh if end == "tanh" else getattr(snn, end)((7,), rngs=rngs)
        return snn.Sequential(nnx.Linear(*sizes, use_bias=False, rngs=rngs), last)

    monkeypatch.setattr(networks, "build", build)
    task = small()
    _, error = failed(task, write_samples(task, tmp_path), capsys)
    assert re.match(f"error: the network of pipeline/tasks/braille.py: {said}", error), error


def test_data_of_other_parameters_is_told(tmp_path):
    task = small()
    write_samples(task, tmp_path)
    with pytest.raises(
        UserError, match=r"braille.h5: holds samples of shape \(16, 12\).*dvc repro"
    ):
        train.train(changed(task, "data", bins=17), tmp_path)


@pytest.mark.parametrize("broken", [False, True])
def test_a_missing_or_broken_prepared_file_is_one_line(broken, tmp_path, monkeypatch, capsys):
    (tmp_path / "data" / "prepared").mkdir(parents=True)
    if broken:
        (tmp_path / "data" / "prepared" / "braille.h5").write_bytes(b"\x89HDF\r\n\x1a\n cut off")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "braille", "--params", str(ROOT / "params.yaml")])
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    with pytest.raises(SystemExit) as ended:
        train.main()
    error = capsys.readouterr().err
    assert ended.value.code == 1
    assert error.startswith("error: ")
    assert "braille.h5" in error
    assert error.count("\n") == 1


TRAINING = """
from types import SimpleNamespace
from pipeline import train

task = SimpleNamespace(name="braille", train=SimpleNamespace(epochs=2))
names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
with train._display(task, 3, 0, print) as (on_step, on_epoch):
    for epoch in (1, 2):
        for _ in range(3):
            on_step()
        on_epoch({"epoch": epoch} | dict.fromkeys(names, 0.5))
"""


def test_on_a_terminal_of_80_columns_epochs_scroll_above_a_bar_that_stays():
    *epochs, bar = shown(["-c", TRAINING], columns=80, kind="dumb").split("\r\n")[:3]
    found = "loss 0.5000, accuracy 0.500, validation loss 0.5000, accuracy 0.500"
    assert epochs == [f"braille: epoch {epoch}/2, {found}" for epoch in (1, 2)]
    # the bar, the share, the time that is left and the time since the start
    assert re.fullmatch(r"braille ━{40} 100% \d:\d\d:\d\d \d:\d\d:\d\d *", bar) and len(bar) <= 80
