"""One training step and one evaluation of a task, at full size: a digest of every number that came out.

`python tests/steps_by_processor.py TASK [CHIP]`: the float training of TASK, or the quantisation-aware
training for CHIP. test_processors.py runs it natively and under emulated processors: every product,
convolution and gradient of both networks runs in its real shape, and NumPy's part, too.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
STEPS = 3  # each depends on the gradients of the one before; the rate of the first may be 0


def say(name: str, value: Any) -> None:
    """The digest of all arrays in `value`, and their largest entry: zeros alone would prove nothing."""
    import jax
    import numpy as np

    digest, largest = hashlib.sha256(), 0.0
    for leaf in jax.tree.leaves(value):
        array = np.ascontiguousarray(leaf)
        digest.update(array.tobytes())
        if array.size and array.dtype.kind in "fiub":
            largest = max(largest, float(np.abs(array.astype(np.float64)).max()))
    print(f"{name} {digest.hexdigest()[:16]} largest {largest:.3g}", flush=True)


def stepped(training: Any, events: Any, augmented: Any, labels: Any) -> Any:
    """Digests of `STEPS` training steps and of an evaluation; the parameters and their average."""
    progress = training.start()
    say("start", progress.parameters)
    state = training.state(progress)
    for step in range(STEPS):
        gradients = training._gradients(state[0], *training._place(augmented, labels))
        say(f"step {step} gradients and loss", gradients)
        say(f"step {step} gradients", gradients[0])
        *state, loss, right = training._step(*state, *training._place(augmented, labels))
        say(f"step {step} parameters, average, optimiser", (state, loss, right))
        say(f"step {step} floats, average, optimiser", (*state, loss))
    say("evaluation", training._batch_evaluation(state[0], *training._place(events, labels)))
    return state[0], state[1]


def floats(task: Any, events: Any, labels: Any) -> None:
    from pipeline.training import engine, networks
    from pipeline.training.augmentation import augment
    from pipeline.training.forward import FloatForward
    from pipeline.training.trainer import Trainer
    from spyx_nir.converter import file
    from spyx_nir.meaning import reference

    np = sys.modules["numpy"]
    forward = FloatForward(task)
    training = Trainer(forward, task, len(labels))
    augmented = augment(events, task, np.random.default_rng(2))
    say("augmented", augmented)
    parameters, average = stepped(training, events, augmented, labels)
    stored = forward.stored({name: np.asarray(value) for name, value in average.items()})
    say("stored", stored)
    say(
        "trace",
        engine.trace(forward.with_parameters(parameters), networks.to_model_layout(events))[1],
    )
    graph = networks.to_graph(task, forward.with_parameters(stored))
    with tempfile.TemporaryDirectory() as folder:
        file.write(Path(folder) / "model.nir", graph)
        say("exported", np.frombuffer((Path(folder) / "model.nir").read_bytes(), np.uint8))
    run = reference.run(graph.to_dict(), np.swapaxes(events[:4], 0, 1), task.export.dt)
    say("reference (float64)", (run.output, run.spikes, run.membranes))


def integers(task: Any, chip: str, events: Any, labels: Any) -> None:
    from pipeline.training import networks, qat
    from pipeline.training.trainer import Split, Trainer
    from spyx_nir.converter import file
    from spyx_nir.hardware import profile, quantise, simulate
    from spyx_nir.hardware.constrain import variant

    np = sys.modules["numpy"]
    loaded = profile.load(chip)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.nir"
        file.write(path, networks.to_graph(task, networks.build(task)))
        start = variant(file.read_dict(path), loaded, task.export.dt)
    forward = qat.QatForward(quantise.quantise(start, loaded), task, chip)
    training = Trainer(forward, qat.task_for(task, chip), len(labels))
    _, average = stepped(training, events, events, labels)
    seen = training.evaluate(average, Split(events, labels))
    say("judged", np.float64((seen.correct, -seen.loss)))
    trained = forward.quantised(average)
    say("integers", [weight.values for weight in trained.weights])
    (x,) = simulate.padded(trained, events[:2]).values()
    run = simulate.run(trained, dict.fromkeys(trained.inputs, x))
    say("simulated", run.spikes)


def main(name: str, chip: str = "") -> None:
    import numpy as np

    from pipeline import params
    from pipeline.training import networks

    task = params.load(name, ROOT / "params.yaml")
    random = np.random.default_rng(1)
    shape = (task.train.batch_size, task.data.bins, *networks.input_shape(task))
    events = (random.random(shape) < 0.2).astype(np.uint8)
    labels = random.integers(0, len(task.data.classes), len(events))
    if chip:
        integers(task, chip, events, labels)
    else:
        floats(task, events, labels)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from pipeline import environment

    environment.settle()  # before NumPy
    os.environ["JAX_NUM_CPU_DEVICES"] = "2"  # as the train stage
    main(*sys.argv[1:])
