"""Images on the square and back in a graph: as in NumPy, for every case of the table."""

import cases
import numpy as np
import pytest
import tiny

from keras_cmsa.preprocessing import fitting

pytest.importorskip("tensorflow")

import tensorflow as tf

from keras_cmsa.export.graph.fitting import from_square, to_square

by_case = pytest.mark.parametrize("case", cases.CASES, ids=str)


@by_case
def test_to_square(case):
    image = case.image()
    found = to_square(tf.constant(image), case.size, case.resizing).numpy()
    assert found.dtype == np.float32 and found.shape == (case.size, case.size, 3)
    wanted = fitting.to_square(image, case.size, case.resizing)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_allclose(found, case.square(), atol=0.02)


@by_case
def test_from_square(case):
    probability = 1 / (1 + np.exp(-case.logits().clip(-60, 60)))
    size = case.height, case.width
    found = from_square(tf.constant(probability), tf.constant(size), case.resizing).numpy()
    wanted = tiny.preprocessor(case.resizing, case.size).undo(probability, size)
    assert found.shape == wanted.shape == size
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(found, case.probabilities(), atol=1e-4)
