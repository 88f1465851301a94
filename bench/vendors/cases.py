"""The cases that every `run_*.py` reads and the results that it writes. NumPy alone."""

import numpy as np


def run(simulate, source, target):
    """Read CASES.npz, keys `case/field`, simulate every case, write RESULTS.npz, keys `case/result`.

    Args:
        simulate: one case's dictionary of arrays to a dictionary of arrays.
        source, target: the two files.
    """
    with np.load(source, allow_pickle=False) as loaded:
        cases = nested({key: loaded[key] for key in loaded.files})
    results = {}
    for name, case in cases.items():
        results |= {f"{name}/{key}": value for key, value in simulate(case).items()}
    np.savez_compressed(target, **results)


def nested(arrays):
    """`{"case/field": array}` as `{case: {field: array}}`."""
    found = {}
    for key, value in arrays.items():
        name, _, field = key.partition("/")
        found.setdefault(name, {})[field] = value
    return found
