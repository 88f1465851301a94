"""Golden vectors: test samples and the spikes that the trained network answered with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from spyx_nir import files
from spyx_nir.errors import UserError


def choose(labels: np.ndarray, count: int, excluded: Collection[int] = ()) -> np.ndarray:
    """`count` test samples, as evenly over the classes as they go; sorted indices.

    Samples in `excluded` are passed over: there float32 rounding moved a spike, and a vector must
    hold for every arithmetic that follows the equations.

    Args:
        labels: (N,) class indices.

    Raises:
        UserError: fewer than `count` samples are left.
    """
    queues = [
        [int(i) for i in np.nonzero(labels == c)[0] if int(i) not in excluded]
        for c in np.unique(labels)
    ]
    if (available := sum(map(len, queues))) < count:
        raise UserError(
            f"deploy.vectors asks for {count} test samples, {available} are available "
            f"({len(labels)} in the test set, {len(labels) - available} with rounding ties)"
        )
    rounds = (queue[i] for i in range(len(labels)) for queue in queues if i < len(queue))
    return np.sort([next(rounds) for _ in range(count)])


def write_npz(
    path: Path, x: np.ndarray, output: np.ndarray, spikes: Mapping[str, np.ndarray]
) -> None:
    """Write `vectors.npz`: the same bytes for the same arrays (numpy dates the members 1980).

    Args:
        x, output, spikes: time-major (T, N, ...), channels first; stored as the keys `input`,
            `output` and one per neuron node path.
    """
    if clash := {"input", "output"} & set(spikes):
        raise UserError(f"node `{min(clash)}` has a name that vectors.npz keeps for itself")
    with open(path, "wb") as stream:
        arrays = {"input": x, "output": output, **spikes}
        whole = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        files.write_npz(stream, whole)


def write_nir_data(
    path: Path, x: np.ndarray, output: np.ndarray, spikes: Mapping[str, np.ndarray], dt: float
) -> None:
    """Write the vectors in the format of `nir.write_data`, which `nir.read_data` reads.

    That format, of nir 1.0.8, knows (samples, steps, neurons) only: spatial layers are flattened as
    (C, H, W). What holds nothing but 0 and 1 is stored as bool, which nir asks for and `to_event` needs;
    counts are stored as they are.
    `nir.write_data` 1.0.8 does not return for data inside a subgraph (it starts again from the top
    of the tree), so the file is written here.

    Args: as in `write_npz`; dt in the unit of the bundle's manifest.
    """

    import h5py

    def gridded(group: h5py.Group, name: str, data: np.ndarray) -> None:
        group.attrs["__type__"] = "NIRNodeData"
        observable = group.create_group("observables").create_group(name)
        observable.attrs["__type__"] = "TimeGriddedData"
        observable.attrs["dt"] = dt
        flat = np.swapaxes(data, 0, 1).reshape(data.shape[1], data.shape[0], -1)
        flat = flat != 0 if np.isin(flat, (0, 1)).all() else flat
        observable.create_dataset("data", data=flat, compression="gzip", track_times=False)

    def nodes(group: h5py.Group) -> h5py.Group:
        group.attrs["__type__"] = "NIRGraphData"
        return group.require_group("nodes")

    with files.hdf5(path) as file:
        gridded(nodes(file).create_group("input"), "input", x)
        gridded(nodes(file).create_group("output"), "spikes", output)
        for node, data in sorted(spikes.items()):
            *parents, name = node.split(".")
            group = nodes(file)
            for parent in parents:
                group = nodes(group.require_group(parent))
            gridded(group.create_group(name), "spikes", data)
