"""Augmentation: what moves where, what is lost, and that the generator alone decides it."""

import dataclasses

import numpy as np
import pytest
from end_to_end import ROOT

from pipeline import params, schema
from pipeline.training.augmentation import augment

# Every key of the augmentation, off.
NOTHING = {
    field.name: 0
    for field in dataclasses.fields(schema.Train)
    if field.name.startswith("max_") and not field.name.endswith(("spikes", "penalty"))
} | {"elastic_alpha": 0.0, "event_drop_rate": 0.0}


def only(name, **changes):
    """The task `name` with no augmentation but `changes`."""
    task = params.load(name, ROOT / "params.yaml")
    return dataclasses.replace(
        task, train=dataclasses.replace(task.train, **{**NOTHING, **changes})
    )


def dots(*places, count=200):
    """Recordings (count, 5, 2, 9, 9) with three ON events in bin 2 at every (x, y) of `places`."""
    events = np.zeros((count, 5, 2, 9, 9), np.uint8)
    for x, y in places:
        events[:, 2, 1, y, x] = 3
    return events


def test_images_are_moved_and_recordings_delayed():
    moved = augment(dots((4, 4)), only("nmnist", max_shift=2, max_time_shift=1), generator())
    assert moved.shape == (200, 5, 2, 9, 9)
    assert moved.dtype == np.uint8
    assert (moved.sum((1, 2, 3, 4)) == 3).all()
    _, t, c, y, x = np.nonzero(moved)
    assert set(c) == {1}
    assert set(t) == {1, 2, 3}
    assert set(y) == set(x) == {2, 3, 4, 5, 6}


def test_images_turn_about_their_centre():
    turned = augment(
        dots((4, 4), (7, 4), count=500), only("nmnist", max_rotation=90.0), generator()
    )
    assert (turned[:, 2, 1, 4, 4] == 3).all()
    _, _, _, y, x = np.nonzero(turned)
    # A dot 3 pixels from the centre stays as far, give or take the nearest pixel (half a diagonal).
    distance = np.hypot(x - 4, y - 4)[(x != 4) | (y != 4)]
    assert np.abs(distance - 3).max() <= np.sqrt(0.5)
    # A quarter turn either way never takes it to the other side.
    assert set(y) == {1, 2, 3, 4, 5, 6, 7} and x.min() >= 4


@pytest.mark.parametrize("key", ["max_scale", "max_shear"])
def test_scale_and_shear_move_what_is_far_from_the_centre(key):
    corners = augment(dots((4, 4), (8, 8), (0, 0)), only("nmnist", **{key: 0.25}), generator())
    assert (corners[:, 2, 1, 4, 4] == 3).all()
    _, _, _, y, x = np.nonzero(corners)
    # 4 pixels from the centre, a quarter is a pixel; a shear leaves every row where it was.
    assert set(x) >= {0, 1, 4, 7, 8}
    assert set(y) == {0, 4, 8} if key == "max_shear" else set(y) >= {0, 1, 4, 7, 8}


def test_elastic_deformation_moves_parts_against_each_other_and_none_too_far():
    whole = np.zeros((200, 5, 2, 9, 9), np.uint8)
    whole[:, 2, 1] = np.arange(81).reshape(9, 9)  # every pixel says where it was
    bent = augment(whole, only("nmnist", elastic_alpha=2.0), generator())[:, 2, 1]
    old_y, old_x = np.divmod(bent, 9)
    y, x = np.mgrid[:9, :9]
    for old, new in ((old_x, x), (old_y, y)):
        move = np.where(bent > 0, old.astype(int) - new, 0)
        assert set(move.ravel()) == {-2, -1, 0, 1, 2}
        # Knots lie two pixels apart: the corners move each by itself.
        assert (move[:, 2, 2] != move[:, 6, 6]).any()


def test_recordings_are_stretched_about_their_middle():
    events = np.zeros((200, 40, 12), np.uint8)
    events[:, 35, 5] = 1
    _, t, taxel = np.nonzero(augment(events, only("braille", max_time_warp=0.1), generator()))
    # The middle of bin 35 lies 15.5 bins from the recording's: +- 10 %, and half a bin either way.
    assert set(range(34, 37)) <= set(t) <= set(range(33, 38))
    assert set(taxel) == {5}


def test_a_fraction_of_the_events_is_dropped():
    events = np.ones((50, 100, 12), np.uint8)
    kept = augment(events, only("braille", event_drop_rate=0.25), generator())
    # Exactly a quarter of every recording, says tonic.
    assert (kept.sum((1, 2)) == 900).all()


def test_the_same_generator_gives_the_same_recordings_and_leaves_its_input():
    events = np.random.default_rng(1).poisson(0.1, (4, 5, 2, 34, 34)).astype(np.uint8)
    task = only("nmnist", max_rotation=10.0, max_time_shift=1, event_drop_rate=0.1)
    before = events.copy()
    first, again = (augment(events, task, generator()) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(events, before)
    assert (augment(events, task, np.random.default_rng(1)) != first).any()


def test_the_global_generator_stays_as_it_is():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    events = np.ones((2, 5, 12), np.uint8)
    assert (augment(events, only("braille", event_drop_rate=0.5), generator()) != events).any()
    assert np.random.random() == expected  # noqa: NPY002


def generator():
    return np.random.default_rng(0)
