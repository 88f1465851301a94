"""Items made beside their use: the same ones in the same order, and no thread left behind."""

import threading

import pytest

from pipeline.ahead import ahead


def alive():
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_the_same_items_in_the_same_order():
    assert list(ahead(iter(range(50)))) == list(range(50))
    assert list(ahead([])) == []
    assert not alive()


def test_what_the_maker_raises_is_raised_after_what_it_made():
    def items():
        yield 1
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        for item in ahead(items()):
            seen.append(item)
    assert seen == [1]
    assert not alive()


def test_giving_up_ends_the_thread_and_it_never_runs_far_ahead():
    made = []

    def items():
        for number in range(1000):
            made.append(number)
            yield number

    stream = ahead(items(), depth=2)
    assert next(stream) == 0
    stream.close()
    assert not alive()
    assert len(made) <= 4  # one used, two waiting, one in the thread's hand
