"""The devices that share a batch, on one host or on several. Knows no network and no files.

Every host runs the same program and makes the same batches; each device works on its own samples of
them, and gradients are averaged over all. The rest of the state is the same everywhere.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from spyx_nir.errors import Unavailable, UserError, exit_status

WAIT_S = 60  # for the other hosts to come, and to go
GONE_S = 20  # of silence: a host is taken for dead
LAST_S = 3  # that host 0 stays after an error: the others, who may say the same, end with it


def run_among_hosts(work: Callable[[], None], coordinator: str, count: int, index: int) -> None:
    """Run `work` as host `index` of `count`, before JAX looks for devices; an error ends the process.

    At a regular end JAX waits for all hosts, and aborts when one is missing. So an error is printed here
    and `os._exit` follows, with the status of `exit_status`. `coordinator` is `address:port` of host 0.
    """
    place = f"host {index} of {count}, coordinator {coordinator}"
    print(f"{place}: waiting up to {WAIT_S} s for all hosts", flush=True)

    def command() -> None:
        try:
            jax.distributed.initialize(
                coordinator,
                count,
                index,
                initialization_timeout=WAIT_S,
                heartbeat_timeout_seconds=GONE_S,
                shutdown_timeout_seconds=WAIT_S,
            )
            work()
        except jax.errors.JaxRuntimeError as error:
            reason = str(error).splitlines()[0]
            raise Unavailable(
                f"{place}: {reason}; if a host is gone, start all of them again"
            ) from None

    if status := exit_status(command):
        sys.stdout.flush()
        if index == 0:
            time.sleep(LAST_S)
        os._exit(status)


def is_first() -> bool:
    """Whether this host is the one that writes and prints."""
    return jax.process_index() == 0


def check_alike(digest: str) -> None:
    """Raises UserError, on every host: the hosts' digests (hexadecimal) differ."""
    digests = multihost_utils.process_allgather(np.frombuffer(bytes.fromhex(digest), np.uint8))
    if odd := [i for i, other in enumerate(digests) if not np.array_equal(other, digests[0])]:
        raise UserError(
            f"host {odd[0]} has other parameters, data, libraries or flags than host 0; "
            "they must be the same on all hosts"
        )


def from_first(content: bytes) -> bytes:
    """The first host's `content`, on every host."""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    mine = np.frombuffer(content if is_first() else bytes(size), np.uint8)
    return multihost_utils.broadcast_one_to_all(mine).tobytes()


def choose(batch: int, most: int | None = None) -> list[jax.Device]:
    """As many devices as can share `batch` samples evenly, `most` on a host, as many on each.

    Raises:
        UserError: the hosts have different numbers of devices, or cannot share the samples evenly.
    """
    hosts, local = jax.process_count(), jax.local_device_count()
    if jax.device_count() != hosts * local:
        counts = [jax.local_device_count(host) for host in range(hosts)]
        raise UserError(f"the hosts have {counts} devices; all must have as many (--devices)")
    if batch % hosts:
        raise UserError(f"a batch of {batch} samples cannot be shared evenly by {hosts} hosts")
    allowed = range(1, min(local, most or local) + 1)
    each = max(n for n in allowed if batch % (n * hosts) == 0)
    return [device for host in range(hosts) for device in jax.local_devices(host)[:each]]


def shardings(devices: list[jax.Device]) -> tuple[Mesh, NamedSharding, NamedSharding]:
    """The mesh with its one axis `batch`; what is whole on every device; what is shared out."""
    mesh = jax.make_mesh((len(devices),), ("batch",), (AxisType.Auto,), devices=devices)
    whole, shared = PartitionSpec(), PartitionSpec("batch")
    return mesh, NamedSharding(mesh, whole), NamedSharding(mesh, shared)


def place(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """`array`, which every host holds, as one array over all hosts: each takes its own part."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
