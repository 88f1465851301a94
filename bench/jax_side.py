"""One JAX contender of `bench.train` in a process of its own: `python -m bench.jax_side WHO TASK T B`.

Answers lines on stdin: `train` and `infer` do one step and print its seconds by the clock and of the
processor, `memory` prints the peak in bytes. `ours` trains and evaluates as the train stage does,
`spyx.nn.run` with JAX's and the C library's own settings.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline import environment
from spyx_nir.memory import keep_memory


def main(who: str, name: str, steps: int, batch: int) -> None:
    """Build the contender, then answer."""
    if who == "ours":
        environment.settle()
        keep_memory()
        os.environ["JAX_NUM_CPU_DEVICES"] = "2"
    started = time.perf_counter()
    import jax
    import numpy as np
    import spyx.nn as snn

    from pipeline import params, tasks
    from pipeline.training import engine, forward, trainer

    task = params.load(name, Path(__file__).parent.parent / "params.yaml")
    task = dataclasses.replace(
        task,
        data=dataclasses.replace(task.data, bins=steps),
        train=dataclasses.replace(task.train, batch_size=batch),
    )
    if who != "ours":
        forward.engine = SimpleNamespace(run=snn.run, trace=engine.trace)
    random = np.random.default_rng(0)
    shape = (batch, steps, *tasks.input_shape(task))
    events = (random.random(shape) < 0.05).astype(np.uint8)
    labels = random.integers(0, len(task.data.classes), batch)
    network = forward.FloatForward(task)
    training = trainer.Trainer(network, task, batch)
    progress = training.start()
    kept = training.state(progress)
    placed = training._filled_up(kept[0], events, labels)

    infer = inference(network, training)

    imported = time.perf_counter()
    kept = jax.block_until_ready(training._step(*kept, *placed))[:3]
    first = time.perf_counter() - imported
    jax.block_until_ready(infer(kept[0], placed[0]))
    facts = {
        "imports_s": imported - started,
        "first_step_s": first,
        "devices": len(training.devices),
        "device": str(jax.devices()[0]),
    }
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        before = time.perf_counter(), time.process_time()
        match line.strip():
            case "train":
                kept = jax.block_until_ready(training._step(*kept, *placed))[:3]
            case "infer":
                jax.block_until_ready(infer(kept[0], placed[0]))
            case "memory":
                print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
                continue
        print(time.perf_counter() - before[0], time.process_time() - before[1], flush=True)


def inference(network: Any, training: Any) -> Callable[[Any, Any], Any]:
    """Parameters and events (B, T, ...) -> how often each class spikes, (B, classes), on all devices."""
    import jax

    everywhere, shared = training._everywhere, training._shared

    @jax.jit
    @partial(
        jax.shard_map,
        mesh=shared.mesh,
        in_specs=(everywhere.spec, shared.spec),
        out_specs=shared.spec,
        check_vma=False,
    )
    def infer(parameters: Any, events: Any) -> Any:
        return network.run(parameters, events, layers=False)[0].sum(0)

    return infer


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
