"""Images on the square and maps back over the image: by the table, by TensorFlow, by hand."""

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_cmsa.preprocessing.fitting import (
    RESIZINGS,
    from_square,
    mask_to_square,
    placement,
    resize_bilinear,
    to_square,
)

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


@by_case
def test_a_map_over_the_image_again(case):
    found = from_square(case.over_square(), (case.height, case.width), case.resizing)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, case.probabilities(), atol=1e-4)


def test_padding_is_0_and_centred():
    square = to_square(np.full((4, 8, 3), 200, "uint8"), 8)
    assert square.shape == (8, 8, 3) and square.dtype == "float32"
    np.testing.assert_array_equal(square[2:6], 200)
    np.testing.assert_array_equal(square[[0, 1, 6, 7]], 0)


def test_stretch_fills_the_square():
    assert to_square(np.ones((4, 8)), 6, "stretch").min() == 1


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([(), (3,)]))
@settings(max_examples=60, deadline=None)
def test_padding_is_undone_exactly_at_scale_1(height, width, channels):
    image = np.random.default_rng(0).integers(0, 256, (height, width, *channels))
    square = to_square(image, max(height, width))
    np.testing.assert_array_equal(from_square(square, (height, width)), image)


@pytest.mark.parametrize("resizing", RESIZINGS)
@pytest.mark.parametrize("size", [(97, 61), (61, 97), (213, 320), (333, 500), (75, 75)])
def test_a_blob_comes_back_where_it_was(resizing, size):
    rows, columns = np.mgrid[: size[0], : size[1]]
    distance = (rows - size[0] * 0.4) ** 2 + (columns - size[1] * 0.55) ** 2
    blob = 255 * np.exp(-distance / (2 * (min(size) * 0.1) ** 2))
    back = from_square(to_square(blob, 81, resizing), size, resizing)
    assert back.shape == size
    np.testing.assert_allclose(back, blob, atol=12)
    for axis in (rows, columns):
        drift = np.average(axis, weights=back) - np.average(axis, weights=blob)
        assert abs(drift) < 0.1


@pytest.mark.parametrize("resizing", RESIZINGS)
def test_a_mask_on_the_square_is_0_or_1_and_keeps_its_area(resizing):
    mask = np.zeros((60, 80), bool)
    mask[10:30, 20:56] = True
    square = mask_to_square(mask, 40, resizing)
    assert square.shape == (40, 40, 1) and square.dtype == "float32"
    assert set(np.unique(square)) == {0, 1}
    scale = 40 * 40 / (60 * 80) if resizing == "stretch" else 0.25
    assert square.sum() == pytest.approx(mask.sum() * scale, rel=0.06)


def test_a_mask_takes_half_and_more():
    np.testing.assert_array_equal(mask_to_square([[1, 1, 0, 0]] * 4, 2)[..., 0], [[1, 0], [1, 0]])
    np.testing.assert_array_equal(mask_to_square([[0, 1], [0, 1]], 1)[..., 0], [[1]])


@pytest.mark.parametrize("function", [placement, to_square, from_square, mask_to_square])
def test_an_unknown_resizing_is_named(function):
    arguments = {
        placement: (4, 4, 8),
        to_square: (np.ones((4, 4)), 8),
        from_square: (np.ones((8, 8)), (4, 4)),
        mask_to_square: (np.ones((4, 4)), 8),
    }[function]
    with pytest.raises(
        ValueError, match=r"one of \('pad', 'stretch'\)\. Received: resizing='crop'"
    ):
        function(*arguments, "crop")


# --- resizing


@pytest.mark.parametrize(
    ("size", "new_size"),
    [
        ((480, 640), (240, 320)),
        ((427, 640), (214, 320)),
        ((37, 53), (91, 17)),
        ((40, 40), (427, 640)),
        ((1, 7), (5, 3)),
        ((3, 3), (1, 1)),
    ],
)
def test_resize_equals_tensorflows(size, new_size):
    tf = pytest.importorskip("tensorflow")
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")
    expected = tf.image.resize(noise, new_size, method="bilinear", antialias=False).numpy()
    resized = resize_bilinear(noise, new_size)
    assert resized.dtype == "float32"
    np.testing.assert_allclose(resized, expected, atol=1e-3)
    np.testing.assert_array_equal(resize_bilinear(noise[..., 1], new_size), resized[..., 1])


def test_resize_by_hand():
    np.testing.assert_allclose(resize_bilinear([[0, 8]], (1, 4)), [[0, 2, 6, 8]])


@pytest.mark.parametrize(
    ("shape", "size"), [((0, 4), (2, 2)), ((4,), (2, 2)), ((4, 4), (0, 2)), ((1, 4, 4, 3), (2, 2))]
)
def test_resize_says_what_it_wants(shape, size):
    with pytest.raises(ValueError, match=r"wanted \(H, W\) or \(H, W, C\) pixels"):
        resize_bilinear(np.zeros(shape), size)
