"""The order of samples in a training, which depends only on a seed and on the place."""

import functools

import numpy as np


class SampleOrder:
    """The order of samples in a training: `order[a:b]` gives the samples at the places a to b - 1.

    Without a seed there is one pass: 0, 1, ..., count - 1. With a seed the order is endless: each
    pass over the data is another permutation, which depends only on the seed and the pass's number.

    Args:
        count: number of samples.
        seed: integer, or `None` for one pass in order.
    """

    def __init__(self, count, seed=None):
        self.count = count
        self.seed = seed

    def __getitem__(self, places):
        if self.seed is None:
            return np.arange(self.count)[places]
        places = np.arange(places.start, places.stop)
        passes, places_in_pass = np.divmod(places, self.count)
        order = np.empty_like(places)
        for number in np.unique(passes):
            permutation = permutation_of_pass(self.count, self.seed, int(number))
            order[passes == number] = permutation[places_in_pass[passes == number]]
        return order


# Cached because every batch of a pass needs the same permutation.
@functools.lru_cache(maxsize=4)
def permutation_of_pass(count, seed, number):
    """The permutation `(count,)` of the samples in a pass."""
    return np.random.default_rng([seed, number]).permutation(count)
