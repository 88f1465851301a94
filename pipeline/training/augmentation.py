"""Training recordings changed at random, each one by itself, before they make up a batch.

Images are turned, zoomed, slanted and moved as frames: tonic has no such transform. What happens to
single events and to time goes through tonic's transforms: a recording's events, one per count and in
the middle of their bin, are changed and counted again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from pipeline.datasets.binning import to_bins
from pipeline.params import Task, Train

FIELDS = ("x", "y", "t", "p")
KNOTS = 5  # along each axis of an image, its edges included


def augment(recordings: np.ndarray, task: Task, rng: np.random.Generator) -> np.ndarray:
    """Recordings (N, T, ...) uint8 as the prepare stage stores them, changed as `task.train` says.

    Images (N, T, P, H, W) are turned by up to `max_rotation` degrees, zoomed by up to the fraction
    `max_zoom` in each direction, slanted by up to `max_slant` pixels a pixel, moved by up to
    `max_shift` pixels and bent: each of 5 x 5 knots by up to `max_bend` pixels. Every recording is
    stretched about its middle by up to the fraction `max_stretch` and moved by up to `max_delay` bins,
    earlier or later; then a fraction `drop_events` of its events is dropped. What leaves is lost, what
    enters is empty. The result depends on `rng` alone.
    """
    settings = task.train
    if recordings.ndim == 5 and any(
        getattr(settings, f"max_{change}")
        for change in ("rotation", "zoom", "slant", "shift", "bend")
    ):
        recordings = np.stack([_warped(r, settings, rng) for r in recordings])
    if settings.max_stretch or settings.max_delay or settings.drop_events:
        # tonic draws from NumPy's global generator.
        np.random.seed(rng.integers(2**32, dtype=np.uint32))  # noqa: NPY002
        change = _transform(settings)
        recordings = np.stack([_counted(change(_events(r)), r.shape, task) for r in recordings])
    return recordings


def _warped(recording: np.ndarray, settings: Train, rng: np.random.Generator) -> np.ndarray:
    """A recording (T, P, H, W) with every pixel taken from the nearest one of its old place."""
    height, width = recording.shape[-2:]
    matrix = _warp(settings, rng)
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    middle = np.array([[(width - 1) / 2], [(height - 1) / 2]])
    old = matrix[:, :2] @ (np.stack([x, y]) - middle) + matrix[:, 2:] + middle
    knots = rng.uniform(-settings.max_bend, settings.max_bend, (2, KNOTS, KNOTS))
    old += (_between(height) @ knots @ _between(width).T).reshape(2, -1)
    old = np.rint(old).astype(int)
    inside = ((old >= 0) & (old < [[width], [height]])).all(0)
    pixels = recording.reshape(*recording.shape[:2], -1)
    pixels = pixels[..., np.where(inside, old[1] * width + old[0], 0)] * inside
    return pixels.reshape(recording.shape)


def _warp(settings: Train, rng: np.random.Generator) -> np.ndarray:
    """(2, 3): where in the old image, (x, y) from its centre, a place (x, y, 1) of the new one was."""
    angle = np.deg2rad(rng.uniform(-settings.max_rotation, settings.max_rotation))
    zoom_x, zoom_y = 1 + rng.uniform(-settings.max_zoom, settings.max_zoom, 2)
    slant = rng.uniform(-settings.max_slant, settings.max_slant)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(turn @ np.array([[zoom_x, slant], [0, zoom_y]]))
    shift = rng.uniform(-settings.max_shift, settings.max_shift, 2)
    return np.column_stack([back, -back @ shift])


@cache
def _between(size: int) -> np.ndarray:
    """(size, KNOTS): how much of every knot's move each pixel of an axis makes, linear in between."""
    place = np.linspace(0, KNOTS - 1, size)
    return np.clip(1 - np.abs(place[:, None] - np.arange(KNOTS)), 0, None)


def _transform(settings: Train) -> Callable[[np.ndarray], np.ndarray]:
    """tonic's transforms of time and of single events."""
    from tonic import transforms  # a second of imports that other trainings do not need

    stretch, reach = settings.max_stretch, settings.max_delay + 0.5
    return transforms.Compose(
        [
            transforms.TimeSkew((1 - stretch, 1 + stretch), (-reach, reach)),
            transforms.DropEvent(settings.drop_events),
        ]
    )


def _events(recording: np.ndarray) -> np.ndarray:
    """The events of a recording (T, taxels) or (T, P, H, W) for tonic, t in bins from its middle."""
    t, *where = np.nonzero(recording)
    found = np.zeros(len(t), [(name, float if name == "t" else int) for name in FIELDS])
    found["t"] = t + 0.5 - len(recording) / 2
    for name, values in zip(("p", "y", "x")[-len(where) :], where, strict=True):
        found[name] = values
    return np.repeat(found, recording[recording > 0])


def _counted(events: np.ndarray, shape: tuple[int, ...], task: Task) -> np.ndarray:
    """What `_events` took apart as a recording of `shape` again, events outside left out."""
    polarities, height, width = (1, 1, *shape[1:])[-3:]
    events["t"] += shape[0] / 2
    whole = events[events["t"] >= 0].astype([(name, int) for name in FIELDS])
    sensor = (width, height, polarities)
    return to_bins(whole, sensor, shape[0], 1, task.data.merge_polarity)[0]
