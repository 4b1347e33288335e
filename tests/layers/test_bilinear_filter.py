"""The bilinear filter interpolates."""

import literal
import pytest
import tiny

from keras_cmsa.layers import BilinearFilter

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("stride", [2, 8])
def test_a_bilinear_filter_interpolates(seeded, rng, stride):
    """Away from the border, where a transposed convolution sees zeros beyond the map."""
    x = tiny.normal(rng, 1, 6, 6, 2)
    layer = seeded.layers.Conv2DTranspose(
        2, 2 * stride, stride, "same", use_bias=False, kernel_initializer=BilinearFilter()
    )
    wanted = literal.resized(x[0], (6 * stride, 6 * stride))
    inner = slice(stride, -stride)
    tiny.assert_near(tiny.to_numpy(layer(x))[0, inner, inner], wanted[inner, inner])
