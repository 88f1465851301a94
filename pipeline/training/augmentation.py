"""Training recordings changed at random, each one by itself, before they make up a batch.

Images are rotated, scaled, sheared, shifted and elastically deformed as frames: tonic has no such
transform. Single events and times are changed by tonic's transforms: a recording's events, one per count
and in the middle of their bin, are changed and counted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

from pipeline.datasets.binning import to_bins
from pipeline.schema import Task, Train

FIELDS = ("x", "y", "t", "p")
KNOTS = 5  # along each axis of an image, its edges included


def augment(recordings: np.ndarray, task: Task, rng: np.random.Generator) -> np.ndarray:
    """Recordings (N, T, ...) uint8 as the prepare stage stores them, changed as `task.train` says.

    Images (N, T, P, H, W) are rotated by up to `max_rotation` degrees, scaled by up to the fraction
    `max_scale` in each direction, sheared by up to `max_shear` pixels a pixel, shifted by up to
    `max_shift` pixels and deformed: each of 5 x 5 knots moves by up to `elastic_alpha` pixels. Every
    recording is stretched about its middle by up to the fraction `max_time_warp` and shifted by up to
    `max_time_shift` bins, earlier or later; then a fraction `event_drop_rate` of its events is dropped.
    What leaves is lost, what enters is empty. The result depends on `rng` alone.
    """
    settings = task.train
    spatial = (
        settings.max_rotation,
        settings.max_scale,
        settings.max_shear,
        settings.max_shift,
        settings.elastic_alpha,
    )
    if recordings.ndim == 5 and any(spatial):
        recordings = np.stack([_warped(r, settings, rng) for r in recordings])
    if settings.max_time_warp or settings.max_time_shift or settings.event_drop_rate:
        change = _transform(settings)
        with _global_seed(rng.integers(2**32, dtype=np.uint32)):
            recordings = np.stack([_counted(change(_events(r)), r.shape, task) for r in recordings])
    return recordings


@contextmanager
def _global_seed(seed: np.uint32) -> Iterator[None]:
    """Seed NumPy's global generator, from which tonic draws; it is as before afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _warped(recording: np.ndarray, settings: Train, rng: np.random.Generator) -> np.ndarray:
    """A recording (T, P, H, W) with every pixel taken from the nearest one of its old place."""
    height, width = recording.shape[-2:]
    old, inside = _old_places(height, width, settings, rng)
    pixels = recording.reshape(*recording.shape[:2], -1)
    pixels = pixels[..., np.where(inside, old, 0)] * inside
    return pixels.reshape(recording.shape)


def _old_places(
    height: int, width: int, settings: Train, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Where every pixel of a changed image was, (H W,) indices, and whether that is inside the image."""
    matrix = _warp(settings, rng)
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    middle = np.array([[(width - 1) / 2], [(height - 1) / 2]])
    old = matrix[:, :2] @ (np.stack([x, y]) - middle) + matrix[:, 2:] + middle
    knots = rng.uniform(-settings.elastic_alpha, settings.elastic_alpha, (2, KNOTS, KNOTS))
    old += (_between(height) @ knots @ _between(width).T).reshape(2, -1)
    old = np.rint(old).astype(int)
    inside = ((old >= 0) & (old < [[width], [height]])).all(0)
    return old[1] * width + old[0], inside


def augment_events(
    recordings: list[np.ndarray], task: Task, shape: tuple[int, ...], rng: np.random.Generator
) -> list[np.ndarray]:
    """As `augment`, for recordings as events with the fields x, y, t in microseconds and p, by time.

    An image is changed as its counts would be: an event is there once for every pixel that is taken from
    its own. Times are stretched and shifted by any amount within the bounds.

    Args:
        shape: of a step of the prepared recordings, (P, H, W) where they are images.
    """
    settings, found = task.train, recordings
    spatial = (
        settings.max_rotation,
        settings.max_scale,
        settings.max_shear,
        settings.max_shift,
        settings.elastic_alpha,
    )
    if len(shape) == 3 and any(spatial):
        found = [_warped_events(r, shape, settings, rng) for r in found]
    if settings.max_time_warp or settings.max_time_shift or settings.event_drop_rate:
        found = [_moved_events(r, task, rng) for r in found]
    return found


def _warped_events(
    events: np.ndarray, shape: tuple[int, ...], settings: Train, rng: np.random.Generator
) -> np.ndarray:
    _, height, width = shape
    old, inside = _old_places(height, width, settings, rng)
    taking = np.flatnonzero(inside)  # new pixels, in order of the old ones that they take
    taking = taking[np.argsort(old[taking], kind="stable")]
    copies = np.bincount(old[taking], minlength=height * width)
    first = np.cumsum(copies) - copies
    place = events["y"].astype(np.int64) * width + events["x"]
    count = copies[place]
    nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    found = np.repeat(events, count)
    found["y"], found["x"] = np.divmod(taking[np.repeat(first[place], count) + nth], width)
    return found


def _moved_events(events: np.ndarray, task: Task, rng: np.random.Generator) -> np.ndarray:
    settings, data = task.train, task.data
    end = data.bins * data.bin_us
    stretch = 1 + rng.uniform(-settings.max_time_warp, settings.max_time_warp)
    shift = rng.uniform(-settings.max_time_shift, settings.max_time_shift) * data.bin_us
    t = np.floor((events["t"] - end / 2) * stretch + end / 2 + shift).astype(np.int64)
    kept = (t >= 0) & (t < end) & (rng.random(len(t)) >= settings.event_drop_rate)
    found = events[kept]
    found["t"] = t[kept]
    return found


def _warp(settings: Train, rng: np.random.Generator) -> np.ndarray:
    """(2, 3): where in the old image, (x, y) from its centre, a place (x, y, 1) of the new one was."""
    angle = np.deg2rad(rng.uniform(-settings.max_rotation, settings.max_rotation))
    scale_x, scale_y = 1 + rng.uniform(-settings.max_scale, settings.max_scale, 2)
    shear = rng.uniform(-settings.max_shear, settings.max_shear)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(rotation @ np.array([[scale_x, shear], [0, scale_y]]))
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

    warp, reach = settings.max_time_warp, settings.max_time_shift + 0.5
    return transforms.Compose(
        [
            transforms.TimeSkew((1 - warp, 1 + warp), (-reach, reach)),
            transforms.DropEvent(settings.event_drop_rate),
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
