"""Reading ahead: the same items in the same order, errors where they belong, no thread left over."""

import threading

import numpy as np
import pytest

from pipeline.training.prefetch import prefetch


def left_over():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_items_come_in_order_and_draw_the_same_random_numbers():
    def draws():
        rng = np.random.default_rng(5)
        for _ in range(20):
            yield rng.random()

    assert list(prefetch(draws())) == list(draws())
    assert left_over() == []


def test_an_error_is_raised_after_the_items_before_it():
    def broken():
        yield 1
        raise OSError("the disk is gone")

    found = prefetch(broken())
    assert next(found) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)
    assert left_over() == []


def test_giving_up_early_ends_the_thread_and_makes_only_what_fits_ahead():
    made = []

    def endless():
        while True:
            made.append(len(made))
            yield made[-1]

    found = prefetch(endless(), depth=2)
    assert next(found) == 0
    found.close()
    assert left_over() == []
    assert 1 <= len(made) <= 3  # one was taken, two may wait
