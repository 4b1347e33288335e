"""TensorFlow 1's bilinear enlargement against its definition."""

import numpy as np
import pytest
import tiny

from keras_cmsa.layers import CornerUpsampling2D

pytestmark = pytest.mark.keras


@pytest.mark.parametrize(("size", "scale"), [((3, 4), 8), ((2, 1), 3), ((5, 2), 1)])
def test_it_is_the_definition(rng, size, scale):
    maps = tiny.normal(rng, 2, *size, 3)
    height, width = size
    wanted = np.zeros((2, height * scale, width * scale, 3))
    for i, j in np.ndindex(height * scale, width * scale):
        (top, down), (left, across) = divmod(i / scale, 1), divmod(j / scale, 1)
        rows = [int(top), min(int(top) + 1, height - 1)]
        columns = [int(left), min(int(left) + 1, width - 1)]
        for row, a in zip(rows, (1 - down, down)):
            for column, b in zip(columns, (1 - across, across)):
                wanted[:, i, j] += a * b * maps[:, row, column]
    tiny.assert_near(CornerUpsampling2D(scale)(maps), wanted, 1e-6)


def test_tensorflow_agrees(rng):
    tf = pytest.importorskip("tensorflow")
    maps = tiny.normal(rng, 1, 5, 5, 1)
    theirs = tf.compat.v1.image.resize_bilinear(maps, (40, 40), align_corners=False)
    tiny.assert_near(CornerUpsampling2D(8)(maps), theirs.numpy(), 1e-6)
