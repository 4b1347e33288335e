"""Images on the square: by the table and by hand."""

import cases
import numpy as np
import pytest

from keras_cmsa.preprocessing.fitting import placement, resize_bilinear, to_square

by_case = pytest.mark.parametrize("case", cases.CASES, ids=str)


@by_case
def test_placement(case):
    assert placement(case.height, case.width, case.size, case.resizing) == case.placement


@by_case
def test_an_image_on_the_square(case):
    square = to_square(case.image(), case.size, case.resizing)
    assert square.dtype == "float32"
    np.testing.assert_allclose(square, case.square(), atol=0.02)
    one_channel = to_square(case.image()[..., 1], case.size, case.resizing)
    np.testing.assert_array_equal(one_channel, square[..., 1])


def test_numbers_of_few_bits_are_numbers():
    found = placement(np.uint16(480), np.uint16(640), np.int16(320))
    assert found == (240, 320, 40, 0) and {type(x) for x in found} == {int}


# --- resizing


def test_resize_by_hand():
    np.testing.assert_allclose(resize_bilinear([[0, 8]], (1, 4)), [[0, 2, 6, 8]])


@pytest.mark.parametrize(
    ("shape", "size"), [((0, 4), (2, 2)), ((4,), (2, 2)), ((4, 4), (0, 2)), ((1, 4, 4, 3), (2, 2))]
)
def test_resize_says_what_it_wants(shape, size):
    with pytest.raises(ValueError, match=r"wanted \(H, W\) or \(H, W, C\) pixels"):
        resize_bilinear(np.zeros(shape), size)
