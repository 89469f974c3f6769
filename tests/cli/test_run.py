"""What every command shares."""

import gc

import pytest

from chemsbi_jax.cli.run import OBJECTS, seldom_collected


def test_the_collector_is_as_before_also_after_an_error():
    before = gc.get_threshold()
    with seldom_collected():
        assert gc.get_threshold()[0] == OBJECTS
    assert gc.get_threshold() == before

    @seldom_collected()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_frozen_objects_of_the_caller_stay_frozen():
    gc.freeze()
    try:
        n_frozen = gc.get_freeze_count()
        with seldom_collected():
            pass
        # a frozen object may lose its last reference in between
        assert gc.get_freeze_count() > 0.9 * n_frozen > 0
    finally:
        gc.unfreeze()
