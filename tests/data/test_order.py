"""The order of rows: each pass has every sample once, and any part of it is part of the whole."""

import numpy as np
import pytest

from keras_cmsa.data.order import RowOrder

# Of 7 images, which are mixed up.
IMAGES = list("abacadaebfabgcaa")
MOST = IMAGES.count("a")


def samples_of(rows):
    """The samples of some rows, in order, without those that fill up."""
    return [i for i in rows.ravel().tolist() if i < len(IMAGES)]


@pytest.mark.parametrize("per_row", [1, 2, 4, 20])
def test_each_pass_has_every_sample_once(per_row):
    order = RowOrder(IMAGES, per_row, seed=3)
    wanted = sum(-(-IMAGES.count(image) // per_row) for image in set(IMAGES))
    assert order.rows == wanted and order.per_row == min(per_row, MOST)
    passes = [order[wanted * i : wanted * (i + 1)] for i in range(6)]
    assert all(sorted(samples_of(p)) == list(range(len(IMAGES))) for p in passes)
    assert len({tuple(samples_of(p)) for p in passes}) == 6
    other = RowOrder(IMAGES, per_row, seed=4)[0:wanted]
    assert other.tolist() != passes[0].tolist()


@pytest.mark.parametrize("seed", [None, 3])
def test_a_row_has_samples_of_one_image_and_is_filled_up_last(seed):
    order = RowOrder(IMAGES, 4, seed)
    short = 0
    for row in order[0 : order.rows]:
        of_row = samples_of(row)
        assert len({IMAGES[i] for i in of_row}) == 1
        assert row.tolist() == of_row + [len(IMAGES)] * (4 - len(of_row))
        short += len(of_row) < min(4, IMAGES.count(IMAGES[of_row[0]]))
    assert short == 1  # the rest of the 7 of the first image


@pytest.mark.parametrize("per_row", [1, 3])
def test_any_part_of_the_order_is_that_part_of_the_whole(per_row):
    whole = RowOrder(IMAGES, per_row, seed=0)[0:50]
    for start, stop in ((0, 1), (5, 9), (6, 21), (13, 14), (14, 28), (49, 50), (20, 20)):
        part = RowOrder(IMAGES, per_row, seed=0)[start:stop]
        np.testing.assert_array_equal(part, whole[start:stop])


def test_without_a_seed_the_order_is_the_records_image_by_image():
    assert RowOrder(range(5))[1:4].tolist() == [[1], [2], [3]]
    assert RowOrder(range(5))[4:8].tolist() == [[4]]
    assert RowOrder("abab", 2)[0:9].tolist() == [[0, 2], [1, 3]]


def test_shuffled_samples_are_spread_evenly():
    """Every sample comes in every row, and beside every other of its image, about as often."""
    rows = RowOrder("aaaabb", 2, seed=1)[0:12000]
    seen = np.array([np.bincount(rows[place::3].ravel(), minlength=6) for place in range(3)])
    assert np.abs(seen / 4000 - 1 / 3).max() < 0.04
    beside = np.zeros((6, 6))
    np.add.at(beside, tuple(rows.T), 1)
    pairs = (beside + beside.T)[:4, :4][np.triu_indices(4, 1)]
    assert np.abs(pairs / 8000 - 1 / 6).max() < 0.04
