"""One other framework that imports NIR, timed on request; runs in the peers' environment.

    .venv-peers/bin/python bench/convert_peer.py norse

reads one JSON object a line from standard input, {"path": file, "input": .npy (T, B, ...), "dt": step},
and answers each with one: the seconds of "read", "build", "first" and "second", or "error" with the
step that failed and what the framework said. Channels first, time-major, as NIR has it.
"""

import contextlib
import importlib
import json
import sys
import time
import warnings

import nir
import numpy as np
import torch


def sinabs(graph, dt, x):
    """A model that takes all steps at once, samples one after the other."""
    module = importlib.import_module("sinabs.nir").from_nir(graph, batch_size=x.shape[1])
    return module, lambda model: model(x.transpose(0, 1).flatten(0, 1))


def norse(graph, dt, x):
    return importlib.import_module("norse.torch").from_nir(graph, dt=dt), by_steps(x)


def snntorch(graph, dt, x):
    return importlib.import_module("snntorch.import_nir").import_from_nir(graph), by_steps(x)


def spikingjelly(graph, dt, x):
    exchange = importlib.import_module("spikingjelly.activation_based.nir_exchange")
    return exchange.import_from_nir(graph, dt=dt), by_steps(x)


def by_steps(x):
    """(output, state) from (input, state), step by step."""

    def run(model):
        state = None
        for frame in x:
            out, state = model(frame, state)
        return out

    return run


def measure(load, request):
    """Seconds of each step that worked, and the error of the one that did not."""
    taken, step = {}, "read"
    x = torch.from_numpy(np.load(request["input"]).astype(np.float32))
    start = time.perf_counter()
    try:
        graph = nir.read(request["path"])
        taken[step], step, start = time.perf_counter() - start, "build", time.perf_counter()
        model, run = load(graph, request["dt"], x)
        for following in ("first", "second"):
            taken[step], step, start = time.perf_counter() - start, following, time.perf_counter()
            with torch.no_grad():
                run(model)
        taken[step] = time.perf_counter() - start
    except Exception as error:
        text = " ".join(str(error).split())
        taken["error"] = f"{step}: {type(error).__name__}: {text}"
    return taken


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # frameworks print
    warnings.simplefilter("ignore")
    load = globals()[sys.argv[1]]
    with contextlib.suppress(Exception):  # importing counts for none of the steps
        importlib.import_module({"norse": "norse.torch"}.get(sys.argv[1], sys.argv[1]))
    print(json.dumps({"torch": torch.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(load, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
