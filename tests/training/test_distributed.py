"""Training on several devices and hosts: the same batches, the same losses, one that writes."""

import csv
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from end_to_end import ROOT
from test_train import WRITTEN, changed, small, write_samples

from pipeline import train
from spyx_nir.errors import UsageError

# Eight devices in one process; the networks train on 1, 2, 4 and 8 of them.
ON_EIGHT = """
import json, sys
import numpy as np
from test_train import changed, small
from pipeline.training.forward import FloatForward
from pipeline.training.trainer import Trainer

name = sys.argv[1]
task = changed(small(name), "train", batch_size=8)
random = np.random.default_rng(2)
shape = (task.data.bins, 12) if name == "braille" else (task.data.bins, 2, 34, 34)
events = (random.random((8, *shape)) < 0.2).astype(np.uint8)
labels = np.arange(8) % len(task.data.classes)
found = []
for devices in (1, 2, 4, 8):
    training = Trainer(FloatForward(task), task, 8, devices)
    progress = training.start()
    state = training.state(progress)
    placed = training._filled_up(progress.parameters, events, labels)
    losses = []
    for _ in range(3):
        *state, loss, correct = training._step(*state, *placed)
        losses.append(float(loss))
    shards = [np.asarray(shard.data) for shard in placed[0].addressable_shards]
    found.append({
        "devices": len(training.devices),
        "samples": [len(shard) for shard in shards],
        "whole": bool((np.concatenate(shards) == events).all()),
        "losses": losses,
    })
print(json.dumps(found))
"""


@pytest.mark.parametrize("name", ["braille", pytest.param("nmnist", marks=pytest.mark.full)])
def test_the_loss_is_the_same_on_any_number_of_devices(name):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "tests", Path(__file__).parent])),
        "JAX_NUM_CPU_DEVICES": "8",
        "NPROC": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT, name], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert [case["samples"] for case in found] == [[8], [4] * 2, [2] * 4, [1] * 8]
    assert all(case["whole"] for case in found)
    losses = np.array([case["losses"] for case in found])
    # Eight float32 losses, summed in another order: 8 roundings of 6e-8.
    np.testing.assert_allclose(losses[:, 0], losses[0, 0], rtol=5e-7)
    # After that the weights differ by the rounding of gradients, which Adam divides by their size.
    np.testing.assert_allclose(losses, losses[[0] * 4], rtol=1e-5)


@contextmanager
def hosts(task, roots, **changes):
    """One train process per folder of `roots`, all together on loopback; ended in any case."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["tasks"] = {task.name: document["tasks"][task.name]}
    document["tasks"][task.name]["data"]["bins"] = task.data.bins
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    running = []
    try:
        for index, root in enumerate(roots):
            settings = {**dataclasses.asdict(task.train), **changes.get(f"host_{index}", {})}
            document["tasks"][task.name]["train"] = settings
            (root / "params.yaml").write_text(yaml.safe_dump(document))
            command = [sys.executable, "-m", "pipeline.train", task.name, "--devices", "1"]
            where = {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(len(roots)),
                "JAX_PROCESS_ID": str(index),
                "PYTHONPATH": str(ROOT),
            }
            running.append(
                subprocess.Popen(
                    command,
                    cwd=root,
                    env={**os.environ, **where},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def ended(process):
    """Output and errors of a process that must end by itself, and its exit code."""
    output, errors = process.communicate(timeout=200)
    return output, errors, process.returncode


def folders(task, where, names=("first", "second")):
    """Project folders that share nothing, as hosts without a common file system have them."""
    return [write_samples(task, where / name) for name in names]


def losses_of(root):
    with open(root / "models" / "braille" / "curves.csv") as stream:
        return [
            [float(row["train_loss"]), float(row["validation_loss"])]
            for row in csv.DictReader(stream)
        ]


@pytest.mark.full
def test_two_hosts_train_as_one_and_the_first_one_writes(tmp_path):
    task = changed(small(), "train", batch_size=8)
    first, second, alone = folders(task, tmp_path, ("first", "second", "alone"))
    with hosts(task, [first, second]) as running:
        (said, errors, code), (_, _, other) = [ended(process) for process in running]
    assert (code, other) == (0, 0), errors
    assert "braille: batches of 8 on 2 x cpu" in said
    written = sorted(path.name for path in (first / "models" / "braille").iterdir())
    assert written == sorted([*WRITTEN, "timing.json"])
    assert not (second / "models").exists()
    train.train(task, alone)
    # Six digits are written; what float32 rounds differs by the order of sums, see above.
    np.testing.assert_allclose(losses_of(first), losses_of(alone), rtol=2e-5)


@pytest.mark.full
def test_killed_hosts_go_on_from_what_the_first_one_stored(tmp_path):
    task = changed(small(epochs=60), "train", batch_size=8)
    killed, whole = folders(task, tmp_path / "killed"), folders(task, tmp_path / "whole")
    with hosts(task, whole) as running:
        assert [ended(process)[2] for process in running] == [0, 0]
    stored = killed[0] / "models" / "braille" / "checkpoint" / "epoch.safetensors"
    with hosts(task, killed) as running:
        while not stored.exists() and running[0].poll() is None:
            time.sleep(0.01)
        running[1].send_signal(signal.SIGKILL)
        _, errors, code = ended(running[0])
    assert code == 2
    assert "error: host 0 of 2, coordinator 127.0.0.1:" in errors
    assert "start all of them again" in errors
    with hosts(task, killed) as running:
        said = [ended(process) for process in running]
    assert [code for *_, code in said] == [0, 0]
    assert "going on after epoch" in said[0][0]
    for name in WRITTEN:
        assert (killed[0] / "models" / "braille" / name).read_bytes() == (
            whole[0] / "models" / "braille" / name
        ).read_bytes()


@pytest.mark.full
def test_hosts_that_differ_are_told_on_both(tmp_path):
    task = changed(small(), "train", batch_size=8)
    with hosts(task, folders(task, tmp_path), host_1={"seed": 2}) as running:
        for process in running:
            _, errors, code = ended(process)
            assert code == 1
            assert "error: host 1 has other parameters, data, libraries or flags" in errors


@pytest.mark.full
def test_a_batch_that_hosts_cannot_share_is_told(tmp_path):
    task = changed(small(), "train", batch_size=7)
    with hosts(task, folders(task, tmp_path)) as running:
        for process in running:
            _, errors, code = ended(process)
            assert code == 1
            assert "a batch of 7 samples cannot be shared evenly by 2 hosts" in errors


HOST = {"coordinator": "10.0.0.1:1234", "processes": 2, "process": 1}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"devices": 0}, "--devices: must be at least 1, got 0"),
        ({"coordinator": None}, r"missing: --coordinator \(JAX_COORDINATOR_ADDRESS\)"),
        ({"process": None}, r"missing: --process \(JAX_PROCESS_ID\)"),
        ({"coordinator": "10.0.0.1"}, "--coordinator: must be ADDRESS:PORT, got 10.0.0.1"),
        ({"process": 2}, "--process: must be from 0 to --processes - 1, got 2 of 2"),
        ({"process": -1}, "--process: must be from 0 to --processes - 1, got -1 of 2"),
    ],
)
def test_wrong_flags_are_told(wrong, told):
    with pytest.raises(UsageError, match=told):
        train.command(small(), **{**HOST, **wrong})


def test_a_variable_that_is_no_number_is_told(monkeypatch):
    for flag, value in zip(train.HOSTS.values(), ("10.0.0.1:1234", "two", "0"), strict=True):
        monkeypatch.setenv(flag, value)
    with pytest.raises(UsageError, match=r"must be whole numbers \(.*'two'\)"):
        train.command(small())


@pytest.mark.parametrize("fast", [False, True])
def test_fast_takes_all_cores_and_says_what_that_costs(fast, monkeypatch, capsys):
    for name in ("NPROC", "JAX_NUM_CPU_DEVICES"):
        monkeypatch.setenv(name, "1")  # so that what the command sets is taken back
    monkeypatch.setattr(train, "train", lambda task, **flags: None)
    train.command(small(), fast=fast)
    assert ("the bytes may differ on another machine" in capsys.readouterr().out) == fast
    assert ("NPROC" in os.environ) != fast
    assert os.environ["JAX_NUM_CPU_DEVICES"] == (str(os.cpu_count()) if fast else "2")


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no cores")
def test_devices_that_share_a_batch_give_the_same_bytes_on_one_core_and_on_all(tmp_path):
    task = changed(small("nmnist"), "train", batch_size=8)
    roots = folders(task, tmp_path, ("all", "one"))
    cores = os.sched_getaffinity(0)
    for root, allowed in zip(roots, (cores, {min(cores)}), strict=True):
        document = yaml.safe_load((ROOT / "params.yaml").read_text())
        block = document["tasks"]["nmnist"]
        block["data"]["bins"], block["train"] = task.data.bins, dataclasses.asdict(task.train)
        (root / "params.yaml").write_text(yaml.safe_dump(document))
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.train", "nmnist"],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(process.pid, allowed)  # long before it imports jax
        said, _ = process.communicate()
        assert process.returncode == 0
        assert "batches of 8 on 2 x cpu" in said
    for name in WRITTEN:
        one, other = ((root / "models" / "nmnist" / name).read_bytes() for root in roots)
        assert one == other
