"""The authors' order of a feature's channels, without their checkpoint."""

import numpy as np

from keras_cmsa.convert.released_checkpoint import feature_order


def test_coordinates_stand_behind_the_words_there():
    theirs = [*"vvvvv", *"www", "x0", "y0", "x1", "y1", "xc", "yc", "1/w", "1/h"]
    ours = np.take(theirs, feature_order(16, word_dim=3))
    assert [*ours] == [*"vvvvv", "x0", "y0", "x1", "y1", "xc", "yc", "1/w", "1/h", *"www"]
