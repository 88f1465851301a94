"""Inference that follows events beside inference that is dense, at several activities: `make bench`.

The C of N-MNIST's bundle for Cortex-M, compiled for this computer, walks the weights of each event and
spike; the NumPy simulation of the same integers multiplies whole frames; JAX runs the trained network in
float32 as `bench.train` does. C and NumPy take one process a core, JAX a device a core; processes of
NumPy and JAX stay, and are compiled and warm, those of C start every time, which counts. A round asks
each in turn, in an order dealt by a seed. Everything is measured from recordings in a file to spikes of
each class, of which C and NumPy must have equally many, in every recording and every round.

Recordings: random events, one at most in each place and step (seeded), and the test recordings. Their
`stream` goes without a reset through one process, as `target` does it with 200. Ratios say how many
times longer than the C the others take. On a busy machine the processor's time says more than the clock.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import multiprocessing
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import environment
from pipeline.datasets import prepared
from spyx_nir.bundle.templates import verify_integers
from spyx_nir.errors import UsageError, UserError, exit_status
from spyx_nir.files import write_json
from spyx_nir.hardware import profile, simulate
from spyx_nir.hardware.evaluate import CHUNK
from spyx_nir.hardware.families.integer import protocol, verify_c
from spyx_nir.hardware.network import IntegerNetwork

ROOT = Path(__file__).parent.parent
TASK, CHIP = "nmnist", "cortex-m"
BUNDLE = ROOT / "models" / TASK / "deploy" / CHIP
ACTIVITIES = (0.01, 0.05, 0.20)
CONTENDERS = ("c", "numpy", "jax")
SEED = 0
Answer = tuple[Any, float]  # counts of spikes (N, classes), and seconds of the processor


@dataclass(frozen=True)
class Recordings:
    """A file of bytes, counts of events; shape: (N, T, *shape of the input), channels first.

    stream: they run without a reset between them.
    """

    path: Path
    shape: tuple[int, ...]
    stream: bool = False

    def read(self, first: int, count: int) -> np.ndarray:
        """`count` recordings from `first` on, uint8 (count, T, *shape)."""
        events = np.memmap(self.path, np.uint8, "r", shape=self.shape)
        return np.array(events[first : first + count])


# ----------------------------------------------------------------------------------------------- C


def compiled(sources: Path, program: Path) -> None:
    """The C of a bundle, with `events.c`, as a program of this computer.

    Raises:
        UserError: no bundle, no compiler, or it refuses the sources.
    """
    if not (sources / "model.c").is_file():
        raise UserError(f"{sources}: no model.c; run make repro")
    if (cc := verify_c.compiler()) is None:
        raise UserError("no C compiler: install gcc (apt-get install gcc), or set CC")
    names = [sources / "model.c", sources / "weights.c", Path(__file__).with_suffix(".c")]
    command = [*cc.split(), *verify_c.FLAGS, f"-I{sources}", *map(str, names), "-o", str(program)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise UserError(f"{cc}: {error.strerror}") from None
    if done.returncode:
        raise UserError(f"{cc}: {' '.join(done.stderr.split())[:300] or done.returncode}")


def in_c(program: Path, recordings: Recordings, processes: int) -> np.ndarray:
    """How often each class spikes, uint32 (N, classes).

    Raises:
        UserError: the program fails; with what it says.
    """
    steps = str(recordings.shape[1])
    stream = ["stream"] * recordings.stream
    started = [
        subprocess.Popen(
            [str(program), str(recordings.path), str(first), str(count), steps, *stream],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for first, count in shares(recordings.shape[0], processes)
    ]
    answers = [process.communicate() for process in started]
    for process, (_, said) in zip(started, answers, strict=True):
        if process.returncode:
            raise UserError(f"{program.name}: {said.decode().strip() or process.returncode}")
    counts = np.frombuffer(b"".join(out for out, _ in answers), np.uint32)
    return counts.reshape(recordings.shape[0], -1)


def _timed_c(program: Path, recordings: Recordings, processes: int) -> Answer:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    counts = in_c(program, recordings, processes)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return counts, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def shares(count: int, processes: int) -> list[tuple[int, int]]:
    """The first recording and the number of each process's, as equal as can be; no process without."""
    ends = [count * n // processes for n in range(processes + 1)]
    return [(a, b - a) for a, b in itertools.pairwise(ends) if b > a]


# ------------------------------------------------------------------------------------------- NumPy


def network_of(bundle: Path) -> IntegerNetwork:
    """The integers of a bundle.

    Raises:
        UserError: it has none.
    """
    try:
        with np.load(bundle / protocol.VECTORS, allow_pickle=False) as loaded:
            network = verify_integers.network_of(dict(loaded))
    except OSError:
        raise UserError(f"{bundle}: no bundle with {protocol.VECTORS}; run make repro") from None
    return dataclasses.replace(network, profile=profile.load(CHIP))


def in_numpy(network: IntegerNetwork, recordings: Recordings, first: int, count: int) -> np.ndarray:
    """How often each class spikes, (count, classes), as the stage `target` simulates."""
    (output,) = (p for p in network.populations if p.output)
    if recordings.stream:
        events = recordings.read(first, count)
        joined = events.reshape(1, -1, *events.shape[2:])
        spikes = simulate.run(network, simulate.padded(network, joined)).spikes[output.name]
        return spikes.reshape(*events.shape[:2], -1).sum(axis=1, dtype=np.int64)
    found = []
    for start in range(first, first + count, CHUNK):
        events = recordings.read(start, min(CHUNK, first + count - start))
        run = simulate.run(network, simulate.padded(network, events))
        found.append(run.spikes[output.name].sum(axis=0, dtype=np.int64))
    return np.concatenate(found)


_loaded: list[IntegerNetwork] = []  # of a process of the pool


def _load(bundle: Path) -> None:
    _loaded.append(network_of(bundle))


def _share(recordings: Recordings, first: int, count: int) -> Answer:
    began = time.process_time()
    counts = in_numpy(_loaded[0], recordings, first, count)
    return counts, time.process_time() - began


def in_a_pool(pool: ProcessPoolExecutor, recordings: Recordings, processes: int) -> Answer:
    """`in_numpy` of all recordings, a share for each process."""
    parts = [pool.submit(_share, recordings, *s) for s in shares(recordings.shape[0], processes)]
    counts, seconds = zip(*(part.result() for part in parts), strict=True)
    return np.concatenate(counts), sum(seconds)


# --------------------------------------------------------------------------------------------- JAX


class InJax:
    """A process that runs the trained network in float32; see `jax_side`."""

    def __init__(self, steps: int):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.events", "--jax", str(steps)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._answer()

    def run(self, recordings: Recordings) -> Answer:
        """Run all recordings; their counts stay there."""
        assert self.process.stdin
        self.process.stdin.write(f"{recordings.shape[0]} {recordings.path}\n")
        self.process.stdin.flush()
        return None, float(self._answer())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> str:
        assert self.process.stdout
        if not (line := self.process.stdout.readline()):
            raise UserError(f"the process of JAX ended with status {self.process.wait()}")
        return line


def jax_side(steps: int) -> None:
    """Runs N recordings of a file for each line `N FILE`; answers with seconds of the processor."""
    from spyx_nir.memory import keep_memory

    environment.settle()
    keep_memory()
    os.environ["JAX_NUM_CPU_DEVICES"] = str(cores())
    import jax

    from bench.jax_side import inference
    from pipeline import params, tasks
    from pipeline.training import forward, trainer

    task = params.load(TASK, ROOT / "params.yaml")
    weights = str(BUNDLE.parent.parent / "weights.safetensors")
    task = dataclasses.replace(
        task,
        data=dataclasses.replace(task.data, bins=steps),
        train=dataclasses.replace(task.train, start_from=weights),
    )
    network = forward.FloatForward(task)
    training = trainer.Trainer(network, task, task.train.batch_size)
    parameters, *_ = training.state(training.start())
    infer = inference(network, training)

    def run(events: np.ndarray) -> np.ndarray:
        placed = training._filled_up(parameters, events, np.zeros(len(events), np.int64))
        return np.asarray(jax.block_until_ready(infer(parameters, placed[0])))

    shape = tasks.input_shape(task)
    run(np.zeros((training.batch, steps, *shape), np.uint8))
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.process_time()
        count, _, path = line.rstrip("\n").partition(" ")
        recordings = Recordings(Path(path), (int(count), steps, *shape))
        for first in range(0, int(count), training.batch):
            run(recordings.read(first, training.batch))
        print(time.process_time() - began, flush=True)


# ----------------------------------------------------------------------------------------- measuring


def random_events(shape: tuple[int, ...], activity: float) -> np.ndarray:
    """Events (N, T, *shape) of uint8, each 1 with the probability `activity`, else 0."""
    return (np.random.default_rng(SEED).random(shape, np.float32) < activity).astype(np.uint8)


def stored(folder: Path, name: str, events: np.ndarray, stream: bool = False) -> Recordings:
    """Events in a file."""
    events.tofile(folder / name)
    return Recordings(folder / name, events.shape, stream)


def differing(ours: np.ndarray, theirs: np.ndarray) -> str | None:
    """The first count (recording, class) that differs, in words."""
    if ours.shape != theirs.shape:
        return f"counts of shapes {ours.shape} and {theirs.shape}"
    if not (where := np.argwhere(ours != theirs)).size:
        return None
    n, k = map(int, where[0])
    return f"recording {n}, class {k}: {ours[n, k]} spikes in C, {theirs[n, k]} in NumPy"


def measure(
    program: Path, named: dict[str, Recordings], rounds: int, starts: int
) -> dict[str, dict[str, list[float]]]:
    """Recordings -> contender -> seconds of each round, and `<contender>_processor`.

    A first round of each start does not count.

    Raises:
        UserError: C and NumPy differ, or a process fails.
    """
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in named}
    order = random.Random(SEED)
    spawned = multiprocessing.get_context("spawn")
    for _ in range(starts):
        in_jax = InJax(next(iter(named.values())).shape[1])
        with ProcessPoolExecutor(cores(), spawned, _load, (BUNDLE,)) as pool:
            for number, (name, recordings) in itertools.product(range(rounds + 1), named.items()):
                processes = 1 if recordings.stream else cores()
                run: dict[str, Callable[[], Answer]] = {
                    "c": partial(_timed_c, program, recordings, processes),
                    "numpy": partial(in_a_pool, pool, recordings, processes),
                }
                if not recordings.stream:
                    run["jax"] = partial(in_jax.run, recordings)
                counts = {}
                for who in order.sample(list(run), len(run)):
                    began = time.perf_counter()
                    counts[who], processor = run[who]()
                    taken = (time.perf_counter() - began, processor)
                    if number:
                        for key, each in zip((who, f"{who}_processor"), taken, strict=True):
                            seconds[name].setdefault(key, []).append(each)
                if wrong := differing(counts["c"], counts["numpy"]):
                    raise UserError(f"{name}: {wrong}")
        in_jax.close()
    return seconds


def table(seconds: dict[str, dict[str, list[float]]]) -> None:
    """Median (least .. most) in seconds, by the clock and of the processor, and the ratio to C."""
    heads = ("C, event by event", "NumPy, integers", "JAX, float32")
    for what, end in (("clock", ""), ("processor", "_processor")):
        print(f"{what:18}" + "".join(f"{head:>24}{'':8}" for head in heads))
        for name, told in seconds.items():
            line = f"{name:18}"
            for who in CONTENDERS:
                if who in told:
                    each, ours = told[who + end], told["c" + end]
                    ratio = statistics.median(a / b for a, b in zip(each, ours, strict=True))
                    cell = f"{statistics.median(each):.3f} ({min(each):.3f}..{max(each):.3f})"
                    line += f"{cell:>24}{ratio:>7.2f}x"
            print(line)


def cores() -> int:
    """Of this process."""
    return len(os.sched_getaffinity(0))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.events",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    numbers = {
        "rounds": (3, "counted, of each start"),
        "starts": (2, "of NumPy's and JAX's processes"),
        "recordings": (1000, "of each kind"),
        "stream": (50, "recordings in a stream"),
    }
    for name, (default, meaning) in numbers.items():
        parser.add_argument(
            f"--{name}", type=int, default=default, help=f"{meaning}; default: %(default)s"
        )
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    parser.add_argument("--jax", type=int, metavar="STEPS", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.jax:
        jax_side(given.jax)
        return 0
    for name in numbers:
        if (value := getattr(given, name)) < 1:
            raise UsageError(f"--{name} {value}: 1 or more is needed")
    environment.settle()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        compiled(BUNDLE / "c", folder / "events")
        network_of(BUNDLE)
        test, _ = prepared.read(ROOT / "data" / "prepared" / f"{TASK}.h5").stream("test")
        real = test[: given.recordings]
        shape = (given.recordings, *test.shape[1:])
        named = {
            f"{activity:.0%}": stored(folder, f"{activity}", random_events(shape, activity))
            for activity in ACTIVITIES
        }
        named[f"test, {(real > 0).mean():.1%}"] = stored(folder, "test", real)
        named["test, stream"] = stored(folder, "stream", real[: given.stream], stream=True)

        from bench.convert import machine

        about = machine()
        about["compiler"] = verify_c.compiler()
        print(", ".join(f"{k} {v}" for k, v in about.items() if k != "versions"))
        sizes = {name: recordings.shape[0] for name, recordings in named.items()}
        print(
            f"recordings: {', '.join(f'{n} {size}' for n, size in sizes.items())}; T = {shape[1]}; "
            f"{given.starts} starts of {given.rounds} rounds; seconds",
            flush=True,
        )
        seconds = measure(folder / "events", named, given.rounds, given.starts)
    table(seconds)
    print("C and NumPy: equally many spikes of every class in every recording and round")
    about["load_after"] = [round(load, 2) for load in os.getloadavg()]
    print(f"load after: {about['load_after']}")
    if given.json:
        found = {"machine": about, "recordings": sizes, "steps": shape[1], "seconds": seconds}
        write_json(given.json, found | {"starts": given.starts, "rounds": given.rounds})
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
