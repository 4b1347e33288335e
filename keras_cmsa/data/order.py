"""The order of samples in a training, which depends only on a seed and on the place."""

import functools

import numpy as np


class RowOrder:
    """The order of rows in a training; a row has up to K samples of one image.

    `order[a:b]` gives the rows at the places a to b - 1: `(b - a, K)` integers. A row of an image
    that has no more samples is filled up with `count`, which is no sample.

    Without a seed there is one pass: the images as they come first, the samples of each in their
    order. With a seed the order is endless: in each pass every sample comes once, in a row with
    other samples of its image, and both rows and samples are shuffled. The order of a pass depends
    only on the seed and the pass's number.

    Args:
        images: what identifies the image of each sample, a list of hashable values.
        per_row: samples of a row at most; K is less if no image has as many.
        seed: integer, or `None` for one pass in order.
    """

    def __init__(self, images, per_row=1, seed=None):
        self.count = len(images)
        self.seed = seed
        numbers = {}
        self.image_of = np.array([numbers.setdefault(key, len(numbers)) for key in images], int)
        self.per_row, self.places = row_places(np.bincount(self.image_of), per_row)
        # Cached because every batch of a pass needs the same rows.
        self.rows_of_pass = functools.lru_cache(maxsize=4)(self.shuffled_rows)

    @property
    def rows(self):
        """Rows of one pass."""
        return len(self.places)

    def __getitem__(self, places):
        if self.seed is None:
            return self.rows_of(np.arange(self.count))[places]
        places = np.arange(places.start, places.stop)
        passes, places_in_pass = np.divmod(places, self.rows)
        order = np.empty((len(places), self.per_row), int)
        for number in np.unique(passes):
            is_in = passes == number
            order[is_in] = self.rows_of_pass(int(number))[places_in_pass[is_in]]
        return order

    def shuffled_rows(self, number):
        """The rows of a pass of a training."""
        random = np.random.default_rng([self.seed, number])
        rows = self.rows_of(random.permutation(self.count))
        return rows[random.permutation(self.rows)]

    def rows_of(self, samples):
        """The rows that samples make, those of an image in the order in which they come."""
        by_image = samples[np.argsort(self.image_of[samples], kind="stable")]
        return np.append(by_image, self.count)[self.places]


def row_places(sizes, per_row):
    """Cuts images into rows.

    Args:
        sizes: number of samples of each image.
        per_row: samples of a row at most.

    Returns:
        K and `(rows, K)` integers: for samples that are sorted by image, which of them a row has,
        or their number where it has no more.
    """
    per_row = min(per_row, int(sizes.max(initial=1)))
    ends = np.cumsum(sizes)
    rows = [(n, end) for size, end in zip(sizes, ends) for n in range(end - size, end, per_row)]
    firsts, ends = np.array(rows, int).reshape(-1, 2, 1).swapaxes(0, 1)  # each (rows, 1)
    places = firsts + np.arange(per_row)
    return per_row, np.where(places < ends, places, sizes.sum())
