"""The order of samples: each pass a permutation, and any part of it the same part of the whole."""

import numpy as np

from keras_cmsa.data.order import SampleOrder


def test_each_pass_is_a_permutation_of_its_own():
    order = SampleOrder(10, seed=3)
    passes = [order[10 * i : 10 * i + 10].tolist() for i in range(6)]
    assert all(sorted(p) == list(range(10)) for p in passes)
    assert len({tuple(p) for p in passes}) == 6
    assert order[0:10].tolist() != SampleOrder(10, seed=4)[0:10].tolist()


def test_any_part_of_the_order_is_that_part_of_the_whole():
    whole = SampleOrder(7, seed=0)[0:50]
    for start, stop in ((0, 1), (5, 9), (6, 21), (13, 14), (14, 28), (49, 50), (20, 20)):
        assert SampleOrder(7, seed=0)[start:stop].tolist() == whole[start:stop].tolist()


def test_without_a_seed_the_order_is_the_records():
    assert SampleOrder(5)[1:4].tolist() == [1, 2, 3]
    assert SampleOrder(5)[4:8].tolist() == [4]


def test_shuffled_samples_are_spread_evenly():
    """Every record comes at every place of a pass about as often as any other."""
    order = SampleOrder(6, seed=1)[0:12000].reshape(-1, 6)
    seen = np.array([np.bincount(order[:, place], minlength=6) for place in range(6)])
    assert np.abs(seen / 2000 - 1 / 6).max() < 0.04
